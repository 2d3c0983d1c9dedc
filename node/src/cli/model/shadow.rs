//! `medulla model shadow|promote`: what a model would have done at a running site, and the decision to have it alert.

use std::io::{self, Write};

use clinical::Time;
use serde::Deserialize;
use serde_json::{Value, json};

use super::registry::{self, Decision};
use crate::cli::at::At;
use crate::cli::{Verdict, ledger, out};

/// What a model in shadow would have done at this site, and what other thresholds would have come to
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  medulla model shadow sepsis-2 --config site.toml\n  medulla model shadow 4f2c9524 --json\n\n\
    A model of shadow_models in [scoring] scores every message and hour of this site's own patients and alerts nobody. \
    What it would have done goes through the site's alert policy (rising edge, refractory time, a budget of its own for \
    each ward). It is counted since the entry that put it into shadow, or since what alerts beside it, a threshold or the \
    policy last changed, in event time; restarts lose nothing of it.\n\
    An hour is one of one patient. It is over a threshold if any score in it was; it has a risk unless every answer in it \
    was insufficient data. Alerts per 100 patient-days are of hours with a risk. The table of thresholds has each of them \
    as the only one, whichever tier."
)]
pub struct Shadow {
    /// Its name, or the beginning of its hash
    name: String,
    #[command(flatten)]
    at: At,
}

/// Have a model alert at this site, from a threshold chosen on this site's data
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  medulla model promote 4f2c9524 --threshold 0.03 --why \"shadow since May, minutes of 2 June\"\n  \
    medulla model promote sepsis-2 --threshold 0.03 --interruptive 0.1 --replaces sepsis --why \"fewer false alerts\"\n\n\
    The decision is a ledger entry and holds at this site alone, from that entry on, also after restarts and whatever \
    [scoring] says by then. The model must be loaded here, so name it in shadow_models first. The one that it replaces \
    goes into shadow, or stops scoring here with --replaced off; `medulla model retire` ends a model everywhere. \
    A model that alerts already is promoted again to change its thresholds."
)]
pub struct Promote {
    /// Its name, or the beginning of its hash
    name: String,
    /// Risk from which a patient belongs on the watch list
    #[arg(long, value_name = "T", value_parser = risk)]
    threshold: f64,
    /// Risk from which an alert interrupts; the card's unless given, or the threshold where that is higher
    #[arg(long, value_name = "T", value_parser = risk)]
    interruptive: Option<f64>,
    /// The model of the same task whose place it takes, by name or hash
    #[arg(long, value_name = "M")]
    replaces: Option<String>,
    /// What becomes of that one
    #[arg(long, value_enum, default_value = "shadow", requires = "replaces")]
    replaced: Replaced,
    #[command(flatten)]
    decision: Decision,
}

fn risk(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "a risk is a number from 0 to 1, such as 0.03".to_owned())
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Replaced {
    /// It scores on and alerts nobody
    Shadow,
    /// It scores no longer at this site
    Off,
}

#[derive(Deserialize)]
struct Report {
    model: String,
    hash: String,
    task: String,
    since_index: u64,
    since: Time,
    patients: u64,
    hours_scored: u64,
    hours_too_few_measurements: u64,
    hours_not_in_intensive_care: u64,
    #[serde(default)]
    hours_not_an_adult: u64,
    threshold: f64,
    interruptive_threshold: f64,
    alerts: u64,
    watch: u64,
    interruptive: u64,
    alerts_per_100_patient_days: Option<f64>,
    live: Option<Live>,
    quantiles: Vec<(f64, f64)>,
    thresholds: Vec<Threshold>,
}

#[derive(Deserialize)]
struct Live {
    against: Vec<Against>,
    alerts: u64,
    alerts_per_100_patient_days: Option<f64>,
    both: u64,
    only_live: u64,
    only_shadow: u64,
    neither: u64,
}

#[derive(Deserialize)]
struct Against {
    model: String,
    hash: String,
    threshold: f64,
}

#[derive(Deserialize)]
struct Threshold {
    threshold: f64,
    alerts: u64,
    alerts_per_100_patient_days: Option<f64>,
}

