//! The report of one predictor on one cohort: what `medulla model eval --json` prints (DESIGN §10).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bootstrap;
use super::cohort::{Cohort, Person};
use super::judged::{FIGURES, Judged, RANKING, Seen};
use super::seen::SeenInTraining;
use super::wards::BEDS;
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
    /// Over ten bins of equal width.
    pub ece: Option<f64>,
    /// Over ten bins of equally many rows.
    #[serde(default)]
    pub ece_equal_mass: Option<f64>,
    /// Of the probability; `null` for a rule that has none.
    pub threshold: Option<f64>,
    /// All that a site would make, over all hours, also those that the task cannot judge.
    pub alerts_per_100_patient_days: Option<f64>,
    #[serde(default)]
    pub alerts: u64,
    /// In hours that the task can judge: for AKI and hypotension from the fourth on, before the event, and followed.
    #[serde(default)]
    pub alerts_judged: u64,
    /// Of the judged alerts: patient septic, alert not later than 3 h after onset; else the event comes within the horizon.
    pub ppv: Option<f64>,
    /// Septic patients with an alarm at any time up to onset; else patients with the event and an alarm within the horizon.
    pub sensitivity: Option<f64>,
    /// Septic patients with an alarm from 12 h before to 3 h after onset; else `sensitivity` again.
    pub sensitivity_in_window: Option<f64>,
    /// Of the patients whom `sensitivity` counts: from the first alarm that it counts to the event.
    pub median_lead_h: Option<f64>,
    /// Death in hospital: the 2012 challenge's score of event 1, the lesser of sensitivity and PPV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_1: Option<f64>,
    /// Patient bootstrap, [low, high] by the name of the figure: all from `utility` to `median_lead_h`.
    pub ci95: BTreeMap<String, [f64; 2]>,
    /// By rule.
    pub baselines: BTreeMap<String, Baseline>,
    pub groups: Vec<GroupReport>,
    /// That the alerts are of, both tiers counted alike.
    #[serde(default)]
    pub policy: PolicyReport,
    /// Those of them that interrupt somebody, within the ward's budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interruptive: Option<InterruptiveReport>,
    /// Of a model: how many of these patients it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_in_training: Option<SeenInTraining>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Difference>,
}

/// As a site's `[alerts]` has it. Nobody answers alerts here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyReport {
    pub refractory_h: u32,
    pub rearm_below: f64,
    pub per_ward_budget_per_day: u32,
    /// The data name no wards: their patients lie in one of so many beds, one after the other.
    pub ward_beds: u32,
    /// Asked with every message and tick, as at a site; else at the close of each hour.
    #[serde(default)]
    pub as_stream: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterruptiveReport {
    pub alerts_per_100_patient_days: Option<f64>,
    #[serde(default)]
    pub alerts: u64,
    #[serde(default)]
    pub alerts_judged: u64,
    pub ppv: Option<f64>,
    /// Septic patients with such an alert at any time up to onset.
    pub sensitivity: Option<f64>,
    /// Alerts that came when the budget was spent, and joined the watch list.
    pub beyond_budget: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    pub utility: Option<f64>,
    pub auroc: Option<f64>,
    pub auprc: Option<f64>,
    /// Of a rule with a limit, asked at the hours' closes under the same policy.
    #[serde(default)]
    pub alerts_per_100_patient_days: Option<f64>,
    #[serde(default)]
    pub ppv: Option<f64>,
    #[serde(default)]
    pub sensitivity: Option<f64>,
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
    pub ward_beds: u32,
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
            ward_beds: BEDS,
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
    let seen = judged.seen(&options.policy);
    let (alerts, figures) = (seen.alerts(None), judged.figures(&seen));
    Report {
        task: cohort.task.name().to_owned(),
        patients: cohort.people.len(),
        rows: judged.rows(),
        utility: figures.utility,
        auroc: figures.auroc,
        auprc: figures.auprc,
        brier: figures.brier,
        ece: figures.ece,
        ece_equal_mass: figures.ece_equal_mass,
        threshold: options.threshold,
        alerts_per_100_patient_days: figures.alerts_per_100_patient_days,
        alerts: alerts.alerts,
        alerts_judged: alerts.alerts_judged,
        ppv: figures.ppv,
        sensitivity: figures.sensitivity,
        sensitivity_in_window: alerts.sensitivity_in_window(),
        median_lead_h: seen.median_lead_h(None),
        event_1: event_1(cohort.task, &figures),
        ci95: intervals(everyone.len(), &FIGURES, options, progress, |times| judged.sample(&seen, times)),
        baselines: baselines(cohort, options, &everyone),
        groups: groups(cohort, &options.policy),
        policy: PolicyReport {
            refractory_h: options.policy.refractory_h,
            rearm_below: options.policy.rearm_below,
            per_ward_budget_per_day: options.policy.per_ward_budget_per_day,
            ward_beds: options.ward_beds,
            as_stream: cohort.is_heard(0),
        },
        interruptive: (cohort.task != Task::Mortality).then(|| interruptive(&judged, &seen, options)),
        seen_in_training: None,
        against: None,
    }
}

