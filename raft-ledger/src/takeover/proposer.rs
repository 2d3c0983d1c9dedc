//! Says what this site knows of takeovers: as the leader who is gone, and always that it is there itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{Instant as _, Raft};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Takeovers;
use super::leases::Leases;
use crate::call::{InFlight, places};
use crate::clock::now_ms;
use crate::observer::Observer;
use crate::raft::Types;
use crate::record::{MAX_GONE_SITES, SiteName, Takeover};
use crate::roster::{Known, Roster};
use crate::store::state_machine::StateMachine;
use crate::types::{Subject, TAKEOVER};
use crate::writer::Drafts;
use crate::{Draft, Outcome, blocking};

/// So often within the time after which a site is gone the leader looks who is.
const LOOKS: u32 = 4;
/// For one leaf to be applied here; without a quorum it never is.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

pub(crate) struct Proposer {
    pub(crate) site: SiteName,
    /// Named by this site's configuration; `None`: the next voter by name.
    pub(crate) partner: Option<SiteName>,
    /// A voter that the leader has not heard of for so long is gone.
    pub(crate) after: Duration,
    pub(crate) takeovers: Arc<Takeovers>,
    pub(crate) observer: Arc<Observer>,
    pub(crate) raft: Raft<Types, StateMachine>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) calls: mpsc::WeakSender<Drafts>,
}

/// Of a leaf that is under way.
type Answer = oneshot::Receiver<Vec<Outcome>>;

/// What a leader has heard of a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Lately,
    /// Nothing, but it does not lead for long enough to tell.
    NotYet,
    Nothing,
}

