//! Tests: a member of the consortium that lies to the others, over the real network, with keys of its own that are
//! good. Whatever it does changes nothing at honest sites, and leaves evidence against it and nobody else.

mod leading;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use openraft::async_runtime::WatchReceiver;
use serde_json::Value;

use crate::checkpoint::Checkpoint;
use crate::keys::SiteKeys;
use crate::membership::Request;
use crate::network::{Identity, Network, Peer, RpcError, Tls};
use crate::passed_over::PassOn;
use crate::ports::free_address;
use crate::raft::{GROUP, Member, Membership, Proposal, StoredMembership, log_id};
use crate::record::{
    ApplyVersion, Batch, BatchHead, Command, Hash, Item, Message, NewSite, OpenEpoch, Private, SiteName,
    sha256,
};
use crate::rules::{APPLY_VERSION, Rules};
use crate::store::applied::{SiteState, load_site};
use crate::store::{LogStore, SiteDb};
use crate::tasks::Tasks;
use crate::{Config, Draft, Ledger, LedgerError, MemberChange, PeerConfig, Role, Subject};

const NAMES: [&str; 3] = ["a", "b", "c"];
/// Has keys and is no member.
const SPARE: [&str; 2] = ["spare-1", "spare-2"];
const ENTRIES: u64 = 20;

/// Sites a and b, honest, with some entries; and c's keys and connections in the hands of the test.
struct Consortium {
    dir: tempfile::TempDir,
    addresses: [String; 3],
    honest: Vec<Ledger>,
    keys: Arc<SiteKeys>,
    /// While c is in the hands of the test.
    identity: Option<Arc<Identity>>,
    network: Option<Network>,
    /// The connections live as long.
    tasks: Tasks,
}

