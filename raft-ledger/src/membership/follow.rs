//! What every site does when the members have changed.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::time::Instant;

use super::Membership;
use crate::cosign::Newest;
use crate::network::Peers;
use crate::raft::StoredMembership;
use crate::roster::{Known, Roster};

const PERIOD: Duration = Duration::from_millis(100);
/// A change takes less; after this its leader is taken for gone.
const JOINT_MAX: Duration = Duration::from_secs(5);

/// The background task. `standing` hears whenever this site becomes a member or is one no more.
pub(crate) async fn follow(membership: Arc<Membership>, newest: Arc<Newest>, standing: impl Fn(bool) + Send) {
    let mut tick = tokio::time::interval(PERIOD);
    let own = membership.roster.node;
    let (mut seen, mut since) = (None, Instant::now());
    let mut was_member = membership.roster.get().members.contains_key(&own);
    loop {
        tick.tick().await;
        let config = membership.raft.server_metrics().borrow_watched().membership_config.clone();
        take_up(&membership.roster, &membership.peers, &config);
        let known = membership.roster.get();
        if known.log_id != seen {
            (seen, since) = (known.log_id, Instant::now());
            newest.set_voters(known.voting_sites());
            tell(&known);
        }
        let is_member = known.members.contains_key(&own);
        if std::mem::replace(&mut was_member, is_member) != is_member {
            standing(is_member);
        }
        if known.is_joint && since.elapsed() > JOINT_MAX && membership.raft.is_leader() {
            since = Instant::now();
            if let Ok(_changing) = membership.changing.try_lock()
                && let Err(error) = membership.settle().await
            {
                tracing::warn!(?error, "a change of the members that was begun is not finished yet");
            }
        }
    }
}

/// Connections to those who are members now.
pub(crate) fn take_up(roster: &Roster, peers: &Peers, membership: &StoredMembership) {
    if let Some((_, now)) = roster.set(membership) {
        peers.keep(&now.members);
    }
}

fn tell(known: &Known) {
    let names = |is_voter: bool| {
        let of = known.members.iter().filter(move |(id, _)| known.voters.contains(id) == is_voter);
        of.map(|(id, member)| format!("{} ({id})", member.name)).collect::<Vec<_>>().join(", ")
    };
    if !known.members.is_empty() {
        tracing::info!(voters = %names(true), learners = %names(false), "the members");
    }
}
