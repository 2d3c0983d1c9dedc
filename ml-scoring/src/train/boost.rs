//! libxgboost at work. Its types stop in this folder.

use anyhow::{Context, Result, ensure};
use xgb::parameters::{BoosterParameters, BoosterParametersBuilder, learning};
use xgb::{Booster, DMatrix};

use super::choose::logistic_loss;
use super::table::Table;
use super::{Options, Progress, random};
use crate::Ensemble;
use crate::task::Task;

/// Rounds between two looks at the fold's own patients.
const LOOK_EVERY: u32 = 5;
/// See [`Settings::patience`].
const PATIENCE: u32 = 25;
/// The same where little data make the loss waver.
const PATIENCE_WITH_STAYS: u32 = 60;
/// With more rows than this, of patients without the event only one row in three is shown, three times as heavy, another
/// third to each member.
const ROWS_IN_FULL: usize = 400_000;
const ONE_OF: u64 = 3;

/// libxgboost parameters by name, as its documentation has them, and the largest number of rounds.
#[derive(Clone, Debug)]
pub struct Settings {
    pub rounds_max: u32,
    /// Rounds without a better loss after which a member stops.
    pub patience: u32,
    pub parameters: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        let parameters = [
            ("tree_method", "hist"),
            ("max_depth", "5"),
            ("eta", "0.08"),
            ("min_child_weight", "10"),
            ("lambda", "10"),
            ("gamma", "0"),
            ("subsample", "0.8"),
            ("colsample_bytree", "0.3"),
            ("max_bin", "128"),
            // One base for all members, so that they can be merged.
            ("base_score", "0.5"),
            ("nthread", "2"),
            ("seed", "2019"),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Settings { rounds_max: 300, patience: PATIENCE, parameters }
    }
}

impl Settings {
    pub fn for_task(task: Task) -> Settings {
        match task {
            Task::Sepsis => Settings::for_sepsis(),
            Task::Mortality => Settings::for_stays(),
            Task::Aki | Task::Hypotension => Settings::default(),
        }
    }

    /// Half the step on half the features, and twice the rounds: sepsis is rare, and alarms then gain more and rank better
    /// (measured on the 2019 set).
    fn for_sepsis() -> Settings {
        let mut settings = Settings::default();
        settings.set("eta", "0.04");
        settings.set("colsample_bytree", "0.15");
        settings
    }

    /// One row a stay, a few thousand in all: slower steps, each of fewer rows and features.
    fn for_stays() -> Settings {
        let mut settings = Settings { rounds_max: 600, patience: PATIENCE_WITH_STAYS, ..Settings::default() };
        for (name, value) in [
            ("eta", "0.04"),
            ("min_child_weight", "3"),
            ("lambda", "5"),
            ("subsample", "0.5"),
            ("colsample_bytree", "0.15"),
            ("max_bin", "64"),
            // With so few rows threads wait for each other longer than they work.
            ("nthread", "1"),
        ] {
            settings.set(name, value);
        }
        settings
    }

    /// For little data: small steps, each of few features and of little more than half the rows.
    pub fn to_adapt() -> Settings {
        let mut settings = Settings::for_sepsis();
        settings.set("subsample", "0.6");
        settings
    }

    /// For data of one hospital: what fits its habits more closely holds less at the next one (measured on the 2019
    /// set, trained on A and tested on B: more and deeper trees gain at A and lose at B).
    pub(super) fn portable(&self) -> Settings {
        let mut settings = Settings { rounds_max: self.rounds_max.min(60), ..self.clone() };
        for (name, value) in [("max_depth", "4"), ("eta", "0.08"), ("colsample_bytree", "0.3")] {
            settings.set(name, value);
        }
        settings
    }

    /// Replaces or adds one parameter.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.parameters.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.to_owned(),
            None => self.parameters.push((name.to_owned(), value.to_owned())),
        }
    }

    pub(super) fn booster(&self, matrix: &DMatrix, names: &Vec<&str>, seed: u64) -> Result<Booster> {
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
        let own: u64 =
            self.parameters.iter().find(|(name, _)| name == "seed").map_or(Ok(0), |p| p.1.parse())?;
        booster.set_param("seed", &(own + seed).to_string())?;
        booster.set_feature_names(names)?;
        Ok(booster)
    }
}

