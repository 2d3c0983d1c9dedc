//! Keys at the partner: what was acknowledged is readable after any one of three sites is lost, and what was shredded
//! is readable nowhere.
//!
//! `MEDULLA_KILL_CYCLES` (default 4) and `MEDULLA_KILL_SEED` choose how often and when the process is killed.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use raft_ledger::{Draft, KeyCopies, Ledger, LedgerError, Payload, Shredded, Subject};

use crate::common::kill::{as_child, lives, run_and_kill, tell};
use crate::common::{Consortium, append, close, draft, entries, holders, wait_for_size};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// A subject of its own for each number.
fn fresh(n: u64) -> Draft {
    let mut subject = [0; 32];
    subject[..8].copy_from_slice(&n.to_be_bytes());
    Draft { subject: Subject(subject), payload: payload(n), ..draft(n) }
}

fn payload(n: u64) -> Bytes {
    Bytes::from(format!("what is said of {n}"))
}

/// Numbers of the entries of site `a` that the ledger opens with a key that it holds for it.
fn entrusted(ledger: &Ledger) -> Vec<u64> {
    let of_a = entries(ledger).into_iter().filter(|entry| entry.site == "a");
    let open = of_a.filter_map(|entry| match &entry.payload {
        Payload::Entrusted(found) => {
            assert_eq!(*found, payload(entry.event_time_ms as u64));
            Some(entry.event_time_ms as u64)
        }
        Payload::Open(_) => panic!("an entry of another site is open"),
        Payload::Sealed | Payload::Shredded | Payload::Shred { .. } => None,
    });
    open.collect()
}

fn own(ledger: &Ledger) -> Vec<u64> {
    let own = entries(ledger).into_iter().filter(|entry| matches!(entry.payload, Payload::Open(_)));
    own.map(|entry| entry.event_time_ms as u64).collect()
}

fn keys(ledger: &Ledger) -> KeyCopies {
    ledger.status().keys
}

fn held_for_a(ledger: &Ledger) -> u64 {
    keys(ledger).held.get("a").copied().unwrap_or_default()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1_200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within a minute: {what}");
}

