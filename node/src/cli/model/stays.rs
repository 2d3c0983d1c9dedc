//! Files of the PhysioNet/CinC 2012 set: the long file, plain or zstd, and its outcome files.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::path::PathBuf;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use ml_scoring::eval::{Cohort, StayPredictor, judge_stays};
use ml_scoring::stays;

use super::data;

/// Whose stays are judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    All,
    /// Those of whom an outcome file speaks.
    WithOutcome,
}

/// Of each stay of the outcome files given: the file's SHA-256, hex.
pub fn outcome_files(files: &[PathBuf]) -> anyhow::Result<HashMap<String, String>> {
    let mut by_stay = HashMap::new();
    for file in files {
        let mut lines = data::open(file)?.lines();
        let unreadable = || format!("cannot read {}", file.display());
        if !lines
            .next()
            .transpose()
            .with_context(unreadable)?
            .is_some_and(|line| line.starts_with("RecordID,"))
        {
            continue;
        }
        let hash = data::sha256(file)?;
        for line in lines {
            let line = line.with_context(unreadable)?;
            let record = line.split(',').next().unwrap_or_default().trim();
            by_stay.insert(record.to_owned(), hash.clone());
        }
    }
    Ok(by_stay)
}

/// Lets every predictor judge every stay; what was set aside or left out is told on stderr.
pub fn judge_files(
    files: &[PathBuf],
    which: Stays,
    predictors: &[&dyn StayPredictor],
    bar: &ProgressBar,
) -> anyhow::Result<Cohort> {
    let mut opened = Vec::new();
    for file in files {
        opened.push((file.display().to_string(), data::open(file)?));
    }
    let set = stays::open(opened)?;
    if which == Stays::WithOutcome && !set.has_outcomes() {
        bail!(
            "no outcome file among --data: without it nobody knows who died; give cinc2012_outcomes_a.csv or its like too"
        );
    }
    let (mut set_aside, mut left_out) = (BTreeMap::<&str, u64>::new(), 0);
    let judged = set.filter(|stay| {
        let Ok(stay) = stay else { return true };
        let judged = which == Stays::All || stay.outcome.is_some();
        left_out += u64::from(!judged);
        if judged {
            stay.set_aside.iter().for_each(|(name, count)| *set_aside.entry(name).or_default() += count);
        }
        judged
    });
    let cohort = judge_stays(judged, predictors, |done| bar.set_position(done as u64))?;
    if !set_aside.is_empty() {
        let counts: Vec<String> = set_aside.iter().map(|(name, count)| format!("{name} {count}")).collect();
        eprintln!("values set aside as implausible: {}", counts.join(", "));
    }
    if left_out > 0 {
        eprintln!("{left_out} stays without an outcome are left out");
    }
    Ok(cohort)
}
