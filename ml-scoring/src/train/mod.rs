//! Training with libxgboost (feature `train`): 2019 data in, a model directory out.
//!
//! Patients of the buckets 0 to 69 train and choose, by patient-level cross-validation: rounds, calibration and
//! threshold come from predictions of models that did not see the patient. Buckets 70 to 79 judge, once, at the end.

mod boost;
mod choose;
mod describe;
mod gain;
mod judge;
mod synthetic;
mod table;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::features::NAMES;
use crate::{Card, Golden, Model, Scorer};

pub use boost::Settings;
pub use gain::gain;

pub struct Options {
    /// `.csv` or `.csv.zst` in the form of [`crate::dataset::HEADER`].
    pub files: Vec<PathBuf>,
    /// The model directory; made if it is missing.
    pub out: PathBuf,
    pub folds: u32,
    pub settings: Settings,
}

/// What a long run tells whoever waits for it.
pub trait Progress: Sync {
    fn stage(&self, name: &str, total: u64);
    fn at(&self, done: u64, note: &str);
}

/// Trains the sepsis model, writes `model.ubj`, `card.json` and `golden.json`, and loads them as `medulla run` would.
pub fn sepsis(options: &Options, progress: &dyn Progress) -> Result<Card> {
    ensure!(options.folds >= 2, "cross-validation needs at least 2 folds");
    let mut data = table::read(&options.files, progress)?;
    ensure!(
        data.develop.cohort.people.len() >= 100,
        "{} patients are too few to train on",
        data.develop.cohort.people.len()
    );
    ensure!(
        data.develop.cohort.people.iter().any(|person| person.first_label.is_some()),
        "no septic patient in the data"
    );
    let folds: Vec<u32> = data.develop.row_folds(options.folds);
    let ranges = synthetic::ranges(&data.develop.values, NAMES.len());
    let mut matrix = boost::matrix(&data.develop)?;
    // libxgboost has its own copy now; this one is more than a gigabyte.
    data.develop.values = Vec::new();

    let cross = boost::cross_validate(&mut matrix, &data.develop, &folds, options, progress)?;
    let table = &data.develop;
    let threshold_margin =
        choose::threshold(&table.may_alarm(&cross.margins), &table.may_alarm(&table.gains)).context(
            "no alarm of the cross-validated models would gain anything: nothing to choose a threshold by",
        )?;
    let calibration = choose::platt(&cross.margins, &table.cohort.labels);
    progress.stage("training on all folds", u64::from(cross.rounds));
    let booster = boost::fit(&mut matrix, &data.develop, &options.settings, cross.rounds, progress)?;
    drop(matrix);

    let golden = synthetic::golden(&booster, &ranges)?;
    let model = booster.save_buffer(true)?;
    let chosen = describe::Chosen { cross: &cross, threshold_margin, calibration };
    let mut card = describe::card(&mut data, options, &chosen);
    progress.stage("judging", data.test.len() as u64);
    // The model as it will be read, and not libxgboost, so that the card tells what will be seen of it.
    let unjudged = files(&model, &card, &golden)?;
    judge::held_out(&mut card, &Scorer::model(load(&unjudged)?)?, data.test, progress)?;
    let judged = files(&model, &card, &golden)?;
    load(&judged)?;
    write(options, &judged)?;
    Ok(card)
}

type Files = [(&'static str, Vec<u8>); 3];

fn files(model: &[u8], card: &Card, golden: &Golden) -> Result<Files> {
    let card = serde_json::to_string_pretty(card)? + "\n";
    let golden = serde_json::to_string(golden)? + "\n";
    Ok([("model.ubj", model.to_vec()), ("card.json", card.into()), ("golden.json", golden.into())])
}

fn load(files: &Files) -> Result<Model> {
    let files = files.each_ref().map(|(name, bytes)| (*name, bytes.as_slice()));
    Model::load(&files).context("the trained model does not load; nothing was written")
}

fn write(options: &Options, files: &Files) -> Result<()> {
    std::fs::create_dir_all(&options.out).with_context(|| format!("making {}", options.out.display()))?;
    for (name, bytes) in files {
        let path = options.out.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
