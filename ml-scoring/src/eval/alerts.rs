//! What a ward would see: alerts after the policy, and whom they found in time.

use clinical::Time;

use super::cohort::{Person, Prediction};
use crate::policy::{AlertPolicy, PolicyState};

/// Sums over patients.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Alerting {
    pub alerts: u64,
    /// Patients with at least one.
    pub patients_alerted: u64,
    /// Alerts of patients who become septic, not later than 3 h after onset.
    pub true_alerts: u64,
    pub septic: u64,
    /// Septic patients with an alarm in any hour up to onset.
    pub found_before_onset: u64,
    /// Septic patients with an alarm from 12 h before to 3 h after onset.
    pub found_in_window: u64,
    pub hours: u64,
}

impl Alerting {
    pub fn alerts_per_100_patient_days(&self) -> Option<f64> {
        (self.hours > 0).then(|| self.alerts as f64 * 2400.0 / self.hours as f64)
    }

    pub fn ppv(&self) -> Option<f64> {
        ratio(self.true_alerts, self.alerts)
    }

    pub fn sensitivity(&self) -> Option<f64> {
        ratio(self.found_before_onset, self.septic)
    }

    pub fn sensitivity_in_window(&self) -> Option<f64> {
        ratio(self.found_in_window, self.septic)
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Adds one patient; the answer is the lead in hours, if he is septic and was found before onset.
///
/// Alarms pass the policy's rising edge and refractory time as they do on the stream; there are no wards here, so
/// no budget.
pub fn alerting(
    sum: &mut Alerting,
    policy: &AlertPolicy,
    person: &Person,
    iculos: &[u32],
    predictions: &[Prediction],
) -> Option<i64> {
    let mut state = PolicyState::default();
    let mut first_alarm = None;
    let mut in_window = false;
    let alerts_before = sum.alerts;
    for (i, (hour, prediction)) in iculos.iter().zip(predictions).enumerate() {
        let from_onset = person.hours_from_onset(i);
        let at = Time(i64::from(*hour) * Time::HOUR_MS);
        if policy.edge(&mut state, prediction.alarm, at) {
            sum.alerts += 1;
            sum.true_alerts += u64::from(from_onset.is_some_and(|d| d <= 3));
        }
        if prediction.alarm {
            first_alarm = first_alarm.or(from_onset);
            in_window |= from_onset.is_some_and(|d| (-12..=3).contains(&d));
        }
    }
    sum.patients_alerted += u64::from(sum.alerts > alerts_before);
    sum.hours += predictions.len() as u64;
    sum.septic += u64::from(person.first_label.is_some());
    let lead = first_alarm.filter(|d| *d <= 0).map(|d| -d);
    sum.found_before_onset += u64::from(lead.is_some());
    sum.found_in_window += u64::from(in_window);
    lead
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first_label: Option<usize>, alarms: &[usize]) -> (Alerting, Option<i64>) {
        let person = Person {
            pid: String::new(),
            hospital: 'A',
            age: 50.0,
            sex: "male",
            unit: "unknown",
            rows: 0..48,
            first_label,
        };
        let iculos: Vec<u32> = (1..=48).collect();
        let predictions: Vec<_> =
            (0..48).map(|i| Prediction { p: 0.0, alarm: alarms.contains(&i) }).collect();
        let mut sum = Alerting::default();
        let lead = alerting(&mut sum, &AlertPolicy::default(), &person, &iculos, &predictions);
        (sum, lead)
    }

    #[test]
    fn a_run_of_alarms_is_one_alert_and_the_lead_is_from_its_first_hour() {
        let (sum, lead) = run(Some(30), &[30, 31, 32, 33]);
        assert_eq!((sum.alerts, sum.patients_alerted, sum.true_alerts, lead), (1, 1, 1, Some(6)));
        assert_eq!((sum.found_before_onset, sum.found_in_window), (1, 1));
        assert_eq!(sum.alerts_per_100_patient_days(), Some(50.0));
    }

    #[test]
    fn too_early_is_found_but_not_in_the_window_and_too_late_is_not_found() {
        let (sum, lead) = run(Some(30), &[2]);
        assert_eq!((sum.found_before_onset, sum.found_in_window, lead), (1, 0, Some(34)));
        let (sum, lead) = run(Some(30), &[38]);
        assert_eq!((sum.found_before_onset, sum.found_in_window, lead), (0, 1, None));
        let (sum, _) = run(None, &[2, 20]);
        assert_eq!((sum.alerts, sum.patients_alerted, sum.true_alerts, sum.septic), (2, 1, 0, 0));
        assert_eq!(sum.ppv(), Some(0.0));
    }
}
