//! The counts: of each model that scores here, over the last stays. A number of stays and not of days, because so many
//! patients are needed before a comparison means anything, in a large house and in a small one. Bounded, whatever comes in.

use std::collections::{BTreeMap, VecDeque};

use clinical::Time;
use ml_scoring::drift::{Baseline, Counts};
use ml_scoring::{Scorer, Setting};
use serde::{Deserialize, Serialize};

use super::closed::ClosedHour;
use crate::registry::standing::{Place, Role, model_hash};

const BLOCK_STAYS: u64 = 50;
const BLOCKS: usize = 8;
/// Fewer patients differ from any population by chance.
pub(super) const STAYS_MIN: u64 = 200;

/// By the model's hash.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Windows(BTreeMap<String, Window>);

/// Oldest first; the last one is being filled.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Window(VecDeque<Block>);

#[derive(Clone, Serialize, Deserialize)]
struct Block {
    /// Ledger index of the first thing in it, and when that came.
    since: (u64, Time),
    /// That began in it.
    stays: u64,
    counts: Counts,
}

impl Windows {
    /// From here on these are counted, and no others.
    pub fn stand(&mut self, scorers: &[Scorer], places: &[Place]) {
        let mut scoring = BTreeMap::new();
        for (scorer, place) in scorers.iter().zip(places) {
            if let (Some(hash), Some(baseline), Role::Live | Role::Shadow) =
                (model_hash(scorer), baseline(scorer), place.role)
            {
                scoring.insert(hash, baseline);
            }
        }
        self.0.retain(|hash, window| scoring.get(hash).is_some_and(|baseline| window.is_of(baseline)));
        for hash in scoring.into_keys() {
            self.0.entry(hash).or_insert_with(|| Window(VecDeque::new()));
        }
    }

    /// In the order of the ledger: that is how blocks are filled.
    pub fn count(&mut self, scorers: &[Scorer], mut hours: Vec<ClosedHour>) {
        hours.sort_by_key(|hour| hour.trigger);
        for scorer in scorers {
            let Some((hash, baseline)) = model_hash(scorer).zip(baseline(scorer)) else { continue };
            let Some(window) = self.0.get_mut(&hash) else { continue };
            let Some(card) = scorer.card() else { continue };
            let icu_alone = card.setting == Some(Setting::IntensiveCare);
            // What the model does not speak of was not in its training either.
            let speaks_of = |hour: &&ClosedHour| (hour.in_icu || !icu_alone) && card.is_for(hour.age_years);
            let meant = hours.iter().filter(speaks_of);
            meant.for_each(|hour| window.count(baseline, hour));
        }
    }

    pub(super) fn get(&self, hash: &str) -> Option<&Window> {
        self.0.get(hash)
    }
}

pub(super) fn baseline(scorer: &Scorer) -> Option<&Baseline> {
    scorer.card()?.drift.as_ref()
}

impl Window {
    fn is_of(&self, baseline: &Baseline) -> bool {
        self.0.iter().all(|block| block.counts.are_of(baseline))
    }

    fn count(&mut self, baseline: &Baseline, hour: &ClosedHour) {
        let is_full = self.0.back().is_none_or(|block| hour.is_first && block.stays >= BLOCK_STAYS);
        if is_full {
            let since = (hour.trigger, hour.at);
            self.0.push_back(Block { since, stays: 0, counts: Counts::new(baseline) });
            while self.0.len() > BLOCKS {
                self.0.pop_front();
            }
        }
        if let Some(block) = self.0.back_mut() {
            block.stays += u64::from(hour.is_first);
            block.counts.observe(baseline, &hour.row);
        }
    }

    pub fn stays(&self) -> u64 {
        self.0.iter().map(|block| block.stays).sum()
    }

    pub fn since(&self) -> Option<(u64, Time)> {
        self.0.front().map(|block| block.since)
    }

    pub fn counts(&self, baseline: &Baseline) -> Counts {
        let mut all = Counts::new(baseline);
        self.0.iter().for_each(|block| all.add(&block.counts));
        all
    }
}

#[cfg(test)]
mod tests;
