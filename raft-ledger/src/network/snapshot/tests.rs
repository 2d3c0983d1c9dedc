//! What travels: files that the other side does not hold, whatever they are called.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use openraft::impls::leader_id_std::LeaderId;
use tokio::sync::mpsc;

use super::super::lane::Request;
use super::*;
use crate::cold::Cold;
use crate::keys::KeyRing;
use crate::merkle::{Tree, leaf_hash};
use crate::raft::log_id;
use crate::record::{NewSite, SiteName};
use crate::store::applied::{Applied, applied_key, encode, load_applied};
use crate::store::db::WriteBatch;
use crate::store::generation::{Family, index_key, key as key_of, tile_key};

const VOTE: Vote = Vote { leader_id: LeaderId { term: 1, voted_for: 0 }, committed: true };

struct Site {
    dir: tempfile::TempDir,
    store: Arc<LedgerStore>,
}

fn open(dir: &Path) -> Arc<LedgerStore> {
    Arc::new(LedgerStore::open(&dir.join("ledgerdb"), Cold::open(None, dir)).unwrap())
}

impl Site {
    fn new() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        Site { dir, store }
    }

    /// Names in `ledgerdb` that begin with this.
    fn names(&self, prefix: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("ledgerdb")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(prefix)).collect()
    }

    /// More leaves, in tables of their own.
    fn grow(&self, leaves: u64) {
        let db = self.store.generation();
        let applied = load_applied(&db).unwrap();
        let mut tree = Tree::load(applied.size, db.as_ref()).unwrap();
        let mut batch = WriteBatch::default();
        for _ in 0..leaves {
            let leaf: [u8; 400] = std::array::from_fn(|_| crate::random::bytes::<1>()[0]);
            let index = tree.append(leaf_hash(&leaf));
            db.put(&mut batch, Family::Events, &index_key(index), &leaf).unwrap();
        }
        for (tile, hashes) in tree.take_writes() {
            db.put(&mut batch, Family::Tiles, &tile_key(tile), &hashes).unwrap();
        }
        let last = Some(log_id(1, tree.size()));
        let applied = Applied { last, size: tree.size(), root: tree.root(), ..applied };
        db.put(&mut batch, Family::Meta, &applied_key(), &encode(&applied).unwrap()).unwrap();
        db.write(batch).unwrap();
        db.flush().unwrap();
    }

    fn applied(&self) -> (u64, crate::record::Hash) {
        let applied = load_applied(&self.store.generation()).unwrap();
        (applied.size, applied.root)
    }
}

fn ring() -> Arc<KeyRing> {
    KeyRing::of_batches(&[])
}

/// What came over the wire, by file.
#[derive(Default)]
struct Came {
    files: BTreeMap<u32, u64>,
}

impl Came {
    fn bytes(&self) -> u64 {
        self.files.values().sum()
    }
}

/// Answers as a connection of the receiving site does, until so many pieces have come.
async fn receive(mut requests: mpsc::Receiver<Request>, store: Arc<LedgerStore>, pieces_max: usize) -> Came {
    let (mut came, mut incoming, mut pieces) = (Came::default(), None, 0);
    while let Some(Request { kind, body, answer }) = requests.recv().await {
        let result = match kind {
            Kind::SnapshotBegin => Incoming::begin(store.clone(), &body).map(|(begun, held)| {
                incoming = Some(begun);
                held
            }),
            Kind::SnapshotChunk if pieces == pieces_max => break,
            Kind::SnapshotChunk => {
                pieces += 1;
                let number = body.clone().get_u32();
                *came.files.entry(number).or_default() += (body.len() - PIECE_HEADER) as u64;
                incoming.as_mut().unwrap().piece(body).map(|()| Bytes::new())
            }
            Kind::SnapshotEnd => incoming.take().unwrap().finish(&ring()).and_then(|(vote, snapshot)| {
                store.install(&snapshot).map_err(|e| e.to_string())?;
                pack(&SnapshotResponse::<Types>::new(vote))
            }),
            other => panic!("unexpected {other:?}"),
        };
        let sent = result.map_err(|why| RpcError::Remote { site: "b".into(), why });
        answer.send(sent).unwrap();
    }
    came
}

