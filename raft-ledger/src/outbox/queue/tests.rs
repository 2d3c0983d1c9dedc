use bytes::Bytes;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::*;
use crate::Tag;
use crate::keys::SiteKeys;
use crate::record::SiteName;

const SEEDS: u64 = 60;
const PAYLOAD: &str = "payload of draft";

/// One site's folder, which outlives its "processes".
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        let dir = tempfile::tempdir().unwrap();
        crate::keys::init(&dir.path().join("keys"), &[("a", "h")]).unwrap();
        Home(dir)
    }

    fn open(&self) -> Queue {
        let keys = SiteKeys::load(&self.0.path().join("keys/a")).unwrap();
        let sealer = Sealer::open_store(&self.0.path().join("subjects.keys"), &keys).unwrap();
        Queue::open(Arc::new(SiteDb::open(&self.0.path().join("sitedb")).unwrap()), Arc::new(sealer)).unwrap()
    }
}

fn draft(n: u64) -> Draft {
    let mut dedupe = [9; 32];
    dedupe[..8].copy_from_slice(&n.to_be_bytes());
    Draft {
        kind: 1,
        subject: Subject([(n % 5) as u8; 32]),
        tags: vec![Tag([n as u8; 16])],
        dedupe: Some(dedupe),
        event_time_ms: n as i64,
        message_time_ms: -(n as i64),
        received_time_ms: n as i64 + 1,
        payload: Bytes::from(format!("{PAYLOAD} {n} {}", "x".repeat((n * 37 % 500) as usize))),
    }
}

fn number_in(draft: &Draft) -> u64 {
    draft.event_time_ms as u64
}

/// What the queue must look like.
fn check(queue: &Queue, expected: &[u64]) {
    let ends = queue.ends();
    let page = queue.page(ends.head, ends.tail, u64::MAX, usize::MAX).unwrap();
    let found: Vec<u64> = page.iter().map(|held| number_in(held.draft.as_ref().unwrap())).collect();
    assert_eq!(found, expected);
    assert_eq!(ends.bytes(), page.iter().map(|held| held.bytes).sum::<u64>());
    for held in &page {
        let kept = held.draft.as_ref().unwrap();
        let original = draft(number_in(kept));
        assert_eq!((kept.subject, &kept.payload), (original.subject, &original.payload));
        assert_eq!((&kept.tags, kept.dedupe), (&original.tags, original.dedupe));
        assert_eq!(held.bytes, value_len(&original));
        assert!(queue.find(&original.dedupe.unwrap()[..16]).unwrap().is_some());
    }
    assert_eq!(queue.oldest_ms(), page.first().map(|held| held.place.put_at_ms));
}

#[test]
fn it_is_in_order_and_nothing_waits_twice() {
    let home = Home::new();
    let queue = home.open();
    let (one, two) = ([draft(1), draft(2)], [draft(3), draft(1)]);
    let puts = queue.write(&[], &[&one, &two], 10).unwrap().puts;
    assert_eq!(puts.iter().map(|put| put.upto).collect::<Vec<_>>(), [2, 3]);
    assert_eq!((puts[0].known_bytes, puts[1].known_bytes), (0, value_len(&draft(1))));
    check(&queue, &[1, 2, 3]);
    let page = queue.page(0, 3, 1, 9).unwrap();
    assert_eq!(page.len(), 1, "one that is larger than a page comes alone");
    // Removed in the write that brings it again: it was committed, and is not put once more.
    let puts = queue.write(&[page[0].done()], &[&[draft(1)]], 11).unwrap().puts;
    assert_eq!(puts[0].upto, 1);
    check(&queue, &[2, 3]);
    assert!(queue.find(&draft(1).dedupe.unwrap()[..16]).unwrap().is_none());
    let puts = queue.write(&[], &[&[draft(1)]], 12).unwrap().puts;
    assert_eq!((puts[0].upto, puts[0].known_bytes), (4, 0));
    drop(queue);
    check(&home.open(), &[2, 3, 1]);
}

