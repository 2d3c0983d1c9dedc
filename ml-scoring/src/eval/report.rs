//! The report of one predictor on one cohort: what `medulla model eval --json` prints (DESIGN §10).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::alerts::{Alerting, alerting};
use super::bootstrap;
use super::calibration::{brier, ece};
use super::cohort::{Cohort, Person};
use super::ranking::Ranking;
use super::utility::{Utility, utility};
use crate::Figures;
use crate::policy::AlertPolicy;
use crate::task::Task;

/// `null` where a figure is not defined, such as an AUROC without septic patients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub task: String,
    pub patients: usize,
    pub rows: usize,
    /// Official normalised utility; `null` for tasks that have none.
    pub utility: Option<f64>,
    /// Over rows.
    pub auroc: Option<f64>,
    pub auprc: Option<f64>,
    pub brier: Option<f64>,
    pub ece: Option<f64>,
    /// Of the probability; `null` for a rule that has none.
    pub threshold: Option<f64>,
    pub alerts_per_100_patient_days: Option<f64>,
    /// Of alerts: patient septic, alert not later than 3 h after onset.
    pub ppv: Option<f64>,
    /// Septic patients with an alarm at any time up to onset.
    pub sensitivity: Option<f64>,
    /// Septic patients with an alarm from 12 h before to 3 h after onset.
    pub sensitivity_in_window: Option<f64>,
    /// Of septic patients found before onset, from their first alarm.
    pub median_lead_h: Option<f64>,
    /// Patient bootstrap, [low, high] by the name of the figure.
    pub ci95: BTreeMap<String, [f64; 2]>,
    /// By rule.
    pub baselines: BTreeMap<String, Baseline>,
    pub groups: Vec<GroupReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Difference>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    pub utility: Option<f64>,
    pub auroc: Option<f64>,
    pub auprc: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupReport {
    /// `hospital`, `sex`, `age` or `unit`.
    pub by: String,
    pub group: String,
    pub patients: usize,
    pub septic: u64,
    pub utility: Option<f64>,
    pub auroc: Option<f64>,
    pub auprc: Option<f64>,
    pub ppv: Option<f64>,
    pub sensitivity: Option<f64>,
}

/// This predictor minus the other, on the same patients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub utility: Option<f64>,
    pub auroc: Option<f64>,
    pub auprc: Option<f64>,
    pub ci95: BTreeMap<String, [f64; 2]>,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub threshold: Option<f64>,
    /// Names of the cohort's predictors after the first: they become `baselines`.
    pub baselines: Vec<String>,
    pub policy: AlertPolicy,
    /// 0 = no intervals.
    pub bootstrap_samples: usize,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            threshold: None,
            baselines: Vec::new(),
            policy: AlertPolicy::default(),
            bootstrap_samples: 200,
            seed: 2019,
        }
    }
}

/// Reports on the cohort's first predictor; the following ones are named by `options.baselines`.
/// `progress` hears bootstrap samples done and their number.
pub fn report(cohort: &Cohort, options: &Options, progress: impl FnMut(usize, usize)) -> Report {
    let everyone: Vec<usize> = (0..cohort.people.len()).collect();
    let judged = Judged::new(cohort, 0, &everyone);
    let (alerts, leads) = judged.alerts(&options.policy);
    let figures = judged.figures(&alerts);
    Report {
        task: cohort.task.name().to_owned(),
        patients: cohort.people.len(),
        rows: judged.p.len(),
        utility: figures.utility,
        auroc: figures.auroc,
        auprc: figures.auprc,
        brier: figures.brier,
        ece: figures.ece,
        threshold: options.threshold,
        alerts_per_100_patient_days: figures.alerts_per_100_patient_days,
        ppv: figures.ppv,
        sensitivity: figures.sensitivity,
        sensitivity_in_window: alerts.sensitivity_in_window(),
        median_lead_h: median(leads),
        ci95: intervals(&[&judged], options, progress, |samples| samples[0]),
        baselines: baselines(cohort, options, &everyone),
        groups: groups(cohort, &options.policy),
        against: None,
    }
}

