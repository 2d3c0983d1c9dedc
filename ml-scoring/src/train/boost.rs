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
/// third to each fold and repeat.
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

    /// Smaller steps on half the features: sepsis is rare, and alarms then gain more and rank better (measured on the 2019
    /// set).
    fn for_sepsis() -> Settings {
        let mut settings = Settings::default();
        settings.set("eta", "0.06");
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
        settings.set("eta", "0.04");
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

/// What a booster is taught of a row; the card's `objectives`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lesson {
    /// Whether an alarm gains anything, and by how much: weighted by it.
    Gain,
    /// Whether the event comes within the horizon, or has come: the task's own label. Those rows weigh [`LABELLED`] times as
    /// much as the others.
    Label,
}

/// See [`Lesson::Label`]. A row with sepsis is one in fifty.
pub(super) const LABELLED: f32 = 10.0;

impl Lesson {
    /// Of sepsis both: an alarm gains already hours before the label begins, and what tells the two apart makes the mean of
    /// boosters of either kind rank better than twice as many of one kind (measured on the 2019 set). Of the others the gain
    /// is the label.
    fn of(task: Task) -> &'static [Lesson] {
        match task {
            Task::Sepsis => &[Lesson::Gain, Lesson::Label],
            Task::Aki | Task::Hypotension | Task::Mortality => &[Lesson::Gain],
        }
    }

    fn is_positive(self, table: &Table, row: usize) -> bool {
        match self {
            Lesson::Gain => table.gains[row] > 0.0,
            Lesson::Label => table.cohort.labels[row],
        }
    }

    fn weight(self, table: &Table, row: usize) -> f32 {
        match self {
            Lesson::Gain => table.gains[row].abs() as f32,
            Lesson::Label if table.cohort.labels[row] => LABELLED,
            Lesson::Label => 1.0,
        }
    }
}

/// One booster, trained without the patients of one fold.
struct Member {
    lesson: Lesson,
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
    pub lessons: &'static [Lesson],
    /// Out of fold, row by row: mean over the members that did not see the patient.
    pub margins: Vec<f32>,
}

impl Members {
    /// Every member's trees at its lesson's common number of rounds, as JSON model files; none of a lesson of which no round
    /// was any good.
    pub fn files(&self) -> Result<Vec<Vec<u8>>> {
        let rounds = |member: &Member| self.rounds(member.lesson);
        let kept = self.members.iter().filter(|member| rounds(member) > 0);
        kept.map(|member| Ok(member.first_rounds(rounds(member))?.save_buffer(false)?)).collect()
    }

    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Of one lesson's members, the rounds with which each was best.
    pub fn rounds_by_member(&self, lesson: Lesson) -> Vec<u32> {
        self.members.iter().filter(|member| member.lesson == lesson).map(|member| member.best).collect()
    }

    /// The mean of them.
    pub fn rounds(&self, lesson: Lesson) -> u32 {
        mean(&self.rounds_by_member(lesson))
    }

    /// The rounds with which a fold's own patients are judged: they had no part in finding them.
    fn rounds_without(&self, fold: u32, lesson: Lesson) -> u32 {
        let others = self.members.iter().filter(|member| member.lesson == lesson && member.fold != fold);
        mean(&others.map(|member| member.best).collect::<Vec<_>>())
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
    let lessons = Lesson::of(options.task);
    let each = options.repeats * options.folds;
    let mut members = Vec::new();
    for (lesson, before) in lessons.iter().zip((0..).step_by(each as usize)) {
        for number in 0..each {
            let stage = format!("member {} of {}", before + number + 1, each * lessons.len() as u32);
            progress.stage(&stage, u64::from(options.settings.rounds_max));
            let weights = draw(table, &of_event, u64::from(number), *lesson);
            let sample = Sample { lesson: *lesson, weights, start };
            let fold = number % options.folds;
            members.push(member(table, &sample, folds, fold, u64::from(before + number), options, progress)?);
        }
    }
    let mut all = Members { members, lessons, margins: Vec::new() };
    all.margins = out_of_fold(&all, table, folds, options, progress)?;
    for (margin, start) in all.margins.iter_mut().zip(start.unwrap_or_default()) {
        *margin += start;
    }
    Ok(all)
}

fn draw(table: &Table, of_event: &[bool], number: u64, lesson: Lesson) -> Vec<f32> {
    let weights: Vec<f32> = (0..of_event.len()).map(|row| lesson.weight(table, row)).collect();
    if weights.iter().filter(|weight| **weight > 0.0).count() <= ROWS_IN_FULL {
        return weights;
    }
    let thinned = |(row, (weight, of_event)): (usize, (f32, &bool))| match of_event {
        true => weight,
        false if random::hash(row as u64, number).is_multiple_of(ONE_OF) => weight * ONE_OF as f32,
        false => 0.0,
    };
    weights.into_iter().zip(of_event).enumerate().map(thinned).collect()
}

/// What one member is shown.
struct Sample<'a> {
    lesson: Lesson,
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
            rows.iter().map(|row| f32::from(u8::from(self.lesson.is_positive(table, *row)))).collect();
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
    Ok(Member { lesson: sample.lesson, fold, booster, grown, best })
}