impl Consortium {
    async fn start() -> Consortium {
        let dir = tempfile::tempdir().unwrap();
        let sites: Vec<_> = NAMES.iter().chain(&SPARE).map(|name| (*name, "127.0.0.1")).collect();
        crate::keys::init(&dir.path().join("keys"), &sites).unwrap();
        let addresses = NAMES.map(|_| free_address());
        let mut honest = Vec::new();
        for n in 0..2 {
            honest.push(Ledger::open(config(dir.path(), &addresses, n)).await.unwrap());
        }
        let drafts = (0..ENTRIES).map(draft).collect();
        honest[0].append(drafts).await.unwrap();
        let keys = Arc::new(SiteKeys::load(&dir.path().join("keys/c")).unwrap());
        let tasks = Tasks::default();
        let identity = identity(&dir.path().join("c"), &StoredMembership::default());
        let network = Some(connect(&identity, &keys, &addresses, &tasks));
        let identity = Some(identity);
        let all = Consortium { dir, addresses, honest, keys, identity, network, tasks };
        all.until("both have all entries", || all.honest.iter().all(|site| site.size() == ENTRIES)).await;
        all
    }

    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..600 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not within 30 s: {what}");
    }

    /// c's signed checkpoint over a tree that is not the ledger's.
    fn lie(&self, root: u8) -> String {
        let origin = self.keys.origin().to_owned();
        Checkpoint { origin, size: ENTRIES, root: [root; 32] }.sign(&self.keys.log).unwrap()
    }

    /// c asks an honest site to cosign; it does not.
    async fn show(&self, n: u64, note: String) {
        let refused = self.peer(n).cosign(note.into()).await;
        assert!(refused.is_err(), "{refused:?}");
    }

    /// c hands a command to whoever leads.
    async fn propose(&self, command: Command) -> Result<(), RpcError> {
        let leader = self.peer(self.leader().await as u64);
        leader.forward(command.encode()).await.await
    }

    fn peer(&self, n: u64) -> Peer {
        self.network.as_ref().unwrap().peers().get(n).unwrap()
    }

    /// c as a whole site, which leads; what it proposes is the test's.
    async fn c_leads(&mut self) -> Ledger {
        self.tasks.stop().await;
        (self.network, self.identity) = (None, None);
        let c = Ledger::open(config(self.dir.path(), &self.addresses, 2)).await.unwrap();
        self.until("c has all entries", || c.size() == ENTRIES).await;
        while c.status().role != Role::Leader {
            // It says no while c is a moment late.
            let lead = MemberChange::Lead { site: "c".into() };
            let _ = self.honest[0].change_members(lead).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        c
    }

    async fn leader(&self) -> usize {
        let leads = || self.honest.iter().position(|site| site.status().role == Role::Leader);
        self.until("somebody leads", || leads().is_some()).await;
        leads().unwrap()
    }

    async fn blamed(&self, site: usize) {
        let honest = &self.honest[site];
        self.until("c is blamed", || honest.blamed_sites().iter().map(String::as_str).eq(["c"])).await;
    }

    /// The evidence of this kind at a site, as whoever brings the keys judges it.
    fn evidence(&self, site: usize, kind: &str) -> ledger_verifier::Evidence {
        let folder = self.data(site).join("evidence");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let of_kind = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(kind));
        let files: Vec<PathBuf> = of_kind.collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let text = std::fs::read(&files[0]).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap()["site"], "c");
        let keys = ledger_verifier::Keys::parse(&self.keys.verifier_keys()).unwrap();
        ledger_verifier::judge_evidence(&text, &keys, Some(2)).unwrap()
    }

    fn data(&self, site: usize) -> PathBuf {
        self.dir.path().join(NAMES[site])
    }

    async fn close(self) {
        for site in self.honest {
            site.close().await.unwrap();
        }
    }

    /// The next batch of a, signed by another.
    fn next_of_a(&self, signer: &str) -> Batch {
        let [a, signer] =
            ["a", signer].map(|name| SiteKeys::load(&self.dir.path().join("keys").join(name)).unwrap());
        let state = load_site(&self.honest[0].inner.store.generation(), &a.site).unwrap();
        let SiteState { epoch, next_site_seq: first_site_seq, previous, .. } = state;
        let head = BatchHead { group_id: GROUP, site: a.site.clone(), epoch, first_site_seq, previous };
        Batch::sign(head, vec![Item::Message(message(1))], &signer.batch).0
    }

    /// As a signed it, with another payload.
    fn changed(&self) -> Batch {
        let mut changed = self.next_of_a("a");
        if let Some(Item::Message(message)) = changed.items.first_mut() {
            message.ciphertext = Bytes::from(vec![99; 40]);
        }
        changed
    }

    /// Keys of a site "new" that c has made up, and what it can get for them: no signature, its own, that of the authority
    /// of another consortium, and that of this one's for a site of another name.
    fn made_up(&self) -> [NewSite; 4] {
        let key = |n| SigningKey::from_bytes(&[n; 32]).verifying_key().to_bytes();
        let new = |name: &str| NewSite {
            consortium: self.keys.ring.authority().unwrap().to_owned(),
            group_id: GROUP,
            site: SiteName::new(name).unwrap(),
            generation: NewSite::FIRST,
            batch_key: key(1),
            log_key: key(2),
            cosigner_key: key(3),
            signature: [0; 64],
        };
        let of_this = crate::keys::authority_of(&self.dir.path().join("keys"));
        let other = self.dir.path().join("other-keys");
        crate::keys::init(&other, &[("a", "127.0.0.1")]).unwrap();
        let signed_by = |key: &SigningKey| new("new").sign(key);
        let signature = new("another").sign(&of_this).signature;
        let mine = signed_by(&self.keys.batch);
        [new("new"), mine, signed_by(&crate::keys::authority_of(&other)), NewSite { signature, ..new("new") }]
    }

    fn batch(&self, signer: &str, epoch: u64, previous: Hash, n: u8) -> Batch {
        let keys = SiteKeys::load(&self.dir.path().join("keys").join(signer)).unwrap();
        let head = BatchHead { group_id: GROUP, site: keys.site.clone(), epoch, first_site_seq: 0, previous };
        Batch::sign(head, vec![Item::Message(message(n))], &keys.batch).0
    }
}

/// c, that knows of these members.
fn identity(data: &Path, members: &StoredMembership) -> Arc<Identity> {
    let log = LogStore::open(&data.join("raftdb")).unwrap();
    let site_db = Arc::new(SiteDb::open(&data.join("sitedb")).unwrap());
    let rules = Rules::up_to(APPLY_VERSION);
    Identity::new("c", &site_db, &log, (2, true), members, None, &rules).unwrap()
}