/// What a card says of predictor `judge` over the patients that `belongs` picks, under the default policy: the very
/// figures that [`report`] gives.
pub fn figures(cohort: &Cohort, judge: usize, belongs: impl Fn(&Person) -> bool) -> Figures {
    let people: Vec<usize> = (0..cohort.people.len()).filter(|i| belongs(&cohort.people[*i])).collect();
    let judged = Judged::new(cohort, judge, &people);
    let (alerts, _) = judged.alerts(&AlertPolicy::default());
    judged.figures(&alerts)
}

/// The first predictor of each cohort, compared on the same draws of the same patients. `None` when the cohorts do
/// not hold the same patients and hours.
pub fn against(cohort: &Cohort, other: &Cohort, options: &Options) -> Option<Difference> {
    let same =
        cohort.people.iter().map(|p| (&p.pid, &p.rows)).eq(other.people.iter().map(|p| (&p.pid, &p.rows)));
    if !same {
        return None;
    }
    let everyone: Vec<usize> = (0..cohort.people.len()).collect();
    let (a, b) = (Judged::new(cohort, 0, &everyone), Judged::new(other, 0, &everyone));
    let (a_areas, b_areas) = (split(a.areas(None)), split(b.areas(None)));
    let minus = |a: Option<f64>, b: Option<f64>| Some(a? - b?);
    let difference = |s: &[[Option<f64>; 3]]| std::array::from_fn(|i| minus(s[0][i], s[1][i]));
    Some(Difference {
        utility: minus(a.utility(None), b.utility(None)),
        auroc: minus(a_areas.0, b_areas.0),
        auprc: minus(a_areas.1, b_areas.1),
        ci95: intervals(&[&a, &b], options, |_, _| {}, difference),
    })
}

/// One predictor on some of a cohort's people, in tables of its own.
struct Judged<'a> {
    cohort: &'a Cohort,
    judge: usize,
    people: Vec<&'a Person>,
    p: Vec<f64>,
    labels: Vec<bool>,
    /// Place in `people` of each row.
    person_of: Vec<u32>,
    utilities: Vec<Utility>,
    ranking: Ranking,
}