/// Mean logistic loss, weighted as the sample is.
fn loss(margins: &[f32], rows: &[usize], table: &Table, sample: &Sample) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (margin, row) in margins.iter().zip(rows) {
        let weight = f64::from(sample.weights[*row]);
        sum += weight * logistic_loss(f64::from(*margin), sample.lesson.is_positive(table, *row));
        weights += weight;
    }
    sum / weights
}

fn out_of_fold(
    all: &Members,
    table: &Table,
    folds: &[u32],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<f32>> {
    progress.stage("judging out of fold", u64::from(options.folds));
    let mut margins = vec![0.0; folds.len()];
    let judges = (options.repeats * all.lessons.len() as u32) as f32;
    for fold in 0..options.folds {
        for member in all.members.iter().filter(|member| member.fold == fold) {
            let rounds = all.rounds_without(fold, member.lesson);
            if rounds == 0 {
                continue;
            }
            let file = member.first_rounds(rounds)?.save_buffer(true)?;
            let ensemble = Ensemble::read("member.ubj", &file).context("a member of the model")?;
            for row in (0..folds.len()).filter(|row| folds[*row] == fold) {
                margins[row] += ensemble.margins(table.row(row))?[0] / judges;
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

    /// Seven hours before the onset an alarm gains already, and the label has not begun.
    #[test]
    fn the_two_lessons_differ_before_the_label_begins() {
        let mut table = Table::new(Task::Sepsis, Vec::new());
        table.gains = vec![5.0 / 6.0, 1.0, -0.05];
        table.cohort.labels = vec![false, true, false];
        let of = |lesson: Lesson| {
            let rows = 0..3;
            rows.map(|row| (lesson.is_positive(&table, row), lesson.weight(&table, row))).collect::<Vec<_>>()
        };
        assert_eq!(of(Lesson::Gain), [(true, 5.0 / 6.0), (true, 1.0), (false, 0.05)]);
        assert_eq!(of(Lesson::Label), [(false, 1.0), (true, LABELLED), (false, 1.0)]);
    }

    #[test]
    fn of_many_rows_without_the_event_a_third_is_shown_three_times_as_heavy() {
        let mut table = Table::new(Task::Sepsis, Vec::new());
        let rows = ROWS_IN_FULL + 2;
        table.gains = vec![-0.05; rows];
        table.cohort.labels = vec![false; rows];
        let mut of_event = vec![false; rows];
        of_event[7] = true;
        let weights = draw(&table, &of_event, 3, Lesson::Label);
        assert_eq!(weights[7], 1.0);
        let shown = weights.iter().filter(|weight| **weight == 3.0).count();
        assert!((0.32..0.35).contains(&(shown as f64 / rows as f64)), "{shown} of {rows}");
        assert_eq!(weights.iter().filter(|weight| ![0.0, 3.0].contains(*weight)).count(), 1);
        of_event.truncate(100);
        assert!(draw(&table, &of_event, 3, Lesson::Gain).iter().all(|weight| *weight == 0.05), "few rows");
    }

    /// Few rounds of small steps would leave a model that has hardly begun.
    #[test]
    fn a_model_of_one_hospital_takes_few_steps_that_are_not_small() {
        let sepsis = Settings::for_task(Task::Sepsis);
        assert_eq!((value(&sepsis, "eta"), sepsis.rounds_max), (Some("0.06"), 300));
        let portable = sepsis.portable();
        assert_eq!(portable.rounds_max, 60);
        assert_eq!(portable.parameters, Settings::default().portable().parameters);
        assert_eq!((value(&portable, "eta"), value(&portable, "max_depth")), (Some("0.08"), Some("4")));
    }
}
