//! kill -9 at random moments: whatever was acknowledged is there, once, after the site was opened again.
//!
//! `MEDULLA_KILL_CYCLES` (default 8) and `MEDULLA_KILL_SEED` choose how often and when.

use std::collections::BTreeMap;

use raft_ledger::{Ledger, Payload};

use crate::common::kill::{as_child, config, founded, lives, run_and_kill, tell};
use crate::common::{append, close, draft, entries};

/// Appends that a child has under way at a time.
const AT_ONCE: u64 = 8;

/// Not a test of its own: what the killed process runs. Does nothing unless the parent asks for it.
#[test]
fn child_appends_until_killed() {
    let Some((dir, from)) = as_child() else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let ledger = Ledger::open(config(&dir)).await.unwrap();
        let writers = (0..AT_ONCE).map(|writer| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for n in (from + writer..).step_by(AT_ONCE as usize) {
                    let outcome = append(&ledger, vec![draft(n)]).await[0];
                    tell(&[n, outcome.index]);
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

#[test]
fn what_was_acknowledged_is_there_once_after_kills() {
    if as_child().is_some() {
        return;
    }
    let dir = founded();
    let mut acknowledged = BTreeMap::new();
    for after in lives(8) {
        // Goes back a little: what was under way when killed is appended again, as a sender would.
        let from = acknowledged.keys().next_back().map_or(0, |last: &u64| last.saturating_sub(20));
        for told in run_and_kill("kill::child_appends_until_killed", dir.path(), from, after) {
            let (n, index) = (told[0], told[1]);
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
    for entry in entries(&ledger) {
        let Payload::Open(payload) = entry.payload else { panic!("entry {} is sealed", entry.index) };
        let former = found.insert(payload.clone(), entry.index);
        assert_eq!(former, None, "{payload:?} is there twice");
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
