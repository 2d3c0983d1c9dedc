//! Stays of the 2012 set, each judged once: when its 48th hour has closed.

use super::cohort::{Cohort, Hour, Person, Prediction, Predictor, named};
use super::rule::Rule;
use crate::dataset::{self, DatasetError};
use crate::stays::{Close, HOURS, Stay};
use crate::task::Task;
use crate::{Model, ModelError, Thresholds};

/// Anything that judges a stay.
pub trait StayPredictor {
    fn predict(&self, close: &Close<'_>) -> Prediction;

    /// See [`Predictor::thresholds`].
    fn thresholds(&self) -> Thresholds {
        Thresholds::YES
    }
}

impl StayPredictor for Rule {
    fn predict(&self, close: &Close<'_>) -> Prediction {
        let silent = Prediction::yes_or_no(0.0, false);
        close.stay.patient.rows.last().map_or(silent, |row| {
            Predictor::predict(self, &Hour { row, state: &close.state, features: &close.features })
        })
    }

    fn thresholds(&self) -> Thresholds {
        Predictor::thresholds(self)
    }
}

/// What stands beside a model of stays: the scores of the outcome files, and age. They rank; none has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StayRule {
    SapsI,
    Sofa,
    Age,
}

impl StayRule {
    pub const ALL: [StayRule; 3] = [StayRule::SapsI, StayRule::Sofa, StayRule::Age];

    pub fn name(self) -> &'static str {
        match self {
            StayRule::SapsI => "SAPS-I",
            StayRule::Sofa => "SOFA",
            StayRule::Age => "age",
        }
    }
}

impl StayPredictor for StayRule {
    fn predict(&self, close: &Close<'_>) -> Prediction {
        let outcome = close.stay.outcome;
        let points = match self {
            StayRule::SapsI => outcome.and_then(|outcome| outcome.saps_i).map_or(f64::NAN, f64::from),
            StayRule::Sofa => outcome.and_then(|outcome| outcome.sofa).map_or(f64::NAN, f64::from),
            StayRule::Age => close.stay.patient.age,
        };
        // A rank and no more; not 0, which the ranking would leave out. All three stay below 150.
        let p = (points.max(0.0) + 1.0) / 150.0;
        Prediction::yes_or_no(p, false)
    }
}

/// A model of the task [`Task::Mortality`].
pub struct StayModel {
    model: Model,
    /// For each of the model's features its place among those of a stay.
    columns: Vec<usize>,
}

impl StayModel {
    /// Errs when the model asks for a feature that this release does not compute of a stay.
    pub fn new(model: Model) -> Result<StayModel, ModelError> {
        let columns = model.columns_in(&Task::Mortality.feature_names())?;
        Ok(StayModel { model, columns })
    }
}

impl StayPredictor for StayModel {
    fn predict(&self, close: &Close<'_>) -> Prediction {
        let values = close.values();
        let row: Vec<f32> =
            self.columns.iter().map(|i| values.get(*i).copied().unwrap_or(f32::NAN)).collect();
        let risk = self.model.score(&row).unwrap_or(0.0);
        let speaks = close.features.sufficient() && self.model.card().is_for(close.state.age_years());
        Prediction::of_model(risk, self.model.threshold(), speaks)
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds { watch: self.model.threshold(), interruptive: self.model.interruptive_threshold() }
    }
}

/// Lets every predictor judge every stay; `progress` hears the number of stays done. A stay without an outcome is
/// judged too, and counts in no figure.
pub fn judge_stays(
    stays: impl Iterator<Item = Result<Stay, DatasetError>>,
    predictors: &[&dyn StayPredictor],
    mut progress: impl FnMut(usize),
) -> Result<Cohort, DatasetError> {
    let mut cohort = Cohort::of(Task::Mortality, predictors.len());
    for stay in stays {
        let stay = stay?;
        cohort.push_stay(&stay);
        for (table, predictor) in cohort.thresholds.iter_mut().zip(predictors) {
            table.push(predictor.thresholds());
        }
        let close = stay.close();
        for (table, predictor) in cohort.judged.iter_mut().zip(predictors) {
            table.push(predictor.predict(&close));
        }
        progress(cohort.people.len());
    }
    Ok(cohort)
}

impl Cohort {
    /// Adds a stay as one row, without any judgement of it.
    pub(crate) fn push_stay(&mut self, stay: &Stay) {
        let start = self.labels.len();
        self.iculos.push(HOURS as u32);
        self.labels.push(stay.outcome.is_some_and(|outcome| outcome.died));
        self.judgeable.push(stay.outcome.is_some());
        let patient = &stay.patient;
        self.people.push(Person {
            pid: patient.pid.clone(),
            hospital: dataset::hospital(&patient.pid),
            age: patient.age,
            sex: named(patient.gender, "male", "female"),
            unit: stay.icu_type.map_or("unknown", |icu_type| icu_type.words()),
            rows: start..start + 1,
            onset: None,
        });
    }
}
