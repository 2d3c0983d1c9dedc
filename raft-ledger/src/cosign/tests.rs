use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::cosigner::{Refusal, Request};
use super::newest::Gathered;
use super::*;
use crate::checkpoint::{Checkpoint, Note, NoteSignature};
use crate::cold::Cold;
use crate::keys::SiteKeys;
use crate::merkle::{Tree, leaf_hash, root_at};
use crate::observer::Observer;
use crate::store::SiteDb;
use crate::store::applied::{Applied, applied_key, encode};
use crate::store::generation::{Family, tile_key};
use crate::store::ledger_store::LedgerStore;

/// One site's disk, with a replica whose leaves a test chooses.
struct Disk {
    dir: tempfile::TempDir,
    keys: Vec<Arc<SiteKeys>>,
}

/// As a site of so many, named from "a" on.
fn newest_of(site_db: &Arc<SiteDb>, keys: &SiteKeys, voters: usize) -> Newest {
    let newest = Newest::open(site_db.clone(), keys).unwrap();
    newest.set_voters(["a", "b", "c"].into_iter().take(voters).map(str::to_owned).collect());
    newest
}

struct Replica {
    cosigner: Arc<Cosigner>,
    store: Arc<LedgerStore>,
    site_db: Arc<SiteDb>,
}

impl Disk {
    fn new() -> Disk {
        let dir = tempfile::tempdir().unwrap();
        let made =
            crate::keys::init(&dir.path().join("keys"), &[("a", "h"), ("b", "h"), ("c", "h")]).unwrap();
        let keys = made.iter().map(|dir| Arc::new(SiteKeys::load(dir).unwrap())).collect();
        Disk { dir, keys }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Site `n` with the ledger of `name`, holding `leaves`; its `sitedb` is the same whatever the ledger.
    fn open(&self, n: usize, name: &str, leaves: &[u64]) -> Replica {
        let cold = Cold::open(None, self.path());
        let store = Arc::new(LedgerStore::open(&self.path().join(name), cold).unwrap());
        fill(&store, leaves);
        let site_db = Arc::new(SiteDb::open(&self.path().join(format!("sitedb{n}"))).unwrap());
        let keys = self.keys[n].clone();
        let (observer, _) = Observer::new(keys.site.clone());
        let blame = Blame::open(keys.clone(), site_db.clone(), &self.path().join("evidence")).unwrap();
        let cosigner = Cosigner::open(keys, store.clone(), observer, site_db.clone(), blame).unwrap();
        Replica { cosigner: Arc::new(cosigner), store, site_db }
    }

    /// Site `n`'s signed checkpoint over `leaves`, true or not.
    fn note(&self, n: usize, leaves: &[u64]) -> String {
        let tree = tree(leaves);
        let origin = self.keys[n].origin().to_owned();
        Checkpoint { origin, size: tree.size(), root: tree.root() }.sign(&self.keys[n].log).unwrap()
    }
}

fn tree(leaves: &[u64]) -> Tree {
    let mut tree = Tree::default();
    for leaf in leaves {
        tree.append(leaf_hash(&leaf.to_be_bytes()));
    }
    tree
}

fn fill(store: &LedgerStore, leaves: &[u64]) {
    let db = store.generation();
    let mut tree = tree(leaves);
    let mut batch = crate::store::db::WriteBatch::default();
    for (key, hashes) in tree.take_writes() {
        db.put(&mut batch, Family::Tiles, &tile_key(key), &hashes).unwrap();
    }
    let applied = Applied { size: tree.size(), root: tree.root(), ..Applied::default() };
    db.put(&mut batch, Family::Meta, &applied_key(), &encode(&applied).unwrap()).unwrap();
    db.write(batch).unwrap();
}

fn leaves(size: u64) -> Vec<u64> {
    (0..size).collect()
}

async fn cosign(replica: &Replica, note: String) -> Result<String, Refusal> {
    answer(replica.cosigner.clone(), note.into()).await
}

#[tokio::test]
async fn a_cosigner_never_goes_back_also_after_a_restart() {
    let disk = Disk::new();
    let b = disk.open(1, "b", &leaves(700));
    cosign(&b, disk.note(0, &leaves(300))).await.unwrap();
    cosign(&b, disk.note(2, &leaves(600))).await.unwrap();
    cosign(&b, disk.note(0, &leaves(600))).await.unwrap();
    smaller_is_signed_as_log_alone(&disk, &b).await;
    drop(b);
    let b = disk.open(1, "b", &leaves(700));
    smaller_is_signed_as_log_alone(&disk, &b).await;
    cosign(&b, disk.note(0, &leaves(700))).await.unwrap();
    let ahead = cosign(&b, disk.note(0, &leaves(701))).await.unwrap_err();
    assert!(matches!(ahead, Refusal::Ahead { size: 701, known: 700 }), "{ahead}");
}

/// `b` has cosigned size 600.
async fn smaller_is_signed_as_log_alone(disk: &Disk, b: &Replica) {
    let lines = cosign(b, disk.note(0, &leaves(599))).await.unwrap();
    let lines = NoteSignature::parse_lines(&lines).unwrap();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].is_by(&disk.keys[1].log.verifier()), "no cosignature");
    assert_eq!(b.cosigner.cosigned_size(), 600);
    let smaller = b.cosigner.sign(599).unwrap_err();
    assert!(matches!(smaller, Refusal::Smaller { size: 599, cosigned: 600 }), "{smaller}");
}

