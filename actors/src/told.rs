//! Whether somebody else was first to tell of this. While a site is gone its partner alerts for it, and where the two
//! meet (a site that was only cut off, an alert that was under way when its site died) each would tell of the same rise.
//! The order of the ledger decides, for both the same: an alert counts if its site alerted for itself, or held the lease
//! at that place and has a sink that delivers it, and the first that counts silences the other site's for the refractory
//! time.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use clinical::{AlertFacts, Time};
use ml_scoring::{AlertPolicy, Tier};
use raft_ledger::{Ledger, LedgerError, Tag};
use tokio::sync::watch;

use crate::reading;

const PAGE: usize = 256;
const HOUR_MS: i64 = 3_600_000;

#[derive(Clone)]
pub(crate) struct Told {
    ledger: Ledger,
    policy: watch::Receiver<AlertPolicy>,
    /// Sites for which some sink of this one delivers.
    stands_for: Arc<RwLock<BTreeSet<String>>>,
}

/// An alert of the same task about the same patient, by what everybody can read of it.
#[derive(Clone, Debug)]
struct Earlier {
    index: u64,
    site: String,
    tier: Tier,
    at: Time,
}

impl Told {
    pub fn new(ledger: Ledger, policy: watch::Receiver<AlertPolicy>) -> Told {
        Told { ledger, policy, stands_for: Arc::default() }
    }

    /// For this and all clones of it.
    pub fn stand_for(&self, sites: BTreeSet<String>) {
        *self.stands_for.write().unwrap_or_else(PoisonError::into_inner) = sites;
    }

    /// What finds an alert again without opening it. One that no sink delivers must not silence the site that it was
    /// kept for, so it has none.
    pub fn tag(&self, facts: &AlertFacts) -> Option<Tag> {
        let stands_for = self.stands_for.read().unwrap_or_else(PoisonError::into_inner);
        let is_delivered = facts.takeover_for.as_ref().is_none_or(|home| stands_for.contains(home));
        is_delivered.then(|| self.tag_of(facts, &facts.tier))
    }

    fn tag_of(&self, facts: &AlertFacts, tier: &str) -> Tag {
        let subject = reading::subject_key(&facts.patient);
        let parts = [home(facts).as_bytes(), facts.task.as_bytes(), tier.as_bytes(), &subject];
        self.ledger.tag("told", &self.ledger.keyed_hash("told", &parts))
    }

    /// Whether another site told of it in an entry before `index`, of which everything is applied here. Blocks.
    pub fn is_told(&self, facts: &AlertFacts, index: u64) -> Result<bool, LedgerError> {
        let mut before = Vec::new();
        for tier in [Tier::Watch, Tier::Interruptive] {
            self.find(self.tag_of(facts, tier.as_str()), tier, index, &mut before)?;
        }
        // Almost always: nobody but this site ever alerts about the patient.
        if before.iter().all(|alert| alert.site == facts.site) {
            return Ok(false);
        }
        before.sort_unstable_by_key(|alert| alert.index);
        let home = home(facts);
        let mut counting: Vec<Earlier> = Vec::new();
        for alert in before {
            if self.counts(&alert, home)? && !self.is_silenced(&alert, &counting) {
                counting.push(alert);
            }
        }
        let tier = if facts.tier == Tier::Watch.as_str() { Tier::Watch } else { Tier::Interruptive };
        let this = Earlier { index, site: facts.site.clone(), tier, at: facts.at };
        Ok(self.is_silenced(&this, &counting))
    }

    fn find(&self, tag: Tag, tier: Tier, end: u64, found: &mut Vec<Earlier>) -> Result<(), LedgerError> {
        let mut from = 0;
        loop {
            let page = self.ledger.by_tag(tag, from, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            from = last + 1;
            for index in page {
                if index >= end {
                    return Ok(());
                }
                let entry = self.ledger.read_from(index, 1)?.into_iter().next();
                found.extend(entry.map(|entry| Earlier {
                    index,
                    site: entry.site,
                    tier,
                    at: Time(entry.event_time_ms),
                }));
            }
        }
    }

    fn counts(&self, alert: &Earlier, home: &str) -> Result<bool, LedgerError> {
        Ok(alert.site == home || self.holds_lease(home, &alert.site, alert.index)?)
    }

    /// Whether `holder` stood in for `site` where the entry at `index` is. Blocks.
    pub fn holds_lease(&self, site: &str, holder: &str, index: u64) -> Result<bool, LedgerError> {
        let leases = self.ledger.leases_before(index)?;
        Ok(leases.iter().any(|lease| lease.site == site && lease.holder == holder))
    }

    fn is_silenced(&self, alert: &Earlier, by: &[Earlier]) -> bool {
        let refractory_ms = i64::from(self.policy.borrow().refractory_h) * HOUR_MS;
        let silences = |earlier: &Earlier| {
            let apart_ms = earlier.at.0.saturating_sub(alert.at.0).saturating_abs();
            earlier.site != alert.site && earlier.tier >= alert.tier && apart_ms < refractory_ms
        };
        by.iter().any(silences)
    }
}

/// The site that the patient belongs to.
pub(crate) fn home(facts: &AlertFacts) -> &str {
    facts.takeover_for.as_deref().unwrap_or(&facts.site)
}

#[cfg(test)]
mod tests;
