use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::*;
use crate::keys::SitePublic;
use crate::raft::{Proposal, log_id};
use crate::record::{ApplyVersion, BatchHead, Chunk, NewSite, Private};
use crate::rules;

struct Replica {
    applier: Applier,
    index: u64,
    _dir: tempfile::TempDir,
}

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

fn key_of(name: &str) -> SigningKey {
    SigningKey::from_bytes(&sha256(&[name.as_bytes()]))
}

impl Replica {
    fn new() -> Replica {
        let dir = tempfile::tempdir().unwrap();
        let db = Arc::new(Generation::open(dir.path()).unwrap());
        let ring = KeyRing::of_batches(&["a", "b"].map(|name| (name, key_of(name).verifying_key())));
        let applier = Applier::load(db, ring, Rules::up_to(rules::NEXT)).unwrap();
        Replica { applier, index: 0, _dir: dir }
    }

    fn apply(&mut self, bytes: Bytes) -> Effect {
        self.try_apply(bytes).unwrap()
    }

    fn try_apply(&mut self, bytes: Bytes) -> Result<Effect, LedgerError> {
        self.index += 1;
        let entry =
            RaftEntry { log_id: log_id(1, self.index), payload: RaftPayload::Normal(Proposal(bytes)) };
        self.applier.apply(&entry)
    }

    /// The same ledger, by a release that knows the rules up to `known`.
    fn load(&self, known: u32) -> Result<Applier, LedgerError> {
        Applier::load(self.applier.db.clone(), self.applier.ring.clone(), Rules::up_to(known))
    }

    fn raise(&mut self, apply_version: u32) -> Result<Effect, LedgerError> {
        self.try_apply(Command::ApplyVersion(ApplyVersion { apply_version }).encode())
    }

    fn open_epoch(&mut self, name: &str, previous: u64) -> Effect {
        let open = OpenEpoch::sign(GROUP, site(name), previous, [7; 16], &key_of(name));
        self.apply(Command::OpenEpoch(open).encode())
    }

    fn batch(&mut self, batch: &Batch) -> Effect {
        self.apply(Command::Batch(batch.clone()).encode())
    }

    /// What must not change when something is refused.
    fn state(&self) -> (u64, Hash, SiteState, SiteState) {
        let applied = self.applier.applied();
        let of = |name| self.applier.site(&site(name)).unwrap();
        (applied.size, applied.root, of("a"), of("b"))
    }

    fn refuses(&mut self, batch: &Batch, expected: Refusal) {
        let (before, refused) = (self.state(), self.applier.applied().refused);
        let effect = self.batch(batch);
        let Effect::Refused { refusal, .. } = effect else { panic!("{effect:?}") };
        assert_eq!(refusal, expected);
        assert_eq!(self.state(), before);
        assert_eq!(self.applier.applied().refused, refused + 1);
        assert_eq!(self.applier.applied().last, Some(log_id(1, self.index)));
    }

    fn takes(&mut self, batch: &Batch) -> Vec<Outcome> {
        match self.batch(batch) {
            Effect::Applied { outcomes, .. } => outcomes,
            other => panic!("{other:?}"),
        }
    }
}

fn message(n: u8) -> Message {
    let ciphertext = Bytes::from(vec![n; 40]);
    Message {
        kind: 1,
        event_time_ms: -5,
        message_time_ms: 0,
        received_time_ms: 0,
        key_ref: [n; 16],
        subject_commitment: [n; 32],
        ciphertext_len: 40,
        ciphertext_hash: sha256(&[&ciphertext]),
        private: Private { dedupe: Some([n; 32]), tags: Vec::new() },
        ciphertext,
    }
}

fn signed(name: &str, epoch: u64, first_site_seq: u64, previous: Hash, items: Vec<Item>) -> (Batch, Hash) {
    let head = BatchHead { group_id: GROUP, site: site(name), epoch, first_site_seq, previous };
    Batch::sign(head, items, &key_of(name))
}

fn messages(numbers: &[u8]) -> Vec<Item> {
    numbers.iter().map(|n| Item::Message(message(*n))).collect()
}

