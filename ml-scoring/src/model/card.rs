//! The model card: what a model is for, how it was made, how good it is and for whom, and what nobody may claim.
//!
//! `card.json` stands beside the model and is covered by the model's hash.

use serde::{Deserialize, Serialize};

use super::ModelError;
use crate::drift::Baseline;

/// Raised when a field changes its meaning.
pub const CARD_FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Card {
    pub format: u32,
    pub name: String,
    /// `sepsis`, `aki` …
    pub task: String,
    /// What the risk is the risk of, in words.
    pub predicts: String,
    pub intended_use: String,
    /// Where a patient must be for the model to speak of him; absent = anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<Setting>,
    /// Who a patient must be. Absent in cards from before the field was: adults where `intended_use` says so in words, else
    /// anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<Population>,
    pub must_not_claim: Vec<String>,
    pub limits: Vec<String>,
    /// In the order of the model's columns.
    pub features: Vec<CardFeature>,
    /// From here on a patient stands on the watch list.
    pub threshold: Threshold,
    /// From here on an alert may interrupt somebody; at least `threshold`.
    pub interruptive_threshold: Threshold,
    pub calibration: Calibration,
    pub training_data: TrainingData,
    /// Library, parameters, rounds: free, for people.
    #[serde(default)]
    pub training: serde_json::Value,
    /// Every patient judged without his part in training, early stopping, calibration or the choice of the threshold:
    /// patients set apart, or cross-validation, as `training_data.split` says.
    pub held_out: Figures,
    /// The same patients at `interruptive_threshold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out_interruptive: Option<Figures>,
    /// The rule `ICULOS >= 53` on the same patients: what a clock alone reaches.
    pub clock_rule: Figures,
    /// Others than the clock; a figure that its score has no limit for is absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Beside>,
    pub subgroups: Vec<Subgroup>,
    /// What the training data looked like, for [`crate::drift`]; absent in models from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Baseline>,
}

/// A setting that this release does not know refuses the card: nobody would hold the model to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setting {
    #[serde(rename = "intensive care")]
    IntensiveCare,
    /// Once a stay, of what the 2012 set has of it ([`crate::stays`]); a feed has no such rows, so the stream refuses it.
    #[serde(rename = "intensive care, once, at the end of hour 48")]
    EndOfHour48,
}

/// A population that this release does not know refuses the card, like a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Population {
    /// From 18 completed years on.
    #[serde(rename = "adults")]
    Adults,
    #[serde(rename = "any age")]
    AnyAge,
}

impl Population {
    const ADULT_FROM_YEARS: u8 = 18;

    /// A patient of unknown age is taken for one of them: intensive-care units for adults are the rule.
    pub fn includes(self, age_years: Option<u8>) -> bool {
        self == Population::AnyAge || age_years.is_none_or(|age| age >= Population::ADULT_FROM_YEARS)
    }
}

/// What somebody without the model could say of the same patients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Beside {
    pub name: String,
    pub figures: Figures,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CardFeature {
    pub name: String,
    /// UCUM; `1` for what has none.
    pub unit: String,
}

/// Reached when `risk >= value`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    pub value: f64,
    /// What it maximises.
    pub metric: String,
    pub chosen_on: String,
}

/// From the margin to the risk. Training weights bend the model's own probabilities; this straightens them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Calibration {
    /// The risk is the model's own probability.
    None,
    /// risk = 1 / (1 + exp(-(slope × margin + intercept))) (Platt 1999).
    Platt { slope: f64, intercept: f64, fitted_on: String },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainingData {
    pub description: String,
    pub licence: String,
    pub citation: String,
    pub files: Vec<DataFile>,
    pub patients: u64,
    pub rows: u64,
    /// Which patients trained, which chose, which judged.
    pub split: String,
    /// Whether the buckets of [`crate::dataset::INTERNAL_TEST`] took no part, so that they can judge the model.
    /// Absent: nobody says so, and what nobody says is not assumed.
    #[serde(default)]
    pub held_out: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataFile {
    pub name: String,
    /// Of the file as it was read, hex.
    pub sha256: String,
}

/// Figures over a set of patients; what cannot be said is absent (one class only).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub patients: u64,
    pub septic_patients: u64,
    pub rows: u64,
    pub auroc: Option<f64>,
    pub auprc: Option<f64>,
    /// Official 2019 utility, normalised: 1 is the best possible, 0 is silence.
    pub utility: Option<f64>,
    pub brier: Option<f64>,
    /// Expected calibration error over ten bins of equal width.
    pub ece: Option<f64>,
    /// The same over ten bins of equally many rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ece_equal_mass: Option<f64>,
    /// Rows at or above the threshold with enough data for a model to speak.
    pub alarm_rows: u64,
    /// After the alert policy, both tiers counted alike; over all hours, also those that the task cannot judge.
    pub alerts_per_100_patient_days: Option<f64>,
    /// Absent in cards that counted only what can be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<u64>,
    /// In rows that the task can judge: `ppv` is of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts_judged: Option<u64>,
    /// The policy was asked with every message and tick, as at a site; else at the close of each hour.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_stream: bool,
    /// With at least one alert.
    #[serde(default)]
    pub patients_alerted: u64,
    /// Of the judged: alerts of patients who become septic, not later than 3 h after onset; else within the horizon.
    pub ppv: Option<f64>,
    /// Septic patients with an alarm up to onset; else patients with the event and an alarm within the horizon.
    pub sensitivity: Option<f64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subgroup {
    pub group: String,
    pub model: Figures,
    pub clock_rule: Figures,
}

impl Card {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, ModelError> {
        let card: Card =
            serde_json::from_slice(bytes).map_err(|error| ModelError::Card(error.to_string()))?;
        card.check().map_err(ModelError::Card)?;
        Ok(card)
    }

    /// Whether the model speaks of a patient of so many completed years.
    pub fn is_for(&self, age_years: Option<u8>) -> bool {
        let in_words = || match self.intended_use.to_lowercase().contains("adults") {
            true => Population::Adults,
            false => Population::AnyAge,
        };
        self.population.unwrap_or_else(in_words).includes(age_years)
    }

    fn check(&self) -> Result<(), String> {
        if self.format != CARD_FORMAT {
            return Err(format!("format {} is not supported; supported: {CARD_FORMAT}", self.format));
        }
        if !(0.0..=1.0).contains(&self.threshold.value) {
            return Err(format!("threshold {} is outside 0 to 1", self.threshold.value));
        }
        let (watch, interruptive) = (self.threshold.value, self.interruptive_threshold.value);
        if !(watch..=1.0).contains(&interruptive) {
            return Err(format!("interruptive_threshold {interruptive} is outside {watch} to 1"));
        }
        if let Calibration::Platt { slope, intercept, .. } = &self.calibration
            && !(slope.is_finite() && *slope > 0.0 && intercept.is_finite())
        {
            return Err(format!("calibration slope {slope} must be positive, intercept {intercept} finite"));
        }
        if self.intended_use.is_empty() || self.must_not_claim.is_empty() {
            return Err("intended_use and must_not_claim must say something".into());
        }
        Ok(())
    }
}

impl Calibration {
    /// `own` is the model's own probability for `margin`.
    pub fn risk(&self, margin: f64, own: f64) -> f64 {
        match self {
            Calibration::None => own,
            Calibration::Platt { slope, intercept, .. } => {
                1.0 / (1.0 + (-(slope * margin + intercept)).exp())
            }
        }
    }
}
