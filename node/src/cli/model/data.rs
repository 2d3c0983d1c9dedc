//! Files of the PhysioNet/CinC 2019 set, plain or zstd.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::ProgressBar;
use ml_scoring::Task;
use ml_scoring::dataset::{self, Patient};
use ml_scoring::eval::{Cohort, Predictor, judge, judge_as_stream};

pub fn open(file: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    let unreadable = || format!("cannot read {}", file.display());
    let opened = File::open(file).with_context(unreadable)?;
    if file.extension().is_some_and(|extension| extension == "zst") {
        let decoder = zstd::stream::read::Decoder::new(opened).with_context(unreadable)?;
        return Ok(Box::new(BufReader::with_capacity(1 << 20, decoder)));
    }
    Ok(Box::new(BufReader::with_capacity(1 << 20, opened)))
}

/// Whose hours are judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Patients {
    All,
    /// Those that no model of ours was trained on and no threshold chosen on.
    HeldOut,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The rows' predictions.
    Rows,
    /// And what a site's alert policy would hear, which takes three times as long.
    Stream,
}

impl Patients {
    fn include(self, pid: &str) -> bool {
        self == Patients::All || dataset::INTERNAL_TEST.contains(&dataset::bucket(pid))
    }
}

/// Every patient of the files, one after the other.
pub fn for_each(
    files: &[PathBuf],
    patients: Patients,
    mut visit: impl FnMut(&Patient),
) -> anyhow::Result<()> {
    for file in files {
        for patient in dataset::read(open(file)?) {
            let patient = patient.with_context(|| file.display().to_string())?;
            if patients.include(&patient.pid) {
                visit(&patient);
            }
        }
    }
    Ok(())
}

fn judge_file(
    file: &Path,
    task: Task,
    patients: Patients,
    predictors: &[&dyn Predictor],
    asked: Asked,
    bar: &ProgressBar,
) -> anyhow::Result<Cohort> {
    let before = bar.position();
    // What cannot be read ends the reading, whomever it is about.
    let included = dataset::read(open(file)?)
        .filter(|patient| patient.as_ref().map_or(true, |patient| patients.include(&patient.pid)));
    let progress = |done| bar.set_position(before + done as u64);
    let cohort = match asked {
        Asked::Rows => judge(included, task, predictors, progress),
        Asked::Stream => judge_as_stream(included, task, predictors, progress),
    };
    cohort.with_context(|| file.display().to_string())
}

/// Lets every predictor judge every hour; all files as one cohort, in the order given.
pub fn judge_files(
    files: &[PathBuf],
    task: Task,
    patients: Patients,
    predictors: &[&dyn Predictor],
    asked: Asked,
    bar: &ProgressBar,
) -> anyhow::Result<Cohort> {
    let mut all = Cohort::of(task, predictors.len());
    for file in files {
        all.append(judge_file(file, task, patients, predictors, asked, bar)?);
    }
    Ok(all)
}
