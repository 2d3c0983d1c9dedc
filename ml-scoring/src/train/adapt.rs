//! Fits a model to a new site from little local data: its trees stay, with half of their weight, others are added that
//! begin from their margins, and calibration and thresholds are chosen again, on local patients that the added trees did
//! not see.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use xgb::Booster;

use super::table::Table;
use super::{Made, Options, Progress, boost, check, finish, merge, table};
use crate::features::NAMES;
use crate::task::Task;
use crate::{Ensemble, Model};

/// Of the model's weight so much is kept: what it knows of another hospital holds in part, and the added trees can say more. It
/// ranks as before. Of four draws of a tenth of one hospital, for a model of the other, half served the rest better than all of
/// it in each (AUROC by 0.001 to 0.015).
pub(super) const KEPT: f32 = 0.5;

const FILES: [&str; 4] = ["model.json", "model.ubj", "card.json", "golden.json"];

/// `folder` is the model's; its task is the task, whatever `options` says.
pub fn adapt(folder: &Path, options: &Options, progress: &dyn Progress) -> Result<crate::Card> {
    ensure!(options.folds >= 2 && options.repeats >= 1, "adapting needs at least 2 folds and 1 repeat");
    let (model, trees) = read(folder).with_context(|| folder.display().to_string())?;
    let options = Options { task: model.card().task.parse::<Task>()?, ..options.clone() };
    ensure!(
        options.task != Task::Mortality,
        "a model of mortality is not adapted: train one on the stays there are"
    );
    let data = table::read(&options, model.columns_in(&NAMES)?, progress)?;
    check(&data.develop)?;
    let folds = data.develop.row_folds(options.folds);
    let kept = merge::scaled(&trees, KEPT)?;
    let start = margins(&Booster::load_buffer(&kept)?, &data.develop)?;
    let members = boost::train(&data.develop, &folds, Some(&start), &options, progress)?;
    let merged = Booster::load_buffer(&merge::onto(&kept, &members.files()?, members.count())?)?;
    finish(data, &folds, &options, Made { members, merged, from: Some(model) }, progress)
}

/// The model, and its trees as a JSON model file of this libxgboost.
pub(super) fn read(folder: &Path) -> Result<(Model, Vec<u8>)> {
    let mut files = Vec::new();
    for name in FILES {
        let path = folder.join(name);
        if path.exists() {
            files.push((name, std::fs::read(&path).with_context(|| format!("reading {name}"))?));
        }
    }
    let borrowed: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let model = Model::load(&borrowed)?;
    let trees = borrowed.iter().find(|(name, _)| name.starts_with("model.")).context("no model file")?.1;
    let booster = Booster::load_buffer(trees)?;
    // Rounds behind the best one are no part of the model.
    let booster = match booster.get_attribute("best_iteration")? {
        Some(best) => booster.slice(0, best.parse::<i32>()? + 1)?,
        None => booster,
    };
    Ok((model, booster.save_buffer(false)?))
}

fn margins(booster: &Booster, table: &Table) -> Result<Vec<f32>> {
    let ensemble = Ensemble::read("model.ubj", &booster.save_buffer(true)?)?;
    (0..table.gains.len()).map(|row| Ok(ensemble.margins(table.row(row))?[0])).collect()
}