#[test]
fn batches_out_of_order_forged_or_of_another_epoch_are_refused_and_change_nothing() {
    let mut replica = Replica::new();
    let (early, _) = signed("a", 1, 0, [0; 32], messages(&[1]));
    replica.refuses(&early, Refusal::WrongEpoch);
    assert!(matches!(replica.open_epoch("a", 0), Effect::EpochOpened { epoch: 1, .. }));
    let (first, hash) = signed("a", 1, 0, [0; 32], messages(&[1, 2]));
    replica.takes(&first);
    replica.refuses(&first, Refusal::Replay);
    replica.refuses(&signed("a", 1, 3, hash, messages(&[3])).0, Refusal::Gap);
    replica.refuses(&signed("a", 1, 2, [9; 32], messages(&[3])).0, Refusal::Gap);
    replica.refuses(&signed("a", 2, 2, hash, messages(&[3])).0, Refusal::WrongEpoch);
    replica.refuses(&signed("c", 1, 0, [0; 32], messages(&[3])).0, Refusal::UnknownSite);
    // Signed by another site, or changed after it was signed.
    let mut forged = signed("b", 1, 2, hash, messages(&[3])).0;
    forged.head.site = site("a");
    replica.refuses(&forged, Refusal::Forged);
    let mut changed = signed("a", 1, 2, hash, messages(&[3])).0;
    changed.items = messages(&[4]);
    replica.refuses(&changed, Refusal::Forged);
    // The honest successor is still taken.
    let (second, _) = signed("a", 1, 2, hash, messages(&[3]));
    assert_eq!(replica.takes(&second), [Outcome { index: 2, duplicate: false }]);
}

/// Each batch of a site is signed well: only their order is the leader's.
#[test]
fn batches_that_a_leader_reorders_are_taken_in_the_order_of_their_site_alone() {
    let mut batches = Vec::new();
    let mut previous = [0; 32];
    for n in 0..3u8 {
        let (batch, hash) = signed("a", 1, u64::from(n) * 2, previous, messages(&[n * 2, n * 2 + 1]));
        batches.push(batch);
        previous = hash;
    }
    let mut in_order = Replica::new();
    in_order.open_epoch("a", 0);
    batches.iter().for_each(|batch| drop(in_order.takes(batch)));
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut replica = Replica::new();
        replica.open_epoch("a", 0);
        let mut next = 0;
        for n in order {
            match n == next {
                true => {
                    replica.takes(&batches[n]);
                    next += 1;
                }
                false => replica.refuses(&batches[n], Refusal::Gap),
            }
        }
        // As their site sends them again.
        batches[next..].iter().for_each(|batch| drop(replica.takes(batch)));
        assert_eq!(replica.state(), in_order.state(), "{order:?}");
    }
}

#[test]
fn a_new_epoch_fences_the_old_one_and_keeps_the_chain() {
    let mut replica = Replica::new();
    replica.open_epoch("a", 0);
    let (first, hash) = signed("a", 1, 0, [0; 32], messages(&[1]));
    replica.takes(&first);
    let (late, _) = signed("a", 1, 1, hash, messages(&[2]));
    assert!(matches!(replica.open_epoch("a", 1), Effect::EpochOpened { epoch: 2, .. }));
    replica.refuses(&late, Refusal::WrongEpoch);
    // A request that comes late must not fence the running epoch.
    assert!(matches!(replica.open_epoch("a", 1), Effect::Refused { refusal: Refusal::WrongEpoch, .. }));
    replica.refuses(&signed("a", 2, 0, [0; 32], messages(&[2])).0, Refusal::Gap);
    replica.takes(&signed("a", 2, 0, hash, messages(&[2])).0);
    let forged = OpenEpoch::sign(GROUP, site("a"), 2, [1; 16], &key_of("b"));
    let effect = replica.apply(Command::OpenEpoch(forged).encode());
    assert!(matches!(effect, Effect::Refused { refusal: Refusal::Forged, .. }));
}