impl Proposer {
    /// Until the ledger closes.
    pub(crate) async fn run(self) {
        let mut tick = tokio::time::interval(self.after / LOOKS);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut leads_since, mut said_at): (Option<Instant>, Option<Instant>) = (None, None);
        let mut unanswered: Option<Answer> = None;
        loop {
            tick.tick().await;
            leads_since = self.raft.is_leader().then(|| leads_since.unwrap_or_else(Instant::now));
            // Without a quorum each further one would wait with the writer as well, and be an entry later.
            if let Some(answer) = &mut unanswered {
                match answer.try_recv() {
                    Err(oneshot::error::TryRecvError::Empty) => continue,
                    Ok(_) | Err(oneshot::error::TryRecvError::Closed) => unanswered = None,
                }
            }
            let Some(leases) = self.leases().await else { continue };
            if let Some(here) = self.here(&leases) {
                self.say(&here, &mut unanswered).await;
                continue;
            }
            let Some(since) = leads_since else { continue };
            let Some(sites) = self.gone(&leases, since) else { continue };
            let held: Vec<(SiteName, SiteName)> =
                leases.all_open().map(|(site, span)| (site.clone(), span.holder.clone())).collect();
            let is_due = said_at.is_none_or(|at| at.elapsed() >= self.after);
            if (sites != held || (!held.is_empty() && is_due))
                && self.say(&Takeover::Gone { sites }, &mut unanswered).await
            {
                said_at = Some(Instant::now());
            }
        }
    }

    async fn leases(&self) -> Option<Leases> {
        let (takeovers, size) = (self.takeovers.clone(), self.observer.view().size);
        let read = blocking::attempt(move || takeovers.at(size, Leases::clone)).await;
        read.inspect_err(|error| tracing::error!(%error, "leases cannot be read")).ok()
    }

    /// This site is not gone, and whom it names must be known before it is.
    fn here(&self, leases: &Leases) -> Option<Takeover> {
        let is_news = leases.partner(&self.site) != self.partner.as_ref();
        (is_news || leases.open(&self.site).is_some())
            .then(|| Takeover::Here { partner: self.partner.clone() })
    }

    /// Voters that are gone, with those who stand in for them, in the order of their names. `None`: who hears of no
    /// majority is itself cut off, and what it said would be committed when that is over.
    fn gone(&self, leases: &Leases, leads_since: Instant) -> Option<Vec<(SiteName, SiteName)>> {
        let known = self.roster.get();
        let heard = self.heard(&known, leads_since);
        if heard.values().filter(|heard| **heard == Heard::Lately).count() * 2 <= heard.len() {
            return None;
        }
        let is_gone = |site: &SiteName| match heard.get(site) {
            Some(Heard::Nothing) => true,
            // Another leader found it gone.
            Some(Heard::NotYet) => leases.open(site).is_some(),
            Some(Heard::Lately) | None => false,
        };
        let voters: Vec<&SiteName> = heard.keys().collect();
        let holder = |site: &SiteName| {
            let named = leases.partner(site);
            let holder = named.or_else(|| next_of(site, &voters)).filter(|holder| voters.contains(holder))?;
            (!is_gone(holder)).then(|| (site.clone(), holder.clone()))
        };
        Some(heard.keys().filter(|site| is_gone(site)).filter_map(holder).take(MAX_GONE_SITES).collect())
    }

    /// Of every voting site.
    fn heard(&self, known: &Known, leads_since: Instant) -> BTreeMap<SiteName, Heard> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let mut heard: BTreeMap<SiteName, Heard> = BTreeMap::new();
        for node in &known.voters {
            let name = known.members.get(node).and_then(|member| SiteName::new(&member.name));
            let Some(name) = name else { continue };
            let acked = metrics.heartbeat.as_ref().and_then(|heard| heard.get(node).copied().flatten());
            let this = match acked.map(|at| at.elapsed()) {
                _ if *node == self.roster.node => Heard::Lately,
                Some(silent) if silent < self.after => Heard::Lately,
                None if leads_since.elapsed() < self.after => Heard::NotYet,
                Some(_) | None => Heard::Nothing,
            };
            // A site is two nodes while one is about to take the other's place.
            let best = heard.entry(name).or_insert(this);
            if this == Heard::Lately {
                *best = this;
            }
        }
        heard
    }

    /// Whether it is applied here; `unanswered` while that is not known.
    async fn say(&self, takeover: &Takeover, unanswered: &mut Option<Answer>) -> bool {
        tracing::info!(?takeover, "takeover");
        let now = now_ms();
        let draft = Draft {
            kind: TAKEOVER,
            subject: Subject([0; 32]),
            tags: vec![self.takeovers.tag],
            dedupe: None,
            event_time_ms: now,
            message_time_ms: now,
            received_time_ms: now,
            payload: takeover.encode().into(),
        };
        let Some(share) = InFlight::default().take(0, usize::MAX) else { return false };
        let (places, mut answer) = places(1, share);
        let Some(calls) = self.calls.upgrade() else { return false };
        if calls.try_send(std::iter::once(draft).zip(places).collect()).is_err() {
            return false;
        }
        drop(calls);
        match tokio::time::timeout(ANSWER_WAIT, &mut answer).await {
            Ok(answered) => answered.is_ok(),
            Err(_) => {
                *unanswered = Some(answer);
                false
            }
        }
    }
}

/// The site after this one by name, the first after the last.
fn next_of<'a>(site: &SiteName, voters: &[&'a SiteName]) -> Option<&'a SiteName> {
    let after = voters.iter().find(|voter| **voter > site);
    after.or_else(|| voters.first()).copied().filter(|next| *next != site)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_site_stands_in() {
        let names: Vec<SiteName> = ["a", "b", "c"].iter().filter_map(|name| SiteName::new(name)).collect();
        let voters: Vec<&SiteName> = names.iter().collect();
        let next = |site: &str| next_of(&SiteName::new(site).unwrap(), &voters).map(SiteName::as_str);
        assert_eq!(
            [next("a"), next("b"), next("c"), next("bb")],
            [Some("b"), Some("c"), Some("a"), Some("c")]
        );
        assert_eq!(next_of(&names[0], &voters[..1]), None);
    }
}