/// c's connections to a and b.
fn connect(
    identity: &Arc<Identity>,
    keys: &Arc<SiteKeys>,
    addresses: &[String; 3],
    tasks: &Tasks,
) -> Network {
    let addresses = addresses.clone();
    let address_of = move |site: &str| Some(addresses[NAMES.iter().position(|name| *name == site)?].clone());
    let network = Network::new(address_of, &Tls::new(keys).unwrap(), identity, keys, tasks);
    network.peers().keep(&[0, 1].map(|n| (n as u64, Member::founder(NAMES[n]))).into());
    network
}

fn config(dir: &Path, addresses: &[String; 3], n: usize) -> Config {
    let mut config = Config::new(NAMES[n], dir.join(NAMES[n]), dir.join("keys").join(NAMES[n]));
    config.listen = addresses[n].clone();
    config.initialise = n == 0;
    config.free_space_reserve_bytes = 1 << 20;
    config.peers = (0..3)
        .filter(|peer| *peer != n)
        .map(|peer| PeerConfig { name: NAMES[peer].into(), address: addresses[peer].clone() })
        .collect();
    config
}

fn draft(n: u64) -> Draft {
    Draft {
        kind: 1,
        subject: Subject([1; 32]),
        tags: Vec::new(),
        dedupe: None,
        event_time_ms: n as i64,
        message_time_ms: 0,
        received_time_ms: 0,
        payload: Bytes::from_static(b"payload"),
    }
}

fn message(n: u8) -> Message {
    let ciphertext = Bytes::from(vec![n; 40]);
    Message {
        kind: 1,
        event_time_ms: 0,
        message_time_ms: 0,
        received_time_ms: 0,
        key_ref: [n; 16],
        subject_commitment: [n; 32],
        ciphertext_len: 40,
        ciphertext_hash: sha256(&[&ciphertext]),
        private: Private { dedupe: None, tags: Vec::new() },
        ciphertext,
    }
}

/// It rewrites, drops, reorders or invents entries in its own replica, and signs what comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn another_history_is_outvoted() {
    let all = Consortium::start().await;
    // To each another story: neither believes it, and each finds the other on its side.
    all.show(0, all.lie(1)).await;
    all.show(1, all.lie(2)).await;
    for site in 0..2 {
        all.blamed(site).await;
        let found = all.evidence(site, "outvoted");
        assert!(matches!(found, ledger_verifier::Evidence::Outvoted { size: ENTRIES, .. }), "{found}");
    }
    all.close().await;
}

/// One story today, another one tomorrow.
#[tokio::test(flavor = "multi_thread")]
async fn two_stories_to_one_site_are_a_split_view() {
    let all = Consortium::start().await;
    all.show(0, all.lie(1)).await;
    all.show(0, all.lie(2)).await;
    all.blamed(0).await;
    assert!(matches!(all.evidence(0, "split-view"), ledger_verifier::Evidence::SplitView { .. }));
    all.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_batches_for_one_place_are_found_by_all() {
    let all = Consortium::start().await;
    let open = OpenEpoch::sign(GROUP, all.keys.site.clone(), 0, [1; 16], &all.keys.batch);
    all.propose(Command::OpenEpoch(open)).await.unwrap();
    let [first, second] = [1, 2].map(|n| all.batch("c", 1, Hash::default(), n));
    all.propose(Command::Batch(first.clone())).await.unwrap();
    all.propose(Command::Batch(second)).await.unwrap();
    for site in 0..2 {
        all.blamed(site).await;
        let found = all.evidence(site, "two-batches");
        assert!(
            matches!(&found, ledger_verifier::Evidence::TwoBatches { batches, .. }
            if batches[0] == hex::encode(first.hash())),
            "{found}"
        );
        assert_eq!(all.honest[site].size(), ENTRIES + 1, "the first one counts");
    }
    all.close().await;
}

/// What it writes in another's name, or in nobody's, is not taken, and convicts nobody: least of all the one that it
/// names.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_from_a_site_but_its_own() {
    let all = Consortium::start().await;
    let (root, refused) = (all.honest[0].status().root, all.honest[1].status().refused);
    // In another's name; in its own, and not signed; what another has signed, changed.
    let mut in_its_name = all.batch("c", 1, Hash::default(), 1);
    in_its_name.signature = [1; 64];
    let a = all.next_of_a("a").head.site;
    let mut commands: Vec<_> = [all.next_of_a("c"), in_its_name, all.changed()].map(Command::Batch).into();
    commands.push(Command::OpenEpoch(OpenEpoch::sign(GROUP, a, 1, [1; 16], &all.keys.batch)));
    commands.push(Command::ApplyVersion(ApplyVersion { apply_version: 1 }));
    commands.extend(all.made_up().map(Command::NewSite));
    commands.push(Command::Unknown(Bytes::from_static(&[1, 0, 99, 1])));
    for command in commands {
        let error = all.propose(command).await.unwrap_err().to_string();
        assert!(error.contains("was not made by site"), "{error}");
    }
    for site in &all.honest {
        assert_eq!((site.status().root, site.size()), (root.clone(), ENTRIES));
        assert!(site.blamed_sites().is_empty());
    }
    assert_eq!(all.honest[1].status().refused, refused, "nothing of it is in the raft log");
    let outcomes = all.honest[0].append(vec![draft(99)]).await.unwrap();
    assert_eq!(outcomes[0].index, ENTRIES, "the one that was named goes on");
    all.close().await;
}

