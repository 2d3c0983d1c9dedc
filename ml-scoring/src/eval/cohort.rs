//! Patients with their labels and what each predictor said, hour by hour.

use std::ops::Range;

use clinical::{PatientState, Time};

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
    /// Rows that the task cannot judge count nowhere and raise no alarm.
    pub judgeable: Vec<bool>,
    /// One table per predictor, in the order given to [`judge`].
    pub judged: Vec<Vec<Prediction>>,
    /// The same of thresholds, one a person: in cross-validation each fold has its own.
    pub thresholds: Vec<Vec<Thresholds>>,
}

/// Lets every predictor judge every hour; `progress` hears the number of patients done.
pub fn judge(
    patients: impl Iterator<Item = Result<Patient, DatasetError>>,
    task: Task,
    predictors: &[&dyn Predictor],
    mut progress: impl FnMut(usize),
) -> Result<Cohort, DatasetError> {
    let mut cohort = Cohort::of(task, predictors.len());
    for patient in patients {
        let patient = patient?;
        cohort.push(&patient);
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
        Cohort { task, judged, thresholds, ..Cohort::default() }
    }

    /// That predictor `judge` holds this person to.
    pub(crate) fn thresholds_of(&self, judge: usize, person: usize) -> Thresholds {
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
