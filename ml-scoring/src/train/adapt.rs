//! Fits a model to a new site from little local data: its trees stay, a few shallow ones are added that begin from its
//! margins, and calibration and thresholds are chosen again, on local patients that the added trees did not see.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use xgb::Booster;

use super::table::Table;
use super::{Made, Options, Progress, boost, check, finish, merge, table};
use crate::Model;
use crate::features::NAMES;
use crate::task::Task;

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
    let start = margins(&model, &data.develop)?;
    let folds = data.develop.row_folds(options.folds);
    let members = boost::train(&data.develop, &folds, Some(&start), &options, progress)?;
    let merged = Booster::load_buffer(&merge::onto(&trees, &members.files()?)?)?;
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

fn margins(model: &Model, table: &Table) -> Result<Vec<f32>> {
    let rows = 0..table.gains.len();
    // A margin is a sum of f32: nothing is lost.
    rows.map(|row| Ok(model.margin(table.row(row))? as f32)).collect()
}
