//! `medulla model eval`: figures that cannot flatter, beside rules that anybody could run.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use indicatif::ProgressBar;
use ml_scoring::eval::{
    self, BASELINES, Cohort, Options, Person, Predictor, Report, Rule, SeenInTraining, StayModel,
    StayPredictor, StayRule,
};
use ml_scoring::{AlertPolicy, Card, Scorer, Task};

use super::data::{self, Asked, Judged, Patients};
use super::stays::{self, Stays};
use crate::cli::{Usage, Verdict, out, progress};
use crate::{config, models};

/// Evaluate a model or a rule: utility, ranking, calibration, alerts, subgroups, baselines
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  medulla model eval --model models/sepsis --data cinc2019_B_dev.csv.zst --json\n  \
    medulla model eval --model models/mine --data cinc2019_A_dev.csv.zst cinc2019_B_dev.csv.zst --held-out\n  \
    medulla model eval --rule 'ICULOS>=53' --data cinc2019_B_dev.csv.zst\n  \
    medulla model eval --model models/mine --data cinc2019_A_dev.csv.zst --policy site.toml --ward-beds 12\n  \
    medulla model eval --model models/mortality --data cinc2012_ab_long.csv.zst cinc2012_outcomes_b.csv\n\n\
    Alerts are those that a site would make of the patients' messages, as `medulla model replay` writes them: its code \
    scores with each message and, where there is none, with its clock at each full hour, and decides by rising edge, \
    hysteresis, refractory time, and for interruptive ones the ward's budget. A --rule is asked at each hour's close. \
    alerts_per_100_patient_days counts both tiers alike over all hours, as a ward hears them. ppv is of those alerts that the \
    task can judge (alerts_judged of alerts): of sepsis all; of AKI and hypotension those from the fourth hour on, before \
    the event, and followed for 8 hours.\n\
    sensitivity, sensitivity_in_window and median_lead_h are of the hours that close at or above the threshold. Sepsis: \
    any hour up to onset; from 12 h before to 3 h after it; from the first such hour to onset. AKI and hypotension: \
    within the horizon (24 h, 8 h), both alike, and from the first hour within it.\n\
    auroc and auprc are over rows; of sepsis as the challenge's script has them, where a probability of 0 is never reached. \
    ece is over ten bins of equal width, ece_equal_mass over ten of equally many rows.\n\
    seen_in_training says how many of the patients trained the model, as far as its card names their file by its hash: \
    figures on them flatter it.\n\
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
    /// What a rule is judged by: sepsis, aki, hypotension, mortality (a model's card says it)
    #[arg(long, value_name = "T", conflicts_with = "model", default_value = "sepsis")]
    task: Task,
    /// A second model folder (or rule): a paired comparison on the same patients
    #[arg(long, value_name = "M2")]
    against: Option<String>,
    /// PhysioNet/CinC 2019 files, .csv or .csv.zst; for mortality the 2012 set's long file and its outcome files
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Only patients that training leaves out (buckets 70 to 79 of the patient's hash)
    #[arg(long)]
    held_out: bool,
    /// The alert policy to evaluate, with the scorer's own budget: [alerts] of a site's configuration; without it a site's
    /// defaults
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Beds of the ward whose budget interruptive alerts share: the data name none, so patients lie in them in turn
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    ward_beds: u32,
    /// Patient bootstrap samples of the 95 % intervals; 0 = none
    #[arg(long, value_name = "N", default_value_t = 200)]
    bootstrap: usize,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What is evaluated, with what its card says.
struct Judge {
    /// As `[alerts]` knows it.
    name: String,
    predictor: Judging,
    task: Task,
    threshold: Option<f64>,
    /// The patients of `--held-out` took no part in its training.
    held_out: bool,
    /// A model's.
    card: Option<Card>,
}

/// What is judged at a time.
enum Judging {
    Hours(Box<dyn Predictor>),
    Stays(Box<dyn StayPredictor>),
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let judge = match (&args.model, &args.rule) {
        (Some(folder), _) => model(folder)?,
        (None, Some(text)) => rule(text, args.task)?,
        (None, None) => return Err(Usage("give --model or --rule".into()).into()),
    };
    let other = args.against.as_deref().map(|text| either(text, judge.task)).transpose()?;
    if let Some(other) = other.as_ref().filter(|other| other.task != judge.task) {
        bail!(
            "one of the two predicts {}, the other one {}: their figures have nothing to do with each other",
            judge.task.name(),
            other.task.name()
        );
    }
    if args.held_out && judge.task == Task::Mortality {
        return Err(Usage(
            "--held-out is of the 2019 set; the outcome files given say which stays are judged".into(),
        )
        .into());
    }
    for judge in [Some(&judge), other.as_ref()].into_iter().flatten() {
        if args.held_out && !judge.held_out {
            bail!(
                "the patients of --held-out took part in the training of this model, which would flatter it; its card has \
                 cross-validated figures, and `model train … -- --hold-out` keeps these patients out"
            );
        }
    }
    let bar = progress::counter("patients judged");
    let (cohort, files, baselines) = judged(args, &judge, true, &bar)?;
    bar.finish_and_clear();
    let seen_in_training = judge.card.as_ref().map(|card| seen(card, &cohort, &files));
    if let Some(card) = other.as_ref().and_then(|other| other.card.as_ref()) {
        seen(card, &cohort, &files);
    }
    let options = Options {
        threshold: judge.threshold,
        baselines,
        bootstrap_samples: args.bootstrap,
        policy: args.policy.as_deref().map(policy).transpose()?.unwrap_or_default().of_scorer(&judge.name),
        ward_beds: args.ward_beds,
        ..Options::default()
    };
    let bar = progress::counter("bootstrap samples");
    let mut report = eval::report(&cohort, &options, |done, _| bar.set_position(done as u64));
    report.seen_in_training = seen_in_training;
    if let Some(other) = other {
        let (second, ..) = judged(args, &other, false, &bar)?;
        report.against = eval::against(&cohort, &second, &options);
        if report.against.is_none() {
            bail!("the files changed between the two readings; run it again");
        }
    }
    bar.finish_and_clear();
    show(&report, args.json)?;
    Ok(Verdict::Fine)
}

/// Whom of them the model was trained on; what flatters it is told on stderr, whatever is printed.
fn seen(card: &Card, cohort: &Cohort, files: &[String]) -> SeenInTraining {
    let people = cohort.people.iter().map(|person| person.pid.as_str()).zip(files.iter().map(String::as_str));
    let seen = SeenInTraining::of(card, people);
    if let Some(warning) = seen.warning() {
        eprintln!("warning: {}: {warning}", card.name);
    }
    seen
}

/// Every patient as `judge` sees him, the hash of each one's file, and, with `beside`, what rules say that anybody could run,
/// by name. Only with `beside` are hashes computed.
fn judged(
    args: &Args,
    judge: &Judge,
    beside: bool,
    bar: &ProgressBar,
) -> anyhow::Result<(Cohort, Vec<String>, Vec<String>)> {
    let texts: &[&str] = match (beside, &judge.predictor) {
        (false, _) => &[],
        (true, Judging::Hours(_)) => &BASELINES,
        // All stays are judged at one hour: the clock says nothing.
        (true, Judging::Stays(_)) => &BASELINES[1..],
    };
    let rules: Vec<Rule> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    let mut names: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let (cohort, files) = match &judge.predictor {
        Judging::Hours(predictor) => {
            let mut predictors: Vec<&dyn Predictor> = vec![&**predictor];
            predictors.extend(rules.iter().map(|rule| rule as &dyn Predictor));
            let patients = if args.held_out { Patients::HeldOut } else { Patients::All };
            // What is compared is how both rank, at the hours' closes.
            let asked = if beside { Asked::Stream } else { Asked::Rows };
            let Judged { cohort, by_file } =
                data::judge_files(&args.data, judge.task, patients, &predictors, asked, bar)?;
            let mut files = Vec::with_capacity(cohort.people.len());
            for (file, people) in args.data.iter().zip(by_file).filter(|_| beside) {
                files.extend(std::iter::repeat_n(data::sha256(file)?, people));
            }
            (cohort, files)
        }
        Judging::Stays(predictor) => {
            let mut predictors: Vec<&dyn StayPredictor> = vec![&**predictor];
            predictors.extend(rules.iter().map(|rule| rule as &dyn StayPredictor));
            if beside {
                predictors.extend(StayRule::ALL.iter().map(|rule| rule as &dyn StayPredictor));
                names.extend(StayRule::ALL.map(|rule| rule.name().to_owned()));
            }
            let cohort = stays::judge_files(&args.data, Stays::WithOutcome, &predictors, bar)?;
            let by_stay = if beside { stays::outcome_files(&args.data)? } else { HashMap::new() };
            let file_of = |person: &Person| by_stay.get(&person.pid).cloned().unwrap_or_default();
            let files = cohort.people.iter().map(file_of).collect();
            (cohort, files)
        }
    };
    Ok((cohort, files, names))
}

fn policy(file: &Path) -> anyhow::Result<AlertPolicy> {
    let alerts = config::alerts(file).map_err(|findings| {
        let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow!("{}", all.join("\n"))
    })?;
    Ok(alerts.policy())
}

fn model(folder: &Path) -> anyhow::Result<Judge> {
    let model = models::load(folder)?;
    let card = model.card().clone();
    let task = card.task.parse::<Task>();
    let task = task.with_context(|| format!("{}: nothing to judge it by", folder.display()))?;
    let (name, held_out) = (card.name.clone(), card.training_data.held_out);
    let threshold = Some(model.threshold());
    let predictor = match task {
        Task::Mortality => Judging::Stays(Box::new(StayModel::new(model)?)),
        _ => Judging::Hours(Box::new(Scorer::model(model)?)),
    };
    Ok(Judge { name, predictor, task, threshold, held_out, card: Some(card) })
}

fn rule(text: &str, task: Task) -> anyhow::Result<Judge> {
    let rule: Rule = text.parse().map_err(|error| Usage(format!("{text}: {error}")))?;
    let (predictor, held_out) = match task {
        Task::Mortality => (Judging::Stays(Box::new(rule)), false),
        _ => (Judging::Hours(Box::new(rule)), true),
    };
    let name = match rule {
        Rule::TotalAtLeast(score, _) => score.name().to_owned(),
        Rule::Always | Rule::Never | Rule::IculosAtLeast(_) | Rule::HrNowAtLeast(_) => String::new(),
    };
    Ok(Judge { name, predictor, task, threshold: None, held_out, card: None })
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
            ("ece_equal_mass", report.ece_equal_mass),
            ("threshold", report.threshold),
            ("alerts_per_100_patient_days", report.alerts_per_100_patient_days),
            ("ppv", report.ppv),
            ("sensitivity", report.sensitivity),
            ("sensitivity_in_window", report.sensitivity_in_window),
            ("median_lead_h", report.median_lead_h),
        ]
        .into_iter()
        .chain(report.event_1.map(|value| ("event_1", Some(value))))
        {
            let interval = report.ci95.get(name).map(|[low, high]| format!("  [{low:.4}, {high:.4}]"));
            writeln!(out, "{name:<30}{}{}", figure(value), interval.unwrap_or_default())?;
        }
        show_policy(&mut out, report)?;
        let one = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        for (name, baseline) in &report.baselines {
            let (utility, auroc) = (figure(baseline.utility), figure(baseline.auroc));
            let (alerts, ppv) = (one(baseline.alerts_per_100_patient_days), share(baseline.ppv));
            let found = share(baseline.sensitivity);
            writeln!(
                out,
                "beside it {name:<20}utility {utility}  auroc {auroc}  alerts {alerts}  ppv {ppv}  sensitivity {found}"
            )?;
        }
        for group in &report.groups {
            let (utility, auroc, auprc) = (figure(group.utility), figure(group.auroc), figure(group.auprc));
            let (ppv, found) = (share(group.ppv), share(group.sensitivity));
            let who = format!("{} {}", group.by, group.group);
            writeln!(
                out,
                "{who:<30}{} patients, {} with the event  utility {utility}  auroc {auroc}  auprc {auprc}  ppv {ppv}  \
                 sensitivity {found}",
                group.patients, group.septic
            )?;
        }
        if let Some(seen) = &report.seen_in_training {
            writeln!(
                out,
                "seen in training              {} of these patients ({}); not known of {}",
                seen.patients,
                share(seen.share),
                seen.unknown
            )?;
        }
        if let Some(against) = &report.against {
            let (utility, auroc) = (figure(against.utility), figure(against.auroc));
            writeln!(out, "difference                    utility {utility}  auroc {auroc}")?;
        }
    }
    out.flush()?;
    Ok(())
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{:.1} %", value * 100.0))
}

fn show_policy(out: &mut impl Write, report: &Report) -> anyhow::Result<()> {
    let Some(loud) = &report.interruptive else { return Ok(()) };
    let policy = &report.policy;
    writeln!(
        out,
        "alerts                        {} in all hours; {} in hours that the task can judge: ppv is of these",
        report.alerts, report.alerts_judged
    )?;
    let rate = loud.alerts_per_100_patient_days.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
    writeln!(
        out,
        "policy                        asked {}; refractory {} h, left below {} of a threshold, {} interruptive alerts a day for {} beds",
        if policy.as_stream { "with every message and tick" } else { "at each hour's close" },
        policy.refractory_h,
        policy.rearm_below,
        policy.per_ward_budget_per_day,
        policy.ward_beds
    )?;
    writeln!(
        out,
        "interruptive                  {rate} per 100 patient-days, ppv {}, sensitivity {}; {} beyond the budget",
        share(loud.ppv),
        share(loud.sensitivity),
        loud.beyond_budget
    )?;
    Ok(())
}
