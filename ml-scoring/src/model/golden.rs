//! Golden rows: synthetic inputs with what libxgboost says about them. A model that does not reproduce them here is
//! refused, because then one of the two would be wrong about every patient.

use serde::{Deserialize, Serialize};

use super::objective::sigmoid;
use super::{Ensemble, ModelError};

const ROWS_MAX: usize = 1_000;
/// Margins are bit-equal on the platforms we test; `exp` differs between C libraries.
const MARGIN_BOUND: f64 = 1e-6;
/// libxgboost adds its contributions up in `f32`, over hundreds of trees.
const CONTRIBUTION_BOUND: f64 = 1e-4;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Golden {
    /// The library that said so, with its version.
    pub made_by: String,
    pub rows: Vec<GoldenRow>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GoldenRow {
    /// In the order of the model's columns; `null` is missing.
    pub features: Vec<Option<f32>>,
    pub margin: f32,
    /// Before calibration.
    pub probability: f32,
    /// One a feature and the bias last.
    pub contributions: Vec<f32>,
}

impl Golden {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, ModelError> {
        let golden: Golden =
            serde_json::from_slice(bytes).map_err(|error| ModelError::Golden(error.to_string()))?;
        if golden.rows.is_empty() || golden.rows.len() > ROWS_MAX {
            return Err(ModelError::Golden(format!("{} rows; 1 to {ROWS_MAX}", golden.rows.len())));
        }
        Ok(golden)
    }

    pub(super) fn check(&self, ensemble: &Ensemble) -> Result<(), ModelError> {
        for (i, row) in self.rows.iter().enumerate() {
            row.check(i, ensemble)?;
        }
        Ok(())
    }
}

/// The likeliest reason after early stopping: `Booster.predict` goes by all trees unless told.
fn of_all_trees(ensemble: &Ensemble) -> String {
    match ensemble.unused_trees() {
        0 => String::new(),
        unused => format!(
            "; it was stopped early, and {unused} trees behind best_iteration are no part of it: make the rows with \
             iteration_range=(0, best_iteration + 1)"
        ),
    }
}

impl GoldenRow {
    fn check(&self, row: usize, ensemble: &Ensemble) -> Result<(), ModelError> {
        let features: Vec<f32> = self.features.iter().map(|value| value.unwrap_or(f32::NAN)).collect();
        let near = |what: &str, got: f64, want: f32, bound: f64| {
            let want = f64::from(want);
            // Not `>`: what is no number is not near.
            if (got - want).abs() <= bound * (1.0 + want.abs()) {
                Ok(())
            } else {
                let hint = of_all_trees(ensemble);
                Err(ModelError::NotReproduced { row, what: what.to_owned(), want, got, hint })
            }
        };
        if features.len() != ensemble.feature_count() {
            let (got, taken) = (features.len(), ensemble.feature_count());
            return Err(ModelError::Golden(format!("row {row}: {got} features, the model takes {taken}")));
        }
        let margin = ensemble.margins(&features)?[0];
        near("the margin", f64::from(margin), self.margin, MARGIN_BOUND)?;
        near("the probability", f64::from(sigmoid(margin)), self.probability, MARGIN_BOUND)?;
        let contributions = ensemble.contributions(&features)?;
        if contributions.len() != self.contributions.len() {
            let what = format!("row {row}: {} contributions", self.contributions.len());
            return Err(ModelError::Golden(format!("{what}; one a feature and the bias")));
        }
        for (i, (got, want)) in contributions.iter().zip(&self.contributions).enumerate() {
            near(&format!("contribution {i}"), *got, *want, CONTRIBUTION_BOUND)?;
        }
        Ok(())
    }
}