#[test]
fn duplicates_across_sites_and_within_a_batch_make_no_leaf() {
    let mut replica = Replica::new();
    replica.open_epoch("a", 0);
    replica.open_epoch("b", 0);
    let outcomes = replica.takes(&signed("a", 1, 0, [0; 32], messages(&[1, 2, 1])).0);
    assert_eq!(
        outcomes.iter().map(|o| (o.index, o.duplicate)).collect::<Vec<_>>(),
        [(0, false), (1, false), (0, true)]
    );
    let outcomes = replica.takes(&signed("b", 1, 0, [0; 32], messages(&[3, 2])).0);
    assert_eq!(outcomes.iter().map(|o| (o.index, o.duplicate)).collect::<Vec<_>>(), [(2, false), (1, true)]);
    assert_eq!((replica.applier.applied().size, replica.applier.applied().duplicates), (3, 2));
}

#[test]
fn chunks_join_across_batches_or_the_batch_is_refused() {
    let mut replica = Replica::new();
    replica.open_epoch("a", 0);
    let whole = Bytes::from((0..=99).collect::<Vec<u8>>());
    let chunk =
        |from: usize, to: usize| Item::Chunk(Chunk { offset: from as u32, bytes: whole.slice(from..to) });
    let ending = |from: usize| {
        let mut ending = message(5);
        ending.ciphertext_len = 100;
        ending.ciphertext_hash = sha256(&[&whole]);
        ending.ciphertext = whole.slice(from..);
        Item::Message(ending)
    };
    let (first, hash) = signed("a", 1, 0, [0; 32], vec![chunk(0, 30)]);
    assert_eq!(replica.takes(&first), []);
    replica.refuses(&signed("a", 1, 0, hash, vec![chunk(40, 50)]).0, Refusal::BadPayload);
    replica.refuses(&signed("a", 1, 0, hash, vec![ending(40)]).0, Refusal::BadPayload);
    replica.refuses(&signed("a", 1, 0, hash, messages(&[1])).0, Refusal::BadPayload);
    let (second, hash) = signed("a", 1, 0, hash, vec![chunk(30, 60), ending(60), Item::Message(message(6))]);
    assert_eq!(replica.takes(&second).len(), 2);
    assert_eq!(replica.applier.db.get(Family::Blobs, &index_key(0)).unwrap().unwrap(), whole);
    // What is left of a message that never ended is dropped with its epoch.
    replica.takes(&signed("a", 1, 2, hash, vec![chunk(0, 10)]).0);
    replica.open_epoch("a", 1);
    assert_eq!(replica.state().2.chunk_bytes, 0);
}

#[test]
fn nonsense_is_refused_and_unknown_commands_are_kept_without_effect() {
    let mut replica = Replica::new();
    let effect = replica.apply(Bytes::from_static(&[1, 0, 1, 9, 9]));
    assert!(matches!(effect, Effect::Refused { refusal: Refusal::Unreadable, .. }));
    assert!(matches!(replica.apply(Bytes::from_static(&[1, 0, 99, 1])), Effect::Nothing));
    assert_eq!((replica.applier.applied().size, replica.applier.applied().refused), (0, 1));
}

#[test]
fn what_was_applied_is_loaded_again_with_the_same_root() {
    let mut replica = Replica::new();
    replica.open_epoch("a", 0);
    let mut previous = [0; 32];
    for n in 0..100u64 {
        let (batch, hash) = signed("a", 1, n * 2, previous, messages(&[n as u8 * 2, n as u8 * 2 + 1]));
        replica.takes(&batch);
        previous = hash;
    }
    let again = replica.load(rules::APPLY_VERSION).unwrap();
    assert_eq!((again.applied().size, again.applied().root), (200, replica.applier.applied().root));
    assert_eq!(again.site(&site("a")).unwrap(), replica.state().2);
}

