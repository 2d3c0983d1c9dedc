//! `medulla alert explain`: an alert's score, computed again from the ledger.

use std::io::{self, Write};
use std::path::PathBuf;

use clinical::Time;
use serde::Deserialize;
use serde_json::Value;

use super::{Usage, Verdict, ledger, out, progress};

/// Beside what weighs most a reader sees no more; `--json` has all.
const CONTRIBUTIONS_SHOWN: usize = 20;

/// What became of alerts
#[derive(clap::Subcommand)]
pub enum Command {
    /// Compute an alert's score again from the ledger alone, and show what it rests on
    #[command(
        after_help = "Examples:\n  medulla alert explain c9eecc68588dd68d2ecf4745b90c6a13 --config site.toml\n  \
        medulla alert explain c9eecc68588dd68d2ecf4745b90c6a13 --json\n\n\
        The patient's entries before the alert are folded and scored by what the running pipeline folds and scores with, \
        and with the model whose hash the alert names: it must be among the models and rules of [scoring]. Exits with 1 \
        if the score is not the alerted one to the last bit, or cannot be computed.\n\
        Ids are those of /api/alerts, of delivered alerts and of the alert's entry (`medulla messages --index`). An alert \
        is explained at the site that made it."
    )]
    Explain(Explain),
}

#[derive(clap::Args)]
pub struct Explain {
    /// The alert's id
    id: String,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// The site's configuration
    #[arg(long, value_name = "FILE", env = "MEDULLA_CONFIG", default_value = "site.toml")]
    config: PathBuf,
}

#[derive(Deserialize)]
struct Explained {
    id: String,
    index: u64,
    site: String,
    task: String,
    model: String,
    model_hash: String,
    tier: String,
    at: Time,
    as_of: u64,
    entries: u64,
    unreadable: u64,
    threshold: f64,
    risk_alerted: f64,
    risk_recomputed: Option<f64>,
    equal: bool,
    evidence: Vec<Evidence>,
    /// Absent in the answer of an older release.
    #[serde(default)]
    set_aside: Vec<SetAside>,
    withheld: usize,
    contributions: Vec<Contribution>,
}

#[derive(Deserialize)]
struct Evidence {
    words: String,
    at: Time,
    index: u64,
}

#[derive(Deserialize)]
struct SetAside {
    words: String,
    why: String,
    at: Time,
    index: u64,
}

#[derive(Deserialize)]
struct Contribution {
    weight: f64,
    group: String,
    words: String,
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Explain(args) => explain(args),
    }
}

fn explain(args: &Explain) -> anyhow::Result<Verdict> {
    // It becomes a part of the request's path.
    if args.id.is_empty() || !args.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Usage(
            "an alert's id is written in hexadecimal digits, as receivers of alerts get it".into(),
        )
        .into());
    }
    let (client, runtime) = ledger::connect_to(&args.config)?;
    let bar = progress::waiting("the site reads the patient's entries");
    let explained = runtime.block_on(client.get::<Value>(&format!("/api/alerts/{}/explain", args.id)));
    bar.finish_and_clear();
    let explained = explained?;
    let mut out = out::stdout();
    let equal = explained["equal"] == true;
    if args.json {
        out::json_line(&mut out, &explained)?;
    } else {
        show(&mut out, &serde_json::from_value(explained)?)?;
    }
    out.flush()?;
    Ok(if equal { Verdict::Fine } else { Verdict::Wrong })
}

fn show(out: &mut impl Write, explained: &Explained) -> io::Result<()> {
    let Explained { id, index, site, task, model, model_hash, tier, .. } = explained;
    writeln!(out, "alert        {id}: {task}, {tier}, entry {index} of site {site}")?;
    writeln!(out, "model        {model} {model_hash}")?;
    writeln!(
        out,
        "as of        {}: {} entries of the patient, up to entry {}",
        explained.at.to_rfc3339(),
        explained.entries,
        explained.as_of
    )?;
    writeln!(out, "alerted      {} (threshold {})", explained.risk_alerted, explained.threshold)?;
    let recomputed = explained.risk_recomputed.map_or("insufficient data".into(), |risk| risk.to_string());
    let verdict = if explained.equal { "equal" } else { "NOT EQUAL" };
    writeln!(out, "recomputed   {recomputed}: {verdict}")?;
    if explained.unreadable > 0 {
        writeln!(
            out,
            "not read     {} entries of the patient that this site cannot open",
            explained.unreadable
        )?;
    }
    writeln!(out, "\nevidence: the newest value of everything measured, and the entry that it came with")?;
    for Evidence { words, at, index } in &explained.evidence {
        writeln!(out, "  {words:<44} {}  entry {index}", at.to_rfc3339())?;
    }
    if !explained.set_aside.is_empty() {
        writeln!(
            out,
            "\nset aside: values as they were sent that no score uses, the newest of each quantity"
        )?;
    }
    for SetAside { words, why, at, index } in &explained.set_aside {
        writeln!(out, "  {words:<44} {}  entry {index}: {why}", at.to_rfc3339())?;
    }
    if explained.withheld > 0 {
        writeln!(out, "  {} values of a site for which this one does not stand in now", explained.withheld)?;
    }
    writeln!(out, "\nwhat they contribute, greatest first")?;
    for Contribution { weight, group, words } in explained.contributions.iter().take(CONTRIBUTIONS_SHOWN) {
        writeln!(out, "  {weight:>+9.4}  {group:<13} {words}")?;
    }
    let more = explained.contributions.len().saturating_sub(CONTRIBUTIONS_SHOWN);
    if more > 0 {
        writeln!(out, "  and {more} smaller ones: --json")?;
    }
    Ok(())
}
