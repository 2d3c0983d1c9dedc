//! Training with libxgboost (feature `train`): data in, a model directory out.
//!
//! The model is the mean of boosters that were each trained without the patients of one fold. Every patient is judged by
//! those boosters alone that did not see him; calibration, thresholds and figures come from these predictions, and those
//! of a fold's patients from thresholds and calibration chosen on the other folds. With [`Options::hold_out`] the
//! buckets 70 to 79 take no part in any of it and judge, once, at the end.

mod adapt;
mod boost;
mod choose;
mod describe;
mod gain;
mod judge;
mod merge;
mod random;
mod speed;
mod stays;
mod synthetic;
mod table;
mod words;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use xgb::Booster;

use crate::drift::Baseline;
use crate::features::{Group, N, Other, group, index_of_other};
use crate::task::Task;
use crate::{Card, Golden, Model, Scorer, report};

pub use adapt::adapt;
pub use boost::Settings;
pub use gain::gain;
pub use speed::{Speed, TREES, measure};

#[derive(Clone)]
pub struct Options {
    pub task: Task,
    /// `.csv` or `.csv.zst` in the form of [`crate::dataset::HEADER`].
    pub files: Vec<PathBuf>,
    /// The model directory; made if it is missing.
    pub out: PathBuf,
    pub folds: u32,
    /// Boosters for each fold and objective.
    pub repeats: u32,
    /// Keeps the buckets 70 to 79 out of training, to judge.
    pub hold_out: bool,
    /// Fit data of one hospital as closely as those of several; without it such a model is kept coarse, so that it holds
    /// better at the next hospital.
    pub local: bool,
    /// Look at no feature of [`Group::CareProcess`].
    pub physiology_only: bool,
    pub settings: Settings,
}

/// What a long run tells whoever waits for it.
pub trait Progress: Sync {
    fn stage(&self, name: &str, total: u64);
    fn at(&self, done: u64, note: &str);
}

/// Trains a model, writes `model.ubj`, `card.json`, `golden.json` and `report.html`, and loads them as `medulla run` would.
pub fn train(options: &Options, progress: &dyn Progress) -> Result<Card> {
    ensure!(options.folds >= 2 && options.repeats >= 1, "training needs at least 2 folds and 1 repeat");
    ensure!(
        !(options.physiology_only && options.task == Task::Mortality),
        "a stay's own features are of no group: a model of mortality looks at all of them"
    );
    let all = 0..options.task.feature_names().len();
    let is_care = |feature| group(feature) == Some(Group::CareProcess);
    let is_seen = |feature: &usize| !(options.physiology_only && is_care(*feature));
    let data = table::read(options, all.filter(is_seen).collect(), progress)?;
    check(&data.develop)?;
    let hospitals: BTreeSet<char> = data.develop.cohort.people.iter().map(|person| person.hospital).collect();
    // What holds at the next hospital was measured on the 2019 set; in stays of the 2012 set there is one.
    let as_given = options.local || hospitals.len() > 1 || options.task == Task::Mortality;
    let settings = match as_given {
        true => options.settings.clone(),
        false => options.settings.portable(),
    };
    let options = &Options { settings, ..options.clone() };
    let folds = data.develop.row_folds(options.folds);
    let members = boost::train(&data.develop, &folds, None, options, progress)?;
    let merged = Booster::load_buffer(&merge::mean(&members.files()?)?)?;
    finish(data, &folds, options, Made { members, merged, from: None }, progress)
}

/// What training came to.
struct Made {
    members: boost::Members,
    merged: Booster,
    /// The model that was adapted.
    from: Option<Model>,
}

