//! One patient under one model in shadow.

use std::collections::BTreeMap;

use clinical::Time;
use ml_scoring::{AlertPolicy, Assessment, Insufficient, PolicyState, Tier};
use serde::{Deserialize, Serialize};

/// Thresholds at which it is counted how often the model would have alerted, so that a person can choose one. Their places
/// stand in checkpoints.
pub(super) const GRID: [f64; 23] = [
    0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3,
    0.4, 0.5, 0.6, 0.7, 0.8, 0.9,
];

/// Bins of log-odds from −10 to 10, a tenth each: wide enough for any risk that a threshold is set at.
pub(super) const BINS: u8 = 200;
const BINS_A_UNIT: f64 = 10.0;

#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct ShadowSeen {
    /// The tally that it is counted in begins at this index.
    since: Option<u64>,
    policy: PolicyState,
    /// Since 1970, in event time.
    hour: i64,
    hour_said: Option<HourSaid>,
    /// By place in [`GRID`], where that threshold was reached.
    grid: BTreeMap<u8, PolicyState>,
}

/// What is counted of a patient's hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HourSaid {
    pub shadow: Said,
    pub live: Said,
}

/// What one side said in an hour: its highest risk, or why there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    Nothing,
    Insufficient(Insufficient),
    /// The bin of the risk, and whether it has reached the threshold.
    Risk(u8, bool),
}

/// A patient was scored: what the site's tally has to count.
pub(crate) struct ShadowSaid {
    /// Ledger index of the message or tick.
    pub trigger: u64,
    /// Of the model.
    pub hash: String,
    pub at: Time,
    pub ward: String,
    pub live_alerts: u64,
    pub(super) seen: Seen,
}

pub(super) struct Seen {
    /// The patient is met for the first time.
    pub is_new: bool,
    /// Was counted of the same hour, and holds no longer.
    pub before: Option<HourSaid>,
    pub after: Option<HourSaid>,
    /// That the policy decided on, before the ward's budget.
    pub tier: Option<Tier>,
    /// Places in [`GRID`] at which it would have alerted.
    pub grid: Vec<u8>,
}

/// What alerts for the same task, of the same patient at the same time.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    said: Said,
    alerts: u64,
}

impl Default for Live {
    fn default() -> Live {
        Live { said: Said::Nothing, alerts: 0 }
    }
}

impl Live {
    pub fn of(assessment: &Assessment, alerted: bool) -> Live {
        Live { said: Said::of(assessment), alerts: u64::from(alerted) }
    }

    /// Both together.
    pub fn and(self, other: Live) -> Live {
        Live { said: self.said.max(other.said), alerts: self.alerts + other.alerts }
    }
}

impl ShadowSaid {
    /// `since` names the tally: another one begins with every patient anew.
    pub fn by(
        assessment: &Assessment,
        patient: &mut ShadowSeen,
        since: u64,
        policy: &AlertPolicy,
        live: Live,
        (trigger, at, ward): (u64, Time, &str),
    ) -> ShadowSaid {
        let is_new = patient.since != Some(since);
        if is_new {
            *patient = ShadowSeen { since: Some(since), ..ShadowSeen::default() };
        }
        let tier = policy.decide(&mut patient.policy, assessment, at).map(|decision| decision.tier);
        let (before, after) = patient.hour(HourSaid { shadow: Said::of(assessment), live: live.said }, at);
        let grid = patient.grid(policy, assessment.risk, at);
        let seen = Seen { is_new, before, after, tier, grid };
        let hash = hex::encode(assessment.model_hash);
        ShadowSaid { trigger, hash, at, ward: ward.to_owned(), live_alerts: live.alerts, seen }
    }
}

