//! Reading the ledger from async code.

use raft_ledger::LedgerError;

/// Away from the threads that serve requests.
pub(crate) async fn read<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<LedgerError> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| LedgerError::Storage(error.to_string()))?
}
