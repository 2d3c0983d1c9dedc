//! Work that blocks (a sync, a checkpoint, sealing) beside the tasks that must not.

use tokio::task::JoinError;

use crate::LedgerError;

/// On a thread of its own. `Err` only when the work panicked or the runtime is going down.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    #[cfg(any(test, feature = "sim"))]
    if crate::sim::is_running() {
        // Threads would make the order of events depend on the machine.
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}

/// The same for work that can fail.
pub(crate) async fn attempt<T: Send + 'static, E: From<LedgerError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    run(work).await.map_err(|error| LedgerError::Storage(error.to_string()))?
}

/// On this thread, which hands its other tasks to another one meanwhile.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(any(test, feature = "sim"))]
    if crate::sim::is_running() {
        return work();
    }
    tokio::task::block_in_place(work)
}
