//! openraft's types as this crate uses them. Nothing of this leaves the crate.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::impls::leader_id_std;
use serde::{Deserialize, Serialize};

/// Every key of every store begins with it. One group ships.
pub(crate) const GROUP: u32 = 1;

/// What a raft entry carries: one encoded command (a signed batch, an opened epoch, …).
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Proposal(pub(crate) Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A member as the membership entry records it. Founders bring a name alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// `host:port` where a site's own configuration says nothing of it; empty for founders.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) address: String,
    /// The raft log that this member was admitted with. A founder's is filled in by a later change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<StoreId>,
}

impl Member {
    pub(crate) fn founder(name: &str) -> Member {
        Member { name: name.to_owned(), ..Member::default() }
    }
}

/// A random number that a raft log got when it was made: a wiped disk cannot show it again.
pub(crate) type StoreId = [u8; 16];

#[cfg(not(any(test, feature = "sim")))]
type Runtime = openraft::impls::TokioRuntime;
#[cfg(any(test, feature = "sim"))]
type Runtime = crate::sim::runtime::Runtime;

openraft::declare_raft_types!(
    pub(crate) Types:
        D = Proposal,
        R = (),
        NodeId = u64,
        Node = Member,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = Runtime,
);

pub(crate) type LeaderId = leader_id_std::LeaderId<u64, u64>;
pub(crate) type CommittedLeaderId = openraft::type_config::alias::CommittedLeaderIdOf<Types>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, Member>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub(crate) type Payload = openraft::EntryPayload<Proposal, u64, Member>;
pub(crate) type Changes = openraft::ChangeMembers<u64, Member>;

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: CommittedLeaderId::new(term), index }
}

/// Why consensus has ended, if it has.
pub(crate) fn end_of<S: openraft::storage::RaftStateMachine<Types>>(
    raft: &openraft::Raft<Types, S>,
) -> Option<Fatal<Types>> {
    let mut metrics = raft.metrics();
    let is_gone = loop {
        match metrics.changed().now_or_never() {
            Some(Ok(())) => {}
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    let said = metrics.borrow_watched().running_state.clone().err();
    // A panic takes the sender of the metrics with it, and nobody says so.
    said.or_else(|| is_gone.then_some(Fatal::Panicked))
}

/// Timings for sites on one continent: a lost leader is replaced within about two seconds.
pub(crate) fn config() -> Result<Arc<openraft::Config>, String> {
    let config = openraft::Config {
        cluster_name: "medulla".into(),
        heartbeat_interval: 200,
        election_timeout_min: 1_000,
        election_timeout_max: 2_000,
        // The ledger's own housekeeping asks for snapshots and purges (see ledger.rs).
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        replication_lag_threshold: u64::MAX,
        install_snapshot_timeout: 600_000,
        max_payload_entries: 64,
        enable_pre_vote: Some(true),
        allow_log_reversion: Some(false),
        enable_leader_restore: Some(false),
        ..openraft::Config::default()
    };
    config.validate().map(Arc::new).map_err(|e| e.to_string())
}