impl ShadowSeen {
    /// What was counted of the hour, and what holds now. An hour that is over is not counted again.
    fn hour(&mut self, said: HourSaid, at: Time) -> (Option<HourSaid>, Option<HourSaid>) {
        let hour = at.0.div_euclid(Time::HOUR_MS);
        if self.hour_said.is_some() && hour < self.hour {
            return (None, None);
        }
        let before = self.hour_said.filter(|_| hour == self.hour);
        let after = before.map_or(said, |before| HourSaid {
            shadow: before.shadow.max(said.shadow),
            live: before.live.max(said.live),
        });
        (self.hour, self.hour_said) = (hour, Some(after));
        (before, Some(after))
    }

    fn grid(&mut self, policy: &AlertPolicy, risk: Option<f64>, at: Time) -> Vec<u8> {
        let mut alerts = Vec::new();
        for (place, threshold) in (0u8..).zip(GRID) {
            if !self.grid.contains_key(&place) && risk.is_none_or(|risk| risk < threshold) {
                continue;
            }
            let state = self.grid.entry(place).or_default();
            let assessment = Assessment { risk, threshold, ..Assessment::default() };
            if policy.decide(state, &assessment, at).is_some() {
                alerts.push(place);
            }
        }
        alerts
    }
}

impl Said {
    fn of(assessment: &Assessment) -> Said {
        match (assessment.risk, assessment.insufficient) {
            (Some(risk), _) => Said::Risk(bin(risk), risk >= assessment.threshold),
            (None, Some(why)) => Said::Insufficient(why),
            (None, None) => Said::Nothing,
        }
    }

    /// A risk says more than its absence; of two absences the later one.
    fn max(self, later: Said) -> Said {
        match (self, later) {
            (Said::Risk(a, over), Said::Risk(b, also)) => Said::Risk(a.max(b), over || also),
            (Said::Risk(..), _) | (_, Said::Nothing) => self,
            _ => later,
        }
    }
}

fn bin(risk: f64) -> u8 {
    let log_odds = (risk / (1.0 - risk)).ln();
    let bin = (log_odds * BINS_A_UNIT).floor() + f64::from(BINS / 2);
    // 0 and 1, and what is no number, are at the ends.
    bin.clamp(0.0, f64::from(BINS - 1)) as u8
}

/// The risk in the middle of a bin.
pub(super) fn risk_of(bin: usize) -> f64 {
    let log_odds = (bin as f64 + 0.5 - f64::from(BINS / 2)) / BINS_A_UNIT;
    1.0 / (1.0 + (-log_odds).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_is_found_again_by_its_risk() {
        for place in 0..BINS {
            assert_eq!(bin(risk_of(usize::from(place))), place);
        }
        assert_eq!([bin(0.0), bin(1.0), bin(f64::NAN)], [0, BINS - 1, 0]);
        let thresholds = GRID.windows(2).all(|pair| pair[0] < pair[1] && bin(pair[0]) < bin(pair[1]));
        assert!(thresholds, "in order, and no two in one bin");
    }

    #[test]
    fn an_hour_keeps_the_most_that_was_said_and_the_past_is_over() {
        let (nothing, few) = (Said::Nothing, Said::Insufficient(Insufficient::TooFewMeasurements));
        let (low, high) = (Said::Risk(50, false), Said::Risk(90, true));
        let mut seen = ShadowSeen::default();
        let mut say = |minute: i64, shadow, live| seen.hour(HourSaid { shadow, live }, Time(minute * 60_000));
        let said = |shadow, live| Some(HourSaid { shadow, live });
        assert_eq!(say(600, few, nothing), (None, said(few, nothing)));
        assert_eq!(say(610, low, nothing), (said(few, nothing), said(low, nothing)));
        assert_eq!(say(620, high, low), (said(low, nothing), said(high, low)));
        assert_eq!(say(630, few, high), (said(high, low), said(high, high)), "a risk is not taken back");
        assert_eq!(say(660, low, few), (None, said(low, few)), "another hour");
        assert_eq!(say(659, high, high), (None, None));
    }
}
