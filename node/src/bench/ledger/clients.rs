//! Clients that put one value after the other, in a closed or an open loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rand::RngCore;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::histogram::percentile;

/// What is measured. `put` returns once the value is durable at a majority.
pub trait Target: Clone + Send + Sync + 'static {
    fn put(&self, client: usize, value: Bytes) -> impl Future<Output = anyhow::Result<()>> + Send;
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loop {
    /// Each client sends its next value when the last one is durable.
    Closed,
    /// Values fall due at this rate (values a second over all clients), whether or not earlier ones are done. Their
    /// time counts from when they were due: a stall shows in all that it delays.
    Open(f64),
}

#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub clients: usize,
    pub bytes: usize,
    pub warm: Duration,
    pub time: Duration,
    pub form: Loop,
}

#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub events_per_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

/// Runs the clients until the time is over and what they began is done. What ended within the counted time counts.
pub async fn run<T: Target>(target: &T, load: Load) -> anyhow::Result<Measured> {
    let start = Instant::now();
    let counted = (start + load.warm, start + load.warm + load.time);
    let due = Arc::new(Due { next: AtomicU64::new(0), start, form: load.form });
    let mut clients = JoinSet::new();
    for client in 0..load.clients {
        clients.spawn(run_client(target.clone(), client, load.bytes, counted, due.clone()));
    }
    let mut latencies_ms = Vec::new();
    while let Some(done) = clients.join_next().await {
        latencies_ms.extend(done??);
    }
    Ok(Measured {
        events_per_s: latencies_ms.len() as f64 / load.time.as_secs_f64(),
        p50_ms: percentile(&mut latencies_ms, 0.5),
        p99_ms: percentile(&mut latencies_ms, 0.99),
        p999_ms: percentile(&mut latencies_ms, 0.999),
        max_ms: percentile(&mut latencies_ms, 1.0),
    })
}

async fn run_client<T: Target>(
    target: T,
    client: usize,
    bytes: usize,
    (from, to): (Instant, Instant),
    due: Arc<Due>,
) -> anyhow::Result<Vec<f64>> {
    let mut latencies_ms = Vec::new();
    loop {
        let began = due.next().await;
        if began >= to {
            return Ok(latencies_ms);
        }
        let mut value = vec![0; bytes];
        rand::thread_rng().fill_bytes(&mut value);
        target.put(client, value.into()).await?;
        let ended = Instant::now();
        if ended >= from && ended < to {
            latencies_ms.push((ended - began).as_secs_f64() * 1e3);
        }
    }
}

/// When the next value falls due.
struct Due {
    next: AtomicU64,
    start: Instant,
    form: Loop,
}

impl Due {
    async fn next(&self) -> Instant {
        match self.form {
            Loop::Closed => Instant::now(),
            Loop::Open(rate) => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let at = self.start + Duration::from_secs_f64(number as f64 / rate);
                tokio::time::sleep_until(at).await;
                at
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Fast(Arc<AtomicU64>);

    impl Target for Fast {
        async fn put(&self, _: usize, value: Bytes) -> anyhow::Result<()> {
            assert_eq!(value.len(), 16);
            // The 50th stalls for a second.
            let stalls = self.0.fetch_add(1, Ordering::Relaxed) == 49;
            tokio::time::sleep(Duration::from_millis(if stalls { 1_000 } else { 1 })).await;
            Ok(())
        }
    }

    fn load(form: Loop) -> Load {
        Load { clients: 1, bytes: 16, warm: Duration::ZERO, time: Duration::from_secs(10), form }
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_loop_counts_what_a_stall_delays() {
        let target = Fast(Arc::default());
        let open = run(&target, load(Loop::Open(100.0))).await.unwrap();
        assert!(open.events_per_s > 95.0 && open.events_per_s <= 100.0, "{open:?}");
        // A hundred values fell due in that second: 10 % of them waited for most of it.
        assert!(open.p50_ms < 10.0 && open.p99_ms > 500.0, "{open:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_sends_less_while_it_waits() {
        let target = Fast(Arc::default());
        let closed = run(&target, load(Loop::Closed)).await.unwrap();
        assert!(closed.p99_ms < 10.0 && closed.max_ms >= 1_000.0, "{closed:?}");
    }
}