/// Only two batches of one site at one place of one epoch are, not what a crash, a resend or another's forgery leaves.
#[test]
fn a_site_that_signs_two_batches_for_one_place_contradicts_itself() {
    let mut replica = Replica::new();
    replica.open_epoch("a", 0);
    replica.open_epoch("b", 0);
    let (first, hash) = signed("a", 1, 0, [0; 32], messages(&[1, 1, 2]));
    replica.takes(&first);
    let (other, other_hash) = signed("b", 1, 0, [0; 32], messages(&[7]));
    replica.takes(&other);
    let (second, second_hash) = signed("a", 1, 3, hash, messages(&[3]));
    replica.takes(&second);
    let found = |replica: &mut Replica, batch: &Batch| match replica.batch(batch) {
        Effect::Refused { contradiction, .. } => contradiction,
        effect => panic!("{effect:?}"),
    };
    let honest = [
        second.clone(),
        signed("a", 1, 4, [9; 32], messages(&[4])).0,
        signed("a", 1, 5, second_hash, messages(&[4])).0,
        signed("a", 2, 3, hash, messages(&[4])).0,
        signed("a", 1, 3, other_hash, messages(&[4])).0,
    ];
    for batch in honest {
        assert_eq!(found(&mut replica, &batch), None);
    }
    let mut forged = signed("b", 1, 3, hash, messages(&[4])).0;
    forged.head.site = site("a");
    assert_eq!(found(&mut replica, &forged), None);

    for (batch, place) in [
        (signed("a", 1, 3, hash, messages(&[4])).0, &second),
        (signed("a", 1, 0, [0; 32], messages(&[5])).0, &first),
    ] {
        let found = found(&mut replica, &batch).unwrap();
        assert_eq!((found.site.as_str(), found.epoch), ("a", 1));
        assert_eq!(found.batches, [place.as_signed(), batch.as_signed()]);
        assert_eq!(sha256(&[&found.batches[0].hashed]), place.hash());
    }
    // The same place in the next epoch is what a crash leaves.
    replica.open_epoch("a", 1);
    replica.takes(&signed("a", 2, 0, second_hash, messages(&[4])).0);
    assert_eq!(found(&mut replica, &signed("a", 1, 4, second_hash, messages(&[6])).0), None);
}

#[test]
fn new_rules_hold_from_the_entry_on_that_raises_the_version_and_an_old_release_stops_there() {
    let mut replica = Replica::new();
    replica.open_epoch("a", 0);
    let mut state = (0, [0; 32]);
    let mut take = |replica: &mut Replica, numbers: &[u8]| {
        let (batch, hash) = signed("a", 1, state.0, state.1, messages(numbers));
        state = (state.0 + numbers.len() as u64, hash);
        replica.takes(&batch).iter().map(|outcome| outcome.duplicate).collect::<Vec<_>>()
    };
    let window = rules::NEXT_DEDUPE_WINDOW as u8;
    take(&mut replica, &(0..=window).collect::<Vec<_>>());
    assert_eq!(take(&mut replica, &[0]), [true], "by the old rules");
    replica.raise(rules::NEXT).unwrap();
    assert_eq!(take(&mut replica, &[0, 3]), [false, true], "by the new ones");
    // It never goes back.
    replica.raise(0).unwrap();
    assert_eq!(replica.applier.applied().apply_version, rules::NEXT);
    let before = replica.state();
    let error = replica.raise(rules::NEXT + 1).unwrap_err();
    assert!(
        matches!(error, LedgerError::OldRelease { applied, .. } if applied == rules::NEXT + 1),
        "{error}"
    );
    assert_eq!(replica.state(), before);

    let old = replica.load(rules::APPLY_VERSION).err().unwrap();
    assert!(
        matches!(old, LedgerError::OldRelease { applied: rules::NEXT, known: rules::APPLY_VERSION }),
        "{old}"
    );
    let again = replica.load(rules::NEXT).unwrap();
    assert_eq!(again.window(), rules::NEXT_DEDUPE_WINDOW, "the ledger carries its version");
}

fn authority() -> SigningKey {
    KeyRing::test_authority()
}

/// A site whose keys follow from `key`, as the tests' authority admits it.
fn admission(name: &str, key: &str) -> NewSite {
    with_keys(name, [key, &format!("log of {key}"), &format!("cosigner of {key}")])
}

fn with_keys(name: &str, keys: [&str; 3]) -> NewSite {
    let [batch_key, log_key, cosigner_key] = keys.map(|key| key_of(key).verifying_key().to_bytes());
    let new = NewSite {
        consortium: "tests".into(),
        group_id: GROUP,
        site: site(name),
        generation: NewSite::FIRST,
        batch_key,
        log_key,
        cosigner_key,
        signature: [0; 64],
    };
    new.sign(&authority())
}

