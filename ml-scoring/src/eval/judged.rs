//! One predictor on some of a cohort's people: its figures, and the same ones of a bootstrap sample of them.

use super::alerts::{Alerted, Alerting, alerting, alerts};
use super::calibration::Sums;
use super::cohort::{Cohort, Person};
use super::ranking::Ranking;
use super::utility::{Utility, utility};
use super::wards::{self, Interruptive};
use crate::Figures;
use crate::policy::AlertPolicy;
use crate::task::Task;

/// In the order of [`Judged::ranking`].
pub(super) const RANKING: [&str; 3] = ["utility", "auroc", "auprc"];
/// In the order of [`Judged::sample`].
pub(super) const FIGURES: [&str; 11] = [
    "utility",
    "auroc",
    "auprc",
    "brier",
    "ece",
    "ece_equal_mass",
    "alerts_per_100_patient_days",
    "ppv",
    "sensitivity",
    "sensitivity_in_window",
    "median_lead_h",
];

/// Tables of its own, one entry a judgeable row or a person.
pub(super) struct Judged<'a> {
    cohort: &'a Cohort,
    judge: usize,
    /// Their places in the cohort.
    places: Vec<usize>,
    people: Vec<&'a Person>,
    p: Vec<f64>,
    labels: Vec<bool>,
    /// Place in `people` of each row.
    person_of: Vec<u32>,
    utilities: Vec<Utility>,
    calibration: Vec<Sums>,
    /// Of all rows, in their order.
    overall: Sums,
    ranking: Ranking,
}

/// What a ward would see, person by person.
#[derive(Default)]
pub(super) struct Seen {
    each: Vec<Alerting>,
    alerts: Vec<Vec<Alerted>>,
    /// Hours from a person's first alarm to the event, and his place; shortest first.
    leads: Vec<(i64, usize)>,
}

