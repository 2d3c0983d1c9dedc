//! Files of the PhysioNet/CinC 2019 set, plain or zstd.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use ml_scoring::Task;
use ml_scoring::dataset::{self, Known, Patient};
use ml_scoring::eval::{Cohort, Predictor, judge, judge_as_stream};
use sha2::{Digest, Sha256};

pub fn open(file: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    let unreadable = || format!("cannot read {}", file.display());
    let opened = File::open(file).with_context(unreadable)?;
    if file.extension().is_some_and(|extension| extension == "zst") {
        let decoder = zstd::stream::read::Decoder::new(opened).with_context(unreadable)?;
        return Ok(Box::new(BufReader::with_capacity(1 << 20, decoder)));
    }
    Ok(Box::new(BufReader::with_capacity(1 << 20, opened)))
}

/// Of the file as it is, hex: so a card names the files that trained its model.
pub fn sha256(file: &Path) -> anyhow::Result<String> {
    let unreadable = || format!("cannot read {}", file.display());
    let mut opened = File::open(file).with_context(unreadable)?;
    let mut digest = Sha256::new();
    std::io::copy(&mut opened, &mut digest).with_context(unreadable)?;
    Ok(hex::encode(digest.finalize()))
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
    mut visit: impl FnMut(&Patient) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut known = Known::default();
    for file in files {
        let named = || file.display().to_string();
        for patient in dataset::read(open(file)?) {
            let patient = patient.with_context(named)?;
            known.admit(&named(), &patient).with_context(named)?;
            if patients.include(&patient.pid) {
                visit(&patient)?;
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
    known: &mut Known,
    bar: &ProgressBar,
) -> anyhow::Result<Cohort> {
    let before = bar.position();
    let name = file.display().to_string();
    // What cannot be read ends the reading, whomever it is about.
    let included = dataset::read(open(file)?)
        .map(|patient| patient.and_then(|patient| known.admit(&name, &patient).map(|()| patient)))
        .filter(|patient| patient.as_ref().map_or(true, |patient| patients.include(&patient.pid)));
    let progress = |done| bar.set_position(before + done as u64);
    let cohort = match asked {
        Asked::Rows => judge(included, task, predictors, progress),
        Asked::Stream => judge_as_stream(included, task, predictors, progress),
    };
    cohort.with_context(|| file.display().to_string())
}

/// Of all files, in the order given.
pub struct Judged {
    pub cohort: Cohort,
    /// How many of its people came from each file.
    pub by_file: Vec<usize>,
}

/// Lets every predictor judge every hour; all files as one cohort.
pub fn judge_files(
    files: &[PathBuf],
    task: Task,
    patients: Patients,
    predictors: &[&dyn Predictor],
    asked: Asked,
    bar: &ProgressBar,
) -> anyhow::Result<Judged> {
    let mut all = Judged { cohort: Cohort::of(task, predictors.len()), by_file: Vec::new() };
    let mut known = Known::default();
    for file in files {
        let of_file = judge_file(file, task, patients, predictors, asked, &mut known, bar)?;
        all.by_file.push(of_file.people.len());
        all.cohort.append(of_file);
    }
    if all.cohort.people.is_empty() {
        bail!(
            "none of the patients of these files is to be judged: {} are held out",
            range(&dataset::INTERNAL_TEST)
        );
    }
    Ok(all)
}

fn range(buckets: &std::ops::Range<u32>) -> String {
    format!("buckets {} to {}", buckets.start, buckets.end - 1)
}
