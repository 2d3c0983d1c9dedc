//! What a scorer says of a patient at one time.

use crate::features::Group;

/// One feature's part in a score.
#[derive(Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Contribution {
    pub feature: String,
    /// NaN (`null` in JSON) = missing, which can speak too.
    #[serde(with = "nan_is_null")]
    pub value: f64,
    /// Model: part of the margin (log odds), TreeSHAP. Bedside score: points.
    pub weight: f64,
    pub group: Group,
    /// For a person to read: `lactate 3.1 mmol/L, up 1.2`.
    pub words: String,
}

/// Why a scorer keeps silent about a patient: the reason behind `insufficient data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Insufficient {
    /// Too few of the measurements that the scorer needs, or they are too old.
    TooFewMeasurements,
    /// The model is meant for intensive care; the patient is not there, or nothing says that he is.
    NotInIntensiveCare,
}

impl Insufficient {
    /// For a person to read, behind "insufficient data: ".
    pub fn words(self) -> &'static str {
        match self {
            Insufficient::TooFewMeasurements => "too few recent measurements",
            Insufficient::NotInIntensiveCare => "not in intensive care",
        }
    }
}

/// A risk with its reasons, or `insufficient data`.
#[derive(Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Assessment {
    pub scorer: String,
    pub task: String,
    /// SHA-256 of the model file, or of the rule's name and version.
    pub model_hash: [u8; 32],
    /// 0 to 1; `None` = insufficient data.
    pub risk: Option<f64>,
    /// Why there is no risk; `None` where there is one.
    pub insufficient: Option<Insufficient>,
    /// Risk from which the patient belongs on the watch list.
    pub threshold: f64,
    /// Risk from which an alert may interrupt; at least `threshold`.
    pub interruptive_threshold: f64,
    /// A bedside score's total; models have none.
    pub total: Option<u8>,
    /// Greatest weight first.
    pub contributions: Vec<Contribution>,
    /// More than half of the weight that speaks for the risk comes from how care is done and not from the patient.
    pub rests_on_care_process: bool,
}

impl Default for Assessment {
    fn default() -> Assessment {
        Assessment {
            scorer: String::new(),
            task: String::new(),
            model_hash: [0; 32],
            risk: None,
            insufficient: None,
            threshold: f64::INFINITY,
            interruptive_threshold: f64::INFINITY,
            total: None,
            contributions: Vec::new(),
            rests_on_care_process: false,
        }
    }
}

impl std::fmt::Debug for Contribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Contribution({})", self.feature)
    }
}

impl std::fmt::Debug for Assessment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Assessment({}, redacted)", self.scorer)
    }
}

impl Assessment {
    /// The `n` strongest reasons that speak for the risk, in words.
    pub fn reasons(&self, n: usize) -> Vec<String> {
        self.contributions.iter().filter(|c| c.weight > 0.0).take(n).map(|c| c.words.clone()).collect()
    }
}

/// Whether a risk has come to a threshold; NaN never has.
pub(crate) fn reaches(risk: f64, threshold: f64) -> bool {
    risk >= threshold
}

mod nan_is_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        (!value.is_nan()).then_some(*value).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}
