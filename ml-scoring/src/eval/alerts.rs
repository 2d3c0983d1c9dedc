//! What a ward would see: alerts after the policy, and whom they found in time.

use clinical::Time;

use super::cohort::{Cohort, Heard, Person, Prediction};
use crate::Thresholds;
use crate::policy::{AlertPolicy, PolicyState, Tier};
use crate::task::Task;

/// Sums over patients.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Alerting {
    /// All that a site would make, whatever the task can judge of them.
    pub alerts: u64,
    /// Those in rows that it can.
    pub alerts_judged: u64,
    /// Patients with at least one.
    pub patients_alerted: u64,
    /// Of the judged: alerts of patients who become septic, not later than 3 h after onset; else within the horizon.
    pub true_alerts: u64,
    /// With the event, whatever the task.
    pub septic: u64,
    /// Septic patients with an alarm in any hour up to onset; of other tasks, within the horizon.
    pub found_before_onset: u64,
    /// Septic patients with an alarm from 12 h before to 3 h after onset; of other tasks, within the horizon.
    pub found_in_window: u64,
    /// All rows' hours: a ward bears an alert after the event as it bears one before.
    pub hours: u64,
}

impl Alerting {
    pub(super) fn add(&mut self, other: &Alerting, times: u64) {
        self.alerts += times * other.alerts;
        self.alerts_judged += times * other.alerts_judged;
        self.patients_alerted += times * other.patients_alerted;
        self.true_alerts += times * other.true_alerts;
        self.septic += times * other.septic;
        self.found_before_onset += times * other.found_before_onset;
        self.found_in_window += times * other.found_in_window;
        self.hours += times * other.hours;
    }

    pub fn alerts_per_100_patient_days(&self) -> Option<f64> {
        (self.hours > 0).then(|| self.alerts as f64 * 2400.0 / self.hours as f64)
    }

    pub fn ppv(&self) -> Option<f64> {
        ratio(self.true_alerts, self.alerts_judged)
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

/// What was said of one person.
#[derive(Clone, Copy)]
pub struct Said<'a> {
    pub person: &'a Person,
    /// Row by row, at the close of each hour.
    pub predictions: &'a [Prediction],
    pub thresholds: Thresholds,
    /// With each message and tick, for the alert policy; empty where it hears the rows.
    pub heard: &'a [Heard],
}

/// One alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alerted {
    /// Of the person's, from 0.
    pub row: usize,
    /// Since intensive care began.
    pub at: Time,
    /// Before a ward's budget.
    pub tier: Tier,
    /// It comes in a row that the task can judge. Others are made, and silence later ones, as at a site: they count among
    /// the alerts, and are neither right nor wrong.
    pub is_judgeable: bool,
}

/// The person's alerts, decided on by the code that decides on the stream: with every message and tick, or, where only
/// rows were judged, as each hour closes.
pub fn alerts(policy: &AlertPolicy, cohort: &Cohort, said: &Said<'_>) -> Vec<Alerted> {
    let mut state = PolicyState::default();
    let rows = said.person.rows.clone();
    let iculos = &cohort.iculos[rows.clone()];
    let mut decide = |heard: Heard| {
        let tier = policy.step(&mut state, heard.risk(), said.thresholds, heard.at)?;
        let is_judgeable = cohort.judgeable[rows.start + heard.row];
        Some(Alerted { row: heard.row, at: heard.at, tier, is_judgeable })
    };
    if said.heard.is_empty() {
        let closes = said.predictions.iter().zip(iculos).enumerate();
        return closes
            .filter_map(|(row, (said, iculos))| decide(Heard::at_close(row, *iculos, said)))
            .collect();
    }
    // An hour that has no row is in no row's place: what came then is neither right nor wrong.
    let has_row = |alert: &Alerted| alert.at.hours_since(Time(0)) + 1 == i64::from(iculos[alert.row]);
    let alerts = said.heard.iter().copied().filter_map(decide);
    alerts.map(|alert| Alerted { is_judgeable: alert.is_judgeable && has_row(&alert), ..alert }).collect()
}

/// Whether an alert at the person's row `i` was one.
pub(super) fn is_right(cohort: &Cohort, person: &Person, i: usize) -> bool {
    match cohort.task {
        Task::Sepsis => person.hours_from_onset(i).is_some_and(|d| d <= 3),
        _ => cohort.labels.get(person.rows.start + i).copied().unwrap_or(false),
    }
}

/// Adds one patient with his [`alerts`]; the answer is the lead in hours, if the event came and was found before it.
pub fn alerting(
    sum: &mut Alerting,
    cohort: &Cohort,
    Said { person, predictions, .. }: &Said<'_>,
    alerts: &[Alerted],
) -> Option<i64> {
    let judged: Vec<&Alerted> = alerts.iter().filter(|alert| alert.is_judgeable).collect();
    let mut found = Found::default();
    let rows = person.rows.clone().zip(*predictions);
    for (i, (row, prediction)) in rows.enumerate().filter(|(_, (row, _))| cohort.judgeable[*row]) {
        found.see(cohort.task, prediction.alarm, person.hours_from_onset(i), cohort.labels[row]);
    }
    sum.hours += person.rows.len() as u64 * cohort.task.hours_per_row();
    sum.alerts += alerts.len() as u64;
    sum.alerts_judged += judged.len() as u64;
    sum.true_alerts += judged.iter().filter(|alert| is_right(cohort, person, alert.row)).count() as u64;
    sum.patients_alerted += u64::from(!alerts.is_empty());
    let lead = found.first_alarm.filter(|d| *d <= 0).map(|d| -d);
    let (came, before) = match cohort.task {
        Task::Sepsis => (person.onset.is_some(), lead.is_some()),
        _ => (found.positive, found.in_time),
    };
    sum.septic += u64::from(came);
    sum.found_before_onset += u64::from(before);
    sum.found_in_window += u64::from(found.in_time);
    lead
}