impl<'a> Judged<'a> {
    pub fn new(cohort: &'a Cohort, judge: usize, people: &[usize]) -> Judged<'a> {
        let places = people.to_vec();
        let people: Vec<&Person> = people.iter().map(|i| &cohort.people[*i]).collect();
        let (mut p, mut labels, mut person_of) = (Vec::new(), Vec::new(), Vec::new());
        let mut utilities = Vec::with_capacity(people.len());
        let mut calibration = vec![Sums::default(); people.len()];
        let mut overall = Sums::default();
        for (i, person) in people.iter().enumerate() {
            let predictions = &cohort.judged[judge][person.rows.clone()];
            for (row, prediction) in
                person.rows.clone().zip(predictions).filter(|(row, _)| cohort.judgeable[*row])
            {
                p.push(prediction.p);
                labels.push(cohort.labels[row]);
                person_of.push(i as u32);
                calibration[i].add_row(prediction.p, cohort.labels[row]);
                overall.add_row(prediction.p, cohort.labels[row]);
            }
            utilities.push(match cohort.task {
                Task::Sepsis => utility(person, predictions),
                _ => Utility::default(),
            });
        }
        let ranking = match cohort.task {
            Task::Sepsis => Ranking::as_the_challenge(&p),
            _ => Ranking::new(&p),
        };
        Judged {
            cohort,
            judge,
            places,
            people,
            p,
            labels,
            person_of,
            utilities,
            calibration,
            overall,
            ranking,
        }
    }

    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Utility, AUROC, AUPRC. `times`: how often each person counts; `None` = once.
    pub fn ranking(&self, times: Option<&[f64]>) -> [Option<f64>; RANKING.len()] {
        let areas =
            self.ranking.areas(|row| self.labels[row], |row| counted(times, self.person_of[row] as usize));
        [self.utility(times), areas.map(|areas| areas.0), areas.map(|areas| areas.1)]
    }

    fn ece_equal_mass(&self, times: Option<&[f64]>) -> Option<f64> {
        let times = |row: usize| counted(times, self.person_of[row] as usize);
        self.ranking.ece_equal_mass(&self.p, |row| self.labels[row], times)
    }

    fn utility(&self, times: Option<&[f64]>) -> Option<f64> {
        let mut sum = Utility::default();
        for (i, utility) in self.utilities.iter().enumerate() {
            sum.add(utility, counted(times, i));
        }
        sum.normalised()
    }

    /// [`FIGURES`] where each person counts so many times.
    pub fn sample(&self, seen: &Seen, times: &[f64]) -> Vec<Option<f64>> {
        let mut calibration = Sums::default();
        self.calibration.iter().zip(times).for_each(|(sums, times)| calibration.add(sums, *times));
        let alerts = seen.alerts(Some(times));
        let mut figures = self.ranking(Some(times)).to_vec();
        figures.extend([
            calibration.brier(),
            calibration.ece(),
            self.ece_equal_mass(Some(times)),
            alerts.alerts_per_100_patient_days(),
            alerts.ppv(),
            alerts.sensitivity(),
            alerts.sensitivity_in_window(),
            seen.median_lead_h(Some(times)),
        ]);
        figures
    }

    pub fn figures(&self, seen: &Seen) -> Figures {
        let alerts = seen.alerts(None);
        let [utility, auroc, auprc] = self.ranking(None);
        let alarms = |person: &&Person| {
            let said = person.rows.clone().zip(&self.cohort.judged[self.judge][person.rows.clone()]);
            said.filter(|(row, said)| said.alarm && self.cohort.judgeable[*row]).count() as u64
        };
        Figures {
            patients: self.people.len() as u64,
            septic_patients: alerts.septic,
            rows: self.rows() as u64,
            auroc,
            auprc,
            utility,
            brier: self.overall.brier(),
            ece: self.overall.ece(),
            ece_equal_mass: self.ece_equal_mass(None),
            alarm_rows: self.people.iter().map(alarms).sum(),
            alerts_per_100_patient_days: alerts.alerts_per_100_patient_days(),
            as_stream: self.cohort.is_heard(self.judge),
            alerts: Some(alerts.alerts),
            alerts_judged: Some(alerts.alerts_judged),
            patients_alerted: alerts.patients_alerted,
            ppv: alerts.ppv(),
            sensitivity: alerts.sensitivity(),
        }
    }

    pub fn seen(&self, policy: &AlertPolicy) -> Seen {
        let mut seen = Seen::default();
        for (i, place) in self.places.iter().enumerate() {
            let said = self.cohort.said(self.judge, *place);
            let (mut sum, alerts) = (Alerting::default(), alerts(policy, self.cohort, &said));
            let lead = alerting(&mut sum, self.cohort, &said, &alerts);
            seen.each.push(sum);
            seen.alerts.push(alerts);
            seen.leads.extend(lead.map(|lead| (lead, i)));
        }
        seen.leads.sort_unstable();
        seen
    }

    /// Of those people, in a ward of so many beds.
    pub fn interruptive(&self, seen: &Seen, policy: &AlertPolicy, beds: u32) -> Interruptive {
        wards::within_budget(policy, beds, self.cohort, &self.people, &seen.alerts)
    }
}

impl Seen {
    /// `times`: how often each person counts; `None` = once.
    pub fn alerts(&self, times: Option<&[f64]>) -> Alerting {
        let mut sum = Alerting::default();
        // How often a person is drawn is a whole number.
        self.each.iter().enumerate().for_each(|(i, alerts)| sum.add(alerts, counted(times, i) as u64));
        sum
    }

    pub fn median_lead_h(&self, times: Option<&[f64]>) -> Option<f64> {
        let all: f64 = self.leads.iter().map(|(_, i)| counted(times, *i)).sum();
        let mut before = 0.0;
        let mut lower = None;
        for (lead, i) in &self.leads {
            before += counted(times, *i);
            // The middle lies between two leads where exactly half are at or below this one.
            if let Some(lower) = lower {
                if counted(times, *i) > 0.0 {
                    return Some((lower + *lead as f64) / 2.0);
                }
            } else if before * 2.0 > all {
                return Some(*lead as f64);
            } else if before * 2.0 == all && all > 0.0 {
                lower = Some(*lead as f64);
            }
        }
        None
    }
}

fn counted(times: Option<&[f64]>, person: usize) -> f64 {
    times.map_or(1.0, |times| times[person])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_counts_people_as_often_as_they_are_drawn() {
        let seen = Seen { leads: vec![(1, 2), (3, 0), (8, 1), (20, 3)], ..Seen::default() };
        assert_eq!(seen.median_lead_h(None), Some(5.5));
        assert_eq!(seen.median_lead_h(Some(&[1.0, 1.0, 1.0, 0.0])), Some(3.0));
        assert_eq!(seen.median_lead_h(Some(&[0.0, 0.0, 2.0, 2.0])), Some(10.5));
        assert_eq!(seen.median_lead_h(Some(&[0.0, 3.0, 2.0, 0.0])), Some(8.0));
        assert_eq!(seen.median_lead_h(Some(&[0.0; 4])), None);
        assert_eq!(Seen::default().median_lead_h(None), None);
    }
}
