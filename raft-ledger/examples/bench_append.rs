//! Events/s and latencies of `append`: three sites in this process over loopback TLS, fsync on.
//!
//! `cargo run --release -p raft-ledger --example bench_append -- [seconds a step] [sites] [bytes an event]`

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use raft_ledger::{AppendError, Config, Draft, Ledger, PeerConfig, Subject};

#[tokio::main]
async fn main() {
    let argument = |n: usize, default: usize| {
        std::env::args().nth(n).map_or(default, |text| text.parse().expect("arguments are numbers"))
    };
    let (seconds, sites, bytes) = (argument(1, 5), argument(2, 3), argument(3, 1024));
    let dir = tempfile::tempdir_in(".").expect("a directory for the sites");
    println!("fdatasync of 4 KiB: {:.2} ms (median of 100)", fdatasync_ms(dir.path()));
    let ledgers = open(dir.path(), sites).await;
    append(&ledgers[0], draft(u64::MAX, bytes)).await;
    println!("{sites} sites, {bytes} bytes an event; clients append one event at a time, each at one site");
    println!("{:>8} {:>10} {:>9} {:>9} {:>9}", "clients", "events/s", "p50 ms", "p99 ms", "max ms");
    for clients in [1, 16, 64, 256, 1024] {
        run(&ledgers, clients, Duration::from_secs(seconds as u64), bytes).await;
    }
    println!("fdatasync of 4 KiB: {:.2} ms (median of 100)", fdatasync_ms(dir.path()));
    let report = ledgers[0].verify(&mut |_| {}).expect("verify");
    println!("verify: ok {} over {} leaves in {} batches", report.ok, report.size, report.batches);
    for ledger in ledgers {
        ledger.close().await.expect("close");
    }
}

async fn open(dir: &Path, sites: usize) -> Vec<Ledger> {
    let names: Vec<String> = (0..sites).map(|n| format!("site-{n}")).collect();
    let keys: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "127.0.0.1")).collect();
    raft_ledger::keys::init(&dir.join("keys"), &keys).expect("keys");
    let listeners: Vec<_> =
        (0..sites).map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    let addresses: Vec<String> =
        listeners.iter().map(|l| l.local_addr().expect("an address").to_string()).collect();
    drop(listeners);
    let mut ledgers = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let mut config = Config::new(name, dir.join(name), dir.join("keys").join(name));
        config.listen = addresses[n].clone();
        config.initialise = n == 0;
        config.peers = (0..sites)
            .filter(|peer| *peer != n)
            .map(|peer| PeerConfig { name: names[peer].clone(), address: addresses[peer].clone() })
            .collect();
        ledgers.push(Ledger::open(config).await.expect("open"));
    }
    ledgers
}

async fn run(ledgers: &[Ledger], clients: usize, time: Duration, bytes: usize) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    let start = Instant::now();
    for client in 0..clients {
        let (ledger, stop) = (ledgers[client % ledgers.len()].clone(), stop.clone());
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                append(&ledger, draft(client as u64, bytes)).await;
                latencies.push(start.elapsed());
            }
            latencies
        }));
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a client"));
    }
    let elapsed = start.elapsed();
    latencies.sort();
    let at = |share: f64| {
        let place = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
        latencies.get(place).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    };
    let rate = latencies.len() as f64 / elapsed.as_secs_f64();
    println!("{clients:>8} {rate:>10.0} {:>9.2} {:>9.2} {:>9.2}", at(0.5), at(0.99), at(1.0));
}

async fn append(ledger: &Ledger, draft: Draft) {
    loop {
        match ledger.append(vec![draft.clone()]).await {
            Ok(_) => return,
            Err(AppendError::Pushback { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

fn draft(subject: u64, bytes: usize) -> Draft {
    use rand::RngCore;
    let mut payload = vec![0; bytes];
    rand::thread_rng().fill_bytes(&mut payload);
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(subject % 1000).to_be_bytes());
    Draft {
        kind: 1,
        subject: Subject(key),
        tags: Vec::new(),
        dedupe: Some(rand::random()),
        event_time_ms: 0,
        message_time_ms: 0,
        received_time_ms: 0,
        payload: payload.into(),
    }
}

fn fdatasync_ms(dir: &Path) -> f64 {
    use std::io::Write;
    let mut file = std::fs::File::create(dir.join("probe")).expect("a file");
    let mut times: Vec<f64> = (0..100)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[7; 4096]).and_then(|()| file.sync_data()).expect("fdatasync");
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[50]
}
