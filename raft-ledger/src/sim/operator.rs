//! The sites' operator: lets sites go and come back, hands the lead over, and has a site whose disk was wiped join
//! anew. When all is calm again, every site votes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::chance::within;
use super::{disk, with};
use crate::membership::{MemberChange, Membership, Request};
use crate::{LedgerError, MemberRole, MemberStatus};

pub(super) struct Operator {
    sites: usize,
    /// The node that each site is, since its disk was last wiped.
    nodes: BTreeMap<usize, u64>,
    /// Nodes whose disks were wiped: a site that starts as one of them is told to come back as another.
    lost: BTreeSet<u64>,
    /// The site that asks for a change now, and what.
    asking: Option<(usize, Option<MemberChange>)>,
    /// Every site votes with the disk that it has.
    is_whole: bool,
    /// A removal may still come to pass.
    is_unsure: bool,
    is_calm: bool,
    /// In this run the members change at all.
    is_busy: bool,
    pub(super) wiped: BTreeSet<usize>,
    changes: u64,
}

impl Operator {
    pub(super) fn new(sites: usize, is_busy: bool) -> Operator {
        Operator {
            sites,
            nodes: BTreeMap::new(),
            lost: BTreeSet::new(),
            asking: None,
            is_whole: true,
            is_unsure: false,
            is_calm: false,
            is_busy,
            wiped: BTreeSet::new(),
            changes: 0,
        }
    }

    pub(super) fn started(&mut self, site: usize, node: u64) {
        if !self.lost.contains(&node) {
            self.nodes.insert(site, node);
        }
    }

    pub(super) fn node(&self, site: usize) -> u64 {
        self.nodes.get(&site).copied().unwrap_or(site as u64)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    pub(super) fn may_wipe(&self) -> bool {
        self.is_busy && self.is_settled() && !self.is_calm && self.asking.is_none()
    }

    /// Every site votes, and no removal may still come to pass.
    pub(super) fn is_settled(&self) -> bool {
        self.is_whole && !self.is_unsure
    }

    pub(super) fn wiped(&mut self, site: usize) {
        self.is_whole = false;
        self.lost.extend(self.nodes.remove(&site));
        self.wiped.insert(site);
    }

    pub(super) fn calm(&mut self) {
        self.is_calm = true;
    }

    pub(super) fn crashed(&mut self, site: usize) {
        if let Some((_, change)) = self.asking.take_if(|(asking, _)| *asking == site) {
            self.is_unsure |= matches!(change, Some(MemberChange::Remove { .. }));
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_whole
    }

    pub(super) fn count_changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn state(&self) -> String {
        format!("nodes {:?}, asking {:?}, whole {}", self.nodes, self.asking, self.is_whole)
    }

    fn takes(&mut self, site: usize) -> bool {
        let free = self.is_busy && self.asking.is_none();
        if free {
            self.asking = Some((site, None));
        }
        free
    }

    fn next(&mut self, site: usize, members: &[MemberStatus]) -> Option<MemberChange> {
        let change = self.choose(members);
        if self.is_calm {
            self.is_whole = self.is_whole_in(members);
        }
        self.is_whole &= !matches!(change, Some(MemberChange::Remove { .. }));
        self.asking = change.clone().map(|change| (site, Some(change)));
        change
    }

    fn choose(&self, members: &[MemberStatus]) -> Option<MemberChange> {
        for number in 0..self.sites {
            let (site, node) = (name(number), self.nodes.get(&number)?);
            match members.iter().find(|member| member.node == *node) {
                None => {
                    return Some(MemberChange::Add { site, address: None, keys: None });
                }
                Some(member) if member.role == MemberRole::Learner => {
                    return Some(MemberChange::Promote { site });
                }
                Some(_) => {}
            }
        }
        if self.is_calm {
            return None;
        }
        let site = name(within(0..self.sites as u64) as usize);
        let voters = members.iter().filter(|member| member.role != MemberRole::Learner).count();
        match within(0..4) {
            0 => Some(MemberChange::Lead { site }),
            // One site at a time is away, as receipts are judged (`take_receipts`), and no healthy one goes while
            // another's disk is lost or damaged. A site that was asked for a removal and lost its power may have ordered it, and
            // the others count the removed one until they apply it.
            1 if voters == self.sites && self.is_settled() && (0..self.sites).all(disk::is_whole) => {
                Some(MemberChange::Remove { site })
            }
            _ => None,
        }
    }

    fn is_whole_in(&self, members: &[MemberStatus]) -> bool {
        let votes = |site: usize| {
            let node = self.nodes.get(&site);
            members.iter().any(|m| Some(&m.node) == node && m.role != MemberRole::Learner)
        };
        members.len() == self.sites && (0..self.sites).all(votes)
    }

    fn done(&mut self, change: &MemberChange, told: &Result<Vec<MemberStatus>, LedgerError>) {
        self.asking = None;
        match told {
            Ok(members) => {
                self.changes += 1;
                self.is_whole = self.is_whole_in(members);
            }
            Err(LedgerError::Refused(_)) => {}
            Err(_) => self.is_unsure |= matches!(change, MemberChange::Remove { .. }),
        }
    }
}

fn name(site: usize) -> String {
    format!("site-{site}")
}

/// The operator at one site.
pub(super) async fn operate(site: usize, membership: Arc<Membership>) {
    loop {
        sleep(Duration::from_millis(within(300..3_000))).await;
        if !with(|world| world.operator.takes(site)).unwrap_or_default() {
            continue;
        }
        let told = membership.ask(Request::List).await;
        if disk::is_dead(site) {
            return;
        }
        let members = told.unwrap_or_default();
        let change = match members.is_empty() {
            true => None,
            false => with(|world| world.operator.next(site, &members)).flatten(),
        };
        let Some(change) = change else {
            with(|world| world.operator.crashed(site));
            continue;
        };
        super::tell(|| format!("site {site} asks: {change:?}"));
        let told = membership.ask(Request::Change(change.clone())).await;
        if disk::is_dead(site) {
            return;
        }
        super::tell(|| format!("site {site} is told: {:?}", told.as_ref().map(|members| brief(members))));
        with(|world| {
            world.event(9, &[site as u64, u64::from(told.is_ok())]);
            world.operator.done(&change, &told);
        });
    }
}

fn brief(members: &[MemberStatus]) -> Vec<(&str, u64, MemberRole)> {
    members.iter().map(|member| (member.site.as_str(), member.node, member.role)).collect()
}
