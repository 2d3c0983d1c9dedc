//! A tally as people and programs read it.

use clinical::Time;
use serde::Serialize;

use super::seen::{GRID, risk_of};
use super::tally::Tally;
use crate::handle::Handle;
use crate::registry::standing::model_hash;

const QUANTILES: [f64; 7] = [0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

/// What a model in shadow would have done at this site.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShadowReport {
    pub model: String,
    /// SHA-256, lowercase hex.
    pub hash: String,
    pub task: String,
    /// Entries behind this ledger index are counted.
    pub since_index: u64,
    /// When that was written.
    pub since: Time,
    /// Stays of patients.
    pub patients: u64,
    /// Patients' hours in which it had a risk.
    pub hours_scored: u64,
    /// Patients' hours in which it had none, by why.
    pub hours_too_few_measurements: u64,
    pub hours_not_in_intensive_care: u64,
    pub hours_not_an_adult: u64,
    pub threshold: f64,
    pub interruptive_threshold: f64,
    /// Alerts that it would have made, through the site's alert policy.
    pub alerts: u64,
    pub watch: u64,
    /// Within a budget of its own.
    pub interruptive: u64,
    /// Of the hours in which it had a risk; absent while there are none.
    pub alerts_per_100_patient_days: Option<f64>,
    /// Beside what alerts for the same task; absent where nothing does.
    pub live: Option<ShadowAgreement>,
    /// Of the highest risk of each hour, to 5 % of the odds: `[share of the hours, risk]`.
    pub quantiles: Vec<(f64, f64)>,
    /// What other thresholds would have come to, each as the only one.
    pub thresholds: Vec<ShadowThreshold>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShadowAgreement {
    pub against: Vec<ShadowAgainst>,
    pub alerts: u64,
    /// Of the hours in which it had a risk.
    pub alerts_per_100_patient_days: Option<f64>,
    /// Patients' hours in which both had a risk, by who reached its threshold in them.
    pub both: u64,
    pub only_live: u64,
    pub only_shadow: u64,
    pub neither: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShadowAgainst {
    pub model: String,
    pub hash: String,
    pub threshold: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShadowThreshold {
    pub threshold: f64,
    pub alerts: u64,
    pub alerts_per_100_patient_days: Option<f64>,
}

impl Handle {
    /// `None`: this site has no model with this hash in shadow.
    pub fn shadow(&self, hash: &str) -> Option<ShadowReport> {
        let scorer = self.inner.scorers.iter().find(|scorer| model_hash(scorer).as_deref() == Some(hash))?;
        let tallies = self.inner.tallies.lock().expect("tallies lock");
        Some(report(scorer.name(), scorer.task(), hash, tallies.get(hash)?))
    }
}

fn report(model: &str, task: &str, hash: &str, tally: &Tally) -> ShadowReport {
    let hours = tally.hours;
    let rate = |alerts| per_100_patient_days(alerts, hours.scored);
    let threshold = |(threshold, alerts): (f64, &u64)| ShadowThreshold {
        threshold,
        alerts: *alerts,
        alerts_per_100_patient_days: rate(*alerts),
    };
    ShadowReport {
        model: model.to_owned(),
        hash: hash.to_owned(),
        task: task.to_owned(),
        since_index: tally.since.0,
        since: tally.since.1,
        patients: tally.patients,
        hours_scored: hours.scored,
        hours_too_few_measurements: hours.too_few_measurements,
        hours_not_in_intensive_care: hours.not_in_intensive_care,
        hours_not_an_adult: hours.not_an_adult,
        threshold: tally.setting.thresholds.watch,
        interruptive_threshold: tally.setting.thresholds.interruptive,
        alerts: tally.alerts(),
        watch: tally.watch,
        interruptive: tally.interruptive,
        alerts_per_100_patient_days: rate(tally.alerts()),
        live: (!tally.setting.against.is_empty()).then(|| agreement(tally)),
        quantiles: quantiles(&tally.risks),
        thresholds: GRID.into_iter().zip(&tally.grid).map(threshold).collect(),
    }
}

fn agreement(tally: &Tally) -> ShadowAgreement {
    let hours = tally.hours;
    let against = tally.setting.against.iter().map(|against| ShadowAgainst {
        model: against.model.clone(),
        hash: against.hash.clone(),
        threshold: against.thresholds.watch,
    });
    ShadowAgreement {
        against: against.collect(),
        alerts: tally.live_alerts,
        alerts_per_100_patient_days: per_100_patient_days(tally.live_alerts, hours.live_scored),
        both: hours.both,
        only_live: hours.only_live,
        only_shadow: hours.only_shadow,
        neither: hours.neither,
    }
}

/// As `medulla model eval` has it.
fn per_100_patient_days(alerts: u64, hours: u64) -> Option<f64> {
    (hours > 0).then(|| alerts as f64 * 2400.0 / hours as f64)
}

fn quantiles(risks: &[u64]) -> Vec<(f64, f64)> {
    let all: u64 = risks.iter().sum();
    let at = |share: f64| {
        let mut below = 0;
        let bin = risks.iter().position(|hours| {
            below += hours;
            below as f64 >= share * all as f64
        });
        (share, bin.map_or(0.0, risk_of))
    };
    if all == 0 { Vec::new() } else { QUANTILES.map(at).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_risks_below_which_that_share_of_the_hours_is() {
        assert!(quantiles(&[0; 200]).is_empty());
        let mut risks = vec![0; 200];
        (risks[60], risks[100], risks[140]) = (50, 45, 5);
        let expected = [60, 60, 60, 100, 100, 100, 140].map(risk_of);
        assert_eq!(quantiles(&risks), QUANTILES.into_iter().zip(expected).collect::<Vec<_>>());
        assert!((risk_of(100) - 0.512).abs() < 0.001 && risk_of(60) < 0.02);
    }

    #[test]
    fn rates_are_of_patient_days() {
        assert_eq!(per_100_patient_days(3, 240), Some(30.0));
        assert_eq!(per_100_patient_days(3, 0), None);
    }
}