#[tokio::test]
async fn another_root_is_never_cosigned() {
    let disk = Disk::new();
    let mut forged = leaves(600);
    forged[5] = 99;
    let b = disk.open(1, "b", &leaves(700));
    let other = cosign(&b, disk.note(2, &forged)).await.unwrap_err();
    assert!(matches!(other, Refusal::OtherRoot { size: 600 }), "{other}");
    cosign(&b, disk.note(0, &leaves(600))).await.unwrap();
    let other = cosign(&b, disk.note(2, &forged)).await.unwrap_err();
    assert!(matches!(other, Refusal::OtherRoot { size: 600 }), "{other}");
    drop(b);
    // The site's own replica is exchanged for one with another history: it vouches for nothing that follows.
    forged.extend(600..800);
    let b = disk.open(1, "forged", &forged);
    for size in [600, 750] {
        let refused = cosign(&b, disk.note(0, &forged[..size])).await.unwrap_err();
        assert!(matches!(refused, Refusal::Inconsistent { cosigned: 600 }), "{size}: {refused}");
        let refused = b.cosigner.sign(size as u64).unwrap_err();
        assert!(matches!(refused, Refusal::Inconsistent { cosigned: 600 }), "{size}: {refused}");
    }
    let refused = b.cosigner.sign_as_log(300).unwrap_err();
    assert!(matches!(refused, Refusal::Inconsistent { cosigned: 600 }), "{refused}");
}

#[tokio::test]
async fn strangers_and_nonsense_get_no_signature() {
    let disk = Disk::new();
    let strangers = Disk::new();
    let b = disk.open(1, "b", &leaves(10));
    for note in [strangers.note(0, &leaves(10)), "nonsense".into(), String::new()] {
        assert!(matches!(cosign(&b, note).await, Err(Refusal::Ledger(_))));
    }
    assert_eq!(b.cosigner.cosigned_size(), 0);
}

/// A log signature alone may be for an earlier size, as long as it is a part of what was vouched for.
#[test]
fn the_log_key_signs_earlier_sizes_of_the_same_tree() {
    let disk = Disk::new();
    let a = disk.open(0, "a", &leaves(600));
    a.cosigner.sign(600).unwrap();
    let note = a.cosigner.sign_as_log(300).unwrap();
    let (checkpoint, _) = Checkpoint::verify(note.as_bytes(), &disk.keys[1].verifiers().logs).unwrap();
    assert_eq!(checkpoint.root, root_at(a.store.generation().as_ref(), 300).unwrap());
    assert_eq!(a.cosigner.cosigned_size(), 600);
}

#[test]
fn a_checkpoint_counts_with_a_majority_and_outlives_a_restart() {
    let disk = Disk::new();
    let (a, b) = (disk.open(0, "a", &leaves(40)), disk.open(1, "b", &leaves(40)));
    let newest = newest_of(&a.site_db, &disk.keys[0], 3);
    let verifiers = disk.keys[0].verifiers();
    let cosigners = &verifiers.cosigners;
    let mut gathered = Gathered::new(a.cosigner.sign(40).unwrap(), &disk.keys[0]);
    newest.put(&gathered).unwrap();
    assert!(!newest.counts(&gathered) && newest.get().is_none(), "one's own word is no majority");
    // Another size's cosignature, and a damaged one, are not taken.
    gathered.add(&b.cosigner.sign(39).unwrap().cosignature, cosigners);
    let theirs = b.cosigner.sign(40).unwrap();
    gathered.add(&theirs.cosignature.replace(|c: char| c.is_ascii_digit(), "A"), cosigners);
    assert!(!newest.counts(&gathered));
    gathered.add(&(theirs.signature.clone() + &theirs.cosignature), cosigners);
    newest.put(&gathered).unwrap();
    let kept = newest.get().unwrap();
    let names: Vec<_> = disk.keys[..2].iter().map(|keys| keys.cosigner.name().to_owned()).collect();
    assert_eq!((kept.size, &kept.cosigners), (40, &names));
    assert_eq!(Note::parse(kept.note.as_bytes()).unwrap().signatures.len(), 3);
    let again = newest_of(&a.site_db, &disk.keys[0], 3);
    assert_eq!(again.get(), Some(kept));
}

