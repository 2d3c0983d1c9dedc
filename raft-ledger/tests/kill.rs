//! kill -9 at random moments: whatever was acknowledged is there, once, after the site was opened again.
//!
//! `MEDULLA_KILL_CYCLES` (default 8) and `MEDULLA_KILL_SEED` choose how often and when.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{append, close, draft};
use raft_ledger::{Config, Ledger, Payload};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

const CHILD_DIR: &str = "MEDULLA_KILL_CHILD_DIR";
const CHILD_FROM: &str = "MEDULLA_KILL_CHILD_FROM";
/// Appends that a child has under way at a time.
const AT_ONCE: u64 = 8;

fn config(dir: &std::path::Path) -> Config {
    let mut config = Config::new("a", dir.join("data"), dir.join("keys/a"));
    config.initialise = true;
    config.free_space_reserve_bytes = 1 << 20;
    // Often enough that kills also fall into snapshots.
    config.snapshot_log_entries = 200;
    config
}

/// Not a test of its own: what the killed process runs. Does nothing unless the parent asks for it.
#[test]
fn child_appends_until_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR).map(PathBuf::from) else { return };
    let from: u64 = std::env::var(CHILD_FROM).unwrap().parse().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let ledger = Ledger::open(config(&dir)).await.unwrap();
        let writers = (0..AT_ONCE).map(|writer| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for n in (from + writer..).step_by(AT_ONCE as usize) {
                    let outcome = append(&ledger, vec![draft(n)]).await[0];
                    // One write, so that lines stay whole; a partial last line is not counted by the parent.
                    let line = format!("acknowledged {n} {}\n", outcome.index);
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

fn start(dir: &std::path::Path, from: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_appends_until_killed", "--nocapture"])
        .env(CHILD_DIR, dir)
        .env(CHILD_FROM, from.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs a child until it is killed `after` its first acknowledgement; what it acknowledged: draft and index.
fn run_and_kill(dir: &std::path::Path, from: u64, after: Duration) -> Vec<(u64, u64)> {
    let mut child = start(dir, from);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    let mut killer = None;
    while reader.read_line(&mut line).unwrap() > 0 {
        // The test harness writes its own words before the first line.
        if let Some(at) = line.find("acknowledged ").filter(|_| line.ends_with('\n')) {
            let numbers: Vec<u64> =
                line[at..].split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
            acknowledged.push((numbers[0], numbers[1]));
            killer.get_or_insert_with(|| {
                let id = child.id().to_string();
                std::thread::spawn(move || {
                    std::thread::sleep(after);
                    assert!(Command::new("kill").args(["-9", &id]).status().unwrap().success());
                })
            });
        }
        line.clear();
    }
    killer.expect("the child acknowledged nothing").join().unwrap();
    assert!(!child.wait().unwrap().success(), "the child was to be killed");
    acknowledged
}

#[test]
fn what_was_acknowledged_is_there_once_after_kills() {
    if std::env::var_os(CHILD_DIR).is_some() {
        return;
    }
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let cycles = number("MEDULLA_KILL_CYCLES", 8);
    let seed = number("MEDULLA_KILL_SEED", rand::random());
    println!("MEDULLA_KILL_SEED={seed} MEDULLA_KILL_CYCLES={cycles}");
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    raft_ledger::keys::init(&dir.path().join("keys"), &[("a", "127.0.0.1")]).unwrap();
    let mut acknowledged = BTreeMap::new();
    for _ in 0..cycles {
        // Goes back a little: what was under way when killed is appended again, as a sender would.
        let from = acknowledged.keys().next_back().map_or(0, |last: &u64| last.saturating_sub(20));
        let after = Duration::from_millis(rng.gen_range(0..600));
        for (n, index) in run_and_kill(dir.path(), from, after) {
            assert_eq!(*acknowledged.entry(n).or_insert(index), index, "draft {n} has two indices");
        }
    }
    check(dir.path(), &acknowledged);
}

#[tokio::main]
async fn check(dir: &std::path::Path, acknowledged: &BTreeMap<u64, u64>) {
    let ledger = Ledger::open(config(dir)).await.unwrap();
    // Its answer comes after everything that was committed before.
    append(&ledger, vec![draft(u64::MAX)]).await;
    let mut found = BTreeMap::new();
    let mut next = 0;
    loop {
        let entries = ledger.read_from(next, 1000).unwrap();
        let Some(last) = entries.last() else { break };
        next = last.index + 1;
        for entry in entries {
            let Payload::Open(payload) = entry.payload else { panic!("entry {} is sealed", entry.index) };
            let former = found.insert(payload.clone(), entry.index);
            assert_eq!(former, None, "{payload:?} is there twice");
        }
    }
    for (n, index) in acknowledged {
        let payload = bytes::Bytes::from(format!("payload {n}"));
        assert_eq!(found.get(&payload), Some(index), "draft {n} was acknowledged with index {index}");
    }
    println!("{} acknowledged, {} leaves", acknowledged.len(), found.len());
    let report = ledger.verify(&mut |_| {}).unwrap();
    assert!(report.ok, "{:?}", report.findings);
    close(ledger).await;
}