fn bring(new: &NewSite) -> Bytes {
    Command::NewSite(new.clone()).encode()
}

fn ring() -> Arc<KeyRing> {
    KeyRing::of_batches(&["a", "b"].map(|name| (name, key_of(name).verifying_key())))
}

#[test]
fn a_site_that_none_of_the_founders_knew_writes_once_the_ledger_brings_its_keys() {
    let mut replica = Replica::new();
    replica.open_epoch("a", 0);
    // By the first rules nothing comes of it, as with a release that does not know it.
    assert!(matches!(replica.apply(bring(&admission("d", "d"))), Effect::Nothing));
    assert!(matches!(replica.open_epoch("d", 0), Effect::Refused { refusal: Refusal::UnknownSite, .. }));
    replica.raise(rules::NEW_SITES).unwrap();
    for (new, expected) in [
        (admission("b", "d"), Refusal::NameTaken),
        (with_keys("d", ["b", "1", "2"]), Refusal::KeyTaken),
        (with_keys("d", ["1", "b", "2"]), Refusal::KeyTaken),
        (with_keys("d", ["1", "2", "b"]), Refusal::KeyTaken),
    ] {
        let effect = replica.apply(bring(&new));
        assert!(matches!(effect, Effect::Refused { refusal, .. } if refusal == expected), "{effect:?}");
    }
    assert!(!replica.applier.ring.knows("d"));
    replica.apply(bring(&admission("d", "d")));
    assert!(matches!(replica.open_epoch("d", 0), Effect::EpochOpened { epoch: 1, .. }));
    let (first, hash) = signed("d", 1, 0, [0; 32], messages(&[1]));
    replica.takes(&first);
    // Again is nothing; other keys under its name are refused.
    assert!(matches!(replica.apply(bring(&admission("d", "d"))), Effect::Nothing));
    let effect = replica.apply(bring(&admission("d", "e")));
    assert!(matches!(effect, Effect::Refused { refusal: Refusal::NameTaken, .. }), "{effect:?}");
    assert!(matches!(replica.apply(bring(&admission("e", "e"))), Effect::Nothing));
    let effect = replica.apply(bring(&with_keys("f", ["1", "2", "cosigner of d"])));
    assert!(matches!(effect, Effect::Refused { refusal: Refusal::KeyTaken, .. }), "{effect:?}");

    // Who begins with what the ledger holds knows them, too.
    let known = ring();
    replica.applier =
        Applier::load(replica.applier.db.clone(), known.clone(), Rules::up_to(rules::NEXT)).unwrap();
    assert!(known.knows("d") && known.knows("e") && !known.knows("f"));
    assert_eq!(known.admissions().lines().count(), 2);
    replica.takes(&signed("d", 1, 1, hash, messages(&[2])).0);
    // But not d itself with the keys of another folder.
    let other = ring();
    other.learn(SitePublic::of(&admission("d", "e"))).unwrap();
    let error = Applier::load(replica.applier.db.clone(), other, Rules::up_to(rules::NEXT)).err().unwrap();
    assert!(error.to_string().contains("knows site d by other keys"), "{error}");

    // In a consortium that goes on from here they judge what is there, and sign nothing.
    let mut batch = WriteBatch::default();
    are_former(&replica.applier.db, &mut batch).unwrap();
    replica.applier.db.write(batch).unwrap();
    let next = KeyRing::after_tests(&[("a", key_of("a").verifying_key())]);
    replica.applier =
        Applier::load(replica.applier.db.clone(), next.clone(), Rules::up_to(rules::NEXT)).unwrap();
    assert!(!next.knows("d"));
    let judged = next.verifiers();
    assert_eq!(judged.of_batches(&site("d")).collect::<Vec<_>>(), [&key_of("d").verifying_key()]);
    assert!(matches!(replica.open_epoch("d", 1), Effect::Refused { refusal: Refusal::UnknownSite, .. }));
    // Nor does the former authority admit anybody any more.
    let effect = replica.apply(bring(&admission("d", "d")));
    assert!(matches!(effect, Effect::Refused { refusal: Refusal::Forged, .. }), "{effect:?}");
}