/// Chooses, judges and writes.
fn finish(
    mut data: table::Data,
    folds: &[u32],
    options: &Options,
    made: Made,
    progress: &dyn Progress,
) -> Result<Card> {
    let ranges = synthetic::ranges(&data.develop.values, data.develop.features.len());
    let (sample, baseline) = (sample(&data.develop), baseline(&data.develop));
    // More than a gigabyte that nobody asks for any more.
    data.develop.values = Vec::new();

    let golden = synthetic::golden(&made.merged, &ranges)?;
    let model = made.merged.save_buffer(true)?;
    let judged = judge::out_of_fold(&data.develop, &made.members.margins, folds, options.folds)?;
    let mut card = describe::card(&data, options, &made.members, &judged);
    if let Some(from) = &made.from {
        describe::adapted(&mut card, from);
    }
    card.drift = baseline;
    judge::cross_validated(&mut card, &mut data.develop, judged)?;
    let mut cohort = std::mem::take(&mut data.develop.cohort);
    if options.hold_out {
        progress.stage("judging the held-out patients", data.test.len() as u64);
        // The model as it will be read, and not libxgboost, so that the card tells what will be seen of it.
        let scorer = Scorer::model(load(&files(&model, &card, &golden)?)?)?;
        cohort = judge::held_out(&mut card, &scorer, options.task, std::mem::take(&mut data.test), progress)?;
    }
    let judged = files(&model, &card, &golden)?;
    let contributions = contributions(&load(&judged)?, &sample)?;
    write(options, &judged, &report::html(&card, &cohort, &contributions))?;
    Ok(card)
}

/// Rows of which contributions are shown.
const EXPLAINED: usize = 400;
const SHOWN: usize = 25;

fn sample(table: &table::Table) -> Vec<Vec<f32>> {
    let rows = table.gains.len();
    (0..rows).step_by(rows.div_ceil(EXPLAINED).max(1)).map(|row| table.row(row).to_vec()).collect()
}

/// Of a model that looks at the stream's list from its beginning on; one of an older release knows less of it. `None` of
/// others: of stays, of physiology alone, or from elsewhere and adapted.
fn baseline(table: &table::Table) -> Option<Baseline> {
    let width = table.features.len();
    // As far as ICULOS stands what a baseline is made of.
    let of_stream = (index_of_other(Other::Iculos) + 1..=N).contains(&width);
    let as_listed = of_stream && table.features.iter().copied().eq(0..width);
    as_listed.then(|| Baseline::of(|| table.values.chunks_exact(width)))
}

/// Features by their mean absolute contribution, strongest first.
fn contributions(model: &Model, rows: &[Vec<f32>]) -> Result<Vec<(String, f64)>> {
    let mut sums: Vec<(String, f64)> = model.feature_names().map(|name| (name.to_owned(), 0.0)).collect();
    for row in rows {
        for (sum, weight) in sums.iter_mut().zip(model.explain(row)?) {
            sum.1 += weight.abs() / rows.len() as f64;
        }
    }
    sums.sort_by(|a, b| b.1.total_cmp(&a.1));
    sums.truncate(SHOWN);
    Ok(sums)
}

fn check(table: &table::Table) -> Result<()> {
    let patients = table.cohort.people.len();
    ensure!(patients >= 100, "{patients} patients are too few to train on");
    let task = table.cohort.task.name();
    ensure!(table.cohort.labels.contains(&true), "no patient with the event of {task} in the data");
    ensure!(table.gains.iter().any(|gain| *gain < 0.0), "no patient without the event of {task} in the data");
    Ok(())
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

fn write(options: &Options, files: &Files, report: &str) -> Result<()> {
    std::fs::create_dir_all(&options.out).with_context(|| format!("making {}", options.out.display()))?;
    let files = files.iter().map(|(name, bytes)| (*name, bytes.as_slice()));
    for (name, bytes) in files.chain([("report.html", report.as_bytes())]) {
        let path = options.out.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_of_the_stream_has_a_baseline_and_one_of_an_older_release_too() {
        let has = |features: Vec<usize>| baseline(&table::Table::new(Task::Sepsis, features)).is_some();
        let of_older = index_of_other(Other::HypotensionAgeH);
        assert!(has((0..N).collect()) && has((0..of_older).collect()));
        assert!(!has((0..N + 9).collect()), "of stays");
        assert!(!has((1..N).collect()) && !has((0..10).collect()), "not the list from its beginning");
    }
}
