//! What is damaged on disk is found and named, not served.

use std::path::{Path, PathBuf};

use raft_ledger::{Ledger, LedgerError};

use crate::common::{Consortium, append, close, draft, flip};

const FAMILIES: [&str; 11] = [
    "default", "events", "blobs", "tiles", "by_tag", "by_time", "dedupe", "batches", "by_batch", "chunks",
    "meta",
];

/// A closed ledger with 50 entries.
async fn filled() -> Consortium {
    let consortium = Consortium::new(&["a"]);
    let ledger = consortium.open(0).await;
    append(&ledger, (0..50).map(draft).collect()).await;
    let report = ledger.verify(&mut |_| {}).unwrap();
    assert!(report.ok && report.size == 50, "{report:?}");
    close(ledger).await;
    consortium
}

/// Changes a stored value behind the ledger's back.
fn change(consortium: &Consortium, family: &str, index: u64, change: impl Fn(&mut Vec<u8>)) {
    let path = consortium.data(0).join("ledgerdb/g00000001");
    let db = rocksdb::DB::open_cf(&rocksdb::Options::default(), path, FAMILIES).unwrap();
    let cf = db.cf_handle(family).unwrap();
    let key = [&1u32.to_be_bytes()[..], &index.to_be_bytes()].concat();
    let mut value = db.get_cf(cf, &key).unwrap().unwrap();
    change(&mut value);
    db.put_cf(cf, &key, value).unwrap();
    db.flush_cf(cf).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_names_the_entry_with_a_flipped_byte() {
    for (family, at) in [("blobs", 30), ("events", 20)] {
        let consortium = filled().await;
        change(&consortium, family, 17, |value| value[at] ^= 1);
        let ledger = consortium.open(0).await;
        let report = ledger.verify(&mut |_| {}).unwrap();
        assert!(!report.ok);
        assert!(report.findings.iter().any(|f| f.index == Some(17)), "{family}: {:?}", report.findings);
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_proves_itself_and_a_flipped_byte_in_it_is_found() {
    let consortium = filled().await;
    let ledger = consortium.open(0).await;
    let dir = consortium.dir.path().join("export");
    ledger.export(&dir, &mut |_| {}).unwrap();
    let report = raft_ledger::verify_export(&dir, None, &mut |_| {}).unwrap();
    assert!(report.ok && report.size == 50, "{report:?}");
    assert_eq!(report.root, ledger.status().root);
    let entries = std::fs::read_dir(dir.join("entries")).unwrap().next().unwrap().unwrap().path();
    flip(&entries, 2);
    assert!(!raft_ledger::verify_export(&dir, None, &mut |_| {}).unwrap().ok);
    close(ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_payload_is_not_served() {
    let consortium = filled().await;
    change(&consortium, "blobs", 3, |value| value[70] ^= 1);
    let ledger = consortium.open(0).await;
    assert!(matches!(ledger.read_from(0, 10), Err(LedgerError::Damaged(_))));
    assert_eq!(ledger.read_from(4, 10).unwrap().len(), 10);
    close(ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_that_the_tiles_do_not_give_is_made_again_from_the_log() {
    let consortium = filled().await;
    let path = consortium.data(0).join("ledgerdb/g00000001");
    {
        let db = rocksdb::DB::open_cf(&rocksdb::Options::default(), path, FAMILIES).unwrap();
        let cf = db.cf_handle("tiles").unwrap();
        let (key, mut value) = db
            .iterator_cf(cf, rocksdb::IteratorMode::Start)
            .next()
            .unwrap()
            .map(|(k, v)| (k, v.into_vec()))
            .unwrap();
        value[5] ^= 1;
        db.put_cf(cf, key, value).unwrap();
        db.flush_cf(cf).unwrap();
    }
    let told = std::sync::Mutex::new(String::new());
    let tell = |now: raft_ledger::Healing<'_>| *told.lock().unwrap() = now.damage.to_owned();
    let ledger = Ledger::open_telling(consortium.config(0), tell).await.unwrap();
    let told = told.into_inner().unwrap();
    assert!(told.contains("the tiles give another root"), "{told}");
    crate::common::wait_for_size(&[&ledger], 50).await;
    let report = ledger.verify(&mut |_| {}).unwrap();
    assert!(report.ok && report.size == 50, "{report:?}");
    close(ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_end_of_the_raft_log_is_cut_and_damage_before_it_is_refused() {
    let consortium = filled().await;
    let log = newest_wal(&consortium.data(0).join("raftdb"));
    let whole = std::fs::read(&log).unwrap();
    std::fs::write(&log, &whole[..whole.len() - 3]).unwrap();
    let ledger = consortium.open(0).await;
    assert_eq!(ledger.size(), 50);
    close(ledger).await;

    let consortium = filled().await;
    flip(&newest_wal(&consortium.data(0).join("raftdb")), 2);
    let error = Ledger::open(consortium.config(0)).await.err();
    assert!(matches!(error, Some(LedgerError::Damaged(_))), "{error:?}");
}

fn newest_wal(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter(|path| path.metadata().unwrap().len() > 0)
        .collect();
    logs.sort();
    logs.pop().unwrap()
}