/// Rows of the index outlive their records: of one that was shredded nobody knows the key when it is taken out.
#[test]
fn a_stale_row_of_the_index_hides_no_message() {
    let home = Home::new();
    let queue = home.open();
    queue.write(&[], &[&[draft(1)]], 0).unwrap();
    let ids: Vec<_> = queue.sealer.keys_of(&[draft(1).subject]).into_iter().map(|(_, id)| id).collect();
    queue.sealer.obey(&SiteName::new("a").unwrap(), &ids).unwrap();
    let page = queue.page(0, 1, u64::MAX, 9).unwrap();
    assert!(page[0].draft.is_none(), "it was shredded");
    queue.write(&[page[0].done()], &[], 1).unwrap();
    drop(queue);
    // Numbers begin anew: another message stands where the row points to.
    let queue = home.open();
    queue.write(&[], &[&[draft(2)]], 2).unwrap();
    assert!(queue.find(&draft(1).dedupe.unwrap()[..16]).unwrap().is_none(), "that is another one");
    let puts = queue.write(&[], &[&[draft(1)]], 3).unwrap().puts;
    assert_eq!((puts[0].upto, puts[0].known_bytes), (2, 0));
    check(&queue, &[2, 1]);
}

#[test]
fn two_keys_that_begin_alike_are_two_messages() {
    let home = Home::new();
    let queue = home.open();
    let mut alike = draft(2);
    let mut dedupe = draft(1).dedupe.unwrap();
    dedupe[31] ^= 1;
    alike.dedupe = Some(dedupe);
    let puts = queue.write(&[], &[&[draft(1)]], 0).unwrap().puts;
    assert_eq!(puts[0].upto, 1);
    let puts = queue.write(&[], &[&[alike]], 0).unwrap().puts;
    assert_eq!((puts[0].upto, puts[0].known_bytes), (2, 0));
}

#[test]
fn one_that_cannot_be_read_is_named_and_never_left_out() {
    let home = Home::new();
    let queue = home.open();
    queue.write(&[], &[&[draft(1), draft(2), draft(3)]], 0).unwrap();
    let mut value = queue.db.get(&record_key(1)).unwrap().unwrap();
    *value.last_mut().unwrap() ^= 1;
    queue.db.put(&record_key(1), &value, true).unwrap();
    let refused = queue.page(0, 3, u64::MAX, 9).err().unwrap().to_string();
    assert!(refused.contains("record 1 does not open"), "{refused}");
    // At another place it is another record.
    let moved = queue.db.get(&record_key(2)).unwrap().unwrap();
    queue.db.put(&record_key(1), &moved, true).unwrap();
    assert!(queue.page(1, 2, u64::MAX, 9).is_err());
    queue.db.write([(record_key(1), None)].into_iter()).unwrap();
    let refused = queue.page(0, 3, u64::MAX, 9).err().unwrap().to_string();
    assert!(refused.contains("record 1 is missing"), "{refused}");
    assert!(queue.page(1, 3, u64::MAX, 9).is_err());
}

#[test]
fn nothing_lies_in_the_open() {
    let home = Home::new();
    let queue = home.open();
    let drafts: Vec<Draft> = (0..200).map(draft).collect();
    queue.write(&[], &[&drafts], 0).unwrap();
    drop(queue);
    let mut files = 0;
    for entry in std::fs::read_dir(home.0.path().join("sitedb")).unwrap().map(Result::unwrap) {
        let bytes = std::fs::read(entry.path()).unwrap();
        let shows = bytes.windows(PAYLOAD.len()).any(|window| window == PAYLOAD.as_bytes());
        assert!(!shows, "{:?}", entry.path());
        files += usize::from(bytes.len() > 20_000);
    }
    assert!(files > 0, "the drafts are in one of the files");
}

/// The ledger as the forwarder sees it.
#[derive(Default)]
struct Committed(Vec<u64>);

impl Committed {
    fn commit(&mut self, draft: &Draft) {
        if !self.0.contains(&number_in(draft)) {
            self.0.push(number_in(draft));
        }
    }
}

