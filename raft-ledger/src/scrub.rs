//! Reads the whole ledger again in the background, so that damage is found while peers can still mend it, and not by
//! whoever needs the entry years later.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::applied::load_applied;
use crate::store::generation::{ALL, Generation};
use crate::store::ledger_store::LedgerStore;
use crate::store::recompute::{Payloads, Recomputed};
use crate::{LedgerError, blocking};

/// Leaves that are read at once.
const STEP: u64 = 1_000;
/// It rests so many times as long as it has read.
const REST: u32 = 9;

/// Once a period until damage is found.
pub(crate) async fn run(store: Arc<LedgerStore>, period: Duration) {
    while store.damage().found().is_none() {
        tokio::time::sleep(period).await;
        let read = read_all(store.generation(), Payloads::All(store.cold().clone())).await;
        match store.damage().hear(read) {
            Ok(size) => {
                tracing::info!(size, "everything that this site stores of the ledger was read and is whole")
            }
            Err(error) => tracing::error!(%error, "the ledger could not be read through"),
        }
    }
}

/// Leaves that were read.
async fn read_all(db: Arc<Generation>, payloads: Payloads) -> Result<u64, LedgerError> {
    let applied = load_applied(&db)?;
    let size = applied.size;
    let (mut recomputed, mut end, mut more) = (Recomputed::new(applied, payloads), 0, true);
    while more {
        end += STEP;
        let from = db.clone();
        (recomputed, more) = slowly(move || {
            let more = recomputed.upto(&from, end)?;
            Ok((recomputed, more))
        })
        .await?;
    }
    for family in ALL.into_iter().filter(|family| !Recomputed::READS.contains(family)) {
        let db = db.clone();
        slowly(move || db.read_through(family)).await?;
    }
    recomputed.cold_fault().map(|()| size)
}

async fn slowly<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    let start = Instant::now();
    let done = blocking::attempt(work).await;
    tokio::time::sleep(start.elapsed() * REST).await;
    done
}
