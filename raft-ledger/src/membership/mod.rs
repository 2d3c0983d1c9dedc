//! Members come and go while the consortium runs.
//!
//! ```text
//! change   what the leader checks and proposes: add, promote, remove, lead
//! upgrade  the same for the rules that entries are applied by
//! vouch    whether one who says so is a member, as others know
//! list     who the members are and how far each is, as the leader sees it
//! new_site the same for the keys of a site that none of the founders knew
//! follow   what every site does when the members have changed
//! ```
//! A member is a node: a site with one raft log. Founders are numbered by their places among the consortium's sites;
//! every later node by a random number that its raft log got when it was made. A wiped disk is thereby another node:
//! it joins as a learner and takes the old one's place when it is promoted. Site name, keys and epochs go on.
//!
//! Voters change by joint consensus, one change at a time, and never so that no majority of them would be reachable.

mod change;
mod follow;
mod list;
mod new_site;
mod upgrade;
mod vouch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::LedgerError;
use crate::keys::SiteKeys;
use crate::network::{Hello, Peers, RpcError};
use crate::raft::{Member, StoreId, Types};
use crate::roster::Roster;
use crate::rules::Rules;
use crate::store::state_machine::StateMachine;

pub(crate) use self::follow::follow;
pub use self::list::{MemberRole, MemberStatus};

/// For a leader that takes the request.
const LEADER_WAIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// What a site asks the leader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    List,
    Change(MemberChange),
    /// Whether the one who is asked, leader or not, knows it as a member.
    IsMember(Named),
    /// To apply by the latest rules that every voter knows.
    Upgrade,
}

/// One change of the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// Lets a running site join as a learner: the one that answers at `address` (`host:port`), or where the leader's
    /// configuration says. A site that was a member with another disk gets its place back by its promotion. `keys`: of
    /// a site that is neither a founder nor known from the ledger, its keys as the authority has admitted them
    /// ([`crate::keys::admit`]).
    Add {
        site: String,
        address: Option<String>,
        #[serde(default)]
        keys: Option<String>,
    },
    /// Makes a learner a voter.
    Promote { site: String },
    /// Ends a site's membership. Its entries stay.
    Remove { site: String },
    /// Hands the lead to a voter. Nothing acknowledged is lost; appends under way take a moment longer.
    Lead { site: String },
}

/// The members after it.
pub(crate) type Told = Result<Vec<MemberStatus>, Refusal>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// Another site leads, or soon will: ask again.
    NotLeader,
    /// It would do harm, or makes no sense.
    Refused(String),
    /// Whether it came to pass is not known.
    Unavailable(String),
}

/// A node, by what only it can show.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) site: String,
    pub(crate) node: Option<u64>,
    pub(crate) store: StoreId,
}

/// Who is at an address, as it says.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) node: u64,
    pub(crate) store: StoreId,
    /// The latest rules of apply that its release knows.
    pub(crate) apply_version: u32,
    /// Of one that is none of the founders: its verifier keys, as it says.
    pub(crate) keys: Option<String>,
}

type Probe = dyn Fn(String, String) -> BoxFuture<'static, Result<Candidate, String>> + Send + Sync;
type StoreOf = dyn Fn(&str) -> Option<StoreId> + Send + Sync;
type AddressOf = dyn Fn(&str) -> Option<String> + Send + Sync;

/// How the leader hears of those who are no members yet.
pub(crate) struct Contacts {
    /// By site and address.
    pub(crate) probe: Box<Probe>,
    /// The raft log that a founder has always come with; this site's own included.
    pub(crate) store_of: Box<StoreOf>,
    /// Where this site's configuration says that a site is.
    pub(crate) address_of: Box<AddressOf>,
}

pub(crate) struct Membership {
    raft: Raft<Types, StateMachine>,
    peers: Peers,
    roster: Arc<Roster>,
    rules: Arc<Rules>,
    keys: Arc<SiteKeys>,
    contacts: Contacts,
    /// Held while a change is under way.
    changing: Mutex<()>,
}

impl Membership {
    pub(crate) fn new(
        raft: Raft<Types, StateMachine>,
        peers: Peers,
        roster: Arc<Roster>,
        rules: Arc<Rules>,
        keys: Arc<SiteKeys>,
        contacts: Contacts,
    ) -> Membership {
        Membership { raft, peers, roster, rules, keys, contacts, changing: Mutex::new(()) }
    }

