//! The wall clock, for what people read. Nothing is decided by it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    #[cfg(any(test, feature = "sim"))]
    if let Some(now_s) = crate::sim::unix_s() {
        return now_s as i64 * 1_000;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