/// A site that starts reads what it has kept before it reads the ledger, which alone knows the keys of later sites.
#[test]
fn after_a_restart_a_later_site_is_a_cosigner_again_once_the_ledger_has_told_its_keys() {
    let mut disk = Disk::new();
    let folder = disk.path().join("keys");
    let (of_d, _) = crate::keys::join(&folder, "d", "h", &folder.join("a/index-key.hex")).unwrap();
    disk.keys.push(Arc::new(SiteKeys::load(&of_d).unwrap()));
    disk.keys[0].ring.meet(&disk.keys[3]);
    let (a, d) = (disk.open(0, "a", &leaves(40)), disk.open(3, "d", &leaves(40)));
    let newest = Newest::open(a.site_db.clone(), &disk.keys[0]).unwrap();
    newest.set_voters(["a", "d"].map(str::to_owned).into());
    let mut gathered = Gathered::new(a.cosigner.sign(40).unwrap(), &disk.keys[0]);
    gathered.add(&d.cosigner.sign(40).unwrap().cosignature, &disk.keys[0].verifiers().cosigners);
    newest.put(&gathered).unwrap();
    let kept = newest.get().unwrap();
    assert_eq!(kept.cosigners.len(), 2);
    let keys = SiteKeys::load(&folder.join("a")).unwrap();
    let newest = Newest::open(a.site_db.clone(), &keys).unwrap();
    assert_eq!(newest.get().unwrap().cosigners, [disk.keys[0].cosigner.name()]);
    keys.ring.meet(&disk.keys[3]);
    newest.recount(&keys);
    assert_eq!(newest.get(), Some(kept));
}

#[test]
fn a_site_alone_signs_and_nobody_cosigns() {
    let disk = Disk::new();
    let a = disk.open(0, "a", &leaves(4));
    let newest = newest_of(&a.site_db, &disk.keys[0], 1);
    newest.put(&Gathered::new(a.cosigner.sign(4).unwrap(), &disk.keys[0])).unwrap();
    let kept = newest.get().unwrap();
    assert_eq!((kept.size, kept.cosigners.len()), (4, 0));
    assert_eq!(Note::parse(kept.note.as_bytes()).unwrap().signatures.len(), 1);
}

/// Honest sites are never blamed: refused, ahead, behind, asked twice. One that signs two roots is, for ever.
#[tokio::test]
async fn two_roots_of_one_size_are_evidence_and_end_the_trust() {
    let disk = Disk::new();
    let mut forged = leaves(600);
    forged[5] = 99;
    let b = disk.open(1, "b", &leaves(700));
    cosign(&b, disk.note(0, &leaves(600))).await.unwrap();
    cosign(&b, disk.note(2, &leaves(600))).await.unwrap();
    cosign(&b, disk.note(0, &leaves(599))).await.unwrap();
    cosign(&b, disk.note(0, &leaves(800))).await.unwrap_err();
    cosign(&b, disk.note(0, &leaves(600))).await.unwrap();
    assert!(b.cosigner.blame.sites().is_empty());
    let blamed = cosign(&b, disk.note(0, &forged)).await.unwrap_err();
    assert!(matches!(&blamed, Refusal::Blamed { site } if site == "a"), "{blamed}");
    let text = std::fs::read_to_string(disk.path().join("evidence/split-view-a-600.json")).unwrap();
    let evidence: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&evidence["site"], &evidence["size"]), (&"a".into(), &600.into()));
    let verifiers = disk.keys[2].verifiers();
    let logs = &verifiers.logs;
    let [first, second] = [0, 1].map(|n| {
        let note = evidence["notes"][n].as_str().unwrap();
        Checkpoint::verify(note.as_bytes(), logs).unwrap().0
    });
    assert!(first.size == second.size && first.root != second.root);
    // Also a true checkpoint of that site gets nothing now, and after a restart; others' do.
    drop(b);
    let b = disk.open(1, "b", &leaves(700));
    let refused = cosign(&b, disk.note(0, &leaves(700))).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Blamed { site } if site == "a"), "{refused}");
    cosign(&b, disk.note(2, &leaves(700))).await.unwrap();
    assert_eq!(b.cosigner.blame.trusted_cosigners().len(), 2);
}

