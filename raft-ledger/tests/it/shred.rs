//! Shredding: what it makes unreadable, what it loses (nothing else), and what no old image brings back.
//!
//! `MEDULLA_KILL_CYCLES` (default 6) and `MEDULLA_KILL_SEED` choose how often and when the process is killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ledger_verifier::{Keys, judge_export, judge_receipt};
use raft_ledger::keys::SiteKeys;
use raft_ledger::{
    AppendError, Config, Draft, Entry, Ledger, LedgerError, Payload, SHRED, Shredded, Subject, restore,
};

use crate::common::kill::{as_child, config, founded, lives, run_and_kill, tell};
use crate::common::{Consortium, add, append, close, draft, entries, holders, promote, wait_for_size};

/// What no disk may hold in the clear.
const SECRET: &str = "what nobody shall read";

/// Its number is its event time: legible also when nobody can read the payload.
fn secret(n: u64, subject: u8) -> Draft {
    let payload = Bytes::from(format!("{SECRET} {n}"));
    Draft { subject: Subject([subject; 32]), payload, ..draft(n) }
}

async fn shred(ledger: &Ledger, subject: u8) -> Option<Shredded> {
    loop {
        match ledger.shred(&[Subject([subject; 32])], Vec::new(), "ada").await {
            Ok(shredded) => return shredded,
            Err(LedgerError::Unavailable(_) | LedgerError::Unconfirmed(_)) => {
                tokio::time::sleep(Duration::from_millis(50)).await
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Of this site's own entries exactly those are unreadable that came before their subject was shredded. `subject_of`: of
/// the draft with this number. Numbers in the order of the ledger; whether each can be read.
fn check(ledger: &Ledger, subject_of: impl Fn(u64) -> u8) -> Vec<(u64, bool)> {
    let site = ledger.status().site;
    let own: Vec<Entry> = entries(ledger).into_iter().filter(|entry| entry.site == site).collect();
    let mut last_shred: BTreeMap<u8, u64> = BTreeMap::new();
    for entry in &own {
        if let Payload::Shred { subjects, .. } = &entry.payload {
            assert_eq!(entry.kind, SHRED);
            last_shred.extend(subjects.iter().map(|subject| (subject.0[0], entry.index)));
        }
    }
    let mut found = Vec::new();
    for entry in own.iter().filter(|entry| entry.kind != SHRED) {
        let number = entry.event_time_ms as u64;
        let shredded = last_shred.get(&subject_of(number)).is_some_and(|at| *at > entry.index);
        match &entry.payload {
            Payload::Open(payload) => {
                assert!(!shredded, "entry {} is readable after its subject was shredded", entry.index);
                assert_eq!(payload, &secret(number, 0).payload);
            }
            Payload::Shredded => assert!(shredded, "entry {} is lost", entry.index),
            Payload::Entrusted(_) | Payload::Sealed | Payload::Shred { .. } => {
                panic!("entry {} has no key", entry.index)
            }
        }
        found.push((number, !shredded));
    }
    found
}

/// The wrapped keys in a key store's file, by subject (keystore/file.rs).
fn wrapped_keys(file: &Path) -> Vec<(u8, Vec<u8>)> {
    const RECORD: usize = 109;
    let bytes = std::fs::read(file).unwrap();
    let (mut found, mut at) = (Vec::new(), 24);
    // A frame that is still being appended is none yet.
    while let Some(len) = bytes.get(at + 4..at + 8) {
        let len = u32::from_be_bytes(len.try_into().unwrap()) as usize;
        let Some(body) = bytes.get(at + 16..at + 16 + len) else { break };
        found.extend(body.chunks(RECORD).map(|record| (record[1], record[61..].to_vec())));
        at += 16 + len;
    }
    found
}

async fn covered(ledger: &Ledger, size: u64) {
    while ledger.checkpoint().is_none_or(|checkpoint| checkpoint.size < size) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn of(n: u64) -> u8 {
    (n % 7) as u8
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_shredded_is_unreadable_at_every_site_and_every_proof_holds() {
    let sites = Consortium::new(&["a", "b", "c"]);
    let ledgers = sites.open_all().await;
    let all: Vec<&Ledger> = ledgers.iter().collect();
    let (a, b) = (all[0], all[1]);
    append(a, (0..70).map(|n| secret(n, of(n))).collect()).await;
    // The same subject at another site, under that site's key.
    append(b, (100..114).map(|n| secret(n, of(n))).collect()).await;
    wait_for_size(&all, 84).await;
    covered(a, 84).await;
    let receipt = a.prove(3).unwrap();
    let store = sites.data(0).join("subjects.keys");
    let gone: Vec<Vec<u8>> =
        wrapped_keys(&store).into_iter().filter(|(subject, _)| *subject == 3).map(|(_, key)| key).collect();
    assert_eq!((gone.len(), holders(sites.dir.path(), &gone).len()), (1, 1));

    let shredded = shred(a, 3).await.unwrap();
    assert_eq!((shredded.index, shredded.keys), (84, 1));
    assert_eq!(shred(a, 3).await, None, "there is nothing left to destroy");
    assert_eq!(shred(a, 99).await, None);
    wait_for_size(&all, 85).await;
    assert_eq!(check(a, of).iter().filter(|(_, readable)| !readable).count(), 10);
    assert!(check(b, of).iter().all(|(_, readable)| *readable), "what another site keeps is its own affair");
    append(a, vec![secret(200, 3)]).await;
    assert_eq!(check(a, of_with_200).last(), Some(&(200, true)), "a new key for what comes afterwards");
    wait_for_size(&all, 86).await;
    for ledger in &all {
        // Entry 84 is seen and obeyed wherever it was read.
        let seen = entries(ledger);
        let of_a = seen.iter().filter(|entry| entry.site == "a" && entry.kind != SHRED);
        let unreadable = of_a.filter(|entry| matches!(entry.payload, Payload::Shredded)).count();
        let site = ledger.status().site;
        assert_eq!(unreadable, 10, "at site {site}");
        assert!(
            matches!(&seen[84].payload, Payload::Shred { subjects, by } if *subjects == [Subject([3; 32])] && by == "ada"),
            "at site {site}"
        );
        assert_eq!(ledger.root_at(86).unwrap(), a.root_at(86).unwrap());
        let report = ledger.verify(&mut |_| {}).unwrap();
        assert!(report.ok, "{:?}", report.findings);
    }
    covered(a, 86).await;
    let keys = Keys::parse(&SiteKeys::load(&sites.config(0).keys).unwrap().verifier_keys()).unwrap();
    for proof in [receipt, a.prove(3).unwrap(), a.prove(84).unwrap()] {
        judge_receipt(proof.as_bytes(), &keys, 2).unwrap();
    }
    let export = sites.dir.path().join("export");
    a.export(&export, &mut |_| {}).unwrap();
    let report = judge_export(&export, &keys, &mut |_| {}).unwrap();
    assert!(report.ok && report.size == 86, "{:?}", report.findings);
    let plain = SECRET.as_bytes().to_vec();
    assert_eq!(holders(sites.dir.path(), &[gone, vec![plain]].concat()), Vec::<String>::new());
    for ledger in ledgers {
        close(ledger).await;
    }
    let a = sites.open(0).await;
    assert_eq!(check(&a, of_with_200).iter().filter(|(_, readable)| !readable).count(), 10);
    close(a).await;
}

fn of_with_200(n: u64) -> u8 {
    if n == 200 { 3 } else { of(n) }
}

/// Backups: of the key store alone, of everything that a site has, and of the ledger beside that key store.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_old_image_brings_a_key_back() {
    let sites = Consortium::new(&["a", "b", "c"]);
    let ledgers = sites.open_all().await;
    append(&ledgers[0], (0..14).map(|n| secret(n, of(n))).collect()).await;
    let backup = sites.dir.path().join("backup");
    ledgers[0].backup(&backup, &mut |_, _| ()).unwrap();
    for ledger in ledgers {
        close(ledger).await;
    }
    let (data, image) = (sites.data(0), sites.dir.path().join("image"));
    copy(&data, &image);
    let store = data.join("subjects.keys");
    let gone: Vec<Vec<u8>> =
        wrapped_keys(&store).into_iter().filter(|(subject, _)| *subject == 3).map(|(_, key)| key).collect();

    let ledgers = sites.open_all().await;
    let index = shred(&ledgers[0], 3).await.unwrap().index;
    for ledger in ledgers {
        close(ledger).await;
    }
    let readable = |ledger: &Ledger| check(ledger, of).iter().filter(|(_, readable)| *readable).count();

    std::fs::copy(image.join("subjects.keys"), &store).unwrap();
    assert_eq!(holders(&data, &gone).len(), 1, "the image holds the key");
    let ledgers = sites.open_all().await;
    wait_for_size(&[&ledgers[0]], index + 1).await;
    assert_eq!(readable(&ledgers[0]), 12);
    for ledger in ledgers {
        close(ledger).await;
    }
    assert_eq!(holders(&data, &gone), Vec::<String>::new());

    std::fs::remove_dir_all(&data).unwrap();
    copy(&image, &data);
    // Whoever leads may have noted what this site has acknowledged since, or not yet: then it refuses this log, as it
    // says. So the site does at once what it would be told to do.
    std::fs::remove_dir_all(data.join("raftdb")).unwrap();
    let ledgers = sites.open_all().await;
    add(&ledgers[1], "a", None).await.unwrap();
    promote(&ledgers[1], "a").await;
    wait_for_size(&[&ledgers[0]], index + 1).await;
    assert_eq!(readable(&ledgers[0]), 12);
    append(&ledgers[0], vec![secret(17, 3)]).await;
    assert_eq!(readable(&ledgers[0]), 13, "and what comes in afterwards is kept");
    let size = ledgers[0].size();
    for ledger in ledgers {
        close(ledger).await;
    }
    assert_eq!(holders(&data, &gone), Vec::<String>::new());

    let unreadable = [gone.clone(), vec![SECRET.as_bytes().to_vec()]].concat();
    assert_eq!(holders(&backup, &unreadable), Vec::<String>::new());
    std::fs::remove_dir_all(&data).unwrap();
    restore(&backup, &sites.config(0), false, &mut |_, _| ()).unwrap();
    std::fs::copy(image.join("subjects.keys"), &store).unwrap();
    let (b, c, a) = (sites.open(1).await, sites.open(2).await, sites.open(0).await);
    add(&b, "a", None).await.unwrap();
    promote(&b, "a").await;
    wait_for_size(&[&a], size).await;
    // The key of what came in afterwards is in no backup: it comes back from whoever holds it, and no other does.
    let is_sealed = |entry: &Entry| entry.site == "a" && matches!(entry.payload, Payload::Sealed);
    while entries(&a).iter().any(is_sealed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(readable(&a), 13);
    for ledger in [a, b, c] {
        close(ledger).await;
    }
    assert_eq!(holders(&data, &unreadable), Vec::<String>::new());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// Through the outbox and past it, of the subject that is being shredded again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_that_come_in_meanwhile_are_never_lost() {
    let sites = Consortium::new(&["a"]);
    let ledger = sites.open(0).await;
    let next = AtomicU64::new(0);
    let stop = AtomicU64::new(0);
    let subject = |n: u64| (n % 2) as u8;
    let through_outbox = async {
        while stop.load(Ordering::Relaxed) == 0 {
            let n = next.fetch_add(1, Ordering::Relaxed);
            put(&ledger, secret(n, subject(n))).await;
        }
    };
    let past_it = async {
        while stop.load(Ordering::Relaxed) == 0 {
            let n = next.fetch_add(1, Ordering::Relaxed);
            append(&ledger, vec![secret(n, subject(n))]).await;
        }
    };
    let shredding = async {
        let mut done = 0;
        while done < 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            done += usize::from(shred(&ledger, 1).await.is_some());
        }
        stop.store(1, Ordering::Relaxed);
    };
    tokio::join!(through_outbox, past_it, shredding);
    let last = next.load(Ordering::Relaxed);
    put(&ledger, secret(last, subject(last))).await;
    while ledger.outbox().status().entries > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let found = check(&ledger, subject);
    let mut numbers: Vec<u64> = found.iter().map(|(n, _)| *n).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..=last).collect::<Vec<_>>(), "each once");
    let readable = found.iter().filter(|(_, readable)| *readable).count() as u64;
    println!("{} messages, {} of them shredded in 20 goes", last + 1, last + 1 - readable);
    assert!(readable > last / 2 && readable < last);
    assert_eq!(ledger.outbox().status().fault, None);
    assert!(ledger.verify(&mut |_| {}).unwrap().ok);
    close(ledger).await;
}

async fn put(ledger: &Ledger, draft: Draft) {
    loop {
        match ledger.outbox().put(vec![draft.clone()]) {
            Ok(stored) => return drop(stored.await.unwrap()),
            Err(AppendError::OutboxFull { .. } | AppendError::Pushback { .. }) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn without_a_quorum_nothing_is_destroyed() {
    let sites = Consortium::new(&["a", "b"]);
    let (a, b) = (sites.open(0).await, sites.open(1).await);
    append(&a, vec![secret(0, 0)]).await;
    close(b).await;
    let refused =
        tokio::time::timeout(Duration::from_millis(500), a.shred(&[Subject([0; 32])], vec![], "ada")).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(check(&a, of), [(0, true)]);
    // What was given up holds nothing up.
    put(&a, secret(1, 0)).await;
    let b = sites.open(1).await;
    assert!(shred(&a, 0).await.is_some());
    put(&a, secret(2, 0)).await;
    while a.outbox().status().entries > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(check(&a, |_| 0), [(0, false), (1, false), (2, true)]);
    close(a).await;
    close(b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_feeds_go_on_and_the_answer_says_what_is_known() {
    let sites = Consortium::new(&["a", "b"]);
    let config = Config { append_wait: Duration::from_millis(500), ..sites.config(0) };
    let (a, b) = (Ledger::open(config).await.unwrap(), sites.open(1).await);
    append(&a, vec![secret(0, 0)]).await;
    close(b).await;
    let subjects = [Subject([0; 32])];
    // First with an empty outbox, then with one that does not drain.
    for n in 1..4 {
        let mut shredding = std::pin::pin!(a.shred(&subjects, Vec::new(), "ada"));
        tokio::select! {
            biased;
            done = &mut shredding => panic!("it held up a feed until its end: {done:?}"),
            () = put(&a, secret(n, 0)) => {}
        }
        match (n, shredding.await) {
            (1, Err(LedgerError::Unconfirmed(text))) => assert!(text.contains("no quorum"), "{text}"),
            (2 | 3, Err(LedgerError::Unavailable(text))) => assert!(text.contains("not shredded"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    let b = sites.open(1).await;
    while a.outbox().status().entries > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What was ordered is done, and nothing beyond it.
    assert_eq!(check(&a, |_| 0), [(0, false), (1, true), (2, true), (3, true)]);
    assert!(shred(&a, 0).await.is_some());
    assert_eq!(check(&a, |_| 0), [(0, false), (1, false), (2, false), (3, false)]);
    close(a).await;
    close(b).await;
}

/// Not a test of its own: what the killed process runs. Does nothing unless the parent asks for it.
#[test]
fn child_shreds_until_killed() {
    let Some((dir, from)) = as_child() else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let ledger = Ledger::open(config(&dir)).await.unwrap();
        let shredding = async {
            for n in from.. {
                tokio::time::sleep(Duration::from_millis(n % 13)).await;
                shred(&ledger, (n % 3) as u8).await;
            }
        };
        let putting = async {
            for n in from.. {
                put(&ledger, secret(n, (n % 3) as u8)).await;
                tell(&[n]);
            }
        };
        tokio::join!(shredding, putting);
    });
}

#[test]
fn kills_neither_lose_a_message_nor_keep_one_that_was_shredded() {
    if as_child().is_some() {
        return;
    }
    let dir = founded();
    let mut next = 0;
    for after in lives(6) {
        next =
            run_and_kill("shred::child_shreds_until_killed", dir.path(), next, after).last().unwrap()[0] + 1;
        after_kill(dir.path(), next);
    }
}

#[tokio::main]
async fn after_kill(dir: &Path, next: u64) {
    let ledger = Ledger::open(config(dir)).await.unwrap();
    ledger.outbox().left_over_committed().await;
    put(&ledger, secret(next, (next % 3) as u8)).await;
    while ledger.outbox().status().entries > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let found = check(&ledger, |n| (n % 3) as u8);
    let numbers: Vec<u64> = found.iter().map(|(n, _)| *n).collect();
    assert_eq!(numbers, (0..=next).collect::<Vec<_>>());
    println!("{} stored, {} shredded", next, found.iter().filter(|(_, readable)| !readable).count());
    assert!(ledger.verify(&mut |_| {}).unwrap().ok);
    close(ledger).await;
}