    /// Connects to the members, or to the founders until one of them tells who the members are.
    pub(crate) fn begin(&self, founders: &BTreeMap<u64, Member>, own: &str) {
        let config = self.raft.server_metrics().borrow_watched().membership_config.clone();
        self.roster.set(&config);
        let known = self.roster.get();
        if known.index.is_some() {
            return self.peers.keep(&known.members);
        }
        let others = founders.iter().filter(|(_, member)| member.name != own);
        self.peers.keep(&others.map(|(id, member)| (*id, member.clone())).collect());
    }

    /// Whether this site takes part, as this node, by what is known here.
    pub(crate) fn is_member(&self, site: &str, node: Option<u64>) -> bool {
        self.roster.get().of_site(site).any(|(id, _)| node.is_none_or(|node| node == id))
    }

    /// Whether the caller is this node, as far as that is known here.
    pub(crate) fn may_be(&self, caller: &Hello, node: u64) -> bool {
        let known = self.roster.get();
        match caller.node {
            Some(own) => own == node,
            None => known.index.is_none() || known.of_site(&caller.site).any(|(id, _)| id == node),
        }
    }

    /// Whether this site has a vote, as this node, by what is known here.
    pub(crate) fn is_voter(&self, site: &str, node: Option<u64>) -> bool {
        let known = self.roster.get();
        known.of_site(site).any(|(id, _)| node.is_none_or(|node| node == id) && known.voters.contains(&id))
    }

    /// Has the leader do it, wherever it is.
    pub(crate) async fn ask(&self, request: Request) -> Result<Vec<MemberStatus>, LedgerError> {
        let mut until = Instant::now() + LEADER_WAIT;
        let mut lost = None;
        loop {
            match self.ask_once(&request).await {
                Ok(Ok(members)) => return Ok(members),
                Ok(Err(Refusal::Refused(why))) => return Err(refused(why, lost)),
                Ok(Err(Refusal::Unavailable(why))) => return Err(LedgerError::Unavailable(why)),
                Ok(Err(Refusal::NotLeader)) | Err(RpcError::Unreachable { .. }) => {}
                Err(error @ RpcError::Lost { .. }) => {
                    until = Instant::now() + LEADER_WAIT;
                    lost = Some(error);
                }
                Err(error) => return Err(LedgerError::Unavailable(error.to_string())),
            }
            if Instant::now() > until {
                return Err(LedgerError::Unavailable("no leader, so no majority of the voters".into()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask_once(&self, request: &Request) -> Result<Told, RpcError> {
        let leader = self.raft.server_metrics().borrow_watched().current_leader;
        match leader {
            None => Ok(Err(Refusal::NotLeader)),
            Some(leader) if leader == self.roster.node => Ok(self.lead_through(request.clone()).await),
            Some(leader) => match self.peers.get(leader) {
                Some(peer) => peer.membership(request).await,
                None => Ok(Err(Refusal::NotLeader)),
            },
        }
    }

    /// As the leader.
    pub(crate) async fn lead_through(&self, request: Request) -> Told {
        if !self.raft.is_leader() {
            return Err(Refusal::NotLeader);
        }
        let busy = |_| Refusal::Refused("another change of the members is under way; try again".into());
        match request {
            Request::List | Request::IsMember(_) => {}
            Request::Change(change) => {
                let _changing = self.changing.try_lock().map_err(busy)?;
                self.change(change).await?;
            }
            Request::Upgrade => {
                let _changing = self.changing.try_lock().map_err(busy)?;
                self.upgrade().await?;
            }
        }
        Ok(self.list())
    }
}

/// A second asking is refused also where the first one, whose answer was lost, came to pass.
fn refused(why: String, lost: Option<RpcError>) -> LedgerError {
    match lost {
        None => LedgerError::Refused(why),
        Some(lost) => LedgerError::Unavailable(format!(
            "{lost}, and it may have done what it was asked for: look at `medulla site list`. Asked again, the leader \
             says: {why}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_after_a_lost_answer_is_no_refusal() {
        let why = || "site c votes already".to_owned();
        assert!(matches!(refused(why(), None), LedgerError::Refused(told) if told == why()));
        let lost = RpcError::Lost { site: "a".into() };
        let LedgerError::Unavailable(told) = refused(why(), Some(lost)) else { panic!("refused") };
        assert!(told.contains("may have done") && told.contains(&why()), "{told}");
    }
}