/// Sends the newest snapshot of one to the other.
async fn transfer(from: &Site, to: &Site, pieces_max: usize) -> (Result<(), RpcError>, Came) {
    let snapshot = from.store.take_snapshot().unwrap();
    let (lane, requests) = Lane::new("b");
    let receiving = tokio::spawn(receive(requests, to.store.clone(), pieces_max));
    let sent = send(&lane, VOTE, &snapshot).await;
    drop(lane);
    (sent.map(drop), receiving.await.unwrap())
}

fn total(site: &Site) -> u64 {
    bytes_of(site.store.snapshot().unwrap().files().unwrap().iter())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_snapshot_brings_only_what_is_new() {
    let (a, b) = (Site::new(), Site::new());
    a.grow(10_000);
    let (sent, first) = transfer(&a, &b, usize::MAX).await;
    sent.unwrap();
    assert_eq!((b.applied(), first.bytes()), (a.applied(), total(&a)));
    a.grow(10);
    let (sent, second) = transfer(&a, &b, usize::MAX).await;
    sent.unwrap();
    assert_eq!(b.applied(), a.applied());
    assert!(second.bytes() * 10 < first.bytes(), "{} bytes, then {}", first.bytes(), second.bytes());
    // The same once more: only what is no table.
    let (sent, third) = transfer(&a, &b, usize::MAX).await;
    sent.unwrap();
    let tables = a.store.snapshot().unwrap().files().unwrap();
    let names: Vec<&str> = third.files.keys().map(|number| tables[*number as usize].name.as_str()).collect();
    assert!(names.iter().all(|name| !name.ends_with(".sst")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_broke_off_goes_on_where_it_was() {
    let (a, b) = (Site::new(), Site::new());
    a.grow(8_000);
    let (sent, first) = transfer(&a, &b, 5).await;
    assert!(sent.is_err() && b.applied().0 == 0);
    // Also after the receiving site has started again.
    let Site { dir, store } = b;
    drop(store);
    let store = open(dir.path());
    let b = Site { dir, store };
    let snapshot = a.store.snapshot().unwrap();
    let (lane, requests) = Lane::new("b");
    let receiving = tokio::spawn(receive(requests, b.store.clone(), usize::MAX));
    send(&lane, VOTE, &snapshot).await.unwrap();
    drop(lane);
    let second = receiving.await.unwrap();
    let files = snapshot.files().unwrap();
    let whole: Vec<u32> = first
        .files
        .iter()
        .filter(|(n, bytes)| files[**n as usize].bytes == **bytes)
        .map(|(n, _)| *n)
        .collect();
    assert!(!whole.is_empty() && whole.iter().all(|number| !second.files.contains_key(number)), "{whole:?}");
    assert_eq!(b.applied(), a.applied());
}

/// Two databases number their tables alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_the_same_name_is_another_one() {
    let (a, b) = (Site::new(), Site::new());
    a.grow(500);
    b.grow(500);
    let (sent, came) = transfer(&a, &b, usize::MAX).await;
    sent.unwrap();
    assert_eq!((b.applied(), came.bytes()), (a.applied(), total(&a)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_is_not_kept() {
    let (a, b) = (Site::new(), Site::new());
    a.grow(500);
    let db = a.store.generation();
    let mut batch = WriteBatch::default();
    db.put(&mut batch, Family::Events, &index_key(7), b"another leaf").unwrap();
    db.write(batch).unwrap();
    drop(db);
    for _ in 0..2 {
        let (sent, came) = transfer(&a, &b, usize::MAX).await;
        let why = sent.unwrap_err().to_string();
        assert!(why.contains("the snapshot was refused"), "{why}");
        assert_eq!((b.applied().0, came.bytes()), (0, total(&a)));
    }
}

/// The root says nothing of who may write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_with_a_site_that_nobody_has_admitted_is_refused() {
    let (a, b) = (Site::new(), Site::new());
    a.grow(500);
    let put = |authority: &SigningKey| {
        let key = |n| SigningKey::from_bytes(&[n; 32]).verifying_key().to_bytes();
        let new = NewSite {
            consortium: "tests".into(),
            group_id: 1,
            site: SiteName::new("new").unwrap(),
            generation: NewSite::FIRST,
            batch_key: key(1),
            log_key: key(2),
            cosigner_key: key(3),
            signature: [0; 64],
        };
        let (db, mut batch) = (a.store.generation(), WriteBatch::default());
        db.put(&mut batch, Family::Meta, &key_of(b"joined/new"), &new.sign(authority).encode()).unwrap();
        db.write(batch).unwrap();
    };
    put(&SigningKey::from_bytes(&[7; 32]));
    let why = transfer(&a, &b, usize::MAX).await.0.unwrap_err().to_string();
    assert!(why.contains("was admitted by nobody"), "{why}");
    assert_eq!(b.applied().0, 0);
    put(&KeyRing::test_authority());
    transfer(&a, &b, usize::MAX).await.0.unwrap();
    assert_eq!(b.applied(), a.applied());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_piece_that_does_not_belong_is_refused() {
    let (a, b) = (Site::new(), Site::new());
    a.grow(500);
    let files = a.store.take_snapshot().unwrap().files().unwrap();
    let begin = |files: Vec<Content>| {
        Incoming::begin(b.store.clone(), &pack(&Manifest { vote: VOTE, files }).unwrap())
            .map(|(begun, _)| begun)
    };
    let piece = |number: u32, offset: u64, bytes: &[u8]| {
        Bytes::from([&number.to_be_bytes()[..], &offset.to_be_bytes(), bytes].concat())
    };
    for name in ["../escape", ".hidden", "a/b", ""] {
        assert!(begin(vec![Content { name: name.into(), bytes: 1, sha256: [0; 32] }]).is_err(), "{name}");
    }
    for wrong in [piece(99, 0, b"x"), piece(0, 5, b"x"), piece(0, 0, b""), Bytes::from_static(b"short")] {
        assert!(begin(files.clone()).unwrap().piece(wrong).is_err());
    }
    let one = vec![Content { name: "CURRENT".into(), bytes: 3, sha256: [0; 32] }];
    let mut other = begin(one.clone()).unwrap();
    assert!(other.piece(piece(0, 0, b"long")).is_err());
    let why = other.piece(piece(0, 0, b"abc")).unwrap_err();
    assert!(why.contains("otherwise than it was announced"), "{why}");
    assert!(begin(one).unwrap().finish(&ring()).unwrap_err().contains("not whole"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_was_given_up_leaves_nothing_behind_for_long() {
    let (a, b) = (Site::new(), Site::new());
    a.grow(8_000);
    // It breaks off within a file.
    let (sent, _) = transfer(&a, &b, 1).await;
    assert!(sent.is_err() && b.applied().0 == 0);
    assert!(b.names("p").is_empty(), "{:?}", b.names("p"));
    assert_eq!(b.names("incoming").len(), 1, "for the next try");
    let files = vec![Content { name: "CURRENT".into(), bytes: 3, sha256: [0; 32] }];
    let under_way = b.store.arrival(files).unwrap();
    b.store.take_snapshot().unwrap();
    assert_eq!(b.names("incoming").len(), 1, "one is on its way in");
    drop(under_way);
    b.store.take_snapshot().unwrap();
    assert!(b.names("incoming").is_empty(), "this site has learned the rest in another way");
}

#[test]
fn a_snapshot_that_took_long_does_not_take_the_place_of_a_newer_one() {
    let site = Site::new();
    site.grow(10);
    let older = site.store.checkpoint().unwrap();
    site.grow(10);
    let newer = site.store.take_snapshot().unwrap();
    assert!(older.meta.last_log_id < newer.meta.last_log_id);
    assert_eq!(site.store.hold(older).path(), newer.path());
    assert_eq!(site.store.snapshot().unwrap().path(), newer.path());
    // And on the disk.
    let Site { dir, store } = site;
    drop((store, newer));
    assert_eq!(open(dir.path()).snapshot().unwrap().meta.last_log_id.unwrap().index, 20);
}