impl<'a> Judged<'a> {
    fn new(cohort: &'a Cohort, judge: usize, people: &[usize]) -> Judged<'a> {
        let people: Vec<&Person> = people.iter().map(|i| &cohort.people[*i]).collect();
        let (mut p, mut labels, mut person_of) = (Vec::new(), Vec::new(), Vec::new());
        let mut utilities = Vec::with_capacity(people.len());
        for (i, person) in people.iter().enumerate() {
            let predictions = &cohort.judged[judge][person.rows.clone()];
            for (row, prediction) in
                person.rows.clone().zip(predictions).filter(|(row, _)| cohort.judgeable[*row])
            {
                p.push(prediction.p);
                labels.push(cohort.labels[row]);
                person_of.push(i as u32);
            }
            utilities.push(match cohort.task {
                Task::Sepsis => utility(person, predictions),
                _ => Utility::default(),
            });
        }
        let ranking = Ranking::new(&p);
        Judged { cohort, judge, people, p, labels, person_of, utilities, ranking }
    }

    /// `times`: how often each person counts; `None` = once.
    fn utility(&self, times: Option<&[f64]>) -> Option<f64> {
        let mut sum = Utility::default();
        for (i, utility) in self.utilities.iter().enumerate() {
            sum.add(utility, times.map_or(1.0, |times| times[i]));
        }
        sum.normalised()
    }

    fn areas(&self, times: Option<&[f64]>) -> Option<(f64, f64)> {
        self.ranking.areas(
            |row| self.labels[row],
            |row| times.map_or(1.0, |times| times[self.person_of[row] as usize]),
        )
    }

    fn figures(&self, alerts: &Alerting) -> Figures {
        let (auroc, auprc) = split(self.areas(None));
        let alarms = |person: &&Person| {
            let said = person.rows.clone().zip(&self.cohort.judged[self.judge][person.rows.clone()]);
            said.filter(|(row, said)| said.alarm && self.cohort.judgeable[*row]).count() as u64
        };
        Figures {
            patients: self.people.len() as u64,
            septic_patients: alerts.septic,
            rows: self.p.len() as u64,
            auroc,
            auprc,
            utility: self.utility(None),
            brier: brier(&self.p, &self.labels),
            ece: ece(&self.p, &self.labels),
            alarm_rows: self.people.iter().map(alarms).sum(),
            alerts_per_100_patient_days: alerts.alerts_per_100_patient_days(),
            patients_alerted: alerts.patients_alerted,
            ppv: alerts.ppv(),
            sensitivity: alerts.sensitivity(),
        }
    }

    fn alerts(&self, policy: &AlertPolicy) -> (Alerting, Vec<i64>) {
        let mut sum = Alerting::default();
        let mut leads = Vec::new();
        for person in &self.people {
            let predictions = &self.cohort.judged[self.judge][person.rows.clone()];
            leads.extend(alerting(&mut sum, policy, self.cohort, person, predictions));
        }
        (sum, leads)
    }
}

/// Intervals of utility, AUROC and AUPRC, or of what `combine` makes of the predictors' three.
fn intervals(
    judged: &[&Judged<'_>],
    options: &Options,
    mut progress: impl FnMut(usize, usize),
    combine: impl Fn(&[[Option<f64>; 3]]) -> [Option<f64>; 3],
) -> BTreeMap<String, [f64; 2]> {
    let people = judged.first().map_or(0, |j| j.people.len());
    let mut values: [Vec<f64>; 3] = Default::default();
    for (done, times) in bootstrap::samples(people, options.bootstrap_samples, options.seed).enumerate() {
        let each: Vec<[Option<f64>; 3]> = judged
            .iter()
            .map(|judged| {
                let (auroc, auprc) = split(judged.areas(Some(&times)));
                [judged.utility(Some(&times)), auroc, auprc]
            })
            .collect();
        for (values, value) in values.iter_mut().zip(combine(&each)) {
            values.extend(value);
        }
        progress(done + 1, options.bootstrap_samples);
    }
    let named = ["utility", "auroc", "auprc"].into_iter().zip(values);
    named.filter_map(|(name, values)| Some((name.to_owned(), bootstrap::interval(values)?))).collect()
}

fn baselines(cohort: &Cohort, options: &Options, everyone: &[usize]) -> BTreeMap<String, Baseline> {
    let named = options.baselines.iter().enumerate().filter(|(i, _)| i + 1 < cohort.judged.len());
    named
        .map(|(i, name)| {
            let judged = Judged::new(cohort, i + 1, everyone);
            let (auroc, auprc) = split(judged.areas(None));
            (name.clone(), Baseline { utility: judged.utility(None), auroc, auprc })
        })
        .collect()
}

fn groups(cohort: &Cohort, policy: &AlertPolicy) -> Vec<GroupReport> {
    let mut members: BTreeMap<(&str, String), Vec<usize>> = BTreeMap::new();
    for (i, person) in cohort.people.iter().enumerate() {
        let keys = [
            ("hospital", person.hospital.to_string()),
            ("sex", person.sex.to_owned()),
            ("age", age_band(person.age).to_owned()),
            ("unit", person.unit.to_owned()),
        ];
        keys.into_iter().for_each(|key| members.entry(key).or_default().push(i));
    }
    members
        .into_iter()
        .map(|((by, group), people)| {
            let judged = Judged::new(cohort, 0, &people);
            let figures = judged.figures(&judged.alerts(policy).0);
            GroupReport {
                by: by.to_owned(),
                group,
                patients: people.len(),
                septic: figures.septic_patients,
                utility: figures.utility,
                auroc: figures.auroc,
                auprc: figures.auprc,
                ppv: figures.ppv,
                sensitivity: figures.sensitivity,
            }
        })
        .collect()
}

fn age_band(age: f64) -> &'static str {
    match age {
        a if a < 45.0 => "<45",
        a if a < 65.0 => "45-64",
        a if a < 80.0 => "65-79",
        a if a >= 80.0 => ">=80",
        _ => "unknown",
    }
}

fn median(mut values: Vec<i64>) -> Option<f64> {
    values.sort_unstable();
    let middle = values.len() / 2;
    let upper = *values.get(middle)? as f64;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    values.get(middle.checked_sub(1)?).map(|lower| (*lower as f64 + upper) / 2.0)
}

fn split(areas: Option<(f64, f64)>) -> (Option<f64>, Option<f64>) {
    (areas.map(|a| a.0), areas.map(|a| a.1))
}
