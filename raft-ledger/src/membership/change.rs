//! What the leader checks and proposes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::Precondition;

use super::list::{Metrics, matched, reaches};
use super::{MemberChange, Membership, Refusal};
use crate::raft::{Changes, Member};
use crate::record::SiteName;
use crate::roster::Known;

/// Raft entries that a site may lack when it is promoted or takes the lead: it gets them in a moment.
const LAG_MAX: u64 = 1_000;
/// For both entries of a change.
const COMMIT_WAIT: Duration = Duration::from_secs(20);
/// An election by the old leader's leave takes a round trip; an ordinary one up to two seconds.
const LEAD_WAIT: Duration = Duration::from_secs(5);

pub(super) type Done = Result<(), Refusal>;

pub(super) fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Refused(why.into()))
}

impl Membership {
    pub(super) async fn change(&self, change: MemberChange) -> Done {
        let known = self.roster.get();
        if known.is_joint {
            // A leader went between the two entries of a change: it is finished first.
            self.settle().await?;
        }
        match change {
            MemberChange::Add { site, address, keys } => self.add(&site, address, keys.as_deref()).await,
            MemberChange::Promote { site } => self.promote(&site).await,
            MemberChange::Remove { site } => self.remove(&site).await,
            MemberChange::Lead { site } => self.lead(&site).await,
        }
    }

    /// Lets whoever answers for the site join as a learner.
    async fn add(&self, site: &str, address: Option<String>, keys: Option<&str>) -> Done {
        let known = self.roster.get();
        if SiteName::new(site).is_none() {
            return refuse(format!("{site:?} is no site name"));
        }
        let configured = address.clone().or_else(|| (self.contacts.address_of)(site));
        let former = || known.of_site(site).map(|(_, member)| member.address.clone()).find(|a| !a.is_empty());
        let Some(at) = configured.or_else(former) else {
            return refuse(format!("no address is known for site {site}; give it with --address HOST:PORT"));
        };
        let found = (self.contacts.probe)(site.to_owned(), at.clone()).await;
        let found = match found {
            Ok(found) => found,
            Err(why) => return refuse(format!("site {site} at {at} does not answer as it must: {why}")),
        };
        self.keeps_up(site, Some(found.apply_version))?;
        match known.members.get(&found.node) {
            Some(member) if member.name == site => {
                let store = member.store.or_else(|| (self.contacts.store_of)(site));
                return match store.is_none_or(|store| store == found.store) {
                    true => refuse(format!("site {site} is a member already, as node {}", found.node)),
                    false => refuse(format!(
                        "site {site} has another disk than before and has not found that out yet; try again in a moment"
                    )),
                };
            }
            Some(member) => {
                return refuse(format!("node {} is site {} already", found.node, member.name));
            }
            None => {}
        }
        self.bring_keys(site, keys, found.keys.as_deref()).await?;
        let member =
            Member { name: site.to_owned(), address: address.unwrap_or_default(), store: Some(found.store) };
        tracing::info!(site, node = found.node, address = %at, "a site joins as a learner");
        // A learner of the same site has lost its disk.
        let stale = known.of_site(site).map(|(id, _)| id).filter(|id| !known.voters.contains(id));
        let mut changes = vec![Changes::RemoveNodes(stale.collect())];
        changes.push(Changes::AddNodes(BTreeMap::from([(found.node, member)])));
        self.propose(&known, changes).await
    }

