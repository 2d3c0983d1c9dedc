//! Who stands in for a site that is gone: what the leader says, what every replica reads, what the return ends.

use std::time::Duration;

use raft_ledger::{Config, Entry, Lease, Ledger, Payload, TAKEOVER};

use crate::common::{Consortium, append, close, draft, equal_roots, wait_for_leader, wait_for_size};

/// Longer than a busy machine keeps a living site waiting.
const AFTER: Duration = Duration::from_secs(5);

fn config(sites: &Consortium, n: usize) -> Config {
    Config { takeover_after: Some(AFTER), ..sites.config(n) }
}

/// `a>b` for each lease in effect.
fn leases(ledger: &Ledger) -> Vec<String> {
    let now = ledger.leases_before(ledger.size()).unwrap();
    now.iter().map(|Lease { site, holder, .. }| format!("{site}>{holder}")).collect()
}

async fn until(ledgers: &[&Ledger], expected: &[&str]) {
    for ledger in ledgers {
        while leases(ledger) != expected {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn said(ledger: &Ledger) -> Vec<Entry> {
    let mut entries = ledger.read_from(0, 10_000).unwrap();
    entries.retain(|entry| entry.kind == TAKEOVER);
    assert!(entries.iter().all(|entry| matches!(entry.payload, Payload::Open(_))), "everybody reads it");
    entries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_is_gone_is_stood_in_for_until_it_returns() {
    let sites = Consortium::new(&["a", "b", "c"]);
    let mut ledgers = Vec::new();
    for n in 0..3 {
        ledgers.push(Some(Ledger::open(config(&sites, n)).await.unwrap()));
    }
    let all: Vec<&Ledger> = ledgers.iter().flatten().collect();
    append(all[0], (0..10).map(draft).collect()).await;
    let leader = wait_for_leader(&all).await;
    assert!(said(all[0]).is_empty(), "nobody is gone");

    // The leader itself goes, so that another one must notice.
    close(ledgers[leader].take().unwrap()).await;
    let rest: Vec<&Ledger> = ledgers.iter().flatten().collect();
    let name = |n: usize| ["a", "b", "c"][n];
    let expected = format!("{}>{}", name(leader), name((leader + 1) % 3));
    until(&rest, &[&expected]).await;
    append(rest[0], (10..20).map(draft).collect()).await;
    assert_eq!(leases(rest[0]), [expected]);
    let lease = rest[0].leases_before(rest[0].size()).unwrap().remove(0);
    assert!(rest[0].leases_before(lease.from).unwrap().is_empty(), "it begins behind its leaf");
    assert_eq!(said(rest[0]).first().map(|entry| entry.index), Some(lease.from));

    ledgers[leader] = Some(Ledger::open(config(&sites, leader)).await.unwrap());
    let all: Vec<&Ledger> = ledgers.iter().flatten().collect();
    until(&all, &[]).await;
    // By its own word, or because the leader hears of it again, whichever is first. Not asked at the site itself, which may
    // have read no further than before it went.
    let other = all[(leader + 1) % 3];
    let is_over = |index: &u64| other.leases_before(index + 1).unwrap().is_empty();
    let returned = (lease.from..other.size()).find(is_over).unwrap();
    for ledger in &all {
        wait_for_size(&[ledger], returned + 1).await;
        // The past stays as it was.
        assert_eq!(ledger.leases_before(returned).unwrap(), std::slice::from_ref(&lease));
        assert!(ledger.leases_before(returned + 1).unwrap().is_empty());
    }
    let size = all.iter().map(|ledger| ledger.size()).max().unwrap();
    wait_for_size(&all, size).await;
    equal_roots(&all, size);
    for ledger in ledgers.into_iter().flatten() {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_site_names_who_stands_in_for_it() {
    let sites = Consortium::new(&["a", "b", "c"]);
    let named = Config { partner: Some("c".into()), ..config(&sites, 0) };
    let a = Ledger::open(named).await.unwrap();
    let b = Ledger::open(config(&sites, 1)).await.unwrap();
    let c = Ledger::open(config(&sites, 2)).await.unwrap();
    while said(&a).is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    close(a).await;
    until(&[&b, &c], &["a>c"]).await;
    // Opened again, the ledger says the same.
    close(c).await;
    let c = Ledger::open(config(&sites, 2)).await.unwrap();
    until(&[&b, &c], &["a>c"]).await;
    for ledger in [b, c] {
        close(ledger).await;
    }
}
