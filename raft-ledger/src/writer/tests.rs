//! Another process writes with this site's key: each of its epochs ends one of this process.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::{Instant, Position, RESEND_PAUSE, State, VecDeque, mpsc};
use crate::raft::{GROUP, Proposal};
use crate::record::{Command, OpenEpoch};
use crate::store::applied::load_site;
use crate::{Config, Draft, Ledger, Role, Subject};

const PUTS: u64 = 600;

fn draft(n: u64) -> Draft {
    let mut dedupe = [0; 32];
    dedupe[..8].copy_from_slice(&n.to_be_bytes());
    Draft {
        kind: 1,
        subject: Subject([(n % 3) as u8; 32]),
        tags: Vec::new(),
        dedupe: Some(dedupe),
        event_time_ms: n as i64,
        message_time_ms: 0,
        received_time_ms: 0,
        payload: Bytes::from(format!("payload {n}")),
    }
}

async fn open(dir: &Path) -> Ledger {
    let keys = crate::keys::init(&dir.join("keys"), &[("a", "127.0.0.1")]).unwrap();
    let mut config = Config::new("a", dir.join("data"), &keys[0]);
    config.initialise = true;
    config.free_space_reserve_bytes = 1 << 20;
    let ledger = Ledger::open(config).await.unwrap();
    while ledger.status().role != Role::Leader {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ledger
}

/// What the other process does when it starts.
async fn fence(ledger: &Ledger) {
    let keys = &ledger.inner.keys;
    let state = load_site(&ledger.inner.store.generation(), &keys.site).unwrap();
    let open = OpenEpoch::sign(GROUP, keys.site.clone(), state.epoch, crate::random::bytes(), &keys.batch);
    let proposal = Proposal(Command::OpenEpoch(open).encode());
    ledger.inner.raft.client_write(proposal).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_ended_epoch_did_not_take_is_not_overtaken() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).await;
    let putting = async {
        for n in 0..PUTS {
            let stored = ledger.outbox().put(vec![draft(n)]).unwrap().await.unwrap();
            if n + 1 == PUTS {
                stored.committed().await.unwrap();
            }
        }
    };
    let fencing = async {
        for n in 0..20 {
            tokio::time::sleep(Duration::from_millis(7 * (n % 5))).await;
            fence(&ledger).await;
        }
    };
    tokio::join!(putting, fencing);
    let entries = ledger.read_from(0, 2 * PUTS as usize).unwrap();
    let numbers: Vec<i64> = entries.iter().map(|entry| entry.event_time_ms).collect();
    assert_eq!(numbers, (0..PUTS as i64).collect::<Vec<_>>());
    assert!(entries.last().unwrap().epoch > 2, "no epoch ended while something was under way");
    assert!(ledger.status().refused > 0, "no batch was refused");
    ledger.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_sent_again_later_each_time() {
    let position = Position { epoch: 1, next_site_seq: 0, previous: [0; 32] };
    let mut state = State::new(position, VecDeque::new(), mpsc::channel(1).0);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let now = Instant::now();
        state.was_not_taken();
        let at = state.resend_at.unwrap();
        // The others of one sending.
        state.was_not_taken();
        assert_eq!(state.resend_at.take(), Some(at));
        pauses.push((at - now).as_millis() / 100);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 16, 16]);
    state.progress();
    assert_eq!(state.resend_pause, RESEND_PAUSE);
}