    /// Makes a learner a voter, in the place of the site's former node if there is one.
    async fn promote(&self, site: &str) -> Done {
        let known = self.roster.get();
        let (voting, learning): (Vec<u64>, Vec<u64>) =
            known.of_site(site).map(|(id, _)| id).partition(|id| known.voters.contains(id));
        let [learner] = learning[..] else {
            return match voting.is_empty() {
                true => refuse(format!("site {site} is no member; `medulla site add {site}` comes first")),
                false => refuse(format!("site {site} votes already")),
            };
        };
        let metrics = self.metrics();
        self.keeps_up(site, self.peers.get(learner).and_then(|peer| peer.apply_version()))?;
        self.is_close(&metrics, site, learner)?;
        let mut voters: BTreeSet<u64> =
            known.voters.iter().copied().filter(|id| !voting.contains(id)).collect();
        voters.insert(learner);
        self.has_majority(&metrics, &known, &voters)?;
        tracing::info!(site, node = learner, "a site is promoted to a voter");
        let mut changes = vec![Changes::AddVoterIds(BTreeSet::from([learner]))];
        changes.push(Changes::RemoveVoters(voting.into_iter().collect()));
        self.propose(&known, changes).await
    }

    async fn remove(&self, site: &str) -> Done {
        let known = self.roster.get();
        let (voting, learning): (BTreeSet<u64>, BTreeSet<u64>) =
            known.of_site(site).map(|(id, _)| id).partition(|id| known.voters.contains(id));
        if voting.is_empty() && learning.is_empty() {
            return refuse(format!("site {site} is no member"));
        }
        let voters: BTreeSet<u64> = known.voters.difference(&voting).copied().collect();
        if voters.is_empty() {
            return refuse(format!("site {site} is the last voter; without it there is no consortium"));
        }
        let metrics = self.metrics();
        if !voting.is_empty() {
            self.has_majority(&metrics, &known, &voters)?;
        }
        if voting.contains(&self.roster.node) {
            // Whoever comes next removes this one.
            let far = |id: &u64| matched(&metrics, *id).unwrap_or(0);
            let next =
                voters.iter().filter(|id| reaches(&metrics, **id) == Some(true)).max_by_key(|id| far(id));
            let next =
                next.copied().ok_or_else(|| Refusal::Unavailable("no other voter can be reached".into()))?;
            self.hand_over(next).await?;
            return Err(Refusal::NotLeader);
        }
        tracing::info!(site, "a site is removed");
        self.propose(&known, vec![Changes::RemoveVoters(voting), Changes::RemoveNodes(learning)]).await
    }

    async fn lead(&self, site: &str) -> Done {
        let known = self.roster.get();
        let voters: Vec<u64> =
            known.of_site(site).map(|(id, _)| id).filter(|id| known.voters.contains(id)).collect();
        let Some(voter) = voters.last().copied() else {
            return refuse(format!("site {site} has no vote, so it cannot lead"));
        };
        if voter == self.roster.node {
            return Ok(());
        }
        let metrics = self.metrics();
        if reaches(&metrics, voter) != Some(true) {
            return refuse(format!("site {site} cannot be reached"));
        }
        self.is_close(&metrics, site, voter)?;
        self.hand_over(voter).await
    }

    async fn hand_over(&self, to: u64) -> Done {
        tracing::info!(node = to, "the lead is handed over");
        self.raft.trigger().transfer_leader(to).await.map_err(unavailable)?;
        let taken = self.raft.wait(Some(LEAD_WAIT)).current_leader(to, "a transfer of the lead").await;
        taken.map(drop).map_err(|_| {
            let text = format!("node {to} did not take the lead in time; look at `medulla site list`");
            Refusal::Unavailable(text)
        })
    }

    /// Leaves a joint membership for the one that was meant.
    pub(super) async fn settle(&self) -> Done {
        let known = self.roster.get();
        self.propose(&known, vec![Changes::AddVoterIds(BTreeSet::new())]).await
    }