#[test]
fn nobody_but_the_authority_brings_a_site() {
    let mut replica = Replica::new();
    replica.open_epoch("a", 0);
    replica.raise(rules::NEW_SITES).unwrap();
    let good = admission("d", "d");
    let signed_by = |key: SigningKey| good.clone().sign(&key);
    let for_another = NewSite { consortium: "other".into(), ..good.clone() };
    let in_another_group = NewSite { group_id: GROUP + 1, ..good.clone() };
    let later = NewSite { generation: 2, ..good.clone() };
    for new in [
        NewSite { signature: [0; 64], ..good.clone() },
        // By whoever leads, by the site itself, by the authority of another consortium.
        signed_by(key_of("a")),
        signed_by(key_of("d")),
        signed_by(key_of("another authority")),
        // What the authority has signed, for something else.
        NewSite { site: site("e"), ..good.clone() },
        NewSite { generation: 2, ..good.clone() },
        for_another.clone(),
        in_another_group.clone(),
        NewSite { log_key: good.batch_key, ..good.clone() },
        // And what it should not have signed.
        for_another.sign(&authority()),
        in_another_group.sign(&authority()),
        later.sign(&authority()),
    ] {
        let effect = replica.apply(bring(&new));
        assert!(matches!(effect, Effect::Refused { refusal: Refusal::Forged, .. }), "{new:?}: {effect:?}");
    }
    let bytes = bring(&good);
    // From behind the kind of the command.
    for at in 3..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1;
        let effect = replica.apply(flipped.into());
        assert!(matches!(effect, Effect::Refused { .. }), "byte {at}: {effect:?}");
    }
    assert!(!replica.applier.ring.knows("d") && replica.applier.ring.admissions().is_empty());
    assert!(listed_sites(&replica).is_empty());
    assert!(matches!(replica.open_epoch("d", 0), Effect::Refused { refusal: Refusal::UnknownSite, .. }));

    // Where the founding keys name no authority, nobody is admitted.
    replica.applier.ring = KeyRing::without_authority(&[("a", key_of("a").verifying_key())]);
    let effect = replica.apply(bring(&good));
    assert!(matches!(effect, Effect::Refused { refusal: Refusal::Forged, .. }), "{effect:?}");
}

fn listed_sites(replica: &Replica) -> Vec<NewSite> {
    new_site::listed(&replica.applier.db, new_site::JOINED).unwrap()
}

/// A peer that gives its whole ledger may have put a site into it.
#[test]
fn a_ledger_with_a_site_that_nobody_admitted_is_damaged() {
    let mut replica = Replica::new();
    replica.raise(rules::NEW_SITES).unwrap();
    replica.apply(bring(&admission("d", "d")));
    check_admissions(&replica.applier.db, &ring()).unwrap();
    let put = |prefix: &[u8], new: &NewSite| {
        let mut batch = WriteBatch::default();
        let place = new_site::name_key(prefix, &new.site);
        replica.applier.db.put(&mut batch, Family::Meta, &place, &new.encode()).unwrap();
        replica.applier.db.write(batch).unwrap();
        let checked = check_admissions(&replica.applier.db, &ring());
        assert!(matches!(checked, Err(LedgerError::Damaged(_))), "{checked:?}");
        assert!(replica.load(rules::NEXT).is_err());
        let mut batch = WriteBatch::default();
        replica.applier.db.delete_prefix(&mut batch, Family::Meta, &place).unwrap();
        replica.applier.db.write(batch).unwrap();
        check_admissions(&replica.applier.db, &ring()).unwrap();
    };
    put(new_site::JOINED, &admission("e", "e").sign(&key_of("a")));
    put(new_site::JOINED, &NewSite { site: site("e"), ..admission("d", "d") });
    put(new_site::FORMER, &admission("e", "e"));
    let of_another = NewSite { consortium: "other".into(), ..admission("e", "e") };
    put(new_site::FORMER, &of_another.sign(&authority()));
}
