//! Three sites over mutually authenticated TLS on loopback.

use std::collections::BTreeSet;

use raft_ledger::{Ledger, LedgerError, Payload};

use crate::common::{Consortium, append, close, draft, equal_roots, wait_for_leader, wait_for_size};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_site_appends_and_all_agree() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let ledgers = consortium.open_all().await;
    let all: Vec<&Ledger> = ledgers.iter().collect();
    let (a, b, c) = tokio::join!(
        append(all[0], (0..50).map(draft).collect()),
        append(all[1], (50..100).map(draft).collect()),
        append(all[2], (100..150).map(draft).collect()),
    );
    let indices: BTreeSet<u64> = [a, b, c].iter().flatten().map(|outcome| outcome.index).collect();
    assert_eq!(indices, (0..150).collect());
    wait_for_size(&all, 150).await;
    equal_roots(&all, 150);
    // A site opens what it brought in and keeps the rest sealed.
    for ledger in &all {
        let entries = ledger.read_from(0, 1000).unwrap();
        let own = ledger.status().site;
        assert!(entries.iter().all(|entry| matches!(entry.payload, Payload::Open(_)) == (entry.site == own)));
        assert_eq!(entries.len(), 150);
    }
    // The same draft at another site is a duplicate of the first.
    let again = append(all[1], vec![draft(3)]).await[0];
    assert!(again.duplicate);
    let first = &all[0].read_from(again.index, 1).unwrap()[0];
    assert!(matches!(&first.payload, Payload::Open(bytes) if bytes == "payload 3"));
    for ledger in ledgers {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_that_catches_up_misses_nothing_that_any_site_was_told() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let ledgers = consortium.open_all().await;
    let all: Vec<&Ledger> = ledgers.iter().collect();
    append(all[0], vec![draft(0)]).await;
    for n in 1..60 {
        let index = append(all[n % 3], vec![draft(n as u64)]).await[0].index;
        for reader in [(n + 1) % 3, (n + 2) % 3] {
            assert!(all[reader].catch_up().await.unwrap() > index, "entry {index}");
            assert_eq!(all[reader].read_from(index, 1).unwrap()[0].event_time_ms, n as i64);
        }
    }
    // Two are gone: what the last one has may be old, and it says so.
    let mut ledgers = ledgers.into_iter();
    let (last, gone) = (ledgers.next().unwrap(), ledgers);
    for ledger in gone {
        close(ledger).await;
    }
    let error = last.catch_up().await.unwrap_err();
    assert!(matches!(error, LedgerError::Unavailable(_)), "{error}");
    assert_eq!(last.read_from(0, 100).unwrap().len(), 60);
    close(last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_the_leader_the_others_go_on_and_it_catches_up() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let mut ledgers: Vec<Option<Ledger>> = consortium.open_all().await.into_iter().map(Some).collect();
    let all: Vec<&Ledger> = ledgers.iter().flatten().collect();
    append(all[1], (0..20).map(draft).collect()).await;
    let leader = wait_for_leader(&all).await;
    close(ledgers[leader].take().unwrap()).await;

    let rest: Vec<&Ledger> = ledgers.iter().flatten().collect();
    // What was appended before is a duplicate also under the new leader.
    let outcomes = append(rest[0], (10..40).map(draft).collect()).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.duplicate).count(), 10);
    append(rest[1], (40..60).map(draft).collect()).await;

    ledgers[leader] = Some(consortium.open(leader).await);
    let all: Vec<&Ledger> = ledgers.iter().flatten().collect();
    wait_for_size(&all, 60).await;
    equal_roots(&all, 60);
    assert_eq!(append(all[leader], vec![draft(60)]).await[0].index, 60);
    for ledger in ledgers.into_iter().flatten() {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_quorum_nothing_is_acknowledged() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let mut config = consortium.config(0);
    config.append_wait = std::time::Duration::from_millis(1500);
    let alone = Ledger::open(config).await.unwrap();
    assert!(matches!(alone.append(vec![draft(1)]).await, Err(raft_ledger::AppendError::Unavailable { .. })));
    assert_eq!(alone.size(), 0);
    // The same draft after the others have come: once.
    let (b, c) = (consortium.open(1).await, consortium.open(2).await);
    append(&alone, vec![draft(1)]).await;
    wait_for_size(&[&alone, &b, &c], 1).await;
    append(&b, vec![draft(2)]).await;
    assert_eq!(b.size(), 2);
    for ledger in [alone, b, c] {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_site_whose_missing_log_was_purged_catches_up_by_snapshot() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let open = |n: usize| Ledger::open(consortium.config_with_snapshots(n));
    let (a, b, c) = (open(0).await.unwrap(), open(1).await.unwrap(), open(2).await.unwrap());
    append(&a, vec![draft(0)]).await;
    wait_for_size(&[&c], 1).await;
    close(c).await;
    // One batch each, until two snapshots have been taken and the log before the first is gone.
    let mut n = 1;
    while !consortium_has_purged(&a) || !consortium_has_purged(&b) {
        append(&a, vec![draft(n)]).await;
        n += 1;
    }
    let c = open(2).await.unwrap();
    wait_for_size(&[&a, &b, &c], n).await;
    equal_roots(&[&a, &b, &c], n);
    assert_eq!(append(&c, vec![draft(n)]).await[0].index, n);
    close(c).await;
    // What came by snapshot outlives a restart.
    let c = open(2).await.unwrap();
    wait_for_size(&[&c], n + 1).await;
    equal_roots(&[&c], n + 1);
    for ledger in [a, b, c] {
        close(ledger).await;
    }
}

fn consortium_has_purged(ledger: &Ledger) -> bool {
    ledger.status().log_first_index > 3
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wiped_site_is_refused_under_its_old_name() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let (a, b, c) = (consortium.open(0).await, consortium.open(1).await, consortium.open(2).await);
    append(&a, vec![draft(1)]).await;
    wait_for_size(&[&a, &b, &c], 1).await;
    close(c).await;
    std::fs::remove_dir_all(consortium.data(2)).unwrap();
    let mut config = consortium.config(2);
    config.append_wait = std::time::Duration::from_secs(3);
    let wiped = Ledger::open(config).await.unwrap();
    assert!(wiped.append(vec![draft(2)]).await.is_err());
    assert_eq!(wiped.size(), 0, "a wiped site was served");
    // The others still have their quorum.
    append(&b, vec![draft(3)]).await;
    for ledger in [a, b, wiped] {
        close(ledger).await;
    }
}
