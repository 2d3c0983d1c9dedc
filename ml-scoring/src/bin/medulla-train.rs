//! `medulla-train`: trains a model with libxgboost, which therefore never stands between `medulla run` and a patient.
//! `medulla model train` calls it, and `medulla bench score`, which sets libxgboost beside the evaluator.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ml_scoring::train::{self, Options, Progress, Settings};
use ml_scoring::{Figures, Task};

#[derive(Parser)]
#[command(about = "Train a model: data in, a directory with model.ubj, card.json and golden.json out")]
struct Arguments {
    /// sepsis, aki, hypotension or mortality
    #[arg(long, required_unless_present = "adapt", conflicts_with = "adapt")]
    task: Option<Task>,
    /// A model's folder: fit it to these data instead of training one
    #[arg(long)]
    adapt: Option<PathBuf>,
    /// PhysioNet/CinC 2019 files, .csv or .csv.zst; for mortality the 2012 set's long file and its outcome files
    #[arg(long, required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Model directory, made if missing
    #[arg(long)]
    out: PathBuf,
    /// Patient-level folds: each is judged by boosters that did not see it [default: 5, for mortality 10]
    #[arg(long)]
    folds: Option<u32>,
    /// Boosters for each fold and objective [default: 1, for mortality 4, with --adapt 3]
    #[arg(long)]
    repeats: Option<u32>,
    /// Leave the buckets 70 to 79 of the patient's hash out, for `medulla model eval --held-out`
    #[arg(long)]
    hold_out: bool,
    /// With data of one hospital: fit it closely, without regard to the next hospital
    #[arg(long)]
    local: bool,
    /// Look at the patient alone (values, trends, age), and not at how often and when things were measured
    #[arg(long, conflicts_with = "adapt")]
    physiology_only: bool,
    /// Largest number of boosting rounds
    #[arg(long)]
    rounds: Option<u32>,
    /// A libxgboost parameter, name=value; may be given again
    #[arg(long = "set")]
    settings: Vec<String>,
}

#[derive(Parser)]
#[command(
    name = "medulla-train bench-score",
    about = "Time a row, an explanation and an event, beside libxgboost"
)]
struct Bench {
    /// A model's folder, to be timed too
    #[arg(long)]
    model: Option<PathBuf>,
    /// One JSON object a model instead of the tables
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let words = || std::env::args_os().skip(1);
    let done = match words().next() {
        Some(word) if word == "bench-score" => bench(&Bench::parse_from(words())),
        _ => run(&Arguments::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Bench) -> Result<()> {
    let bar = Bar::new();
    let all = train::measure(train::TREES, arguments.model.as_deref(), &bar)?;
    bar.finish();
    for speed in &all {
        match arguments.json {
            true => println!("{}", serde_json::to_string(speed)?),
            false => println!("{speed}"),
        }
    }
    Ok(())
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut settings = match arguments.adapt {
        Some(_) => Settings::to_adapt(),
        None => Settings::for_task(arguments.task.unwrap_or_default()),
    };
    settings.rounds_max = arguments.rounds.unwrap_or(settings.rounds_max);
    for setting in &arguments.settings {
        let (name, value) =
            setting.split_once('=').with_context(|| format!("--set {setting}: name=value"))?;
        settings.set(name, value);
    }
    // Few data train in minutes, and boosters of few data need each other more.
    let (folds, repeats) = match (&arguments.adapt, arguments.task) {
        (Some(_), _) => (5, 3),
        (None, Some(Task::Mortality)) => (10, 4),
        (None, _) => (5, 1),
    };
    let options = Options {
        task: arguments.task.unwrap_or_default(),
        files: arguments.data.clone(),
        out: arguments.out.clone(),
        folds: arguments.folds.unwrap_or(folds),
        repeats: arguments.repeats.unwrap_or(repeats),
        hold_out: arguments.hold_out,
        local: arguments.local,
        physiology_only: arguments.physiology_only,
        settings,
    };
    let bar = Bar::new();
    let card = match &arguments.adapt {
        Some(model) => train::adapt(model, &options, &bar)?,
        None => train::train(&options, &bar)?,
    };
    bar.finish();
    let figure = |value: Option<f64>| value.map_or("none".to_owned(), |value| format!("{value:.3}"));
    let model = &card.held_out;
    let mut beside: Vec<(&str, &Figures)> =
        card.beside.iter().map(|beside| (beside.name.as_str(), &beside.figures)).collect();
    if beside.is_empty() {
        beside.push(("clock rule", &card.clock_rule));
    }
    println!("{}", arguments.out.display());
    let judged = if arguments.hold_out { "held out" } else { "cross-validated" };
    println!("{judged}: {} patients, {} with the event", model.patients, model.septic_patients);
    type Figure = fn(&Figures) -> Option<f64>;
    let figures: [(&str, Figure); 3] =
        [("utility", |all| all.utility), ("AUROC", |all| all.auroc), ("AUPRC", |all| all.auprc)];
    for (name, of) in figures.into_iter().filter(|(_, of)| of(model).is_some()) {
        print!("{name:<10}{}", figure(of(model)));
        beside.iter().for_each(|(name, figures)| print!("   {name} {}", figure(of(figures))));
        println!();
    }
    Ok(())
}

/// One bar a stage on stderr; one line a stage where stderr is no terminal.
struct Bar(Mutex<ProgressBar>);

impl Bar {
    fn new() -> Self {
        Bar(Mutex::new(ProgressBar::hidden()))
    }

    fn finish(&self) {
        if let Ok(bar) = self.0.lock() {
            bar.finish();
        }
    }
}

impl Progress for Bar {
    fn stage(&self, name: &str, total: u64) {
        self.finish();
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        if bar.is_hidden() {
            eprintln!("{name}");
        }
        if let Ok(style) =
            ProgressStyle::with_template("{prefix:24} {wide_bar} {percent:>3} % {eta:>5} {msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        if let Ok(mut current) = self.0.lock() {
            *current = bar;
        }
    }

    fn at(&self, done: u64, note: &str) {
        if let Ok(bar) = self.0.lock() {
            bar.set_position(done);
            if !note.is_empty() {
                bar.set_message(note.to_owned());
            }
        }
    }
}