/// It leads, and proposes what another has not made: a batch in its name, or its payload changed on the way, or a site that
/// nobody has admitted. That makes no entry, and everybody knows where it came from.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_forges_is_convicted_by_those_who_heard_it() {
    for what in ["batch", "payload", "site"] {
        let mut all = Consortium::start().await;
        let c = all.c_leads().await;
        let forged = match what {
            "batch" => vec![Command::Batch(all.next_of_a("c"))],
            "payload" => vec![Command::Batch(all.changed())],
            _ => {
                while all.honest[0].upgrade().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                all.made_up().map(Command::NewSite).into()
            }
        };
        let refused: Vec<u64> =
            all.honest.iter().map(|site| site.status().refused + forged.len() as u64).collect();
        for command in forged {
            c.inner.raft.client_write_ff(Proposal(command.encode()), None).await.unwrap();
        }
        for site in 0..2 {
            all.blamed(site).await;
            let found = all.evidence(site, "forged");
            assert!(matches!(found, ledger_verifier::Evidence::Forged { .. }), "{found}");
            assert_eq!(all.honest[site].size(), ENTRIES);
        }
        let has_refused = |(site, times): (&Ledger, &u64)| site.status().refused >= *times;
        all.until("both refuse each of them", || all.honest.iter().zip(&refused).all(has_refused)).await;
        // The site that was named goes on, also through the one that lied.
        let outcomes = all.honest[0].append(vec![draft(99)]).await.unwrap();
        assert_eq!(outcomes[0].index, ENTRIES);
        all.until("both have it", || all.honest.iter().all(|site| site.size() == ENTRIES + 1)).await;
        // Nobody has taken the site, and the ledgers are one.
        let [a, b] = [0, 1].map(|site| &all.honest[site]);
        assert_eq!(a.status().root, b.status().root);
        for site in [a, b, &c] {
            assert!(!site.verifier_keys().contains("/site/new+") && site.admissions().is_empty());
        }
        c.close().await.unwrap();
        all.close().await;
    }
}

/// It leads, says that it takes what a hands it, and does not propose it, nor what b passes on for a.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_leaves_out_the_batches_of_a_site_is_convicted_by_those_who_handed_them_to_it() {
    let mut all = Consortium::start().await;
    let c = all.c_leads().await;
    *c.inner.observer.left_out.lock().unwrap() = Some(all.honest[0].inner.keys.site.clone());
    let a = all.honest[0].clone();
    let left_out = tokio::spawn(async move { a.append(vec![draft(99)]).await });
    for site in 0..2 {
        all.blamed(site).await;
        let found = all.evidence(site, "passed-over");
        assert!(matches!(found, ledger_verifier::Evidence::PassedOver { .. }), "{found}");
    }
    assert!(c.blamed_sites().is_empty());
    // Others go on through it all the same, and a under the next leader.
    all.honest[1].append(vec![draft(98)]).await.unwrap();
    while all.honest[0].change_members(MemberChange::Lead { site: "a".into() }).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    left_out.await.unwrap().unwrap();
    c.close().await.unwrap();
    all.close().await;
}