async fn shred(ledger: &Ledger, n: u64) -> Shredded {
    loop {
        match ledger.shred(&[fresh(n).subject], Vec::new(), "").await {
            Ok(shredded) => return shredded.expect("a key to destroy"),
            Err(LedgerError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_partner_reads_what_a_lost_site_had_acknowledged() {
    let sites = Consortium::new(&NAMES);
    let mut ledgers = sites.open_all().await.into_iter();
    let (a, b, c) = (ledgers.next().unwrap(), ledgers.next().unwrap(), ledgers.next().unwrap());
    append(&a, (0..200).map(fresh).collect()).await;
    wait_for_size(&[&b, &c], 200).await;
    // At this moment, whichever of them holds a key: the two others, one of which may be lost as well as `a`.
    let mut readable = [entrusted(&b), entrusted(&c)].concat();
    readable.sort_unstable();
    readable.dedup();
    assert_eq!(readable, (0..200).collect::<Vec<_>>());
    until("all keys are at the partner", || keys(&a).not_at_partner == 0).await;
    assert_eq!((keys(&a).partner.as_deref(), keys(&a).own), (Some("b"), 200));
    until("the other holds none", || held_for_a(&c) == 0).await;

    close(a).await;
    sites.wipe(0);
    assert_eq!((held_for_a(&b), entrusted(&b).len(), entrusted(&c).len()), (200, 200, 0));
    close(b).await;
    let b = sites.open(1).await;
    assert_eq!(entrusted(&b), (0..200).collect::<Vec<_>>(), "after a restart, too");
    close(b).await;
    close(c).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_partner_is_whom_the_site_names() {
    let sites = Consortium::new(&NAMES);
    let a = Ledger::open(raft_ledger::Config { partner: Some("c".into()), ..sites.config(0) }).await.unwrap();
    let (b, c) = (sites.open(1).await, sites.open(2).await);
    append(&a, (0..20).map(fresh).collect()).await;
    until("all keys are at the partner alone", || keys(&a).not_at_partner == 0 && held_for_a(&b) == 0).await;
    wait_for_size(&[&b, &c], 20).await;
    assert_eq!((entrusted(&b).len(), entrusted(&c).len()), (0, 20));
    for ledger in [a, b, c] {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_partner_is_down_the_next_voter_stands_in() {
    let sites = Consortium::new(&NAMES);
    let mut ledgers = sites.open_all().await.into_iter();
    let (a, b, c) = (ledgers.next().unwrap(), ledgers.next().unwrap(), ledgers.next().unwrap());
    append(&a, (0..10).map(fresh).collect()).await;
    until("all keys are at the partner", || keys(&a).not_at_partner == 0 && held_for_a(&c) == 0).await;
    close(b).await;
    append(&a, (10..35).map(fresh).collect()).await;
    wait_for_size(&[&c], 35).await;
    assert_eq!(entrusted(&c), (10..35).collect::<Vec<_>>());
    assert_eq!((keys(&a).not_at_partner, held_for_a(&c)), (25, 25));

    let b = sites.open(1).await;
    until("all keys are at the partner", || keys(&a).not_at_partner == 0).await;
    until("the stand-in has destroyed its copies", || held_for_a(&c) == 0).await;
    wait_for_size(&[&b], 35).await;
    assert_eq!((entrusted(&b).len(), entrusted(&c).len()), (35, 0));
    // It lost its keys, or an old image of them is put back: it gets them again.
    close(b).await;
    std::fs::remove_file(sites.data(1).join("subjects.keys")).unwrap();
    let b = sites.open(1).await;
    until("the partner has got them again", || held_for_a(&b) == 35).await;
    assert_eq!(entrusted(&b).len(), 35);
    for ledger in [a, b, c] {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_site_that_lost_its_keys_takes_them_back() {
    let sites = Consortium::new(&NAMES);
    let mut ledgers = sites.open_all().await.into_iter();
    let (a, b, c) = (ledgers.next().unwrap(), ledgers.next().unwrap(), ledgers.next().unwrap());
    append(&a, (0..40).map(fresh).collect()).await;
    let gone = shred(&a, 3).await;
    assert_eq!(gone.keys, 1);
    close(a).await;
    std::fs::remove_file(sites.data(0).join("subjects.keys")).unwrap();
    let a = sites.open(0).await;
    until("the keys are back", || keys(&a).own == 39).await;
    assert_eq!(own(&a), (0..40).filter(|n| *n != 3).collect::<Vec<_>>());
    // They open; what comes in is sealed under a new one, and shredding destroys both.
    append(&a, vec![Draft { subject: fresh(7).subject, ..fresh(100) }]).await;
    assert_eq!(shred(&a, 7).await.keys, 2);
    until("nothing of it is held", || held_for_a(&b) + held_for_a(&c) == 38).await;
    for ledger in [a, b, c] {
        close(ledger).await;
    }
}

/// Without a quorum the outbox is sealed under keys that are here alone; they are at the partner before it is forwarded.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_waits_in_the_outbox_brings_its_keys_along() {
    let sites = Consortium::new(&NAMES);
    let mut ledgers = sites.open_all().await.into_iter();
    let (a, b, c) = (ledgers.next().unwrap(), ledgers.next().unwrap(), ledgers.next().unwrap());
    append(&a, vec![fresh(0)]).await;
    close(b).await;
    close(c).await;
    for n in 1..20 {
        match a.outbox().put(vec![fresh(n)]) {
            Ok(stored) => drop(stored.await.unwrap()),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(keys(&a).own == 20 && keys(&a).not_at_partner >= 19);
    // Not the partner.
    let c = sites.open(2).await;
    until("the outbox has drained", || a.outbox().status().entries == 0).await;
    wait_for_size(&[&c], 20).await;
    assert!(entrusted(&c).len() >= 19, "{:?}", entrusted(&c));
    close(a).await;
    close(c).await;
}

#[tokio::test]
async fn a_site_alone_waits_for_nobody_and_hands_its_keys_over_when_it_is_joined() {
    let sites = Consortium::new(&["a", "b"]);
    let alone = raft_ledger::Config { peers: Vec::new(), ..sites.config(0) };
    let a = Ledger::open(alone).await.unwrap();
    append(&a, (0..10).map(fresh).collect()).await;
    assert_eq!(keys(&a), KeyCopies { own: 10, ..KeyCopies::default() });
    let b = Ledger::open(raft_ledger::Config { initialise: false, ..sites.config(1) }).await.unwrap();
    crate::common::add(&a, "b", Some(sites.address(1))).await.unwrap();
    wait_for_size(&[&b], 10).await;
    assert_eq!(held_for_a(&b), 0, "learners get none");
    crate::common::promote(&a, "b").await;
    until("the new voter holds them", || held_for_a(&b) == 10).await;
    until("and that is known", || keys(&a).not_at_partner == 0).await;
    assert_eq!((keys(&a).partner.as_deref(), entrusted(&b).len()), (Some("b"), 10));
    close(a).await;
    close(b).await;
}

/// The records of a key store, each by its subject's number with the wrapped key (keystore/file.rs).
fn wrapped_keys(file: &Path) -> Vec<(u64, Vec<u8>)> {
    const RECORD: usize = 109;
    let bytes = std::fs::read(file).unwrap();
    let (mut found, mut at) = (Vec::new(), if bytes[7] == 1 { 24 } else { 36 });
    while at < bytes.len() {
        let len = u32::from_be_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        let body = &bytes[at + 16..at + 16 + len];
        let name = body.len() % RECORD;
        found.extend(
            body[name..]
                .chunks(RECORD)
                .map(|record| (u64::from_be_bytes(record[1..9].try_into().unwrap()), record[61..].to_vec())),
        );
        at += 16 + len;
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_shredded_is_destroyed_at_the_partner_and_at_who_stood_in() {
    let sites = Consortium::new(&NAMES);
    let mut ledgers = sites.open_all().await.into_iter();
    let (a, b, c) = (ledgers.next().unwrap(), ledgers.next().unwrap(), ledgers.next().unwrap());
    append(&a, (0..10).map(fresh).collect()).await;
    until("all keys are at the partner", || keys(&a).not_at_partner == 0 && held_for_a(&c) == 0).await;
    close(b).await;
    append(&a, (10..20).map(fresh).collect()).await;
    let store = |n: usize| sites.data(n).join("subjects.keys");
    let mut gone = Vec::new();
    for n in 0..3 {
        let of_both = wrapped_keys(&store(n)).into_iter().filter(|(subject, _)| [3, 13].contains(subject));
        gone.extend(of_both.map(|(_, key)| key));
    }
    assert_eq!(gone.len(), 4, "two at home, one at the partner, one in its stead");
    assert_eq!(holders(sites.dir.path(), &gone).len(), 3);
    let image = sites.dir.path().join("old-image.keys");
    std::fs::copy(store(1), &image).unwrap();

    // The partner is down meanwhile.
    shred(&a, 3).await;
    let last = shred(&a, 13).await.index;
    wait_for_size(&[&c], last + 1).await;
    until("it is gone where it was held in the partner's stead", || held_for_a(&c) == 9).await;
    let b = sites.open(1).await;
    wait_for_size(&[&b], last + 1).await;
    until("all that is left is at the partner", || held_for_a(&b) == 18 && held_for_a(&c) == 0).await;
    close(b).await;
    std::fs::copy(&image, store(1)).unwrap();
    let b = sites.open(1).await;
    until("the old image has been made good", || held_for_a(&b) == 18 && keys(&a).not_at_partner == 0).await;
    let shredded = |ledger: &Ledger| {
        let of_a = entries(ledger).into_iter().filter(|entry| matches!(entry.payload, Payload::Shredded));
        of_a.map(|entry| entry.event_time_ms).collect::<Vec<_>>()
    };
    for ledger in [&a, &b, &c] {
        assert_eq!(shredded(ledger), [3, 13]);
    }
    std::fs::remove_file(&image).unwrap();
    for ledger in [a, b, c] {
        close(ledger).await;
    }
    assert_eq!(holders(sites.dir.path(), &gone), Vec::<String>::new());
}

fn addresses_file(dir: &Path) -> std::path::PathBuf {
    dir.join("addresses")
}

/// Not a test of its own: site `a`, which a process runs until it is killed. Does nothing unless the parent asks for it.
#[test]
fn child_appends_until_killed() {
    let Some((dir, from)) = as_child() else { return };
    let addresses: Vec<String> =
        std::fs::read_to_string(addresses_file(&dir)).unwrap().lines().map(str::to_owned).collect();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let names = NAMES.map(str::to_owned);
        let ledger = Ledger::open(crate::common::config(&dir, &names, &addresses, 0)).await.unwrap();
        for n in from.. {
            append(&ledger, vec![fresh(n)]).await;
            tell(&[n]);
        }
    });
}

/// Killed at any moment, also between making a key and handing it over: what was answered is readable elsewhere.
#[test]
fn kills_leave_nothing_that_was_acknowledged_unreadable() {
    if as_child().is_some() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sites = Consortium::new(&NAMES);
    let addresses: Vec<&str> = (0..3).map(|n| sites.address(n)).collect();
    std::fs::write(addresses_file(sites.dir.path()), addresses.join("\n")).unwrap();
    let (b, c) = runtime.block_on(async { (sites.open(1).await, sites.open(2).await) });
    let mut next = 0;
    for after in lives(4) {
        let told = run_and_kill("partner::child_appends_until_killed", sites.dir.path(), next, after);
        let told: Vec<u64> = told.into_iter().flatten().collect();
        next = told.last().unwrap() + 1;
        runtime.block_on(async {
            let (at_b, at_c) = (wait_readable(&b, &c, next).await, told.len());
            println!("{at_c} answered, {at_b} of all readable without their site");
        });
    }
    runtime.block_on(async {
        close(b).await;
        close(c).await;
    });
}

/// Every number that was answered, all below `next`, is readable at one of the two.
async fn wait_readable(b: &Ledger, c: &Ledger, next: u64) -> usize {
    until("what was committed is applied here", || b.size() == c.size() && b.size() >= next).await;
    let mut readable = [entrusted(b), entrusted(c)].concat();
    readable.sort_unstable();
    readable.dedup();
    let all: Vec<u64> = (0..next).collect();
    let lost: Vec<&u64> = all.iter().filter(|n| readable.binary_search(n).is_err()).collect();
    assert!(lost.is_empty(), "answered and unreadable: {lost:?}");
    readable.len()
}
