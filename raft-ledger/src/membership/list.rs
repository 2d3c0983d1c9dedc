//! Who the members are.

use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use serde::{Deserialize, Serialize};

use super::Membership;
use crate::raft::Types;

/// A member that has answered within this time can be reached.
const LATELY: Duration = Duration::from_secs(3);

pub(super) type Metrics = openraft::RaftMetrics<Types>;

/// `medulla site list --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    pub site: String,
    /// A site that comes with another disk is another node.
    pub node: u64,
    pub role: MemberRole,
    /// `host:port`, as the answering site knows it; empty for itself.
    pub address: String,
    /// It answered the leader within the last seconds.
    pub reachable: bool,
    /// Raft log that it has for certain; `None`: not known.
    pub matched: Option<u64>,
    /// Raft entries that it has yet to receive.
    pub lag: Option<u64>,
    /// The latest rules of apply that its release knows, as it last said to the answering site.
    #[serde(default)]
    pub apply_version: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberRole {
    Leader,
    Voter,
    /// Gets everything and has no vote.
    Learner,
}

impl Membership {
    /// As this site sees it: how far the others are is known to the leader alone.
    pub(crate) fn list(&self) -> Vec<MemberStatus> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let (known, last) = (self.roster.get(), metrics.last_log_index.unwrap_or(0));
        let status = |(id, member): (&u64, &crate::raft::Member)| {
            let is_own = *id == self.roster.node;
            let matched = if is_own { metrics.last_log_index } else { matched(&metrics, *id) };
            let peer = self.peers.get(*id);
            let version_of = |peer: &crate::network::Peer| peer.apply_version();
            MemberStatus {
                site: member.name.clone(),
                node: *id,
                role: match () {
                    () if metrics.current_leader == Some(*id) => MemberRole::Leader,
                    () if known.voters.contains(id) => MemberRole::Voter,
                    () => MemberRole::Learner,
                },
                address: peer.as_ref().map_or_else(|| member.address.clone(), |peer| peer.address.clone()),
                reachable: is_own
                    || reaches(&metrics, *id)
                        .unwrap_or(peer.as_ref().is_some_and(|peer| peer.is_connected())),
                matched,
                lag: matched.map(|matched| last.saturating_sub(matched)),
                apply_version: if is_own {
                    Some(self.rules.known())
                } else {
                    peer.as_ref().and_then(version_of)
                },
            }
        };
        known.members.iter().map(status).collect()
    }
}

/// Index of the raft entry up to which the node is known to agree; leaders alone know.
pub(super) fn matched(metrics: &Metrics, id: u64) -> Option<u64> {
    let matched = metrics.replication.as_ref()?.get(&id)?;
    matched.as_ref().map(|id| id.index)
}

/// Whether the node answered lately; `None` where this site does not lead.
pub(super) fn reaches(metrics: &Metrics, id: u64) -> Option<bool> {
    let heartbeat = metrics.heartbeat.as_ref()?;
    Some(heartbeat.get(&id).is_some_and(|at| at.is_some_and(|at| at.elapsed() < LATELY)))
}