/// One booster, trained without the patients of one fold.
struct Member {
    fold: u32,
    booster: Booster,
    grown: u32,
    /// Rounds with the lowest loss on the patients that it did not see.
    best: u32,
}

impl Member {
    fn first_rounds(&self, rounds: u32) -> Result<Booster> {
        Ok(self.booster.slice(0, rounds.clamp(1, self.grown) as i32)?)
    }
}

/// Boosters that together have seen every patient, and each patient judged by those that have not seen him.
pub(super) struct Members {
    members: Vec<Member>,
    pub rounds_by_member: Vec<u32>,
    /// Mean of all.
    pub rounds: u32,
    /// Out of fold, row by row: mean over the members that did not see the patient.
    pub margins: Vec<f32>,
}

impl Members {
    /// Every member's trees at the common number of rounds, as JSON model files; none where no round was any good.
    pub fn files(&self) -> Result<Vec<Vec<u8>>> {
        if self.rounds == 0 {
            return Ok(Vec::new());
        }
        self.members.iter().map(|member| Ok(member.first_rounds(self.rounds)?.save_buffer(false)?)).collect()
    }
}

/// `start`: for each row the margin that the boosters begin from, that of the model which they are to improve.
pub(super) fn train(
    table: &Table,
    folds: &[u32],
    start: Option<&[f32]>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Members> {
    let of_event = table.of_event();
    let mut members = Vec::new();
    for repeat in 0..options.repeats {
        for fold in 0..options.folds {
            let number = repeat * options.folds + fold;
            let stage = format!("member {} of {}", number + 1, options.repeats * options.folds);
            progress.stage(&stage, u64::from(options.settings.rounds_max));
            let sample = Sample { weights: draw(table, &of_event, u64::from(number)), start };
            members.push(member(table, &sample, folds, fold, u64::from(number), options, progress)?);
        }
    }
    let rounds_by_member: Vec<u32> = members.iter().map(|member| member.best).collect();
    let mut all = Members { rounds: mean(&rounds_by_member), rounds_by_member, members, margins: Vec::new() };
    all.margins = out_of_fold(&all, table, folds, options, progress)?;
    for (margin, start) in all.margins.iter_mut().zip(start.unwrap_or_default()) {
        *margin += start;
    }
    Ok(all)
}

fn draw(table: &Table, of_event: &[bool], number: u64) -> Vec<f32> {
    let in_full = table.gains.iter().filter(|gain| **gain != 0.0).count() <= ROWS_IN_FULL;
    let weight = |(row, (gain, of_event)): (usize, (&f64, &bool))| {
        let weight = gain.abs() as f32;
        match in_full || *of_event {
            true => weight,
            false if random::hash(row as u64, number).is_multiple_of(ONE_OF) => weight * ONE_OF as f32,
            false => 0.0,
        }
    };
    table.gains.iter().zip(of_event).enumerate().map(weight).collect()
}

/// What one member is shown.
struct Sample<'a> {
    /// Of each row; rows that weigh nothing are not shown.
    weights: Vec<f32>,
    start: Option<&'a [f32]>,
}

impl Sample<'_> {
    fn matrix(&self, table: &Table, belongs: impl Fn(usize) -> bool) -> Result<(DMatrix, Vec<usize>)> {
        let rows: Vec<usize> =
            (0..self.weights.len()).filter(|row| self.weights[*row] > 0.0 && belongs(*row)).collect();
        ensure!(!rows.is_empty(), "a fold has no rows to learn from; use fewer folds or more data");
        let mut values = Vec::with_capacity(rows.len() * table.features.len());
        rows.iter().for_each(|row| values.extend_from_slice(table.row(*row)));
        let mut matrix = DMatrix::from_dense(&values, rows.len())?;
        let labels: Vec<f32> =
            rows.iter().map(|row| if table.gains[*row] > 0.0 { 1.0 } else { 0.0 }).collect();
        matrix.set_labels(&labels)?;
        matrix.set_weights(&rows.iter().map(|row| self.weights[*row]).collect::<Vec<_>>())?;
        if let Some(start) = self.start {
            matrix.set_base_margin(&rows.iter().map(|row| start[*row]).collect::<Vec<_>>())?;
        }
        Ok((matrix, rows))
    }
}