/// It drops what a hands it, but not what b passes on: that is the ledger's in the end, and convicts nobody.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_on_reaches_the_ledger() {
    let all = Consortium::start().await;
    let leader = all.leader().await;
    let [leads, follows] = [leader, 1 - leader].map(|site| &all.honest[site]);
    let (epoch, previous) = (1, Hash::default());
    let open = OpenEpoch::sign(GROUP, all.keys.site.clone(), 0, [1; 16], &all.keys.batch);
    all.propose(Command::OpenEpoch(open)).await.unwrap();
    let batch = all.batch("c", epoch, previous, 1);
    let term = leads.inner.raft.metrics().borrow_watched().current_term;
    let command = Command::Batch(batch).encode();
    let peer = all.peer(1 - leader as u64);
    for wrong in [
        PassOn { command: command.clone(), term: term + 1 },
        PassOn { command: Command::Batch(all.changed()).encode(), term },
    ] {
        assert!(peer.pass_on(&wrong).await.is_err());
    }
    peer.pass_on(&PassOn { command, term }).await.unwrap();
    all.until("both have it", || all.honest.iter().all(|site| site.size() == ENTRIES + 1)).await;
    let refused = |site: &Ledger| site.status().refused;
    all.until("the marker is refused", || refused(leads) > 0 && refused(leads) == refused(follows)).await;
    assert!(all.honest.iter().all(|site| site.blamed_sites().is_empty()));
    all.close().await;
}

/// It says that it knows of a later change, by which it is a member again.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_site_is_not_let_in_by_its_own_word() {
    let all = Consortium::start().await;
    let remove = || all.honest[1].change_members(MemberChange::Remove { site: "c".into() });
    // A leader that has just been elected has yet to hear from the other one.
    while let Err(error) = remove().await {
        assert!(matches!(error, LedgerError::Unavailable(_) | LedgerError::Refused(_)), "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let removed = |site: &Ledger| site.inner.membership.list().iter().all(|member| member.site != "c");
    all.until("both know", || all.honest.iter().all(removed)).await;

    let members = NAMES.iter().enumerate().map(|(n, name)| (n as u64, Member::founder(name)));
    let membership = Membership::new(
        vec![BTreeSet::from([0, 1, 2])],
        members.collect::<std::collections::BTreeMap<_, _>>(),
    );
    let later = StoredMembership::new(Some(log_id(9, 1 << 40)), membership.unwrap());
    let liar = identity(&all.dir.path().join("liar"), &later);
    assert_eq!(liar.hello().member_by, Some(1 << 40));
    let peers = connect(&liar, &all.keys, &all.addresses, &all.tasks).peers();
    all.until("it is refused", || {
        liar.standing.notice().is_some_and(|told| told.contains("site c is no member"))
    })
    .await;
    for (_, peer) in peers.all() {
        assert!(peer.read_index().await.is_err() && !peer.is_connected(), "{} let it in", peer.name);
    }
    all.close().await;
}

/// Two entries that a majority does not confirm take longer than a connection may be silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_takes_long_is_answered_with_what_came_of_it() {
    let mut all = Consortium::start().await;
    let leader = all.leader().await;
    // c votes, and never confirms anything; without the other one there is no majority.
    let joining = Config::new("spare-1", all.dir.path().join("spare-1"), all.dir.path().join("keys/spare-1"));
    let address = free_address();
    let joining = Config { listen: address.clone(), free_space_reserve_bytes: 1 << 20, ..joining };
    let joining = Ledger::open(joining).await.unwrap();
    let other = all.honest.remove(1 - leader);
    other.close().await.unwrap();
    let add = MemberChange::Add { site: "spare-1".into(), address: Some(address), keys: None };
    let told = all.peer(leader as u64).membership(&Request::Change(add)).await;
    let Ok(Err(crate::membership::Refusal::Unavailable(why))) = &told else { panic!("{told:?}") };
    assert!(why.contains("no majority confirmed the change in time"), "{why}");
    joining.close().await.unwrap();
    all.close().await;
}
