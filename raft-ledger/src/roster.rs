//! Who is a member, as this site knows it now. Follows the membership in the raft log, committed or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use crate::raft::{LogId, Member, StoredMembership};

/// Shared by whoever must know; cheap to ask.
pub(crate) struct Roster {
    /// This site's own node.
    pub(crate) node: u64,
    known: RwLock<Arc<Known>>,
}

/// One membership.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Index of the raft entry that holds it; `None`: this site has heard of none.
    pub(crate) index: Option<u64>,
    pub(crate) log_id: Option<LogId>,
    pub(crate) members: BTreeMap<u64, Member>,
    pub(crate) voters: BTreeSet<u64>,
    /// On the way from one set of voters to another.
    pub(crate) is_joint: bool,
}

impl Roster {
    pub(crate) fn new(node: u64, membership: &StoredMembership) -> Roster {
        Roster { node, known: RwLock::new(Arc::new(Known::of(membership))) }
    }

    pub(crate) fn get(&self) -> Arc<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The former and the present one, if it is another.
    pub(crate) fn set(&self, membership: &StoredMembership) -> Option<(Arc<Known>, Arc<Known>)> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Not by the index alone: another leader may have put another membership there.
        if *membership.log_id() == known.log_id {
            return None;
        }
        let next = Arc::new(Known::of(membership));
        Some((std::mem::replace(&mut known, next.clone()), next))
    }
}

impl Known {
    fn of(membership: &StoredMembership) -> Known {
        let inner = membership.membership();
        Known {
            index: index_of(membership),
            log_id: *membership.log_id(),
            members: inner.nodes().map(|(id, member)| (*id, member.clone())).collect(),
            voters: inner.voter_ids().collect(),
            is_joint: inner.get_joint_config().len() > 1,
        }
    }

    /// Nodes of a site; two while one is about to take the other's place.
    pub(crate) fn of_site<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (u64, &'a Member)> {
        self.members.iter().filter(move |(_, member)| member.name == name).map(|(id, member)| (*id, member))
    }

    /// Names of the sites that vote.
    pub(crate) fn voting_sites(&self) -> BTreeSet<String> {
        self.voters.iter().filter_map(|id| self.members.get(id)).map(|member| member.name.clone()).collect()
    }
}

fn index_of(membership: &StoredMembership) -> Option<u64> {
    membership.log_id().as_ref().map(|id| id.index)
}
