//! Three sites sign and cosign: every one serves a checkpoint that a majority stands behind.

use std::time::Duration;

use raft_ledger::{CosignedCheckpoint, Ledger, LedgerError};

use crate::common::{Consortium, append, close, draft, wait_for_leader, wait_for_size};

/// Waits until each ledger serves a checkpoint of at least `size`.
async fn checkpoints(ledgers: &[&Ledger], size: u64) -> Vec<CosignedCheckpoint> {
    let mut found = Vec::new();
    for ledger in ledgers {
        found.push(loop {
            match ledger.checkpoint() {
                Some(checkpoint) if checkpoint.size >= size => break checkpoint,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        });
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_site_serves_a_checkpoint_that_a_majority_cosigned() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let ledgers = consortium.open_all().await;
    let all: Vec<&Ledger> = ledgers.iter().collect();
    assert!(matches!(all[0].prove(0), Err(LedgerError::NotProven(_))));
    append(all[1], (0..300).map(draft).collect()).await;
    wait_for_size(&all, 300).await;
    for (ledger, checkpoint) in all.iter().zip(checkpoints(&all, 300).await) {
        assert_eq!(checkpoint.size, 300, "nothing has come since");
        assert_eq!(checkpoint.root, ledger.root_at(300).unwrap());
        assert!(checkpoint.cosigners.len() >= 2, "{:?}", checkpoint.cosigners);
        assert!(checkpoint.note.starts_with("medulla-"), "{}", checkpoint.note);
        assert_eq!(ledger.tile(0, 0, 256).unwrap().unwrap().len(), 256 * 32);
        assert_eq!(ledger.tile(0, 1, 44).unwrap().unwrap().len(), 44 * 32);
        assert_eq!(ledger.tile(1, 0, 1).unwrap().unwrap().len(), 32);
        for (level, index, width) in [(0, 1, 45), (0, 2, 1), (1, 0, 2), (1, 1, 1), (9, 0, 1), (0, 0, 0)] {
            assert_eq!(ledger.tile(level, index, width).unwrap(), None, "{level}/{index}.p/{width}");
        }
        assert_eq!(ledger.entry_bundle(1, 45).unwrap(), None);
        let receipt = ledger.prove(299).unwrap();
        assert!(receipt.ends_with(&checkpoint.note), "{receipt}");
        assert!(matches!(ledger.prove(300), Err(LedgerError::NotProven(_))));
        assert!(matches!(ledger.prove_consistency(5, 301), Err(LedgerError::NotProven(_))));
        assert!(matches!(ledger.prove_consistency(6, 5), Err(LedgerError::NotProven(_))));
    }
    for ledger in ledgers {
        close(ledger).await;
    }
}

/// The leader goes, the next one sets the sizes; who comes back catches up without new entries.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn checkpoints_go_on_without_the_leader_and_are_kept() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let mut ledgers: Vec<Option<Ledger>> = consortium.open_all().await.into_iter().map(Some).collect();
    let all: Vec<&Ledger> = ledgers.iter().flatten().collect();
    append(all[0], (0..20).map(draft).collect()).await;
    let before = checkpoints(&all, 20).await;
    let leader = wait_for_leader(&all).await;
    close(ledgers[leader].take().unwrap()).await;

    let rest: Vec<&Ledger> = ledgers.iter().flatten().collect();
    append(rest[0], (20..50).map(draft).collect()).await;
    for checkpoint in checkpoints(&rest, 50).await {
        assert_eq!(checkpoint.cosigners.len(), 2, "{:?}", checkpoint.cosigners);
    }
    let back = consortium.open(leader).await;
    assert_eq!(back.checkpoint().as_ref(), Some(&before[leader]), "kept across the restart");
    checkpoints(&[&back], 50).await;
    close(back).await;
    for ledger in ledgers.into_iter().flatten() {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_majority_nothing_new_counts() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let ledgers = consortium.open_all().await;
    append(&ledgers[0], (0..20).map(draft).collect()).await;
    let all: Vec<&Ledger> = ledgers.iter().collect();
    let before = checkpoints(&all, 20).await;
    let [a, b, c] = ledgers.try_into().map_err(|_| ()).unwrap();
    close(b).await;
    close(c).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(a.checkpoint().as_ref(), Some(&before[0]));
    close(a).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_alone_signs_its_own() {
    let consortium = Consortium::new(&["a"]);
    let a = consortium.open(0).await;
    append(&a, (0..5).map(draft).collect()).await;
    let checkpoint = checkpoints(&[&a], 5).await.remove(0);
    assert_eq!(checkpoint.cosigners, [""; 0]);
    assert!(a.prove(4).unwrap().ends_with(&checkpoint.note));
    close(a).await;
}
