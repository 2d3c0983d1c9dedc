//! Patients with their labels and what each predictor said, hour by hour.

use std::ops::Range;

use clinical::{PatientState, Time};

use crate::Features;
use crate::assessment::reaches;
use crate::bedside::Bedside;
use crate::dataset::{self, DatasetError, Patient, Row};
use crate::task::Task;

/// What is said of one hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// 0 to 1.
    pub p: f64,
    pub alarm: bool,
}

impl Prediction {
    /// A model's word on one hour. The one place that says what an alarm is: evaluation, training and the card follow
    /// it. What the trees say from too little data ([`Features::sufficient`]) is no alarm.
    pub(crate) fn of_model(risk: f64, threshold: f64, sufficient: bool) -> Prediction {
        Prediction { p: risk, alarm: sufficient && reaches(risk, threshold) }
    }

    /// A bedside score's word on one hour, `limit` being the total that alarms; `None` is `insufficient data` and never
    /// does. No points, or too little measured, is a low probability and not 0, which the ranking would leave out.
    pub(crate) fn of_bedside(rule: Bedside, total: Option<u8>, limit: f64) -> Prediction {
        let p = (f64::from(total.unwrap_or(0)) + 1.0) / (f64::from(rule.max()) + 1.0);
        Prediction { p, alarm: total.is_some_and(|total| reaches(f64::from(total), limit)) }
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
}

impl<F: Fn(&Hour<'_>) -> Prediction> Predictor for F {
    fn predict(&self, hour: &Hour<'_>) -> Prediction {
        self(hour)
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
}

/// Lets every predictor judge every hour; `progress` hears the number of patients done.
pub fn judge(
    patients: impl Iterator<Item = Result<Patient, DatasetError>>,
    task: Task,
    predictors: &[&dyn Predictor],
    mut progress: impl FnMut(usize),
) -> Result<Cohort, DatasetError> {
    let mut cohort = Cohort { task, judged: vec![Vec::new(); predictors.len()], ..Cohort::default() };
    for patient in patients {
        let patient = patient?;
        cohort.push(&patient);
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
