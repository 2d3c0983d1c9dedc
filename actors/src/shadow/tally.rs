//! What this site has counted of its models in shadow. In the order of the ledger, from one entry on; bounded, whatever
//! comes in.

use std::collections::BTreeMap;

use clinical::Time;
use ml_scoring::{AlertPolicy, Insufficient, Thresholds, Tier, WardBudgets};
use serde::{Deserialize, Serialize};

use super::seen::{BINS, GRID, HourSaid, Said, ShadowSaid};

/// By the model's hash.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Tallies(BTreeMap<String, Tally>);

/// What a tally is of. Another setting begins another tally: figures of the one say nothing about the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub thresholds: Thresholds,
    /// What alerts for the same task.
    pub against: Vec<Against>,
    pub policy: AlertPolicy,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Against {
    pub model: String,
    pub hash: String,
    pub thresholds: Thresholds,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub setting: Setting,
    /// Counted is what follows this ledger index, and when that was written.
    pub since: (u64, Time),
    pub patients: u64,
    pub hours: Hours,
    pub watch: u64,
    pub interruptive: u64,
    pub live_alerts: u64,
    /// Hours by the highest risk in them, in bins of log-odds.
    pub risks: Vec<u64>,
    /// Alerts at each threshold of the grid.
    pub grid: Vec<u64>,
    budgets: WardBudgets,
}

/// Hours of patients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hours {
    /// With a risk.
    pub scored: u64,
    pub too_few_measurements: u64,
    pub not_in_intensive_care: u64,
    #[serde(default)]
    pub not_an_adult: u64,
    /// In which what alerts had one.
    pub live_scored: u64,
    /// Of those in which both had one, by who reached its threshold.
    pub both: u64,
    pub only_shadow: u64,
    pub only_live: u64,
    pub neither: u64,
}

impl Tallies {
    /// The index from which the model is counted under this setting: that of the tally at hand, or `now`.
    pub fn begin(&mut self, hash: &str, setting: Setting, now: (u64, Time)) -> u64 {
        let tally = self.0.entry(hash.to_owned()).or_insert_with(|| Tally::new(setting.clone(), now));
        if tally.setting != setting || tally.grid.len() != GRID.len() {
            *tally = Tally::new(setting, now);
        }
        tally.since.0
    }

    pub fn keep_only(&mut self, is_counted: impl Fn(&str) -> bool) {
        self.0.retain(|hash, _| is_counted(hash));
    }

    /// In the order of the ledger: that is how budgets are spent.
    pub fn count(&mut self, mut all: Vec<ShadowSaid>) {
        all.sort_by_key(|said| said.trigger);
        for said in &all {
            if let Some(tally) = self.0.get_mut(&said.hash) {
                tally.count(said);
            }
        }
    }

    pub fn get(&self, hash: &str) -> Option<&Tally> {
        self.0.get(hash)
    }
}

impl Tally {
    fn new(setting: Setting, since: (u64, Time)) -> Tally {
        Tally {
            setting,
            since,
            patients: 0,
            hours: Hours::default(),
            watch: 0,
            interruptive: 0,
            live_alerts: 0,
            risks: vec![0; usize::from(BINS)],
            grid: vec![0; GRID.len()],
            budgets: WardBudgets::default(),
        }
    }

    fn count(&mut self, said: &ShadowSaid) {
        let seen = &said.seen;
        self.patients += u64::from(seen.is_new);
        self.live_alerts += said.live_alerts;
        if let Some(tier) = seen.tier {
            match self.setting.policy.afford(&mut self.budgets, &said.ward, "", tier, said.at) {
                Tier::Watch => self.watch += 1,
                Tier::Interruptive => self.interruptive += 1,
            }
        }
        for place in &seen.grid {
            self.grid.get_mut(usize::from(*place)).into_iter().for_each(|alerts| *alerts += 1);
        }
        for (hour, change) in [(seen.before, minus as Change), (seen.after, plus as Change)] {
            let Some(hour) = hour else { continue };
            self.hours.change(&hour, change);
            if let Said::Risk(bin, _) = hour.shadow {
                self.risks.get_mut(usize::from(bin)).into_iter().for_each(change);
            }
        }
    }