/// A process that may end between any two of its steps: what it had in memory is gone, what it wrote is not.
#[test]
fn a_crash_at_any_step_loses_nothing_doubles_nothing_and_keeps_the_order() {
    let first: u64 =
        std::env::var("MEDULLA_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("MEDULLA_SEED={first}");
    let home = Home::new();
    for seed in 0..SEEDS {
        let base = home.0.path().join("sitedb");
        if base.exists() {
            std::fs::remove_dir_all(&base).unwrap();
        }
        crash_often(&home, first.wrapping_add(seed));
    }
}

fn crash_often(home: &Home, seed: u64) {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let (mut queue, mut ledger) = (home.open(), Committed::default());
    let (mut answered, mut next) = (Vec::new(), 0);
    let mut sent: Vec<Held> = Vec::new();
    let mut done = Vec::new();
    for step in 0..60 {
        match *["put", "read", "commit", "remove", "crash"].choose(&mut rng).unwrap() {
            "put" => {
                let count = rng.gen_range(1..4);
                let mut drafts: Vec<Draft> = (next..next + count).map(draft).collect();
                next += count;
                // A sender that heard nothing sends again.
                drafts.extend(answered.choose(&mut rng).filter(|_| rng.gen_bool(0.3)).map(|n| draft(*n)));
                let removed = if rng.gen_bool(0.5) { std::mem::take(&mut done) } else { Vec::new() };
                queue.write(&removed, &[&drafts], step).unwrap();
                answered.extend(next - count..next);
            }
            "read" if sent.is_empty() && done.is_empty() => {
                let ends = queue.ends();
                if ends.entries() > 0 {
                    sent = queue.page(ends.head, ends.tail, rng.gen_range(1..3000), 9).unwrap();
                }
            }
            "commit" => {
                sent.iter().for_each(|held| ledger.commit(held.draft.as_ref().unwrap()));
                done.extend(sent.drain(..).map(|held| held.done()));
            }
            "remove" => {
                queue.write(&std::mem::take(&mut done), &[], step).unwrap();
            }
            "crash" => {
                // The ledger may have committed what it was sent; nobody here heard of it.
                if rng.gen_bool(0.5) {
                    sent.iter().for_each(|held| ledger.commit(held.draft.as_ref().unwrap()));
                }
                (sent, done) = (Vec::new(), Vec::new());
                drop(queue);
                queue = home.open();
            }
            _ => {}
        }
    }
    drop(queue);
    let queue = home.open();
    let ends = queue.ends();
    let rest = queue.page(ends.head, ends.tail, u64::MAX, usize::MAX).unwrap();
    rest.iter().for_each(|held| ledger.commit(held.draft.as_ref().unwrap()));
    queue.write(&rest.iter().map(Held::done).collect::<Vec<_>>(), &[], 0).unwrap();
    assert_eq!(ledger.0, answered, "seed {seed}");
    check(&queue, &[]);
    let left = queue.db.scan(b"outbox").unwrap();
    assert!(left.is_empty(), "seed {seed}: {} keys stay behind", left.len());
}

/// An old image of this store, put back after the subject was shredded: what nobody can open is passed over and taken
/// out, and whoever sends it again is not told that it waits.
#[test]
fn what_was_shredded_is_passed_over() {
    let home = Home::new();
    let queue = home.open();
    queue.write(&[], &[&[draft(1), draft(2), draft(3)]], 10).unwrap();
    let keys: Vec<_> =
        queue.sealer.retire(&[draft(2).subject]).unwrap().into_iter().map(|(_, id)| id).collect();
    let site = crate::record::SiteName::new("a").unwrap();
    assert_eq!(queue.sealer.obey(&site, &keys).unwrap(), 1);
    let page = queue.page(0, 3, u64::MAX, 9).unwrap();
    let opened: Vec<_> = page.iter().map(|held| held.draft.as_ref().map(number_in)).collect();
    assert_eq!(opened, [Some(1), None, Some(3)]);
    assert!(queue.find(&draft(2).dedupe.unwrap()[..16]).unwrap().is_none());
    queue.write(&page.iter().map(Held::done).collect::<Vec<_>>(), &[], 11).unwrap();
    assert_eq!((queue.ends().entries(), queue.ends().bytes()), (0, 0));
    let puts = queue.write(&[], &[&[draft(2)]], 12).unwrap().puts;
    assert_eq!((puts[0].upto, puts[0].known_bytes), (4, 0));
    check(&queue, &[2]);
}

/// The key store was lost, and its keys are not back yet: a sender who sends again is taken at its word.
#[test]
fn what_cannot_be_opened_is_put_again() {
    let home = Home::new();
    let queue = home.open();
    queue.write(&[], &[&[draft(1)]], 10).unwrap();
    drop(queue);
    std::fs::remove_file(home.0.path().join("subjects.keys")).unwrap();
    let queue = home.open();
    assert!(queue.find(&draft(1).dedupe.unwrap()[..16]).unwrap().is_none());
    let puts = queue.write(&[], &[&[draft(1)]], 11).unwrap().puts;
    assert_eq!((puts[0].upto, puts[0].known_bytes), (2, 0));
    assert!(matches!(queue.page(0, 2, u64::MAX, 9), Err(LedgerError::Damaged(_))), "but none is left out");
    assert_eq!(number_in(queue.page(1, 2, u64::MAX, 9).unwrap()[0].draft.as_ref().unwrap()), 1);
}
