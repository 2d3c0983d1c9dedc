//! What the alerts of each model rested on.

use std::collections::BTreeMap;
use std::ops::{AddAssign, SubAssign};

use ml_scoring::Shares;
use raft_ledger::Subject;
use serde::Serialize;

use crate::entry::Alert;

/// Shares are summed in whole parts of this, so that what is taken away leaves what was there before, to the last bit.
const WHOLE: f64 = 1e9;

/// What a model's alerts rested on, of those that this site can read: mean shares of the weight that spoke for the risk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AlertsRested {
    pub alerts: u64,
    pub physiology: f64,
    pub trend: f64,
    pub care_process: f64,
    /// Alerts of which more than half was the care process.
    pub resting: u64,
}

/// Of each subject on its own, too, because a site shreds by subject: the ledger need not be read again for it.
#[derive(Default)]
pub(crate) struct Rested {
    by_model: BTreeMap<u32, Sum>,
    /// By subject, site that sealed and model.
    by_subject: BTreeMap<([u8; 32], u32, u32), Sum>,
    /// Sites and hashes of models: a few, and they stand above by their places here.
    names: Vec<String>,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    physiology: u64,
    trend: u64,
    care_process: u64,
    alerts: u64,
    resting: u64,
}

impl Rested {
    /// `subject`: whom the alert's entry is about.
    pub fn add(&mut self, subject: Subject, alert: &Alert, shares: Shares) {
        let (site, model) = (self.place(&alert.facts.site), self.place(&alert.facts.model_hash));
        let sum = Sum::of(shares);
        *self.by_model.entry(model).or_default() += sum;
        *self.by_subject.entry((subject.0, site, model)).or_default() += sum;
    }

    /// These were shredded at the site: what it had sealed about them, nobody can read any more.
    pub fn forget(&mut self, site: &str, subjects: &[Subject]) {
        let site = self.place(site);
        for subject in subjects {
            let of_subject = (subject.0, site, 0)..=(subject.0, site, u32::MAX);
            let gone: Vec<_> = self.by_subject.range(of_subject).map(|(place, _)| *place).collect();
            for place in gone {
                if let Some((sum, of_model)) =
                    self.by_subject.remove(&place).zip(self.by_model.get_mut(&place.2))
                {
                    *of_model -= sum;
                }
            }
        }
        self.by_model.retain(|_, sum| sum.alerts > 0);
    }

    pub fn of(&self, hash: &str) -> Option<AlertsRested> {
        let model = self.names.iter().position(|name| name == hash)? as u32;
        let sum = self.by_model.get(&model)?;
        let mean = |sum_of: u64| sum_of as f64 / WHOLE / sum.alerts as f64;
        Some(AlertsRested {
            alerts: sum.alerts,
            physiology: mean(sum.physiology),
            trend: mean(sum.trend),
            care_process: mean(sum.care_process),
            resting: sum.resting,
        })
    }

    fn place(&mut self, name: &str) -> u32 {
        let known = self.names.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        }) as u32
    }
}

impl Sum {
    fn of(shares: Shares) -> Sum {
        let parts = |share: f64| (share * WHOLE).round() as u64;
        Sum {
            physiology: parts(shares.physiology),
            trend: parts(shares.trend),
            care_process: parts(shares.care_process),
            alerts: 1,
            resting: u64::from(shares.rests_on_care_process()),
        }
    }

    fn pairs(&mut self, other: Sum) -> [(&mut u64, u64); 5] {
        [
            (&mut self.physiology, other.physiology),
            (&mut self.trend, other.trend),
            (&mut self.care_process, other.care_process),
            (&mut self.alerts, other.alerts),
            (&mut self.resting, other.resting),
        ]
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Sum) {
        self.pairs(other).into_iter().for_each(|(sum, part)| *sum += part);
    }
}

impl SubAssign for Sum {
    fn sub_assign(&mut self, other: Sum) {
        self.pairs(other).into_iter().for_each(|(sum, part)| *sum -= part);
    }
}

pub(crate) fn shares_of(alert: &Alert) -> Shares {
    Shares::of(alert.contributions.iter().map(|c| (c.group, c.weight)))
}
