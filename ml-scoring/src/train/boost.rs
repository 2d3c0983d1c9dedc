//! libxgboost at work. Its types stop in this folder.

use anyhow::{Result, ensure};
use xgb::parameters::{BoosterParameters, BoosterParametersBuilder, learning};
use xgb::{Booster, DMatrix};

use super::table::Table;
use super::{Options, Progress};
use crate::features::NAMES;

/// Rounds between two looks at the validation fold.
const LOOK_EVERY: u32 = 4;
/// Rounds without a better loss after which a fold stops.
const PATIENCE: u32 = 24;

/// libxgboost parameters by name, as its documentation has them, and the largest number of rounds.
#[derive(Clone, Debug)]
pub struct Settings {
    pub rounds_max: u32,
    pub parameters: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        let parameters = [
            ("tree_method", "hist"),
            ("max_depth", "5"),
            ("eta", "0.1"),
            ("min_child_weight", "10"),
            ("lambda", "10"),
            ("gamma", "0"),
            ("subsample", "0.8"),
            ("colsample_bytree", "0.5"),
            ("max_bin", "128"),
            ("nthread", "2"),
            ("seed", "2019"),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Settings { rounds_max: 200, parameters }
    }
}

impl Settings {
    /// Replaces or adds one parameter.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.parameters.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.to_owned(),
            None => self.parameters.push((name.to_owned(), value.to_owned())),
        }
    }

    fn booster(&self, matrix: &DMatrix) -> Result<Booster> {
        let learning = learning::LearningTaskParametersBuilder::default()
            .objective(learning::Objective::BinaryLogistic)
            .build()
            .map_err(anyhow::Error::msg)?;
        let parameters: BoosterParameters = BoosterParametersBuilder::default()
            .learning_params(learning)
            .verbose(false)
            .build()
            .map_err(anyhow::Error::msg)?;
        let mut booster = Booster::new_with_cached_dmats(&parameters, &[matrix])?;
        for (name, value) in &self.parameters {
            booster.set_param(name, value)?;
        }
        booster.set_feature_names(&NAMES.to_vec())?;
        Ok(booster)
    }
}

/// What cross-validation found; every margin comes from a model that did not see the patient.
pub(super) struct Cross {
    pub margins: Vec<f32>,
    /// Mean of the folds' best rounds.
    pub rounds: u32,
    pub rounds_by_fold: Vec<u32>,
}

/// Features and labels (1 where an alarm would gain); weights come with each fit.
pub(super) fn matrix(table: &Table) -> Result<DMatrix> {
    let mut matrix = DMatrix::from_dense(&table.values, table.cohort.labels.len())?;
    let labels: Vec<f32> = table.gains.iter().map(|gain| if *gain > 0.0 { 1.0 } else { 0.0 }).collect();
    matrix.set_labels(&labels)?;
    Ok(matrix)
}

/// One matrix serves all folds: a fold's own patients weigh nothing while it is trained.
pub(super) fn cross_validate(
    matrix: &mut DMatrix,
    table: &Table,
    folds: &[u32],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Cross> {
    let mut cross = Cross { margins: vec![f32::NAN; folds.len()], rounds: 0, rounds_by_fold: Vec::new() };
    for fold in 0..options.folds {
        let own: Vec<bool> = folds.iter().map(|of_row| *of_row == fold).collect();
        ensure!(own.iter().any(|own| *own), "fold {} of {} has no patient", fold + 1, options.folds);
        let stage = format!("fold {} of {}", fold + 1, options.folds);
        progress.stage(&stage, u64::from(options.settings.rounds_max));
        let (rounds, margins) = fit_fold(matrix, table, &own, &options.settings, progress)?;
        cross.rounds_by_fold.push(rounds);
        for ((to, from), own) in cross.margins.iter_mut().zip(margins).zip(own) {
            if own {
                *to = from;
            }
        }
    }
    cross.rounds =
        (cross.rounds_by_fold.iter().sum::<u32>() as f64 / f64::from(options.folds)).round() as u32;
    Ok(cross)
}

/// Best number of rounds for the fold's own patients, and the margins then.
fn fit_fold(
    matrix: &mut DMatrix,
    table: &Table,
    own: &[bool],
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<(u32, Vec<f32>)> {
    let weight = |(gain, own): (&f64, &bool)| if *own { 0.0 } else { gain.abs() as f32 };
    let weights: Vec<f32> = table.gains.iter().zip(own).map(weight).collect();
    matrix.set_weights(&weights)?;
    let mut booster = settings.booster(matrix)?;
    let (mut best_rounds, mut best_loss, mut best_margins) = (0, f64::INFINITY, Vec::new());
    for round in 1..=settings.rounds_max {
        booster.update(matrix, round as i32 - 1)?;
        if round % LOOK_EVERY != 0 && round != settings.rounds_max {
            continue;
        }
        let margins = booster.predict_margin(matrix)?;
        let loss = loss(&margins, &table.gains, own);
        if loss < best_loss {
            (best_rounds, best_loss, best_margins) = (round, loss, margins);
        }
        progress.at(u64::from(round), &format!("loss {loss:.4}, best {best_loss:.4} at {best_rounds}"));
        if round >= best_rounds + PATIENCE {
            break;
        }
    }
    Ok((best_rounds, best_margins))
}

/// Mean logistic loss over the rows of the fold, weighted by what an alarm would gain or cost.
fn loss(margins: &[f32], gains: &[f64], own: &[bool]) -> f64 {
    let (mut sum, mut weight) = (0.0, 0.0);
    for ((margin, gain), own) in margins.iter().zip(gains).zip(own) {
        if *own && *gain != 0.0 {
            let toward = if *gain > 0.0 { f64::from(*margin) } else { -f64::from(*margin) };
            sum += gain.abs() * (-toward).exp().ln_1p();
            weight += gain.abs();
        }
    }
    sum / weight
}

pub(super) fn fit(
    matrix: &mut DMatrix,
    table: &Table,
    settings: &Settings,
    rounds: u32,
    progress: &dyn Progress,
) -> Result<Booster> {
    let weights: Vec<f32> = table.gains.iter().map(|gain| gain.abs() as f32).collect();
    matrix.set_weights(&weights)?;
    let mut booster = settings.booster(matrix)?;
    for round in 0..rounds {
        booster.update(matrix, round as i32)?;
        progress.at(u64::from(round + 1), "");
    }
    Ok(booster)
}