/// What one patient's alarms have found so far.
#[derive(Default)]
struct Found {
    /// Hours from onset. Of tasks with a horizon the first one within it: an alarm before it is one too many, and finds
    /// nobody.
    first_alarm: Option<i64>,
    positive: bool,
    /// Sepsis: from 12 h before to 3 h after onset; else within the horizon.
    in_time: bool,
}

impl Found {
    fn see(&mut self, task: Task, alarm: bool, from_onset: Option<i64>, positive: bool) {
        self.positive |= positive;
        if !alarm {
            return;
        }
        let (counts, in_time) = match task {
            Task::Sepsis => (true, from_onset.is_some_and(|d| (-12..=3).contains(&d))),
            _ => (positive, positive),
        };
        if counts {
            self.first_alarm = self.first_alarm.or(from_onset);
        }
        self.in_time |= in_time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Person {
        Person {
            pid: String::new(),
            hospital: 'A',
            age: 50.0,
            sex: "male",
            unit: "unknown",
            rows: 0..0,
            onset: None,
        }
    }

    fn run(first_label: Option<usize>, alarms: &[usize]) -> (Alerting, Option<i64>) {
        let person = Person { rows: 0..48, onset: first_label.map(|first| first + 6), ..nobody() };
        let cohort = Cohort {
            iculos: (1..=48).collect(),
            labels: vec![false; 48],
            judgeable: vec![true; 48],
            ..Cohort::default()
        };
        let predictions: Vec<_> = (0..48).map(|i| Prediction::yes_or_no(0.0, alarms.contains(&i))).collect();
        let mut sum = Alerting::default();
        let said =
            Said { person: &person, predictions: &predictions, thresholds: Thresholds::YES, heard: &[] };
        let told = alerts(&AlertPolicy::default(), &cohort, &said);
        let lead = alerting(&mut sum, &cohort, &said, &told);
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

    #[test]
    fn what_comes_where_the_task_cannot_judge_is_an_alert_and_neither_right_nor_wrong() {
        let person = Person { rows: 0..20, ..nobody() };
        let mut cohort = Cohort {
            iculos: (1..=20).collect(),
            labels: vec![false; 20],
            judgeable: vec![true; 20],
            ..Cohort::default()
        };
        cohort.judgeable[..3].fill(false);
        let predictions: Vec<_> =
            (0..20).map(|i| Prediction::yes_or_no(0.0, [1, 5, 16].contains(&i))).collect();
        let said =
            Said { person: &person, predictions: &predictions, thresholds: Thresholds::YES, heard: &[] };
        let told = alerts(&AlertPolicy::default(), &cohort, &said);
        let rows: Vec<_> = told.iter().map(|alert| (alert.row, alert.is_judgeable)).collect();
        assert_eq!(rows, [(1, false), (16, true)], "the one of row 5 is within the refractory time");
        let mut sum = Alerting::default();
        alerting(&mut sum, &cohort, &said, &told);
        assert_eq!((sum.alerts, sum.alerts_judged, sum.patients_alerted, sum.hours), (2, 1, 1, 20));
        assert_eq!((sum.alerts_per_100_patient_days(), sum.ppv()), (Some(240.0), Some(0.0)));
    }

    /// The event comes in row 30 of 50, the horizon is 8 h; the pressure stays low, and so does the alarm.
    #[test]
    fn a_ward_hears_a_stream_model_after_the_event_too() {
        let person = Person { rows: 0..50, onset: Some(30), ..nobody() };
        let cohort = Cohort {
            task: Task::Hypotension,
            iculos: (1..=50).collect(),
            labels: (0..50).map(|row| (22..30).contains(&row)).collect(),
            judgeable: (0..50).map(|row| (3..30).contains(&row)).collect(),
            ..Cohort::default()
        };
        let alarms = [1, 14, 27, 40];
        let predictions: Vec<_> = (0..50).map(|i| Prediction::yes_or_no(0.0, alarms.contains(&i))).collect();
        let said =
            Said { person: &person, predictions: &predictions, thresholds: Thresholds::YES, heard: &[] };
        let told = alerts(&AlertPolicy::default(), &cohort, &said);
        let mut sum = Alerting::default();
        let lead = alerting(&mut sum, &cohort, &said, &told);
        assert_eq!((sum.alerts, sum.alerts_judged, sum.true_alerts, sum.hours), (4, 2, 1, 50));
        assert_eq!((sum.ppv(), sum.alerts_per_100_patient_days()), (Some(0.5), Some(192.0)));
        assert_eq!((sum.sensitivity(), lead), (Some(1.0), Some(3)), "the one of row 14 is too early for 8 h");
    }

    #[test]
    fn what_comes_in_an_hour_without_a_row_is_not_judged() {
        let person = Person { rows: 0..2, onset: Some(1), ..nobody() };
        let cohort = Cohort {
            iculos: vec![1, 6],
            labels: vec![true; 2],
            judgeable: vec![true; 2],
            ..Cohort::default()
        };
        let yes = Prediction::yes_or_no(1.0, true);
        let is_judged = |hour: u32| {
            let heard = [Heard::at_close(1, hour, &yes)];
            let said =
                Said { person: &person, predictions: &[yes; 2], thresholds: Thresholds::YES, heard: &heard };
            let told = alerts(&AlertPolicy::default(), &cohort, &said);
            told.iter().map(|alert| alert.is_judgeable).collect::<Vec<_>>()
        };
        assert_eq!(is_judged(3), [false], "a tick in the gap");
        assert_eq!(is_judged(5), [true], "that of the row's own hour");
    }
}
