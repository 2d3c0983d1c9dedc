//! `medulla model drift`: whether data still look like those that a model was trained on: a site's, or files'.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clinical::Time;
use ml_scoring::Setting;
use ml_scoring::drift::{ALARM, Drift, Finding, Measure, Status, WARN};
use serde::Deserialize;
use serde_json::Value;

use super::data::{self, Patients};
use super::registry;
use crate::cli::at::At;
use crate::cli::{Usage, Verdict, ledger, out, progress};
use crate::models;

/// Compare a running site's patients, or data in files, with a model's training data: values, and how often they are measured
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  medulla model drift sepsis --config site.toml\n  \
    medulla model drift --model models/sepsis --data cinc2019_B_dev.csv.zst --json\n\n\
    Population stability index a column, of its values and of its measurement rate: 0.1 warns, 0.25 alarms.\n\
    Exits 1 if anything alarms. A site compares its last 400 stays, as they close hour by hour; fewer than 200 say nothing, \
    and so it says. --json prints one object for a site, one a line for files.")]
pub struct Args {
    /// Of a running site: the model's name, or the beginning of its hash
    #[arg(conflicts_with_all = ["model", "data", "held_out"], required_unless_present = "model")]
    name: Option<String>,
    /// Folder with model.ubj or model.json, card.json and golden.json
    #[arg(long, value_name = "M", requires = "data")]
    model: Option<PathBuf>,
    /// PhysioNet/CinC 2019 files, .csv or .csv.zst
    #[arg(long, value_name = "F", num_args = 1.., requires = "model")]
    data: Vec<PathBuf>,
    /// Only patients that `model train -- --hold-out` leaves out
    #[arg(long)]
    held_out: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Deserialize)]
struct Report {
    model: String,
    hash: String,
    status: String,
    stays: u64,
    stays_min: u64,
    hours: u64,
    since_index: Option<u64>,
    since: Option<Time>,
    findings: Vec<Finding>,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    match (&args.name, &args.model) {
        (Some(name), _) => of_site(name, &args.at),
        (None, Some(model)) => of_files(model, args),
        (None, None) => {
            Err(Usage("name a model of a running site, or give --model and --data".into()).into())
        }
    }
}

fn of_site(name: &str, at: &At) -> anyhow::Result<Verdict> {
    let (client, runtime) = ledger::connect_to(&at.config)?;
    let answer: Value = runtime.block_on(async {
        let hash = registry::find(&client, name, Some("live")).await?.hash;
        anyhow::Ok(client.get(&format!("/api/models/{hash}/drift")).await?)
    })?;
    let report: Report = serde_json::from_value(answer.clone())?;
    let mut out = out::stdout();
    if at.json {
        out::json_line(&mut out, &answer)?;
    } else {
        show(&mut out, &report)?;
    }
    out.flush()?;
    Ok(if report.status == "alarm" { Verdict::Wrong } else { Verdict::Fine })
}

fn show(out: &mut impl Write, report: &Report) -> anyhow::Result<()> {
    let Report { model, hash, status, stays, stays_min, hours, .. } = report;
    writeln!(out, "{model}  {hash}")?;
    if let Some((index, since)) = report.since_index.zip(report.since) {
        writeln!(
            out,
            "  window   {stays} stays, {hours} hours, since {}, entry {index}",
            since.to_rfc3339()
        )?;
    }
    match status.as_str() {
        "no-baseline" => {
            writeln!(out, "  its card has no baseline of its training data: nothing to compare with")?
        }
        "too-few" => writeln!(out, "  too few: {stays} of {stays_min} stays; nothing is compared yet")?,
        status => writeln!(out, "  {status}")?,
    }
    report.findings.iter().try_for_each(|finding| show_finding(out, finding))
}

/// What is quiet is not listed.
fn show_finding(out: &mut impl Write, Finding { column, measure, psi, .. }: &Finding) -> anyhow::Result<()> {
    if *psi >= WARN {
        let loud = if *psi >= ALARM { "alarm" } else { "warn" };
        let measure = if *measure == Measure::Rate { "measurement rate" } else { "values" };
        writeln!(out, "{loud:<6}{column:<18}{measure:<18}{psi:.3}")?;
    }
    Ok(())
}

fn of_files(folder: &Path, args: &Args) -> anyhow::Result<Verdict> {
    let model = models::load(folder)?;
    if model.card().setting == Some(Setting::EndOfHour48) {
        bail!(
            "{}: the model ({}) judges whole stays and has no baseline of hours to compare with",
            folder.display(),
            model.card().task
        );
    }
    let baseline = model.card().drift.as_ref().with_context(|| {
        format!(
            "{}: the card has no baseline of its training data; train it with this release",
            folder.display()
        )
    })?;
    let mut drift = Drift::new(baseline);
    let bar = progress::counter("patients compared");
    let patients = if args.held_out { Patients::HeldOut } else { Patients::All };
    data::for_each(&args.data, patients, |patient| {
        patient.for_each_hour(|_, _, features| drift.observe(&features.values));
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    let findings = drift.findings();
    let mut out = out::stdout();
    for finding in &findings {
        if args.at.json {
            out::json_line(&mut out, finding)?;
        } else {
            show_finding(&mut out, finding)?;
        }
    }
    out.flush()?;
    let alarms = findings.iter().any(|finding| finding.status == Status::Alarm);
    Ok(if alarms { Verdict::Wrong } else { Verdict::Fine })
}