/// a shows b one history and c another, and vouches for both. Neither can be fooled once they speak to each other.
#[tokio::test]
async fn a_split_view_between_honest_sites_is_found() {
    let disk = Disk::new();
    let mut forged = leaves(600);
    forged[5] = 99;
    let to_b = disk.open(0, "a", &leaves(600)).cosigner.sign(600).unwrap();
    std::fs::remove_dir_all(disk.path().join("sitedb0")).unwrap();
    let to_c = disk.open(0, "a-forged", &forged).cosigner.sign(600).unwrap();

    let b = disk.open(1, "b", &leaves(600));
    let newest = newest_of(&b.site_db, &disk.keys[1], 3);
    let own = b.cosigner.sign(600).unwrap();
    let note = own.note();
    let mut gathered = Gathered::new(own, &disk.keys[1]);
    gathered.add(&(to_b.signature + &to_b.cosignature), &b.cosigner.blame.trusted_cosigners());
    newest.put(&gathered).unwrap();
    let c = disk.open(2, "c", &forged);
    let gathered_by_c = Gathered::new(c.cosigner.sign(600).unwrap(), &disk.keys[2]);
    let answer = to_c.signature + &to_c.cosignature;
    assert_eq!(c.cosigner.blame.see(&gathered_by_c.note_with(&answer)).unwrap(), None);

    let request = Request { note, gathered: newest.get().map(|newest| newest.note) }.encode();
    let refused = super::answer(c.cosigner.clone(), request).await.unwrap_err();
    assert!(matches!(refused, Refusal::OtherRoot { size: 600 }), "{refused}");
    let blamed: Vec<String> = c.cosigner.blame.sites().into_iter().collect();
    assert_eq!(blamed, ["a"], "not b, which signed one root alone");
    assert!(disk.path().join("evidence/split-view-a-600.json").exists());
}

/// The word of one site against another's is nothing, that of a majority convicts; and nobody but the one alone.
#[tokio::test]
async fn a_majority_convicts_and_one_site_does_not() {
    let disk = Disk::new();
    let mut forged = leaves(600);
    forged[5] = 99;
    let (a, b) = (disk.open(0, "a", &leaves(700)), disk.open(1, "b", &leaves(650)));
    a.cosigner.sign(700).unwrap();
    let note = disk.note(2, &forged);
    let own = b.cosigner.sign_beside(&note).unwrap();
    let blame = &b.cosigner.blame;
    let voters: BTreeSet<String> = ["a", "b", "c"].map(str::to_owned).into();
    // Whether enough have answered, so that nobody needs to be asked again.
    let outvote =
        |note: &str, votes: &[String], voters: &_| blame.outvote(note, &own, votes, voters).unwrap();
    assert!(!outvote(&note, &["nonsense".into(), "\n".into()], &voters));
    // c votes for itself, and a's signature under another size is none here.
    let others = [disk.note(2, &forged), disk.note(0, &leaves(599))];
    let others = others.map(|note| note.split_once("\n\n").unwrap().1.to_owned());
    assert!(!outvote(&note, &others, &voters));
    assert!(blame.sites().is_empty());

    let votes = [cosign(&a, own.clone()).await.unwrap()];
    assert!(outvote(&own, &votes, &voters));
    assert!(blame.sites().is_empty(), "the majority's own root");
    // A learner's word, or that of a site that takes no part, counts neither way.
    assert!(!outvote(&note, &votes, &["b", "c"].map(str::to_owned).into()));
    assert!(!outvote(&note, &votes, &["a", "b", "c", "d"].map(str::to_owned).into()));
    assert!(blame.sites().is_empty());
    assert!(outvote(&note, &votes, &voters));
    assert_eq!(blame.sites().into_iter().collect::<Vec<_>>(), ["c"]);
    assert!(!blame.is_blamed("c"), "its replica may be damaged: what it signs rightly counts");
    let file = std::fs::read(disk.path().join("evidence/outvoted-c-600.json")).unwrap();
    let keys = ledger_verifier::Keys::parse(&disk.keys[0].verifier_keys()).unwrap();
    let evidence = ledger_verifier::judge_evidence(&file, &keys, None).unwrap();
    assert_eq!(evidence.against().len(), 1);
    let (key, site) = evidence.against()[0].split_once(' ').unwrap();
    assert!(disk.keys[2].log.verifier().vkey().starts_with(key), "{evidence}");
    assert_eq!(site, "(site c)");
}
