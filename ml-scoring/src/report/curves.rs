//! What the charts draw, from a judged cohort.

use crate::Thresholds;
use crate::eval::{Alerting, Cohort, Prediction, Said, alerting, alerts, utility};
use crate::policy::AlertPolicy;
use crate::task::Task;

/// Points of a curve are thinned out to about so many.
const POINTS: usize = 200;
/// Thresholds at which the policy is run.
const POLICY_RUNS: usize = 24;
const CALIBRATION_BINS: usize = 10;

/// (across, up).
pub(super) type Points = Vec<(f64, f64)>;

/// Rows that can be judged, by falling risk.
pub(super) struct Ranked {
    rows: Vec<(f64, bool)>,
    positives: f64,
}

impl Ranked {
    pub fn new(cohort: &Cohort) -> Ranked {
        let said = cohort.judged.first().map_or(&[][..], Vec::as_slice);
        let all = said.iter().zip(&cohort.labels).zip(&cohort.judgeable);
        let mut rows: Vec<(f64, bool)> =
            all.filter(|(_, judgeable)| **judgeable).map(|((said, label), _)| (said.p, *label)).collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        let positives = rows.iter().filter(|row| row.1).count() as f64;
        Ranked { rows, positives }
    }

    /// (ROC, precision by recall), thinned out.
    pub fn curves(&self) -> (Points, Points) {
        let negatives = self.rows.len() as f64 - self.positives;
        let step = self.rows.len().div_ceil(POINTS).max(1);
        let (mut roc, mut pr, mut found) = (vec![(0.0, 0.0)], Vec::new(), 0.0);
        for (i, (_, label)) in self.rows.iter().enumerate() {
            found += f64::from(u8::from(*label));
            // Closer where few alarm: that is where precision moves.
            if (i + 1) % step == 0 || i + 1 == self.rows.len() || (i < step && (i + 1).is_power_of_two()) {
                let said = (i + 1) as f64;
                roc.push(((said - found) / negatives.max(1.0), found / self.positives.max(1.0)));
                pr.push((found / self.positives.max(1.0), found / said));
            }
        }
        (roc, pr)
    }

    /// (mean risk, share of positive rows) of ten equal parts of the rows.
    pub fn calibration(&self) -> Points {
        let size = self.rows.len().div_ceil(CALIBRATION_BINS).max(1);
        let of_bin = |rows: &[(f64, bool)]| {
            let n = rows.len() as f64;
            (rows.iter().map(|r| r.0).sum::<f64>() / n, rows.iter().filter(|r| r.1).count() as f64 / n)
        };
        self.rows.chunks(size).map(of_bin).rev().collect()
    }

    /// Risks that part the rows from "hardly any alarm" to "one row in three".
    pub fn thresholds(&self) -> Vec<f64> {
        let shares =
            (0..POLICY_RUNS).map(|i| 0.33 * (0.002_f64 / 0.33).powf(i as f64 / (POLICY_RUNS - 1) as f64));
        let at = |share: f64| self.rows.get((share * self.rows.len() as f64) as usize).map(|row| row.0);
        shares.filter_map(at).collect()
    }
}

/// One threshold's.
pub(super) struct Run {
    pub threshold: f64,
    pub utility: Option<f64>,
    pub alerts: Alerting,
}

/// The policy run at each of the thresholds. A row of too little data raises no alarm here either.
pub(super) fn runs(cohort: &Cohort, thresholds: &[f64]) -> Vec<Run> {
    let Some(said) = cohort.judged.first() else { return Vec::new() };
    let policy = AlertPolicy::default();
    let run = |threshold: &f64| {
        let (mut sum, mut alerting_at) = (crate::eval::Utility::default(), Alerting::default());
        for (place, person) in cohort.people.iter().enumerate() {
            let at = |p: &Prediction| p.at(*threshold);
            let said: Vec<Prediction> = said[person.rows.clone()].iter().map(at).collect();
            if cohort.task == Task::Sepsis {
                sum.add(&utility(person, &said), 1.0);
            }
            let (thresholds, heard) = (Thresholds::only(*threshold), cohort.heard_of(0, place));
            let said = Said { person, predictions: &said, thresholds, heard };
            alerting(&mut alerting_at, cohort, &said, &alerts(&policy, cohort, &said));
        }
        Run { threshold: *threshold, utility: sum.normalised(), alerts: alerting_at }
    };
    thresholds.iter().map(run).collect()
}

/// Hours from the first alarm to the event, of patients found before it.
pub(super) fn leads(cohort: &Cohort) -> Vec<i64> {
    if cohort.judged.is_empty() {
        return Vec::new();
    }
    let policy = AlertPolicy::default();
    let mut sum = Alerting::default();
    let lead = |place: usize| {
        let said = cohort.said(0, place);
        alerting(&mut sum, cohort, &said, &alerts(&policy, cohort, &said))
    };
    (0..cohort.people.len()).filter_map(lead).collect()
}