pub fn shadow(args: &Shadow) -> anyhow::Result<Verdict> {
    let (client, runtime) = ledger::connect_to(&args.at.config)?;
    let report: Value = runtime.block_on(async {
        let hash = registry::find(&client, &args.name, Some("shadow")).await?.hash;
        anyhow::Ok(client.get(&format!("/api/models/{hash}/shadow")).await?)
    })?;
    let mut out = out::stdout();
    if args.at.json {
        out::json_line(&mut out, &report)?;
    } else {
        show(&mut out, &serde_json::from_value(report)?)?;
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

pub fn promote(args: &Promote) -> anyhow::Result<Verdict> {
    let at = &args.decision.at;
    let (client, runtime) = ledger::connect_to(&at.config)?;
    runtime.block_on(async {
        let hash = registry::find(&client, &args.name, Some("shadow")).await?.hash;
        let mut body = json!({ "threshold": args.threshold, "why": args.decision.why });
        if let Some(interruptive) = args.interruptive {
            body["interruptive_threshold"] = json!(interruptive);
        }
        if let Some(replaced) = &args.replaces {
            body["replaces"] = json!(registry::find(&client, replaced, Some("live")).await?.hash);
            body["replaced"] = json!(match args.replaced {
                Replaced::Shadow => "shadow",
                Replaced::Off => "off",
            });
        }
        let row = registry::decide(&client, &format!("/api/models/{hash}/promote"), &body, &hash, at).await?;
        if row.here != "live" {
            eprintln!("the site has not come to the decision yet: it holds from its entry on");
        }
        Ok(Verdict::Fine)
    })
}

fn show(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let Report { model, hash, task, since, since_index, patients, threshold, interruptive_threshold, .. } =
        report;
    writeln!(out, "{model}  {hash}")?;
    writeln!(
        out,
        "  task          {task}; watch list from {threshold}, interruptive from {interruptive_threshold}"
    )?;
    writeln!(out, "  in shadow     since {}, entry {since_index}; {patients} patients", since.to_rfc3339())?;
    writeln!(
        out,
        "  hours         {} with a risk; insufficient data in {}: too few measurements, in {}: not in intensive care, in {}: \
         not an adult",
        report.hours_scored,
        report.hours_too_few_measurements,
        report.hours_not_in_intensive_care,
        report.hours_not_an_adult
    )?;
    writeln!(
        out,
        "  would alert   {} times ({} watch list, {} interruptive): {} per 100 patient-days",
        report.alerts,
        report.watch,
        report.interruptive,
        rate(report.alerts_per_100_patient_days)
    )?;
    match &report.live {
        Some(live) => show_live(out, live)?,
        None => writeln!(out, "  beside it     nothing alerts for this task here")?,
    }
    if !report.quantiles.is_empty() {
        writeln!(out, "\nhighest risk of each hour")?;
        for (share, risk) in &report.quantiles {
            writeln!(out, "  {:>4.0} % of the hours up to {risk:.4}", share * 100.0)?;
        }
    }
    writeln!(out, "\nthreshold   alerts   per 100 patient-days")?;
    for Threshold { threshold, alerts, alerts_per_100_patient_days } in &report.thresholds {
        writeln!(out, "{threshold:>9}   {alerts:>6}   {}", rate(*alerts_per_100_patient_days))?;
    }
    Ok(())
}

fn show_live(out: &mut impl Write, live: &Live) -> io::Result<()> {
    for Against { model, hash, threshold } in &live.against {
        writeln!(out, "  beside it     {model} {hash}, from {threshold}")?;
    }
    let alerts = rate(live.alerts_per_100_patient_days);
    writeln!(out, "  has alerted   {} times: {alerts} per 100 patient-days", live.alerts)?;
    writeln!(
        out,
        "  same hours    {} over both thresholds, {} over the live one alone, {} over the shadow's alone, {} over neither",
        live.both, live.only_live, live.only_shadow, live.neither
    )
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or("unknown".into(), |rate| format!("{rate:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_a_risk() {
        assert_eq!((risk("0.03"), risk(" 1 ")), (Ok(0.03), Ok(1.0)));
        for wrong in ["nan", "inf", "-0.1", "1.5", "high", ""] {
            assert!(risk(wrong).is_err_and(|says| says.contains("0.03")), "{wrong}");
        }
    }
}
