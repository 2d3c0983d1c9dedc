//! Looking after a key store: rotation with everything still legible, its backup, and where the master key comes from.

use std::time::Duration;

use raft_ledger::{Config, Ledger, LedgerError, MasterKey, Payload, StoppedKeys, Subject};

use crate::common::{Consortium, append, close, draft, wait_for_size};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Numbers of the entries that the ledger opens.
fn open(ledger: &Ledger) -> Vec<i64> {
    let entries = ledger.read_from(0, 1_000).unwrap();
    let open = entries.iter().filter(|e| matches!(e.payload, Payload::Open(_) | Payload::Entrusted(_)));
    open.map(|entry| entry.event_time_ms).collect()
}

fn all(upto: i64) -> Vec<i64> {
    (0..upto).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_sealed_before_a_rotation_opens_as_before_at_home_and_at_the_partner() {
    let sites = Consortium::new(&["a", "b", "c"]);
    let mut ledgers = sites.open_all().await.into_iter();
    let (a, b, c) = (ledgers.next().unwrap(), ledgers.next().unwrap(), ledgers.next().unwrap());
    append(&a, (0..14).map(draft).collect()).await;
    let keys = |ledger: &Ledger| ledger.status().keys;
    assert_eq!(keys(&a).own, 7);
    assert_eq!(a.rotate_subjects().unwrap().keys, 7);
    append(&a, (14..28).map(draft).collect()).await;
    assert_eq!(keys(&a).own, 14, "a new key for each subject");
    let master = sites.config(0).keys.join("master-key.hex");
    let former = std::fs::read(&master).unwrap();
    let rotated = a.rotate_master().unwrap();
    assert_eq!((rotated.keys, rotated.master), (14, Some(master.display().to_string())));
    assert_ne!(std::fs::read(&master).unwrap(), former);
    append(&a, (28..42).map(draft).collect()).await;
    wait_for_size(&[&b], 42).await;
    while keys(&a).not_at_partner > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The holder's master key is its own affair.
    b.rotate_master().unwrap();
    assert_eq!((open(&a), open(&b)), (all(42), all(42)));
    for ledger in [a, b] {
        close(ledger).await;
    }
    let (a, b) = (sites.open(0).await, sites.open(1).await);
    assert_eq!((open(&a), open(&b)), (all(42), all(42)));
    // Shredding destroys every key that the subject ever had.
    let shredded = loop {
        match a.shred(&[Subject([3; 32])], Vec::new(), "ada").await {
            Err(LedgerError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            shredded => break shredded.unwrap().unwrap(),
        }
    };
    assert_eq!(shredded.keys, 2);
    assert_eq!(open(&a), all(42).into_iter().filter(|n| n % 7 != 3).collect::<Vec<_>>());
    close(a).await;
    std::fs::write(&master, former).unwrap();
    let refused = Ledger::open(sites.config(0)).await.err().unwrap().to_string();
    assert!(refused.contains("another master key"), "{refused}");
    close(b).await;
    close(c).await;
}

#[tokio::test]
async fn a_master_key_moves_from_a_file_to_a_command() {
    let sites = Consortium::new(&["a"]);
    let vault = sites.dir.path().join("vault");
    std::fs::write(&vault, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    let argv = ["cat".to_owned(), vault.display().to_string()].to_vec();
    let command = MasterKey::Command { argv, timeout: Duration::from_secs(10) };
    let there = Config { master: Some(command.clone()), ..sites.config(0) };
    let a = sites.open(0).await;
    append(&a, (0..14).map(draft).collect()).await;
    let running = StoppedKeys::open(&sites.config(0)).err().unwrap().to_string();
    assert!(running.contains("in use by another process"), "{running}");
    close(a).await;
    let moved = StoppedKeys::open(&sites.config(0)).unwrap().rotate_master(Some(&command)).unwrap();
    assert_eq!((moved.keys, moved.master), (7, None));
    assert!(Ledger::open(sites.config(0)).await.is_err(), "the file's is another one now");
    // Nor is it needed any more.
    std::fs::remove_file(sites.config(0).keys.join("master-key.hex")).unwrap();
    let a = Ledger::open(there.clone()).await.unwrap();
    assert_eq!(open(&a), all(14));
    let same = a.rotate_master().unwrap_err().to_string();
    assert!(same.contains("is the present one"), "{same}");
    std::fs::write(&vault, "00".repeat(32)).unwrap();
    assert_eq!(a.rotate_master().unwrap().keys, 7);
    close(a).await;
    let a = Ledger::open(there.clone()).await.unwrap();
    assert_eq!(open(&a), all(14));
    close(a).await;
    let env = Config { master: Some(MasterKey::Env("MEDULLA_NOT_SET".into())), ..there };
    let refused = Ledger::open(env).await.err().unwrap().to_string();
    assert!(refused.contains("MEDULLA_NOT_SET") && refused.contains("set it"), "{refused}");
}

#[tokio::test]
async fn a_backup_brings_lost_keys_back_for_a_while_and_never_a_shredded_one() {
    let sites = Consortium::new(&["a"]);
    let (file, late) = (sites.dir.path().join("a.keys"), sites.dir.path().join("late.keys"));
    let a = sites.open(0).await;
    append(&a, (0..14).map(draft).collect()).await;
    let made = a.backup_keys(&file, 7 * DAY).unwrap();
    assert_eq!((made.keys, made.expires_ms - made.made_ms), (7, 7 * 24 * 3_600_000));
    a.backup_keys(&late, Duration::ZERO).unwrap();
    assert_eq!(a.shred(&[Subject([3; 32])], Vec::new(), "ada").await.unwrap().unwrap().keys, 1);
    close(a).await;
    std::fs::remove_file(sites.data(0).join("subjects.keys")).unwrap();
    let stopped = StoppedKeys::open(&sites.config(0)).unwrap();
    let expired = stopped.restore(&late).unwrap_err();
    assert!(matches!(&expired, LedgerError::Refused(why) if why.contains("has expired")), "{expired}");
    assert_eq!(stopped.restore(&file).unwrap().keys, 7);
    assert_eq!(stopped.restore(&file).unwrap().keys, 0, "all of them are there");
    drop(stopped);
    let a = sites.open(0).await;
    assert_eq!(open(&a), all(14).into_iter().filter(|n| n % 7 != 3).collect::<Vec<_>>());
    append(&a, vec![draft(14)]).await;
    assert_eq!(a.status().keys.own, 7, "six of the backup, and a new one for what comes in");
    close(a).await;
}
