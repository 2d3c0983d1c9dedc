//! What the tests of both brokers do with messages whose text is a number.

use std::time::Duration;

use connectors::{Background, Inbound, Reply, Source as _, SourceState};

pub fn number(inbound: &Inbound) -> usize {
    std::str::from_utf8(&inbound.payload).unwrap().trim().parse().unwrap()
}

pub async fn next(source: &mut Background) -> Inbound {
    let waited = tokio::time::timeout(Duration::from_secs(60), source.next()).await;
    waited.unwrap_or_else(|_| panic!("no message for 60 s: {:?}", source.status())).unwrap()
}

pub fn commit(inbound: Inbound) {
    inbound.receipt.committed(Reply::default());
}

/// Until it says that it is connected.
pub async fn running(source: &Background) {
    let begun = std::time::Instant::now();
    while source.status().get().0 != SourceState::Running {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", source.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
