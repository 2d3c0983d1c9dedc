//! Once a second: is there room on the disk, is it time for a snapshot, what of the raft log may go.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;

use crate::config::Config;
use crate::raft::{Types, end_of};
use crate::store::ledger_store::LedgerStore;
use crate::store::state_machine::StateMachine;
use crate::store::{LogStore, end_process};

const PERIOD: Duration = Duration::from_secs(1);

/// `tell_free`: hears how many bytes are free above the reserve.
pub(crate) async fn run(
    config: Config,
    raft: Raft<Types, StateMachine>,
    log: LogStore,
    store: Arc<LedgerStore>,
    space_low: Arc<AtomicBool>,
    tell_free: impl Fn(u64) + Send,
) {
    let mut tick = tokio::time::interval(PERIOD);
    let mut log_bytes_at_snapshot = 0;
    // Entries up to here are in a snapshot that a later one has replaced.
    let mut purge_upto = None;
    loop {
        tick.tick().await;
        match end_of(&raft) {
            None => {}
            Some(Fatal::Stopped) => return,
            Some(fatal @ Fatal::StorageError(_)) => {
                tracing::error!(%fatal, "consensus has stopped on this site; restart it");
                return;
            }
            // What it had in memory is gone, and a site that only looks alive helps nobody.
            Some(fatal @ Fatal::Panicked) => end_process("consensus", &fatal),
        }
        watch_space(&config, &space_low, &tell_free);
        let (first, last) = log.first_and_last_index();
        let in_snapshot = store.snapshot().and_then(|s| s.meta.last_log_id.as_ref().map(|id| id.index));
        let entries = last.saturating_sub(in_snapshot.unwrap_or(first));
        let bytes = log.appended_bytes() - log_bytes_at_snapshot;
        if bytes < config.snapshot_log_bytes && entries < config.snapshot_log_entries {
            continue;
        }
        log_bytes_at_snapshot = log.appended_bytes();
        if raft.trigger().snapshot().await.is_err() || !snapshot_after(&raft, in_snapshot).await {
            continue;
        }
        // One length of log stays behind the snapshot, so that a peer that was away for a while needs none.
        if let Some(index) = std::mem::replace(&mut purge_upto, in_snapshot)
            && raft.trigger().purge_log(index).await.is_err()
        {
            return;
        }
    }
}

/// Waits for a snapshot newer than `former`; false if none comes.
async fn snapshot_after(raft: &Raft<Types, StateMachine>, former: Option<u64>) -> bool {
    let newer = |snapshot: &Option<crate::raft::LogId>| snapshot.as_ref().map(|id| id.index) > former;
    let mut metrics = raft.metrics();
    let waiting = async {
        while !newer(&metrics.borrow_watched().snapshot) {
            if metrics.changed().await.is_err() {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(Duration::from_secs(600), waiting).await.unwrap_or(false)
}

fn watch_space(config: &Config, space_low: &AtomicBool, tell_free: &impl Fn(u64)) {
    let low = match free_bytes(&config.data) {
        Ok(free) => {
            tell_free(free.saturating_sub(config.free_space_reserve_bytes));
            free < config.free_space_reserve_bytes
        }
        Err(error) => {
            tracing::warn!(path = %config.data.display(), %error, "free space cannot be read");
            return;
        }
    };
    if space_low.swap(low, Ordering::Relaxed) != low {
        let reserve = config.free_space_reserve_bytes;
        if low {
            tracing::error!(reserve, path = %config.data.display(), "free space is below the reserve: appends are refused");
        } else {
            tracing::info!(reserve, "free space is above the reserve again");
        }
    }
}

/// Above nothing: what the disk of `path` has left for this process.
pub(crate) fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
