//! Patients with their labels and what each predictor said, hour by hour.

use std::ops::Range;
use std::sync::Arc;

use clinical::{PatientState, Time};

use super::alerts::Said;
use crate::assessment::reaches;
use crate::bedside::Bedside;
use crate::dataset::{self, DatasetError, Patient, Row};
use crate::task::Task;
use crate::{Features, Scorer, Thresholds};

/// What is said of one hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// 0 to 1.
    pub p: f64,
    pub alarm: bool,
    /// What the alert policy hears; NaN where that is `insufficient data`.
    risk: f64,
}

impl Prediction {
    /// A plain yes or no.
    pub fn yes_or_no(p: f64, alarm: bool) -> Prediction {
        Prediction { p, alarm, risk: f64::from(u8::from(alarm)) }
    }

    /// As the stream has it: to be held to thresholds by the alert policy.
    pub fn risk(&self) -> Option<f64> {
        (!self.risk.is_nan()).then_some(self.risk)
    }

    /// The same held to another threshold of its probability.
    pub(crate) fn at(self, threshold: f64) -> Prediction {
        let risk = if self.risk.is_nan() { f64::NAN } else { self.p };
        Prediction { p: self.p, alarm: reaches(risk, threshold), risk }
    }

    /// A model's word on one hour. The one place that says what an alarm is: evaluation, training and the card follow
    /// it. What the trees say from too little data ([`Features::sufficient`]) is no alarm.
    pub(crate) fn of_model(risk: f64, threshold: f64, sufficient: bool) -> Prediction {
        let heard = if sufficient { risk } else { f64::NAN };
        Prediction { p: risk, alarm: sufficient && reaches(risk, threshold), risk: heard }
    }

    /// A bedside score's word on one hour, `limit` being the total that alarms; `None` is `insufficient data` and never
    /// does. No points, or too little measured, is a low probability and not 0, which the ranking would leave out.
    pub(crate) fn of_bedside(rule: Bedside, total: Option<u8>, limit: f64) -> Prediction {
        let p = (f64::from(total.unwrap_or(0)) + 1.0) / (f64::from(rule.max()) + 1.0);
        let risk = total.map_or(f64::NAN, |total| rule.share(f64::from(total)));
        Prediction { p, alarm: total.is_some_and(|total| reaches(f64::from(total), limit)), risk }
    }
}

/// What is known at the close of one hour.
#[derive(Clone, Copy)]
pub struct Hour<'a> {
    pub row: &'a Row,
    pub state: &'a PatientState,
    pub features: &'a Features,
}

impl Hour<'_> {
    pub fn at(&self) -> Time {
        Patient::time_of(self.row)
    }
}

/// Anything that judges an hour.
pub trait Predictor {
    fn predict(&self, hour: &Hour<'_>) -> Prediction;

    /// That the risks it predicts are held to. Without them it says yes or no.
    fn thresholds(&self) -> Thresholds {
        Thresholds::YES
    }

    /// What a site would run of it. Without it there is no more to be heard than at the hours' closes.
    fn on_stream(&self) -> Option<&Scorer> {
        None
    }
}

impl<F: Fn(&Hour<'_>) -> Prediction> Predictor for F {
    fn predict(&self, hour: &Hour<'_>) -> Prediction {
        self(hour)
    }
}

/// A scorer held to one threshold of one's own.
pub struct At<'a> {
    pub scorer: &'a Scorer,
    pub threshold: f64,
}

impl Predictor for At<'_> {
    fn predict(&self, hour: &Hour<'_>) -> Prediction {
        let said = self.scorer.predict(hour);
        Prediction { alarm: said.risk().is_some_and(|risk| reaches(risk, self.threshold)), ..said }
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds::only(self.threshold)
    }

    fn on_stream(&self) -> Option<&Scorer> {
        Some(self.scorer)
    }
}

/// What the alert policy hears of a patient each time that a site scores him.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// Of the person's, from 0.
    pub row: usize,
    /// Since intensive care began.
    pub at: Time,
    /// NaN where that is `insufficient data`.
    risk: f64,
}

impl Heard {
    /// Where nothing is known of the time between the hours' closes.
    pub(super) fn at_close(row: usize, iculos: u32, said: &Prediction) -> Heard {
        Heard { row, at: Time(i64::from(iculos) * Time::HOUR_MS), risk: said.risk }
    }

    pub(super) fn risk(&self) -> Option<f64> {
        (!self.risk.is_nan()).then_some(self.risk)
    }
}

