//! `medulla model eval`: figures that cannot flatter, beside rules that anybody could run.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ml_scoring::Task;
use ml_scoring::eval::{self, BASELINES, Options, Predictor, Report, Rule};

use super::data::{self, Patients};
use crate::cli::{Usage, Verdict, out, progress};
use crate::models;

/// Evaluate a model or a rule: utility, ranking, calibration, alerts, subgroups, baselines
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  medulla model eval --model models/sepsis --data cinc2019_B_dev.csv.zst --json\n  \
    medulla model eval --model models/mine --data cinc2019_A_dev.csv.zst cinc2019_B_dev.csv.zst --held-out\n  \
    medulla model eval --rule 'ICULOS>=53' --data cinc2019_B_dev.csv.zst\n\n\
    Rules: always, never, or ICULOS, HR_now, NEWS2, SIRS, qSOFA, SOFA, KDIGO with >= and a number."
)]
#[group(skip)]
pub struct Args {
    /// Folder with model.ubj or model.json, card.json and golden.json
    #[arg(long, value_name = "M", required_unless_present = "rule", conflicts_with = "rule")]
    model: Option<PathBuf>,
    /// A rule instead of a model
    #[arg(long, value_name = "R")]
    rule: Option<String>,
    /// What a rule is judged by: sepsis, aki, hypotension (a model's card says it)
    #[arg(long, value_name = "T", conflicts_with = "model", default_value = "sepsis")]
    task: Task,
    /// A second model folder (or rule): a paired comparison on the same patients
    #[arg(long, value_name = "M2")]
    against: Option<String>,
    /// PhysioNet/CinC 2019 files, .csv or .csv.zst
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Only patients that training leaves out (buckets 70 to 79 of the patient's hash)
    #[arg(long)]
    held_out: bool,
    /// Patient bootstrap samples of the 95 % intervals; 0 = none
    #[arg(long, value_name = "N", default_value_t = 200)]
    bootstrap: usize,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What is evaluated, with what its card says.
struct Judge {
    predictor: Box<dyn Predictor>,
    task: Task,
    threshold: Option<f64>,
    /// The patients of `--held-out` took no part in its training.
    held_out: bool,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let judge = match (&args.model, &args.rule) {
        (Some(folder), _) => model(folder)?,
        (None, Some(text)) => rule(text, args.task)?,
        (None, None) => return Err(Usage("give --model or --rule".into()).into()),
    };
    let other = args.against.as_deref().map(|text| either(text, judge.task)).transpose()?;
    for judge in [Some(&judge), other.as_ref()].into_iter().flatten() {
        if args.held_out && !judge.held_out {
            bail!(
                "the patients of --held-out took part in the training of this model, which would flatter it; its card has \
                 cross-validated figures, and `model train … -- --hold-out` keeps these patients out"
            );
        }
    }
    let baselines: Vec<Rule> = BASELINES.iter().filter_map(|text| text.parse().ok()).collect();
    let mut predictors: Vec<&dyn Predictor> = vec![&*judge.predictor];
    predictors.extend(baselines.iter().map(|rule| rule as &dyn Predictor));

    let patients = if args.held_out { Patients::HeldOut } else { Patients::All };
    let bar = progress::counter("patients judged");
    let cohort = data::judge_files(&args.data, judge.task, patients, &predictors, &bar)?;
    bar.finish_and_clear();
    let options = Options {
        threshold: judge.threshold,
        baselines: BASELINES.iter().map(|text| (*text).to_owned()).collect(),
        bootstrap_samples: args.bootstrap,
        ..Options::default()
    };
    let bar = progress::counter("bootstrap samples");
    let mut report = eval::report(&cohort, &options, |done, _| bar.set_position(done as u64));
    if let Some(other) = other {
        let second = data::judge_files(&args.data, judge.task, patients, &[&*other.predictor], &bar)?;
        report.against = eval::against(&cohort, &second, &options);
        if report.against.is_none() {
            bail!("the files changed between the two readings; run it again");
        }
    }
    bar.finish_and_clear();
    show(&report, args.json)?;
    Ok(Verdict::Fine)
}

fn model(folder: &Path) -> anyhow::Result<Judge> {
    let model = models::load(folder)?;
    let card = model.card();
    let task = card.task.parse::<Task>();
    let task = task.with_context(|| format!("{}: nothing to judge it by", folder.display()))?;
    let (threshold, held_out) = (Some(model.threshold()), card.training_data.held_out);
    Ok(Judge { predictor: Box::new(ml_scoring::Scorer::model(model)?), task, threshold, held_out })
}

fn rule(text: &str, task: Task) -> anyhow::Result<Judge> {
    let rule: Rule = text.parse().map_err(|error| Usage(format!("{text}: {error}")))?;
    Ok(Judge { predictor: Box::new(rule), task, threshold: None, held_out: true })
}

fn either(text: &str, task: Task) -> anyhow::Result<Judge> {
    let folder = Path::new(text);
    if folder.is_dir() { model(folder) } else { rule(text, task) }
}

fn show(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = out::stdout();
    if json {
        out::json_line(&mut out, report)?;
    } else {
        let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        writeln!(out, "{}: {} patients, {} rows", report.task, report.patients, report.rows)?;
        for (name, value) in [
            ("utility", report.utility),
            ("auroc", report.auroc),
            ("auprc", report.auprc),
            ("brier", report.brier),
            ("ece", report.ece),
            ("threshold", report.threshold),
            ("alerts_per_100_patient_days", report.alerts_per_100_patient_days),
            ("ppv", report.ppv),
            ("sensitivity", report.sensitivity),
            ("sensitivity_in_window", report.sensitivity_in_window),
            ("median_lead_h", report.median_lead_h),
        ] {
            let interval = report.ci95.get(name).map(|[low, high]| format!("  [{low:.4}, {high:.4}]"));
            writeln!(out, "{name:<30}{}{}", figure(value), interval.unwrap_or_default())?;
        }
        for (name, baseline) in &report.baselines {
            let (utility, auroc) = (figure(baseline.utility), figure(baseline.auroc));
            writeln!(out, "beside it {name:<20}utility {utility}  auroc {auroc}")?;
        }
        if let Some(against) = &report.against {
            let (utility, auroc) = (figure(against.utility), figure(against.auroc));
            writeln!(out, "difference                    utility {utility}  auroc {auroc}")?;
        }
    }
    out.flush()?;
    Ok(())
}
