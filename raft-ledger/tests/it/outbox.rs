//! The outbox: durable at one site, forwarded in order, each once; also when the process is killed.
//!
//! `MEDULLA_KILL_CYCLES` (default 6) and `MEDULLA_KILL_SEED` choose how often and when.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use raft_ledger::{AppendError, Draft, Entry, Ledger, OutboxState, Payload, Stored};

use crate::common::kill::{as_child, config, founded, lives, run_and_kill, tell};
use crate::common::{Consortium, close, draft, entries, wait_for_leader};

/// Puts as an insistent sender does, and waits until it is durable.
async fn put(ledger: &Ledger, drafts: Vec<Draft>) -> Stored {
    loop {
        match ledger.outbox().put(drafts.clone()) {
            Ok(stored) => return stored.await.unwrap(),
            Err(AppendError::OutboxFull { .. } | AppendError::Pushback { .. }) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until nothing waits: what is committed is taken out a moment later.
async fn emptied(ledger: &Ledger) {
    while ledger.outbox().status().entries > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The numbers of `common::draft` that the ledger holds, by index.
fn numbers(ledger: &Ledger) -> Vec<u64> {
    let number = |entry: &Entry| {
        let Payload::Open(payload) = &entry.payload else { panic!("entry {} is sealed", entry.index) };
        let text = std::str::from_utf8(payload).unwrap();
        text.split(' ').nth(1).unwrap().parse().unwrap()
    };
    entries(ledger).iter().map(number).collect()
}

#[tokio::test]
async fn one_site_forwards_at_once() {
    let one = Consortium::new(&["a"]);
    let ledger = one.open(0).await;
    for n in 0..50 {
        put(&ledger, vec![draft(2 * n), draft(2 * n + 1)]).await;
    }
    put(&ledger, vec![draft(99)]).await.committed().await.unwrap();
    assert_eq!(numbers(&ledger), (0..100).collect::<Vec<_>>());
    emptied(&ledger).await;
    let found = ledger.outbox().find(draft(1).dedupe.unwrap()[..16].try_into().unwrap()).unwrap();
    assert!(found.is_none(), "what is committed no longer waits");
    let mut bare = draft(200);
    bare.dedupe = None;
    assert!(matches!(ledger.outbox().put(vec![bare]).err(), Some(AppendError::NoDedupe)));
    close(ledger).await;
    let ledger = one.open(0).await;
    ledger.outbox().left_over_committed().await;
    put(&ledger, vec![draft(100)]).await.committed().await.unwrap();
    assert_eq!(numbers(&ledger), (0..=100).collect::<Vec<_>>());
    let status = ledger.outbox().status();
    assert_eq!((status.state, status.fault), (OutboxState::Normal, None));
    close(ledger).await;
}

/// A quorum that comes and goes, and a site that restarts while nothing can be committed.
#[tokio::test]
async fn without_a_quorum_it_waits_and_drains_in_order() {
    let sites = Consortium::new(&["a", "b", "c"]);
    let ledgers = sites.open_all().await;
    wait_for_leader(&ledgers.iter().collect::<Vec<_>>()).await;
    put(&ledgers[0], vec![draft(0)]).await.committed().await.unwrap();
    let mut ledgers = ledgers.into_iter();
    let a = ledgers.next().unwrap();
    for other in ledgers {
        close(other).await;
    }
    let mut last = None;
    for n in 1..300 {
        last = Some(put(&a, vec![draft(n)]).await);
    }
    let last = tokio::time::timeout(Duration::from_millis(500), last.unwrap().committed()).await;
    assert!(last.is_err(), "nothing is committed without a quorum");
    assert_eq!(a.outbox().status().entries, 299);
    // What came in since the start is waited for once whoever put it puts no more.
    let before = tokio::time::timeout(Duration::from_millis(500), a.outbox().left_over_committed()).await;
    assert!(before.is_ok(), "nothing was left over");
    a.outbox().leave_over();
    let left = tokio::time::timeout(Duration::from_millis(500), a.outbox().left_over_committed()).await;
    assert!(left.is_err(), "it is overtaken");
    let waits = a.outbox().find(draft(7).dedupe.unwrap()[..16].try_into().unwrap()).unwrap().unwrap();
    assert_eq!(waits.payload, draft(7).payload);
    // What waits already is not put twice, however often its sender sends it.
    let bytes = a.outbox().status().bytes;
    put(&a, vec![draft(5)]).await;
    assert_eq!(a.outbox().status().bytes, bytes);
    close(a).await;

    let a = sites.open(0).await;
    let (left_over, entries) = (a.outbox().clone(), a.outbox().status().entries);
    assert_eq!(entries, 299);
    let after = put(&a, vec![draft(300)]).await;
    let (b, c) = (sites.open(1).await, sites.open(2).await);
    left_over.left_over_committed().await;
    after.committed().await.unwrap();
    assert_eq!(numbers(&a), (0..=300).collect::<Vec<_>>());
    crate::common::wait_for_size(&[&b, &c], a.size()).await;
    assert_eq!(b.root_at(a.size()).unwrap(), a.root_at(a.size()).unwrap());
    assert_eq!(c.root_at(a.size()).unwrap(), a.root_at(a.size()).unwrap());
    for ledger in [a, b, c] {
        close(ledger).await;
    }
}

/// Killed between a commit and the removal, and away for so long that the ledger no longer knows the dedupe key:
/// the entries have none here.
#[tokio::test]
async fn what_is_an_entry_already_is_not_forwarded_again() {
    let sites = Consortium::new(&["a", "b"]);
    let (a, b) = (sites.open(0).await, sites.open(1).await);
    // The same second for all of them, and of two alike one is an entry.
    let at_once = |n: u64, payload: u64| Draft {
        event_time_ms: 0,
        message_time_ms: 0,
        received_time_ms: 0,
        payload: Bytes::from(format!("payload {payload}")),
        ..draft(n)
    };
    let waiting: Vec<Draft> = (0..1000).map(|n| at_once(n, n)).chain([at_once(1000, 5)]).collect();
    let committed = waiting[..700].iter().cloned().map(|draft| Draft { dedupe: None, ..draft });
    a.append(committed.collect()).await.unwrap();
    close(a).await;
    close(b).await;
    let a = sites.open(0).await;
    for message in waiting.chunks(100) {
        put(&a, message.to_vec()).await;
    }
    close(a).await;
    let (a, b) = (sites.open(0).await, sites.open(1).await);
    a.outbox().left_over_committed().await;
    assert_eq!(numbers(&a), (0..1000).chain([5]).collect::<Vec<_>>());
    emptied(&a).await;
    let status = a.outbox().status();
    assert_eq!((status.forwarded, status.duplicates), (301, 0));
    close(a).await;
    close(b).await;
}

#[tokio::test]
async fn a_small_outbox_warns_slows_and_refuses_and_loses_nothing() {
    let sites = Consortium::new(&["a", "b"]);
    let mut config = sites.config(0);
    config.outbox_bytes_max = 64 << 10;
    let a = Ledger::open(config).await.unwrap();
    let (mut seen, mut delays, mut taken) = (Vec::new(), Vec::new(), 0);
    let refused = loop {
        let large =
            Draft { payload: Bytes::from(format!("payload {taken} {}", "x".repeat(900))), ..draft(taken) };
        match a.outbox().put(vec![large]) {
            Ok(stored) => {
                taken += 1;
                delays.push(stored.await.unwrap().delay);
            }
            Err(error) => break error,
        }
        let state = a.outbox().status().state;
        if seen.last() != Some(&state) {
            seen.push(state);
        }
    };
    assert_eq!(seen, [OutboxState::Normal, OutboxState::Warn, OutboxState::Slow]);
    assert!(matches!(refused, AppendError::OutboxFull { limit: 65536, .. }), "{refused}");
    assert_eq!(a.outbox().status().state, OutboxState::Refuse);
    assert!(delays.is_sorted() && delays[0].is_zero() && !delays.last().unwrap().is_zero(), "{delays:?}");
    let b = sites.open(1).await;
    put(&a, vec![draft(taken)]).await.committed().await.unwrap();
    assert_eq!(numbers(&a), (0..=taken).collect::<Vec<_>>());
    emptied(&a).await;
    assert_eq!(a.outbox().status().state, OutboxState::Normal);
    close(a).await;
    close(b).await;
}

/// Not a test of its own: what the killed process runs. Does nothing unless the parent asks for it.
#[test]
fn child_puts_until_killed() {
    let Some((dir, from)) = as_child() else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let ledger = Ledger::open(config(&dir)).await.unwrap();
        for n in from.. {
            put(&ledger, vec![draft(n)]).await;
            tell(&[n]);
        }
    });
}

#[test]
fn what_was_stored_is_there_once_and_in_order_after_kills() {
    if as_child().is_some() {
        return;
    }
    let dir = founded();
    let mut next = 0;
    for after in lives(6) {
        // The sender goes on after what was answered: what was under way may be there already.
        next =
            run_and_kill("outbox::child_puts_until_killed", dir.path(), next, after).last().unwrap()[0] + 1;
    }
    check(dir.path(), next);
}

#[tokio::main]
async fn check(dir: &Path, next: u64) {
    let ledger = Ledger::open(config(dir)).await.unwrap();
    ledger.outbox().left_over_committed().await;
    put(&ledger, vec![draft(next)]).await.committed().await.unwrap();
    let found = numbers(&ledger);
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    found.iter().for_each(|n| *times.entry(*n).or_default() += 1);
    assert_eq!(found, (0..=next).collect::<Vec<_>>(), "of {:?}", times.iter().find(|(_, times)| **times > 1));
    println!("{} stored, {} leaves", next, found.len());
    let report = ledger.verify(&mut |_| {}).unwrap();
    assert!(report.ok, "{:?}", report.findings);
    close(ledger).await;
}