    pub fn alerts(&self) -> u64 {
        self.watch + self.interruptive
    }
}

type Change = fn(&mut u64);

fn plus(count: &mut u64) {
    *count += 1;
}

fn minus(count: &mut u64) {
    *count = count.saturating_sub(1);
}

impl Hours {
    fn change(&mut self, hour: &HourSaid, change: Change) {
        match hour.shadow {
            Said::Risk(..) => change(&mut self.scored),
            Said::Insufficient(Insufficient::TooFewMeasurements) => change(&mut self.too_few_measurements),
            Said::Insufficient(Insufficient::NotInIntensiveCare) => change(&mut self.not_in_intensive_care),
            Said::Insufficient(Insufficient::NotAnAdult) => change(&mut self.not_an_adult),
            Said::Nothing => {}
        }
        if let Said::Risk(..) = hour.live {
            change(&mut self.live_scored);
        }
        if let (Said::Risk(_, shadow), Said::Risk(_, live)) = (hour.shadow, hour.live) {
            change(match (shadow, live) {
                (true, true) => &mut self.both,
                (true, false) => &mut self.only_shadow,
                (false, true) => &mut self.only_live,
                (false, false) => &mut self.neither,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use ml_scoring::Assessment;

    use super::*;
    use crate::shadow::seen::{Live, ShadowSeen};

    const THRESHOLDS: Thresholds = Thresholds { watch: 0.2, interruptive: 0.6 };

    fn setting() -> Setting {
        let policy = AlertPolicy { per_ward_budget_per_day: 1, ..AlertPolicy::default() };
        Setting { thresholds: THRESHOLDS, against: Vec::new(), policy }
    }

    fn assessment(risk: Option<f64>, threshold: f64) -> Assessment {
        let insufficient = risk.is_none().then_some(Insufficient::TooFewMeasurements);
        let assessment = Assessment { risk, insufficient, model_hash: [7; 32], ..Assessment::default() };
        assessment.at_thresholds(Thresholds { watch: threshold, ..THRESHOLDS })
    }

    /// (minute, risk of the one in shadow, risk of what alerts at 0.5) of one patient.
    fn said(
        seen: &mut ShadowSeen,
        since: u64,
        minute: i64,
        shadow: Option<f64>,
        live: Option<f64>,
    ) -> ShadowSaid {
        let beside = Live::of(&assessment(live, 0.5), live.is_some_and(|risk| risk >= 0.5));
        let place = (u64::try_from(minute).unwrap(), Time(minute * 60_000), "ICU");
        ShadowSaid::by(&assessment(shadow, THRESHOLDS.watch), seen, since, &setting().policy, beside, place)
    }

    fn hash() -> String {
        hex::encode([7; 32])
    }

    type Moment = (i64, Option<f64>, Option<f64>);

    fn run(patients: &[&[Moment]]) -> Tally {
        let mut tallies = Tallies::default();
        let since = tallies.begin(&hash(), setting(), (3, Time(0)));
        let mut all = Vec::new();
        for patient in patients {
            let mut seen = ShadowSeen::default();
            all.extend(patient.iter().map(|(minute, a, b)| said(&mut seen, since, *minute, *a, *b)));
        }
        tallies.count(all);
        tallies.get(&hash()).unwrap().clone()
    }

    #[test]
    fn hours_count_once_and_by_the_most_that_was_said() {
        let tally = run(&[&[
            (0, None, Some(0.1)),
            (10, Some(0.1), Some(0.1)),
            (20, Some(0.3), Some(0.1)),
            (30, Some(0.1), Some(0.6)),
            (60, Some(0.1), Some(0.1)),
            (120, None, Some(0.7)),
            (180, Some(0.3), None),
            (240, Some(0.3), Some(0.2)),
        ]]);
        let hours = Hours {
            scored: 4,
            too_few_measurements: 1,
            live_scored: 4,
            both: 1,
            neither: 1,
            only_shadow: 1,
            ..Hours::default()
        };
        assert_eq!((tally.hours, tally.patients, tally.live_alerts), (hours, 1, 2));
        assert_eq!(tally.risks.iter().sum::<u64>(), 4);
    }

    #[test]
    fn alerts_are_those_of_the_policy_with_a_budget_of_their_own() {
        // Over 0.6 at once, trembling, within the refractory time; the second patient finds the ward's budget spent.
        let rise =
            [(0, Some(0.7), None), (60, Some(0.1), None), (120, Some(0.7), None), (1000, Some(0.3), None)];
        let tally = run(&[&rise, &[(5, Some(0.7), None)]]);
        assert_eq!((tally.interruptive, tally.watch), (1, 2));
        assert_eq!(tally.alerts(), 3);
        let at = |threshold: f64| tally.grid[GRID.iter().position(|value| *value == threshold).unwrap()];
        assert_eq!((at(0.7), at(0.8)), (2, 0), "once each in the refractory time");
        assert_eq!((at(0.3), at(0.1)), (3, 2), "again after a real fall; below it there was none");
    }

    /// What is folded at once or in parts, by one shard or another, comes to the same.
    #[test]
    fn budgets_are_spent_in_the_order_of_the_ledger() {
        let (loud, late) = ([(10, Some(0.7), None)], [(20, Some(0.7), None), (90, Some(0.1), None)]);
        let (one, other) = (run(&[&loud, &late]), run(&[&late, &loud]));
        let encoded = |tally: &Tally| rmp_serde::to_vec_named(tally).unwrap();
        assert_eq!(encoded(&one), encoded(&other));
        let again: Tally = rmp_serde::from_slice(&encoded(&one)).unwrap();
        assert_eq!(encoded(&again), encoded(&one), "also from a checkpoint");
    }

    /// Who goes back to this release from a later one goes on counting.
    #[test]
    fn what_a_later_release_adds_to_a_tally_is_passed_over() {
        let tally = run(&[&[(0, Some(0.7), None), (60, Some(0.1), None)]]);
        let tallies = Tallies([(hash(), tally)].into());
        let mut kept: serde_json::Value =
            rmp_serde::from_slice(&rmp_serde::to_vec_named(&tallies).unwrap()).unwrap();
        let of_tally = format!("/{}", hash());
        for place in ["", "/setting", "/setting/policy", "/setting/thresholds", "/hours"] {
            let fields =
                kept.pointer_mut(&format!("{of_tally}{place}")).and_then(|part| part.as_object_mut());
            fields.unwrap().insert("later".into(), serde_json::json!({ "new": 1 }));
        }
        let mut read: Tallies = rmp_serde::from_slice(&rmp_serde::to_vec_named(&kept).unwrap()).unwrap();
        assert_eq!(read.begin(&hash(), setting(), (9, Time(1))), 3, "it goes on");
        assert_eq!(read.get(&hash()).unwrap().interruptive, 1);
    }

    #[test]
    fn another_setting_begins_anew_and_the_same_goes_on() {
        let mut tallies = Tallies::default();
        let mut seen = ShadowSeen::default();
        let since = tallies.begin(&hash(), setting(), (3, Time(0)));
        tallies.count(vec![said(&mut seen, since, 0, Some(0.7), None)]);
        assert_eq!(tallies.begin(&hash(), setting(), (9, Time(1))), 3);
        assert_eq!(tallies.get(&hash()).unwrap().alerts(), 1);
        let other = Setting { thresholds: Thresholds { watch: 0.1, ..THRESHOLDS }, ..setting() };
        let since = tallies.begin(&hash(), other, (9, Time(1)));
        assert_eq!((since, tallies.get(&hash()).unwrap().alerts()), (9, 0));
        tallies.count(vec![said(&mut seen, since, 1, Some(0.7), None)]);
        let tally = tallies.get(&hash()).unwrap();
        assert_eq!((tally.patients, tally.alerts(), tally.hours.scored), (1, 1, 1), "the patient, too");
        tallies.keep_only(|_| false);
        assert!(tallies.get(&hash()).is_none());
    }
}