/// One patient of a [`Cohort`].
#[derive(Clone)]
pub struct Person {
    pub pid: String,
    pub hospital: char,
    /// Years, NaN = unknown.
    pub age: f64,
    /// `female`, `male`, `unknown`.
    pub sex: &'static str,
    /// `medical`, `surgical`, `unknown`.
    pub unit: &'static str,
    /// His rows in the cohort's row tables.
    pub rows: Range<usize>,
    /// Row (from 0) of the event, such as the clinical onset of sepsis; it may lie behind the last row.
    pub onset: Option<usize>,
}

impl Person {
    /// Hours from the event to row `i` (from 0). `None`: it never came.
    pub fn hours_from_onset(&self, i: usize) -> Option<i64> {
        self.onset.map(|onset| i as i64 - onset as i64)
    }
}

/// Rows of all persons stand one after the other in `iculos`, `labels` and each table of `judged`.
#[derive(Clone, Default)]
pub struct Cohort {
    pub task: Task,
    pub people: Vec<Person>,
    pub iculos: Vec<u32>,
    pub labels: Vec<bool>,
    /// What comes in rows that the task cannot judge counts nowhere.
    pub judgeable: Vec<bool>,
    /// One table per predictor, in the order given to [`judge`].
    pub judged: Vec<Vec<Prediction>>,
    /// The same of thresholds, one a person: in cross-validation each fold has its own.
    pub thresholds: Vec<Vec<Thresholds>>,
    /// The same of what the alert policy hears, by person; empty where the policy hears the hours' closes alone. Predictors
    /// of one scorer share it.
    pub(crate) heard: Vec<Vec<Arc<[Heard]>>>,
}

/// Lets every predictor judge every hour; `progress` hears the number of patients done.
pub fn judge(
    patients: impl Iterator<Item = Result<Patient, DatasetError>>,
    task: Task,
    predictors: &[&dyn Predictor],
    progress: impl FnMut(usize),
) -> Result<Cohort, DatasetError> {
    judge_each(patients, task, predictors, |_, _| {}, progress)
}

/// The same, and what those of them that a site can run tell the alert policy, which is asked with every message and
/// tick and not at the hours' closes.
pub fn judge_as_stream(
    patients: impl Iterator<Item = Result<Patient, DatasetError>>,
    task: Task,
    predictors: &[&dyn Predictor],
    progress: impl FnMut(usize),
) -> Result<Cohort, DatasetError> {
    let hear = |cohort: &mut Cohort, patient: &Patient| {
        let mut scored: Vec<(&Scorer, Arc<[Heard]>)> = Vec::new();
        for (table, predictor) in cohort.heard.iter_mut().zip(predictors) {
            let Some(scorer) = predictor.on_stream() else { continue };
            let known = scored.iter().position(|(known, _)| std::ptr::eq(*known, scorer));
            let place = known.unwrap_or_else(|| {
                scored.push((scorer, heard(scorer, patient).into()));
                scored.len() - 1
            });
            table.push(scored[place].1.clone());
        }
    };
    judge_each(patients, task, predictors, hear, progress)
}

fn heard(scorer: &Scorer, patient: &Patient) -> Vec<Heard> {
    let mut all = Vec::new();
    patient.for_each_moment(|moment, state| {
        let risk = scorer.score(state, moment.at).risk.unwrap_or(f64::NAN);
        all.push(Heard { row: moment.row, at: Time(moment.at.0 - Patient::ADMITTED.0), risk });
    });
    all
}

fn judge_each(
    patients: impl Iterator<Item = Result<Patient, DatasetError>>,
    task: Task,
    predictors: &[&dyn Predictor],
    hear: impl Fn(&mut Cohort, &Patient),
    mut progress: impl FnMut(usize),
) -> Result<Cohort, DatasetError> {
    let mut cohort = Cohort::of(task, predictors.len());
    for patient in patients {
        let patient = patient?;
        cohort.push(&patient);
        hear(&mut cohort, &patient);
        for (table, predictor) in cohort.thresholds.iter_mut().zip(predictors) {
            table.push(predictor.thresholds());
        }
        patient.for_each_hour(|i, state, features| {
            let Some(row) = patient.rows.get(i) else { return };
            let hour = Hour { row, state, features };
            for (table, predictor) in cohort.judged.iter_mut().zip(predictors) {
                table.push(predictor.predict(&hour));
            }
        });
        progress(cohort.people.len());
    }
    Ok(cohort)
}

