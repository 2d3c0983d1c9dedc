//! Sealed history in cold files: read, proven, exported and backed up as before; damage is named and mended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use raft_ledger::{
    Archived, Config, Draft, Ledger, LedgerError, Payload, Subject, backup_stopped, restore, verify_export,
};

use crate::common::kill::{as_child, founded, lives, run_and_kill, tell};
use crate::common::{Consortium, append, close, draft, flip, wait_for_size};

/// So many entries fill whole files of 256 here.
const ENTRIES: u64 = 700;
const MOVED: u64 = 512;
const ANY_AGE: Duration = Duration::ZERO;

fn with_small_files(config: Config) -> Config {
    Config { cold_file_bytes: 1, ..config }
}

/// Of 2 KiB that do not compress.
fn large(n: u64) -> Draft {
    let noise = (0..64).flat_map(|part: u64| {
        let mut hash = [0; 32];
        let mixed = ((n << 8) | part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash.chunks_mut(8)
            .zip(1..)
            .for_each(|(bytes, by)| bytes.copy_from_slice(&mixed.wrapping_mul(by).to_be_bytes()));
        hash
    });
    Draft { payload: noise.collect::<Vec<u8>>().into(), ..draft(n) }
}

async fn covered(ledger: &Ledger, size: u64) {
    while ledger.checkpoint().is_none_or(|newest| newest.size < size) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Appends the entries and moves those that fill whole files.
async fn fill(ledger: &Ledger) {
    append(ledger, (0..ENTRIES).map(large).collect()).await;
    covered(ledger, ENTRIES).await;
    assert_eq!(archive(ledger).entries, MOVED);
}

fn archive(ledger: &Ledger) -> Archived {
    ledger.archive(ANY_AGE, &mut |_| ()).unwrap()
}

fn check_payloads(ledger: &Ledger, count: u64) {
    let mut next = 0;
    while next < count {
        let page = ledger.read_from(next, 300).unwrap();
        for entry in &page {
            assert_eq!(entry.index, next);
            let Payload::Open(payload) = &entry.payload else { panic!("entry {next} is not open") };
            assert_eq!(payload, &large(entry.event_time_ms as u64).payload, "entry {next}");
            next += 1;
        }
    }
}

fn cold_files(dir: &Path) -> Vec<PathBuf> {
    // The first file makes it.
    let Ok(entries) = std::fs::read_dir(dir.join("cold")) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Bytes of the database in use.
fn database_bytes(data: &Path) -> u64 {
    let dir = data.join("ledgerdb");
    let current = std::fs::read_to_string(dir.join("CURRENT")).unwrap();
    let files = std::fs::read_dir(dir.join(current.trim())).unwrap().map(|entry| entry.unwrap());
    let tables = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "sst"));
    tables.map(|file| file.metadata().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_moved_reads_and_proves_as_before() {
    let consortium = Consortium::new(&["a"]);
    let config = || with_small_files(consortium.config(0));
    let ledger = Ledger::open(config()).await.unwrap();
    append(&ledger, (0..ENTRIES).map(large).collect()).await;
    covered(&ledger, ENTRIES).await;
    close(ledger).await;
    let before = database_bytes(&consortium.data(0));
    let ledger = Ledger::open(config()).await.unwrap();
    covered(&ledger, ENTRIES).await;
    let (root, receipt, bundle) =
        (ledger.status().root, ledger.prove(5).unwrap(), ledger.entry_bundle(0, 256).unwrap());
    let done = archive(&ledger);
    assert_eq!((done.files, done.entries, done.cold_entries), (2, MOVED, MOVED));
    assert!(done.bytes > MOVED * 2048, "{done:?}");
    // Nothing that makes no whole file, and nothing twice.
    assert_eq!(archive(&ledger), Archived { cold_entries: MOVED, ..Archived::default() });
    let status = ledger.status();
    assert_eq!((status.root, status.cold.files, status.cold.bytes), (root, 2, done.bytes));
    check_payloads(&ledger, ENTRIES);
    assert_eq!(ledger.prove(5).unwrap().lines().nth(1), receipt.lines().nth(1));
    assert_eq!(ledger.entry_bundle(0, 256).unwrap(), bundle);
    let report = ledger.verify(&mut |_| {}).unwrap();
    assert!(report.ok && report.payloads_absent == 0, "{report:?}");
    let folder = consortium.dir.path().join("export");
    ledger.export(&folder, &mut |_| {}).unwrap();
    let keys = raft_ledger::keys::SiteKeys::load(&consortium.config(0).keys).unwrap();
    let report = verify_export(&folder, Some(&keys.verifiers()), &mut |_| {}).unwrap();
    assert!(report.ok && report.payloads_absent == 0, "{report:?}");
    close(ledger).await;
    let after = database_bytes(&consortium.data(0));
    assert!(after * 2 < before, "{before} bytes in the database, then {after}");
    let ledger = Ledger::open(config()).await.unwrap();
    check_payloads(&ledger, ENTRIES);
    close(ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_old_and_covered_moves_by_itself() {
    let consortium = Consortium::new(&["a"]);
    let year = Duration::from_secs(365 * 24 * 3_600);
    let ledger = Ledger::open(Config {
        archive_after: Some(Duration::from_millis(1)),
        ..with_small_files(consortium.config(0))
    });
    let ledger = ledger.await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let aged = |n: u64, received_time_ms: i64| Draft { received_time_ms, ..large(n) };
    // One clock that was wrong for a moment holds nothing up.
    append(&ledger, (0..256).map(|n| aged(n, if n == 200 { i64::MAX } else { 0 })).collect()).await;
    append(&ledger, (256..512).map(|n| aged(n, now + 3_600_000)).collect()).await;
    while ledger.status().cold.entries < 256 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    covered(&ledger, 512).await;
    assert_eq!(archive(&ledger).entries, 0, "the others are of tomorrow");
    assert_eq!(ledger.archive(year, &mut |_| ()).unwrap().cold_entries, 256);
    check_payloads(&ledger, 512);
    close(ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_disk_nothing_moves() {
    let consortium = Consortium::new(&["a"]);
    let elsewhere = consortium.dir.path().join("mount");
    let config = Config { cold_dir: Some(elsewhere.clone()), ..with_small_files(consortium.config(0)) };
    let ledger = Ledger::open(config).await.unwrap();
    append(&ledger, (0..ENTRIES).map(large).collect()).await;
    covered(&ledger, ENTRIES).await;
    let why = ledger.archive(ANY_AGE, &mut |_| ()).unwrap_err().to_string();
    assert!(why.contains(elsewhere.to_str().unwrap()), "{why}");
    assert_eq!(ledger.status().cold.entries, 0);
    check_payloads(&ledger, ENTRIES);
    std::fs::create_dir(&elsewhere).unwrap();
    assert_eq!(archive(&ledger).entries, MOVED);
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 2);
    check_payloads(&ledger, ENTRIES);
    close(ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_of_a_cold_file_is_named_and_nothing_else_is_lost() {
    let consortium = Consortium::new(&["a"]);
    let config =
        || Config { scrub_period: Duration::from_millis(300), ..with_small_files(consortium.config(0)) };
    let ledger = Ledger::open(config()).await.unwrap();
    fill(&ledger).await;
    let folder = consortium.dir.path().join("backup");
    ledger.backup(&folder, &mut |_, _| ()).unwrap();
    let files = cold_files(&consortium.data(0));
    let whole = std::fs::read(&files[0]).unwrap();
    flip(&files[0], 2);
    // Found by the daily reading, also where nobody asks.
    while ledger.status().cold.lost.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lost = ledger.status().cold.lost;
    assert!(lost.len() == 1 && lost[0].starts_with(name(&files[0])), "{lost:?}");
    assert!(lost[0].contains("is damaged at entry"), "{lost:?}");
    let damaged: u64 = lost[0].rsplit(' ').next().unwrap().parse().unwrap();
    let read = ledger.read_from(damaged, 1).err();
    assert!(matches!(&read, Some(LedgerError::Cold(text)) if text.contains(name(&files[0]))), "{read:?}");
    assert_eq!(ledger.read_from(0, damaged as usize).unwrap().len() as u64, damaged);
    assert_eq!(ledger.read_from(damaged + 1, 700).unwrap().len() as u64, ENTRIES - damaged - 1);
    let report = ledger.verify(&mut |_| {}).unwrap();
    assert!(!report.ok && report.payloads_absent == 1 && report.size == ENTRIES, "{report:?}");
    assert_eq!(report.findings[0].index, Some(damaged));
    assert!(report.findings[0].text.contains(name(&files[0])), "{report:?}");
    // Receipts need no payload.
    assert!(ledger.prove(damaged).is_ok());
    let refused = ledger.backup(&folder, &mut |_, _| ()).unwrap_err().to_string();
    assert!(refused.contains(name(&files[0])), "{refused}");
    let refused = ledger.export(&consortium.dir.path().join("export"), &mut |_| {}).unwrap_err().to_string();
    assert!(refused.contains(name(&files[0])), "{refused}");
    // Nothing is wrong with the database, and consensus goes on.
    assert_eq!(ledger.status().damage, None);
    append(&ledger, vec![large(ENTRIES)]).await;

    // A site alone has nobody to ask: its operator puts the file back. The backup names it by its hash.
    let hash = name(&files[0]).rsplit('-').next().unwrap();
    assert_eq!(std::fs::read(folder.join("files").join(hash)).unwrap(), whole);
    std::fs::remove_file(&files[0]).unwrap();
    close(ledger).await;
    let ledger = Ledger::open(config()).await.unwrap();
    while ledger.status().cold.lost.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(ledger.status().cold.lost[0].ends_with("is missing"));
    std::fs::copy(folder.join("files").join(hash), &files[0]).unwrap();
    while !ledger.status().cold.lost.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    check_payloads(&ledger, ENTRIES);
    assert!(ledger.verify(&mut |_| {}).unwrap().ok);
    close(ledger).await;
}

/// Sites a and b have moved what c has not yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_file_comes_back_from_a_peer() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let config = |n: usize| with_small_files(consortium.config(n));
    let mut ledgers = Vec::new();
    for n in 0..3 {
        ledgers.push(Ledger::open(config(n)).await.unwrap());
    }
    append(&ledgers[0], (0..ENTRIES).map(large).collect()).await;
    wait_for_size(&ledgers.iter().collect::<Vec<_>>(), ENTRIES).await;
    for ledger in &ledgers[..2] {
        covered(ledger, ENTRIES).await;
        assert_eq!(archive(ledger).entries, MOVED);
    }
    let files: Vec<_> = (0..2).map(|n| cold_files(&consortium.data(n))).collect();
    let names = |n: usize| files[n].iter().map(|path| name(path).to_owned()).collect::<Vec<_>>();
    assert_eq!(names(0), names(1), "the same entries make the same files");
    flip(&files[0][0], 3);
    std::fs::remove_file(&files[0][1]).unwrap();
    let report = ledgers[0].verify(&mut |_| {}).unwrap();
    assert!(!report.ok && report.payloads_absent >= 256, "{report:?}");
    while !ledgers[0].status().cold.lost.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let report = ledgers[0].verify(&mut |_| {}).unwrap();
    assert!(report.ok && report.payloads_absent == 0, "{report:?}");
    check_payloads(&ledgers[0], ENTRIES);
    // Also from one that has them in its database.
    close(ledgers.remove(1)).await;
    std::fs::remove_file(&files[0][0]).unwrap();
    assert!(ledgers[0].read_from(0, 1).is_err());
    while !ledgers[0].status().cold.lost.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    check_payloads(&ledgers[0], ENTRIES);
    for ledger in ledgers {
        close(ledger).await;
    }
}

/// What its peers have moved comes behind the snapshot; its root and proofs are there at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_site_far_behind_ends_with_the_whole_history() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let config = |n: usize| with_small_files(consortium.config_with_snapshots(n));
    let (a, b) = (Ledger::open(config(0)).await.unwrap(), Ledger::open(config(1)).await.unwrap());
    append(&a, (0..ENTRIES).map(large).collect()).await;
    wait_for_size(&[&a, &b], ENTRIES).await;
    for ledger in [&a, &b] {
        covered(ledger, ENTRIES).await;
        assert_eq!(archive(ledger).entries, MOVED);
    }
    // Their logs begin behind what c has seen, and their snapshots know of the cold files.
    let mut n = ENTRIES;
    while [&a, &b].iter().any(|ledger| ledger.status().log_first_index < 100) || n < ENTRIES + 200 {
        append(&a, vec![large(n)]).await;
        n += 1;
    }
    let c = Ledger::open(config(2)).await.unwrap();
    wait_for_size(&[&c], n).await;
    assert_eq!(c.root_at(n).unwrap(), a.root_at(n).unwrap());
    assert_eq!(c.status().cold.entries, MOVED);
    loop {
        let report = c.verify(&mut |_| {}).unwrap();
        assert_eq!((report.size, &report.root), (n, &a.status().root), "whatever is still on its way");
        if report.ok {
            assert_eq!(report.payloads_absent, 0);
            break;
        }
        assert!(report.findings.iter().all(|finding| finding.text.contains("is missing")), "{report:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(cold_files(&consortium.data(2)).len(), 2);
    assert!(c.status().cold.lost.is_empty());
    for ledger in [a, b, c] {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_hold_the_cold_files_and_restore_brings_them() {
    let consortium = Consortium::new(&["a", "b"]);
    let folder = consortium.dir.path().join("backup");
    let config = |n: usize| with_small_files(consortium.config(n));
    let (a, b) = (Ledger::open(config(0)).await.unwrap(), Ledger::open(config(1)).await.unwrap());
    fill(&a).await;
    let first = a.backup(&folder, &mut |_, _| ()).unwrap();
    let cold_bytes = a.status().cold.bytes;
    assert!(first.bytes > cold_bytes);
    append(&a, vec![large(ENTRIES)]).await;
    let second = a.backup(&folder, &mut |_, _| ()).unwrap();
    assert!(second.bytes_reused >= cold_bytes, "{second:?}");
    close(a).await;
    close(b).await;
    let third = backup_stopped(&consortium.data(0), &config(0).keys, None, &folder, &mut |_, _| ()).unwrap();
    assert!(third.bytes_reused >= cold_bytes, "{third:?}");

    let elsewhere = consortium.dir.path().join("cold disk");
    std::fs::create_dir(&elsewhere).unwrap();
    let data = consortium.dir.path().join("restored");
    let target = Config { data: data.clone(), cold_dir: Some(elsewhere.clone()), ..config(0) };
    let files = cold_files(&consortium.data(0));
    let hash = name(&files[1]).rsplit('-').next().unwrap();
    flip(&folder.join("files").join(hash), 2);
    let refused = restore(&folder, &target, false, &mut |_, _| ()).unwrap_err().to_string();
    assert!(refused.contains(hash) && !data.join("ledgerdb").exists(), "{refused}");
    flip(&folder.join("files").join(hash), 2);
    assert_eq!(restore(&folder, &target, false, &mut |_, _| ()).unwrap().size, ENTRIES + 1);
    for file in &files {
        assert_eq!(std::fs::read(elsewhere.join(name(file))).unwrap(), std::fs::read(file).unwrap());
    }
    // It goes on from there, with its own raft log and keys.
    for own in ["raftdb", "sitedb"] {
        std::fs::rename(consortium.data(0).join(own), data.join(own)).unwrap();
    }
    std::fs::copy(consortium.data(0).join("subjects.keys"), data.join("subjects.keys")).unwrap();
    let (a, b) = (Ledger::open(target).await.unwrap(), Ledger::open(config(1)).await.unwrap());
    append(&a, vec![large(ENTRIES + 1)]).await;
    check_payloads(&a, ENTRIES + 2);
    assert!(a.verify(&mut |_| {}).unwrap().ok);
    close(a).await;
    close(b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shredding_reaches_cold_files_and_needs_none_of_them_at_the_start() {
    let consortium = Consortium::new(&["a"]);
    let config = || with_small_files(consortium.config(0));
    let ledger = Ledger::open(config()).await.unwrap();
    append(&ledger, (0..100).map(large).collect()).await;
    ledger.shred(&[Subject([3; 32])], Vec::new(), "ada").await.unwrap().unwrap();
    append(&ledger, (100..ENTRIES).map(large).collect()).await;
    covered(&ledger, ENTRIES + 1).await;
    assert_eq!(archive(&ledger).entries, MOVED);
    // One more time, of what lies in cold files.
    ledger.shred(&[Subject([4; 32])], Vec::new(), "ada").await.unwrap().unwrap();
    let entries = ledger.read_from(0, 1_000).unwrap();
    let is_shredded = |subject: u64, before: u64| {
        let mut of = entries.iter().filter(|e| e.kind == 1 && e.event_time_ms as u64 % 7 == subject);
        of.all(|e| matches!(e.payload, Payload::Shredded) == (e.index < before))
    };
    assert!(is_shredded(3, 100) && is_shredded(4, ENTRIES + 1) && is_shredded(5, 0));
    close(ledger).await;
    // An old image of the key store, and the disk of the cold files is away.
    let cold = consortium.data(0).join("cold");
    std::fs::rename(&cold, consortium.dir.path().join("away")).unwrap();
    let ledger = Ledger::open(config()).await.unwrap();
    let entries = ledger.read_from(0, 1_000);
    assert!(matches!(entries, Err(LedgerError::Cold(_))));
    let shredded = ledger.read_from(100, 1).unwrap();
    assert!(matches!(&shredded[0].payload, Payload::Shred { by, .. } if by == "ada"));
    assert!(matches!(ledger.read_from(3, 1).unwrap()[0].payload, Payload::Shredded));
    close(ledger).await;
}

/// Not a test of its own: what the killed process runs. Does nothing unless the parent asks for it.
#[test]
fn child_archives_until_killed() {
    let Some((dir, from)) = as_child() else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let ledger = Ledger::open(with_small_files(crate::common::kill::config(&dir))).await.unwrap();
        let moving = ledger.clone();
        std::thread::spawn(move || {
            loop {
                archive(&moving);
            }
        });
        for n in (from..).step_by(64) {
            append(&ledger, (n..n + 64).map(large).collect()).await;
            tell(&[n + 64]);
        }
    });
}

#[test]
fn kills_between_any_two_steps_lose_nothing() {
    if as_child().is_some() {
        return;
    }
    let dir = founded();
    let (mut next, mut files) = (0, 0);
    for (life, after) in lives(40).enumerate() {
        // On a slow day no life is long enough for a file at first.
        if life >= 8 && files > 0 && std::env::var_os("MEDULLA_KILL_CYCLES").is_none() {
            break;
        }
        next = run_and_kill("cold::child_archives_until_killed", dir.path(), next, after).last().unwrap()[0];
        let now = after_kill(dir.path(), next);
        assert!(now >= files, "{files} files, then {now}");
        files = now;
    }
    assert!(files > 0, "nothing was moved");
}

#[tokio::main]
async fn after_kill(dir: &Path, told: u64) -> u64 {
    let ledger = Ledger::open(with_small_files(crate::common::kill::config(dir))).await.unwrap();
    // What was on its way when the kill came may be there, too.
    let end = append(&ledger, vec![large(u64::from(u32::MAX) + told)]).await[0].index;
    assert!(end >= told, "{end} of {told}");
    let status = ledger.status().cold;
    assert!(status.lost.is_empty(), "{:?}", status.lost);
    let report = ledger.verify(&mut |_| {}).unwrap();
    assert!(report.ok && report.payloads_absent == 0, "{report:?}");
    check_payloads(&ledger, end + 1);
    let parts = cold_files(&dir.join("data")).iter().filter(|path| name(path).ends_with(".part")).count();
    assert_eq!(parts, 0, "what was half written is gone");
    println!("{} entries, {} of them in {} cold files", end + 1, status.entries, status.files);
    close(ledger).await;
    status.files
}