fn member(
    table: &Table,
    sample: &Sample,
    folds: &[u32],
    fold: u32,
    number: u64,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Member> {
    ensure!(folds.contains(&fold), "fold {} of {} has no patient", fold + 1, options.folds);
    let (seen, _) = sample.matrix(table, |row| folds[row] != fold)?;
    let (unseen, rows) = sample.matrix(table, |row| folds[row] == fold)?;
    let mut booster = options.settings.booster(&seen, &table.names(), number)?;
    // Where a model is to be improved, its own margins may already be the best.
    let started = sample.start.map(|start| rows.iter().map(|row| start[*row]).collect::<Vec<_>>());
    let mut best_loss = started.map_or(f64::INFINITY, |margins| loss(&margins, &rows, table, sample));
    let (mut grown, mut best) = (0, 0);
    for round in 1..=options.settings.rounds_max {
        booster.update(&seen, round as i32 - 1)?;
        grown = round;
        if round % LOOK_EVERY != 0 && round != options.settings.rounds_max {
            continue;
        }
        let loss = loss(&booster.predict_margin(&unseen)?, &rows, table, sample);
        if loss < best_loss {
            (best, best_loss) = (round, loss);
        }
        progress.at(u64::from(round), &format!("loss {loss:.4}, best {best_loss:.4} at {best}"));
        if round >= best + options.settings.patience {
            break;
        }
    }
    Ok(Member { fold, booster, grown, best })
}

/// Mean logistic loss, weighted by what an alarm would gain or cost.
fn loss(margins: &[f32], rows: &[usize], table: &Table, sample: &Sample) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (margin, row) in margins.iter().zip(rows) {
        let weight = f64::from(sample.weights[*row]);
        sum += weight * logistic_loss(f64::from(*margin), table.gains[*row] > 0.0);
        weights += weight;
    }
    sum / weights
}

/// The number of rounds is no secret of a fold's own patients either: it is the mean of what the other folds found best.
fn out_of_fold(
    all: &Members,
    table: &Table,
    folds: &[u32],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<f32>> {
    progress.stage("judging out of fold", u64::from(options.folds));
    let mut margins = vec![0.0; folds.len()];
    for fold in 0..options.folds {
        let others: Vec<u32> = all.members.iter().filter(|m| m.fold != fold).map(|m| m.best).collect();
        for member in all.members.iter().filter(|member| member.fold == fold) {
            let rounds = mean(&others);
            if rounds == 0 {
                continue;
            }
            let file = member.first_rounds(rounds)?.save_buffer(true)?;
            let ensemble = Ensemble::read("member.ubj", &file).context("a member of the model")?;
            for row in (0..folds.len()).filter(|row| folds[*row] == fold) {
                margins[row] += ensemble.margins(table.row(row))?[0] / options.repeats as f32;
            }
        }
        progress.at(u64::from(fold + 1), "");
    }
    Ok(margins)
}

fn mean(rounds: &[u32]) -> u32 {
    (f64::from(rounds.iter().sum::<u32>()) / rounds.len().max(1) as f64).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
        settings.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Few rounds of small steps would leave a model that has hardly begun.
    #[test]
    fn a_model_of_one_hospital_takes_few_steps_that_are_not_small() {
        let sepsis = Settings::for_task(Task::Sepsis);
        assert_eq!((value(&sepsis, "eta"), sepsis.rounds_max), (Some("0.04"), 300));
        let portable = sepsis.portable();
        assert_eq!(portable.rounds_max, 60);
        assert_eq!(portable.parameters, Settings::default().portable().parameters);
        assert_eq!((value(&portable, "eta"), value(&portable, "max_depth")), (Some("0.08"), Some("4")));
    }
}
