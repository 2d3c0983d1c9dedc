//! Writes the ledger of one site into a folder, for measuring who verifies it, and says what a receipt costs.
//!
//! `cargo run --release -p raft-ledger --example export_ledger -- FOLDER [leaves] [leaves a batch] [bytes an event]`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use raft_ledger::{Config, Draft, Ledger, Subject};

const RECEIPTS: u64 = 1000;

#[tokio::main]
async fn main() {
    let argument = |n: usize, default: usize| {
        std::env::args().nth(n).map_or(default, |text| text.parse().expect("a number"))
    };
    let folder: PathBuf = std::env::args().nth(1).expect("a folder").into();
    let (leaves, batch, bytes) = (argument(2, 100_000), argument(3, 16), argument(4, 1024));
    let dir = tempfile::tempdir_in(".").expect("a directory for the site");
    let keys = raft_ledger::keys::init(&dir.path().join("keys"), &[("a", "127.0.0.1")]).expect("keys");
    let mut config = Config::new("a", dir.path().join("data"), &keys[0]);
    config.initialise = true;
    config.in_flight_bytes_max = 256 << 20;
    let ledger = Ledger::open(config).await.expect("open");
    // One after another: what is under way together would share batches.
    for n in 0..leaves / batch {
        ledger.append((0..batch).map(|at| draft(n * batch + at, bytes)).collect()).await.expect("append");
    }
    receipts(&ledger).await;
    ledger.export(&folder, &mut |_| {}).expect("export");
    let keys = raft_ledger::keys::SiteKeys::load(&keys[0]).expect("keys");
    std::fs::write(folder.with_extension("keys"), keys.verifier_keys()).expect("keys");
    ledger.close().await.expect("close");
}

async fn receipts(ledger: &Ledger) {
    let size = ledger.size();
    while ledger.checkpoint().is_none_or(|checkpoint| checkpoint.size < size) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (start, mut bytes) = (Instant::now(), 0);
    for n in 0..RECEIPTS {
        bytes += ledger.prove(n * 7919 % size).expect("a receipt").len();
    }
    let each = start.elapsed() / RECEIPTS as u32;
    println!("a receipt of {size} leaves: {each:?}, {} bytes without cosignatures", bytes as u64 / RECEIPTS);
}

fn draft(n: usize, bytes: usize) -> Draft {
    Draft {
        kind: 1,
        subject: Subject([(n % 50) as u8; 32]),
        tags: Vec::new(),
        dedupe: None,
        event_time_ms: n as i64,
        message_time_ms: n as i64,
        received_time_ms: n as i64,
        payload: vec![n as u8; bytes].into(),
    }
}