    async fn propose(&self, known: &Known, mut changes: Vec<Changes>) -> Done {
        changes.push(Changes::SetNodes(self.pins(known, &changes)));
        let metrics = self.metrics();
        let at =
            Precondition::LastMembershipLogId { last_membership_log_id: *metrics.membership_config.log_id() };
        if *metrics.membership_config.log_id() != known.log_id {
            return refuse("the members have just changed; try again");
        }
        // Its removal was committed, and it leads until the next one has taken over, a moment later. openraft would end
        // in a panic here.
        if !known.members.contains_key(&self.roster.node) {
            return Err(Refusal::NotLeader);
        }
        let changed = self.raft.change_membership_if(Changes::Batch(changes), false, [at]);
        match tokio::time::timeout(COMMIT_WAIT, changed).await {
            Ok(Ok(_)) => {
                // This site answers with what it knows.
                let metrics = self.metrics();
                super::follow::take_up(&self.roster, &self.peers, &metrics.membership_config);
                Ok(())
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Err(Refusal::NotLeader),
            Ok(Err(error @ RaftError::Fatal(_))) => Err(unavailable(error)),
            Ok(Err(error)) => refuse(error.to_string()),
            Err(_) => Err(Refusal::Unavailable(
                "no majority confirmed the change in time; it may still come to pass: look at `medulla site list`"
                    .into(),
            )),
        }
    }

    /// Founders came without the identity of their raft logs. From here on every site knows it, also those that never
    /// met them.
    fn pins(&self, known: &Known, changes: &[Changes]) -> BTreeMap<u64, Member> {
        let gone: BTreeSet<u64> = changes
            .iter()
            .flat_map(|change| match change {
                Changes::RemoveVoters(ids) | Changes::RemoveNodes(ids) => ids.clone(),
                _ => BTreeSet::new(),
            })
            .collect();
        let pinned = |(id, member): (&u64, &Member)| {
            let store = (self.contacts.store_of)(&member.name)?;
            Some((*id, Member { store: Some(store), ..member.clone() }))
        };
        let founders =
            known.members.iter().filter(|(id, member)| member.store.is_none() && !gone.contains(id));
        founders.filter_map(pinned).collect()
    }

    pub(super) fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow_watched().clone()
    }

    fn is_close(&self, metrics: &Metrics, site: &str, id: u64) -> Done {
        let last = metrics.last_log_index.unwrap_or(0);
        match matched(metrics, id).map(|matched| last.saturating_sub(matched)) {
            Some(lag) if lag <= LAG_MAX => Ok(()),
            Some(lag) => {
                refuse(format!("site {site} is {lag} entries behind; try again when it has caught up"))
            }
            None => refuse(format!("site {site} has received nothing yet; try again when it has caught up")),
        }
    }

    /// A release that knows the rules which entries are applied by, as far as it has said.
    fn keeps_up(&self, site: &str, known: Option<u32>) -> Done {
        let applied = self.rules.applied();
        match known {
            Some(known) if known < applied => refuse(format!(
                "the consortium applies entries by the rules of version {applied}, the release of site {site} knows them \
                 up to {known}: run the later release there first"
            )),
            _ => Ok(()),
        }
    }

    /// Whether these voters, and no more, could commit: without it the change would stop the consortium.
    fn has_majority(&self, metrics: &Metrics, known: &Known, voters: &BTreeSet<u64>) -> Done {
        let answers = |id: &&u64| **id == self.roster.node || reaches(metrics, **id) == Some(true);
        let (there, away): (Vec<&u64>, Vec<&u64>) = voters.iter().partition(|id| answers(id));
        if there.len() > voters.len() / 2 {
            return Ok(());
        }
        let names = |ids: &[&u64]| {
            let names: Vec<&str> =
                ids.iter().filter_map(|id| Some(known.members.get(id)?.name.as_str())).collect();
            names.join(", ")
        };
        refuse(format!(
            "of the {} voters that would be left only {} answer ({}): no majority, and nothing could be committed; \
             bring back {} first",
            voters.len(),
            there.len(),
            names(&there),
            names(&away)
        ))
    }
}

pub(super) fn unavailable(error: impl std::fmt::Display) -> Refusal {
    Refusal::Unavailable(error.to_string())
}