fn interruptive(judged: &Judged<'_>, seen: &Seen, options: &Options) -> InterruptiveReport {
    let loud = judged.interruptive(seen, &options.policy, options.ward_beds);
    let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let all = seen.alerts(None);
    InterruptiveReport {
        alerts_per_100_patient_days: ratio(loud.alerts * 2400, all.hours),
        alerts: loud.alerts,
        alerts_judged: loud.judged,
        ppv: ratio(loud.true_alerts, loud.judged),
        sensitivity: ratio(loud.found, all.septic),
        beyond_budget: loud.beyond_budget,
    }
}

fn event_1(task: Task, figures: &Figures) -> Option<f64> {
    let of_the_2012_set = task == Task::Mortality;
    of_the_2012_set.then(|| Some(figures.sensitivity?.min(figures.ppv?))).flatten()
}

/// What a card says of predictor `judge` over the patients that `belongs` picks, under the default policy: the very
/// figures that [`report`] gives.
pub fn figures(cohort: &Cohort, judge: usize, belongs: impl Fn(&Person) -> bool) -> Figures {
    let people: Vec<usize> = (0..cohort.people.len()).filter(|i| belongs(&cohort.people[*i])).collect();
    let judged = Judged::new(cohort, judge, &people);
    judged.figures(&judged.seen(&AlertPolicy::default()))
}

/// The first predictor of each cohort, compared on the same draws of the same patients. `None` when the cohorts do
/// not hold the same patients and hours, or were judged by different tasks.
pub fn against(cohort: &Cohort, other: &Cohort, options: &Options) -> Option<Difference> {
    let same =
        cohort.people.iter().map(|p| (&p.pid, &p.rows)).eq(other.people.iter().map(|p| (&p.pid, &p.rows)));
    if !same || cohort.task != other.task {
        return None;
    }
    let everyone: Vec<usize> = (0..cohort.people.len()).collect();
    let (a, b) = (Judged::new(cohort, 0, &everyone), Judged::new(other, 0, &everyone));
    let difference = |times: Option<&[f64]>| {
        let (a, b) = (a.ranking(times), b.ranking(times));
        (0..RANKING.len()).map(|i| Some(a[i]? - b[i]?)).collect::<Vec<_>>()
    };
    let all = difference(None);
    Some(Difference {
        utility: all[0],
        auroc: all[1],
        auprc: all[2],
        ci95: intervals(everyone.len(), &RANKING, options, |_, _| {}, |times| difference(Some(times))),
    })
}

/// The middle 95 % of each named figure over the samples, in which figures that are not defined do not count.
fn intervals(
    people: usize,
    names: &[&str],
    options: &Options,
    mut progress: impl FnMut(usize, usize),
    figures: impl Fn(&[f64]) -> Vec<Option<f64>>,
) -> BTreeMap<String, [f64; 2]> {
    let mut values = vec![Vec::new(); names.len()];
    for (done, times) in bootstrap::samples(people, options.bootstrap_samples, options.seed).enumerate() {
        values.iter_mut().zip(figures(&times)).for_each(|(values, value)| values.extend(value));
        progress(done + 1, options.bootstrap_samples);
    }
    let named = names.iter().zip(values);
    named.filter_map(|(name, values)| Some(((*name).to_owned(), bootstrap::interval(values)?))).collect()
}

fn baselines(cohort: &Cohort, options: &Options, everyone: &[usize]) -> BTreeMap<String, Baseline> {
    let named = options.baselines.iter().enumerate().filter(|(i, _)| i + 1 < cohort.judged.len());
    named
        .map(|(i, name)| {
            let judged = Judged::new(cohort, i + 1, everyone);
            let figures = judged.figures(&judged.seen(&options.policy));
            // What stands beside a model of whole stays ranks, and has no limit.
            let with_limit = |figure: Option<f64>| figure.filter(|_| cohort.task != Task::Mortality);
            let baseline = Baseline {
                utility: figures.utility,
                auroc: figures.auroc,
                auprc: figures.auprc,
                alerts_per_100_patient_days: with_limit(figures.alerts_per_100_patient_days),
                ppv: with_limit(figures.ppv),
                sensitivity: with_limit(figures.sensitivity),
            };
            (name.clone(), baseline)
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
        // All stays of the 2012 set are of one hospital.
        let keys = keys.into_iter().filter(|(by, _)| cohort.task != Task::Mortality || *by != "hospital");
        keys.for_each(|key| members.entry(key).or_default().push(i));
    }
    members
        .into_iter()
        .map(|((by, group), people)| {
            let judged = Judged::new(cohort, 0, &people);
            let figures = judged.figures(&judged.seen(policy));
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
