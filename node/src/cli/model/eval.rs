//! `medulla model eval`: figures that cannot flatter, beside rules that anybody could run.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use ml_scoring::eval::{self, BASELINES, Options, Predictor, Report, Rule};

use super::data::{self, Patients};
use crate::cli::{Usage, Verdict, out, progress};
use crate::models;

/// Evaluate a model or a rule: utility, ranking, calibration, alerts, subgroups, baselines
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  medulla model eval --model models/sepsis --data cinc2019_B_dev.csv.zst --json\n  \
    medulla model eval --model models/sepsis --data cinc2019_A_dev.csv.zst cinc2019_B_dev.csv.zst --held-out\n  \
    medulla model eval --rule 'ICULOS>=53' --data cinc2019_B_dev.csv.zst\n\n\
    Rules: always, never, or ICULOS, HR_now, NEWS2, SIRS, qSOFA with >= and a number."
)]
#[group(skip)]
pub struct Args {
    /// Folder with model.ubj or model.json, card.json and golden.json
    #[arg(long, value_name = "M", required_unless_present = "rule", conflicts_with = "rule")]
    model: Option<PathBuf>,
    /// A rule instead of a model
    #[arg(long, value_name = "R")]
    rule: Option<String>,
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
    task: String,
    threshold: Option<f64>,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let judge = match (&args.model, &args.rule) {
        (Some(folder), _) => model(folder)?,
        (None, Some(text)) => rule(text)?,
        (None, None) => return Err(Usage("give --model or --rule".into()).into()),
    };
    let other = args.against.as_deref().map(either).transpose()?;
    let baselines: Vec<Rule> = BASELINES.iter().filter_map(|text| text.parse().ok()).collect();
    let mut predictors: Vec<&dyn Predictor> = vec![&*judge.predictor];
    predictors.extend(baselines.iter().map(|rule| rule as &dyn Predictor));

    let patients = if args.held_out { Patients::HeldOut } else { Patients::All };
    let bar = progress::counter("patients judged");
    let cohort = data::judge_files(&args.data, patients, &predictors, &bar)?;
    bar.finish_and_clear();
    let options = Options {
        task: judge.task,
        threshold: judge.threshold,
        baselines: BASELINES.iter().map(|text| (*text).to_owned()).collect(),
        bootstrap_samples: args.bootstrap,
        ..Options::default()
    };
    let bar = progress::counter("bootstrap samples");
    let mut report = eval::report(&cohort, &options, |done, _| bar.set_position(done as u64));
    if let Some(other) = other {
        let second = data::judge_files(&args.data, patients, &[&*other.predictor], &bar)?;
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
    let (task, threshold) = (model.card().task.clone(), Some(model.threshold()));
    Ok(Judge { predictor: Box::new(ml_scoring::Scorer::model(model)?), task, threshold })
}

fn rule(text: &str) -> anyhow::Result<Judge> {
    let rule: Rule = text.parse().map_err(|error| Usage(format!("{text}: {error}")))?;
    Ok(Judge { predictor: Box::new(rule), task: Options::default().task, threshold: None })
}

fn either(text: &str) -> anyhow::Result<Judge> {
    let folder = Path::new(text);
    if folder.is_dir() { model(folder) } else { rule(text) }
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
