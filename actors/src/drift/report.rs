//! The counts as people and programs read them.

use std::sync::Mutex;

use clinical::Time;
use ml_scoring::Scorer;
use ml_scoring::drift::{Finding, Measure, Status};
use serde::Serialize;

use super::window::{STAYS_MIN, Windows, baseline};
use crate::handle::Handle;
use crate::metrics::Metrics;
use crate::registry::standing::model_hash;
use crate::shadow::HASH_DIGITS;

/// A model's training data beside what this site has brought in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DriftReport {
    pub model: String,
    /// SHA-256, lowercase hex.
    pub hash: String,
    pub task: String,
    /// The loudest of the findings, or why there are none.
    pub status: DriftStatus,
    /// Of patients, that began in the window.
    pub stays: u64,
    /// Fewer say nothing.
    pub stays_min: u64,
    /// Patients' hours that have closed, of those that the model speaks of.
    pub hours: u64,
    /// Ledger index that the window begins with, and when that came in; absent while it is empty.
    pub since_index: Option<u64>,
    pub since: Option<Time>,
    /// The greatest first; a measure with too few values is left out.
    pub findings: Vec<DriftFinding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftStatus {
    /// The card has no baseline of the training data.
    NoBaseline,
    TooFew,
    Quiet,
    Warn,
    Alarm,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DriftFinding {
    pub column: String,
    /// `values` as they were measured, or `rate`: how often.
    pub measure: Measure,
    /// Population stability index.
    pub psi: f64,
    pub status: Status,
}

impl Handle {
    /// `None`: this site does not score with a model of this hash.
    pub fn drift(&self, hash: &str) -> Option<DriftReport> {
        let scorers = &self.inner.scorers;
        let scorer = scorers.iter().find(|scorer| model_hash(scorer).as_deref() == Some(hash))?;
        report(&self.inner.windows.lock().expect("windows lock"), scorer)
    }
}

pub(super) fn report(windows: &Windows, scorer: &Scorer) -> Option<DriftReport> {
    let hash = model_hash(scorer)?;
    let mut report = DriftReport {
        model: scorer.name().to_owned(),
        task: scorer.task().to_owned(),
        status: DriftStatus::NoBaseline,
        stays: 0,
        stays_min: STAYS_MIN,
        hours: 0,
        since_index: None,
        since: None,
        findings: Vec::new(),
        hash,
    };
    let Some(baseline) = baseline(scorer) else { return Some(report) };
    let window = windows.get(&report.hash)?;
    let counts = window.counts(baseline);
    (report.stays, report.hours) = (window.stays(), counts.hours);
    (report.since_index, report.since) = window.since().unzip();
    report.status = DriftStatus::TooFew;
    if report.stays < STAYS_MIN {
        return Some(report);
    }
    let finding = |Finding { column, measure, psi, status }| DriftFinding { column, measure, psi, status };
    report.findings = counts.findings(baseline).into_iter().map(finding).collect();
    let loudest = report.findings.iter().map(|finding| finding.status).max();
    report.status = match loudest {
        None => DriftStatus::TooFew,
        Some(Status::Quiet) => DriftStatus::Quiet,
        Some(Status::Warn) => DriftStatus::Warn,
        Some(Status::Alarm) => DriftStatus::Alarm,
    };
    Some(report)
}

/// A model that is not compared yet has no index at all: none of them is 0.
pub(crate) fn show(metrics: &Metrics, scorers: &[Scorer], windows: &Mutex<Windows>) {
    metrics.drift_psi.reset();
    metrics.drift_stays.reset();
    let windows = windows.lock().expect("windows lock");
    for report in scorers.iter().filter_map(|scorer| report(&windows, scorer)) {
        if report.status == DriftStatus::NoBaseline {
            continue;
        }
        let short = report.hash.get(..HASH_DIGITS).unwrap_or_default();
        let stays = metrics.drift_stays.with_label_values(&[&*report.model, short]);
        stays.set(i64::try_from(report.stays).unwrap_or(i64::MAX));
        for DriftFinding { column, measure, psi, .. } in &report.findings {
            let measure = match measure {
                Measure::Values => "values",
                Measure::Rate => "rate",
            };
            metrics.drift_psi.with_label_values(&[&*report.model, short, column, measure]).set(*psi);
        }
    }
}
