//! Waiting for what must come, and saying what was not tried.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Calls `check` until it answers, 100 ms apart; after `limit` the test fails with what was awaited.
pub async fn eventually<T>(
    awaited: &str,
    limit: Duration,
    mut check: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = check().await {
            return Ok(found);
        }
        if began.elapsed() > limit {
            bail!("waited {} s in vain for: {awaited}", limit.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The line that the test script counts.
pub fn skip(test: &str, reason: &str) {
    println!("SKIPPED {test}: {reason}");
}
