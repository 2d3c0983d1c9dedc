//! Reads that miss nothing: the leader confirms with a majority what is committed as of now, and this site waits
//! until it has applied that (Raft dissertation §6.4, ReadIndex; any site may ask).

use std::time::Duration;

use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::raft::ReadPolicy;

use crate::LedgerError;
use crate::ledger::Ledger;
use crate::raft::Types;
use crate::store::state_machine::StateMachine;

/// Without a quorum no answer comes; an election takes up to two seconds.
const WAIT_MAX: Duration = Duration::from_secs(5);

impl Ledger {
    /// Waits until everything that was committed anywhere before this call is applied here, 5 s at most: reads
    /// that follow are linearizable. Returns the leaves applied by then.
    ///
    /// # Errors
    /// `Unavailable` without a leader or a majority that confirms it.
    pub async fn catch_up(&self) -> Result<u64, LedgerError> {
        match tokio::time::timeout(WAIT_MAX, self.caught_up()).await {
            Ok(done) => done.map_err(LedgerError::Unavailable)?,
            Err(_) => {
                let text = format!("no majority of the sites confirmed within {} s", WAIT_MAX.as_secs());
                return Err(LedgerError::Unavailable(text));
            }
        }
        Ok(self.size())
    }

    async fn caught_up(&self) -> Result<(), String> {
        let raft = &self.inner.raft;
        let leader = raft.metrics().borrow_watched().current_leader;
        let index = match leader.and_then(|id| self.inner.peers.get(id)) {
            Some(peer) => peer.read_index().await.map_err(|e| e.to_string())?,
            None => read_index(raft).await?,
        };
        let applied = raft.wait(Some(WAIT_MAX)).applied_index_at_least(Some(index), "a read").await;
        applied.map(drop).map_err(|e| e.to_string())
    }
}

/// Asks the majority, so this site must lead.
pub(crate) async fn read_index(raft: &Raft<Types, StateMachine>) -> Result<u64, String> {
    let confirmed = raft.ensure_linearizable(ReadPolicy::ReadIndex).await;
    confirmed.map(|read| read.index()).map_err(|error| match error {
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => {
            "no majority of the sites answers".to_owned()
        }
        RaftError::APIError(LinearizableReadError::ForwardToLeader(_)) => "no site leads".to_owned(),
        RaftError::Fatal(fatal) => fatal.to_string(),
    })
}
