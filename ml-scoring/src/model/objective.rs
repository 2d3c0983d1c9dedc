//! From the sum of the leaves to what the model predicts, in `f32` and in libxgboost's order of operations.

use super::ModelError;

/// How `base_score` becomes a margin and a margin becomes the prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// Margins are log-odds, predictions probabilities: `binary:logistic`, `reg:logistic`.
    Logistic,
    /// Margins are log-odds and predicted as they are: `binary:logitraw`.
    LogitRaw,
    /// The margin is the prediction: `reg:squarederror` and its relatives.
    Identity,
    /// The margin is the logarithm of the prediction: `count:poisson`, `reg:gamma`, `reg:tweedie`.
    Log,
    /// One margin a class, predictions are probabilities: `multi:softprob`.
    SoftProb,
    /// One margin a class, the prediction is the number of the class: `multi:softmax`.
    SoftMax,
}

const BY_NAME: [(&str, Objective); 13] = [
    ("binary:logistic", Objective::Logistic),
    ("reg:logistic", Objective::Logistic),
    ("binary:logitraw", Objective::LogitRaw),
    ("reg:squarederror", Objective::Identity),
    ("reg:linear", Objective::Identity),
    ("reg:absoluteerror", Objective::Identity),
    ("reg:pseudohubererror", Objective::Identity),
    ("reg:squaredlogerror", Objective::Identity),
    ("count:poisson", Objective::Log),
    ("reg:gamma", Objective::Log),
    ("reg:tweedie", Objective::Log),
    ("multi:softprob", Objective::SoftProb),
    ("multi:softmax", Objective::SoftMax),
];

impl Objective {
    pub(super) fn named(name: &str, place: &str) -> Result<Self, ModelError> {
        BY_NAME.iter().find(|(known, _)| *known == name).map(|(_, objective)| *objective).ok_or_else(|| {
            let supported: Vec<_> = BY_NAME.iter().map(|(known, _)| *known).collect();
            ModelError::unsupported(place, name, supported.join(", "))
        })
    }

    pub(super) fn multiclass(self) -> bool {
        matches!(self, Objective::SoftProb | Objective::SoftMax)
    }

    /// `base_score` is written in the space of the prediction; trees add up in that of the margin.
    /// `None` where it has no margin, like a probability of 0.
    pub(super) fn base_margin(self, base_score: f32) -> Option<f32> {
        let margin = match self {
            Objective::Logistic => -(1.0 / base_score - 1.0).ln(),
            Objective::Log => base_score.ln(),
            _ => base_score,
        };
        margin.is_finite().then_some(margin)
    }

    /// Turns the margins of one row into its predictions: one value, or one a class for `multi:softprob`.
    pub fn predict(self, margins: &[f32]) -> Vec<f32> {
        match self {
            Objective::Logistic => margins.iter().map(|margin| sigmoid(*margin)).collect(),
            Objective::LogitRaw | Objective::Identity => margins.to_vec(),
            Objective::Log => margins.iter().map(|margin| margin.exp()).collect(),
            Objective::SoftProb => softmax(margins),
            Objective::SoftMax => vec![index_of_largest(margins) as f32],
        }
    }
}

/// As libxgboost's `common::Sigmoid`: the bound keeps `exp` from overflowing.
pub(super) fn sigmoid(margin: f32) -> f32 {
    let exponent = (-margin).min(88.7);
    1.0 / (exponent.exp() + 1.0 + 1e-16)
}

fn softmax(margins: &[f32]) -> Vec<f32> {
    let largest = margins.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = margins.iter().map(|margin| (margin - largest).exp()).collect();
    let sum: f64 = powers.iter().map(|power| f64::from(*power)).sum();
    powers.iter().map(|power| power / sum as f32).collect()
}

fn index_of_largest(margins: &[f32]) -> usize {
    let mut best = 0;
    for (i, margin) in margins.iter().enumerate() {
        if *margin > margins[best] {
            best = i;
        }
    }
    best
}
