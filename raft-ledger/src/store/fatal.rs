//! The end of the process: what happens when a disk no longer keeps its word.

use std::fmt::Display;

/// After a failed write or fsync nobody knows what is on the disk, and the page cache may show what is not:
/// continuing could acknowledge what a crash would lose. So the process ends, and the log is replayed.
pub(crate) fn end_process(what: &str, error: &dyn Display) -> ! {
    #[cfg(any(test, feature = "sim"))]
    if crate::sim::is_running() {
        crate::sim::process_ended(what, error);
    }
    tracing::error!(%error, "{what} failed: this process ends to not acknowledge what may be lost");
    eprintln!(
        "medulla ledger: {what} failed: {error}; the process ends so that nothing is acknowledged that may be lost"
    );
    std::process::abort()
}