impl Cohort {
    /// Of nobody yet, to be judged by so many predictors.
    pub fn of(task: Task, predictors: usize) -> Cohort {
        let (judged, thresholds) = (vec![Vec::new(); predictors], vec![Vec::new(); predictors]);
        Cohort { task, judged, thresholds, heard: vec![Vec::new(); predictors], ..Cohort::default() }
    }

    /// What predictor `judge` said of the person at this place.
    pub fn said(&self, judge: usize, place: usize) -> Said<'_> {
        let person = &self.people[place];
        Said {
            person,
            predictions: &self.judged[judge][person.rows.clone()],
            thresholds: self.thresholds_of(judge, place),
            heard: self.heard_of(judge, place),
        }
    }

    /// Whether the policy hears predictor `judge` as a site's does.
    pub(super) fn is_heard(&self, judge: usize) -> bool {
        self.heard.get(judge).is_some_and(|people| !people.is_empty())
    }

    pub(crate) fn heard_of(&self, judge: usize, place: usize) -> &[Heard] {
        let of_judge = self.heard.get(judge);
        of_judge.and_then(|people| people.get(place)).map(AsRef::as_ref).unwrap_or_default()
    }

    /// That predictor `judge` holds this person to.
    fn thresholds_of(&self, judge: usize, person: usize) -> Thresholds {
        let of_judge = self.thresholds.get(judge);
        of_judge.and_then(|people| people.get(person)).copied().unwrap_or(Thresholds::YES)
    }

    /// Those of `more` behind these, judged by the same predictors.
    pub fn append(&mut self, more: Cohort) {
        let offset = self.labels.len();
        self.people.extend(more.people.into_iter().map(|mut person| {
            person.rows = person.rows.start + offset..person.rows.end + offset;
            person
        }));
        self.iculos.extend(more.iculos);
        self.labels.extend(more.labels);
        self.judgeable.extend(more.judgeable);
        self.judged.iter_mut().zip(more.judged).for_each(|(table, rows)| table.extend(rows));
        self.thresholds.iter_mut().zip(more.thresholds).for_each(|(table, people)| table.extend(people));
        self.heard.iter_mut().zip(more.heard).for_each(|(table, people)| table.extend(people));
    }

    /// Adds a patient and his hours, without any judgement of them.
    pub(crate) fn push(&mut self, patient: &Patient) {
        let truth = self.task.truth(patient);
        let start = self.labels.len();
        self.iculos.extend(patient.rows.iter().map(|r| r.iculos));
        self.labels.extend(truth.rows.iter().map(|row| *row == Some(true)));
        self.judgeable.extend(truth.rows.iter().map(Option::is_some));
        self.people.push(Person {
            pid: patient.pid.clone(),
            hospital: dataset::hospital(&patient.pid),
            age: patient.age,
            sex: named(patient.gender, "male", "female"),
            unit: match (patient.unit1 == 1.0, patient.unit2 == 1.0) {
                (true, _) => "medical",
                (_, true) => "surgical",
                _ => "unknown",
            },
            rows: start..self.labels.len(),
            onset: truth.onset,
        });
    }
}

pub(super) fn named(flag: f64, one: &'static str, zero: &'static str) -> &'static str {
    match flag {
        1.0 => one,
        0.0 => zero,
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictors_of_one_scorer_share_what_it_says() {
        let (scorer, other) = (Scorer::news2(), Scorer::news2());
        let held = At { scorer: &scorer, threshold: 0.5 };
        let clock = |_: &Hour<'_>| Prediction::yes_or_no(0.0, false);
        let patient = || {
            let row = |iculos| Row { values: Row::EMPTY, iculos, label: false, line: 0 };
            Ok(Patient { pid: "p1".into(), age: 50.0, rows: vec![row(1), row(2)], ..Patient::default() })
        };
        let patients = [patient(), patient()].into_iter();
        let cohort =
            judge_as_stream(patients, Task::Sepsis, &[&scorer, &held, &other, &clock], |_| {}).unwrap();
        for person in 0..2 {
            let of = |judge: usize| &cohort.heard[judge][person];
            assert!(!of(0).is_empty() && Arc::ptr_eq(of(0), of(1)) && !Arc::ptr_eq(of(0), of(2)));
        }
        assert!(!Arc::ptr_eq(&cohort.heard[0][0], &cohort.heard[0][1]), "each patient's own");
        let of_stream = |judge| crate::eval::figures(&cohort, judge, |_| true).as_stream;
        assert_eq!([0, 1, 2, 3].map(of_stream), [true, true, true, false], "the figures say so");
    }
}
