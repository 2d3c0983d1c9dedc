//! Golden rows: made up, no patient's, answered by libxgboost.

use anyhow::{Result, ensure};
use xgb::{Booster, DMatrix};

use super::random::Random;
use crate::{Golden, GoldenRow};

const ROWS: usize = 16;
/// Every 37th row is enough to know where a feature's values lie.
const STRIDE: usize = 37;

/// For each feature the range in which the middle 98 % of its values lie.
pub(super) fn ranges(values: &[f32], width: usize) -> Vec<(f32, f32)> {
    let range = |feature: usize| {
        let column = values.chunks_exact(width).step_by(STRIDE).map(|row| row[feature]);
        let mut known: Vec<f32> = column.filter(|value| value.is_finite()).collect();
        known.sort_by(f32::total_cmp);
        let at = |share: usize| known.get(known.len() * share / 100).copied().unwrap_or(0.0);
        (at(1), at(99).max(at(1)))
    };
    (0..width).map(range).collect()
}

/// Values are drawn for each feature on its own, so that no row can be anybody's; the first rows are all missing and
/// all zero.
pub(super) fn golden(booster: &Booster, ranges: &[(f32, f32)]) -> Result<Golden> {
    let mut random = Random(2019);
    let mut values = Vec::with_capacity(ROWS * ranges.len());
    for row in 0..ROWS {
        for (low, high) in ranges {
            let (missing, share) = (random.unit() < 0.25, random.unit() as f32);
            values.push(match row {
                0 => f32::NAN,
                1 => 0.0,
                _ if missing => f32::NAN,
                _ => rounded(low + (high - low) * share),
            });
        }
    }
    let matrix = DMatrix::from_dense(&values, ROWS)?;
    let (margins, probabilities) = (booster.predict_margin(&matrix)?, booster.predict(&matrix)?);
    let (contributions, shape) = booster.predict_contributions(&matrix)?;
    ensure!(shape == (ROWS, ranges.len() + 1), "libxgboost gave contributions of shape {shape:?}");
    let row = |i: usize| GoldenRow {
        features: values[i * ranges.len()..(i + 1) * ranges.len()]
            .iter()
            .map(|value| (!value.is_nan()).then_some(*value))
            .collect(),
        margin: margins[i],
        probability: probabilities[i],
        contributions: contributions[i * shape.1..(i + 1) * shape.1].to_vec(),
    };
    Ok(Golden { made_by: "libxgboost 3.4.0".into(), rows: (0..ROWS).map(row).collect() })
}

/// Three digits are enough and short to write.
fn rounded(value: f32) -> f32 {
    format!("{value:.2e}").parse().unwrap_or(value)
}
