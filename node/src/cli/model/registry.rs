//! `medulla model register|list|show|retire`: what people decided about models, in the ledger of a running site.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::at::At;
use crate::cli::{Usage, Verdict, ledger, out, progress};
use crate::http::AdminClient;
use crate::models;

/// Shorter ones are taken for names.
const HASH_DIGITS_MIN: usize = 8;

/// Say in the ledger that a model is to be used, and why
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  medulla model register models/sepsis --why \"validated on 2026, minutes of 12 May\"\n\n\
    The model is loaded and must reproduce its golden rows. The entry holds its hash, card, task and thresholds, who \
    registered it, when and why. What a site scores with is named in its [scoring]: registering loads nothing. A model \
    that was retired may score again once it is registered again."
)]
pub struct Register {
    /// Folder with model.ubj or model.json, card.json and golden.json
    #[arg(value_name = "DIR", required_unless_present = "model", conflicts_with = "model")]
    folder: Option<PathBuf>,
    /// The same
    #[arg(long, value_name = "M")]
    model: Option<PathBuf>,
    #[command(flatten)]
    decision: Decision,
}

/// Models that the ledger knows, which sites load them, and what they do at this one
#[derive(clap::Args)]
#[command(after_help = "Example:\n  medulla model list --config site.toml --json\n\n\
    --json prints one object a model: {\"name\",\"hash\",\"task\",\"threshold\",\"interruptive_threshold\",\"here\",\
    \"loaded_by\",\"shadow_at\",\"registered\",\"promoted\",\"retired\"}. \"here\", at the site that is asked: live (scores and \
    alerts), shadow (scores, alerts nobody), off (another model took its place), retired (its configuration still names \
    it; it does not score) or \"not loaded\". A site reads who decided and why in its own \
    entries and in those that are entrusted to it; that a model of its own was retired it knows in any case.")]
pub struct List {
    #[command(flatten)]
    at: At,
}

/// One model: its card, and every entry about it
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  medulla model show sepsis --config site.toml\n  medulla model show 4f2c9524 --json"
)]
pub struct Show {
    /// Its name, or the beginning of its hash
    name: String,
    #[command(flatten)]
    at: At,
}

/// End a model's scoring at every site, for good or until it is registered again
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  medulla model retire sepsis --why \"superseded by sepsis-2\" --config site.toml\n\n\
    From the entry on it scores at no site, also after restarts, whatever configurations name; those are named in what \
    is printed, and should be changed. Its alerts stay, and are explained as long as a configuration names it."
)]
pub struct Retire {
    /// Its name, or the beginning of its hash
    name: String,
    #[command(flatten)]
    decision: Decision,
}

#[derive(clap::Args)]
pub(super) struct Decision {
    /// Kept with the decision
    #[arg(long, value_name = "TEXT")]
    pub(super) why: String,
    #[command(flatten)]
    pub(super) at: At,
}

#[derive(Deserialize)]
struct Listed {
    models: Vec<Value>,
    sealed: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) hash: String,
    task: String,
    threshold: Option<f64>,
    interruptive_threshold: Option<f64>,
    pub(super) here: String,
    pub(super) loaded_by: Vec<String>,
    pub(super) shadow_at: Vec<String>,
    registered: Option<Step>,
    promoted: Option<Step>,
    retired: Option<Step>,
}

#[derive(Deserialize)]
struct Step {
    index: u64,
    step: String,
    site: String,
    at: clinical::Time,
    by: Option<String>,
    why: Option<String>,
    threshold: Option<f64>,
    interruptive_threshold: Option<f64>,
    replaces: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(flatten)]
    row: Row,
    history: Vec<Step>,
    card: Option<Value>,
}

pub fn register(args: &Register) -> anyhow::Result<Verdict> {
    let folder = args.folder.as_ref().or(args.model.as_ref()).context("no folder is named")?;
    let model = models::load(folder)?;
    let path = folder.join("card.json");
    let card = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let hash = hex::encode(model.hash());
    let (client, runtime) = ledger::connect_to(&args.decision.at.config)?;
    let body = json!({ "hash": hash, "card": card, "why": args.decision.why });
    runtime.block_on(decide(&client, "/api/models", &body, &hash, &args.decision.at))?;
    Ok(Verdict::Fine)
}

pub fn retire(args: &Retire) -> anyhow::Result<Verdict> {
    let at = &args.decision.at;
    let (client, runtime) = ledger::connect_to(&at.config)?;
    runtime.block_on(async {
        let Row { hash, here, .. } = find(&client, &args.name, None).await?;
        let was_live = here == "live";
        let body = json!({ "why": args.decision.why });
        let row = decide(&client, &format!("/api/models/{hash}/retire"), &body, &hash, at).await?;
        let naming = [row.loaded_by, row.shadow_at].concat();
        if !naming.is_empty() {
            let sites = naming.join(", ");
            eprintln!("it no longer scores, and [scoring] of these sites still names it: {sites}");
        }
        if was_live && !alerts_for(&client, &row.task).await? {
            eprintln!("no model alerts for {} at this site any longer", row.task);
        }
        Ok(Verdict::Fine)
    })
}

async fn alerts_for(client: &AdminClient, task: &str) -> anyhow::Result<bool> {
    let listed: Listed = client.get("/api/models").await?;
    Ok(listed.models.iter().any(|model| model["task"] == task && model["here"] == "live"))
}

pub fn list(args: &List) -> anyhow::Result<Verdict> {
    let (client, runtime) = ledger::connect_to(&args.at.config)?;
    let listed: Listed = runtime.block_on(client.get("/api/models"))?;
    let mut out = out::stdout();
    for model in &listed.models {
        if args.at.json {
            out::json_line(&mut out, model)?;
        } else {
            show_row(&mut out, &serde_json::from_value(model.clone())?)?;
        }
    }
    out.flush()?;
    for (site, entries) in &listed.sealed {
        eprintln!("sealed by site {site}: {entries} entries about models that this site does not know");
    }
    Ok(Verdict::Fine)
}

pub fn show(args: &Show) -> anyhow::Result<Verdict> {
    let (client, runtime) = ledger::connect_to(&args.at.config)?;
    let detail: Value = runtime.block_on(async {
        let hash = find(&client, &args.name, None).await?.hash;
        anyhow::Ok(client.get(&format!("/api/models/{hash}")).await?)
    })?;
    let mut out = out::stdout();
    if args.at.json {
        out::json_line(&mut out, &detail)?;
    } else {
        show_detail(&mut out, &serde_json::from_value(detail)?)?;
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

/// Has it decided, and shows what the model is then.
pub(super) async fn decide(
    client: &AdminClient,
    path: &str,
    body: &Value,
    hash: &str,
    at: &At,
) -> anyhow::Result<Row> {
    let bar = progress::waiting("a majority of the sites takes the entry");
    let decided: Result<Value, _> = client.post(path, body).await;
    bar.finish_and_clear();
    decided?;
    let detail: Value = client.get(&format!("/api/models/{hash}")).await?;
    let row: Row = serde_json::from_value(detail.clone())?;
    let mut out = out::stdout();
    if at.json {
        out::json_line(&mut out, &detail)?;
    } else {
        show_row(&mut out, &row)?;
    }
    out.flush()?;
    Ok(row)
}

/// By its name or the beginning of its hash. Of several with one name the one that is `here`, where that tells them apart.
pub(super) async fn find(client: &AdminClient, name: &str, here: Option<&str>) -> anyhow::Result<Row> {
    let listed: Listed = client.get("/api/models").await?;
    let rows: Vec<Row> = listed.models.into_iter().map(serde_json::from_value).collect::<Result<_, _>>()?;
    let meant =
        |row: &&Row| row.name == name || (name.len() >= HASH_DIGITS_MIN && row.hash.starts_with(name));
    let mut found: Vec<Row> = rows.into_iter().filter(|row| meant(&row)).collect();
    if let Some(here) = here.filter(|here| found.iter().filter(|row| row.here == *here).count() == 1) {
        found.retain(|row| row.here == here);
    }
    match found.as_slice() {
        [] => bail!("the ledger knows no model `{name}`; `medulla model list` names those that it knows"),
        [_] => Ok(found.remove(0)),
        several => {
            let hashes: Vec<&str> = several.iter().map(|row| row.hash.as_str()).collect();
            let text =
                format!("several models are named `{name}`; name one by its hash: {}", hashes.join(", "));
            Err(Usage(text).into())
        }
    }
}

fn show_row(out: &mut impl Write, row: &Row) -> anyhow::Result<()> {
    let Row { name, hash, task, here, .. } = row;
    let name = if name.is_empty() { "(sealed)" } else { name };
    writeln!(out, "{name}  {hash}")?;
    if let (Some(watch), Some(interruptive)) = (row.threshold, row.interruptive_threshold) {
        writeln!(out, "  task       {task}; watch list from {watch}, interruptive from {interruptive}")?;
    }
    let sites = if row.loaded_by.is_empty() { "no site".into() } else { row.loaded_by.join(", ") };
    let shadow = row.shadow_at.join(", ");
    let shadow = if shadow.is_empty() { shadow } else { format!(", in shadow_models of {shadow}") };
    writeln!(out, "  here       {here}; named in [scoring] of {sites}{shadow}")?;
    match &row.registered {
        Some(step) => show_step(out, step)?,
        None => writeln!(out, "  registered by nobody yet: `medulla model register`")?,
    }
    [&row.promoted, &row.retired].into_iter().flatten().try_for_each(|step| show_step(out, step))
}

fn show_step(out: &mut impl Write, step: &Step) -> anyhow::Result<()> {
    let Step { index, step, site, at, by, why, threshold, interruptive_threshold, replaces } = step;
    if let (Some(watch), Some(interruptive)) = (threshold, interruptive_threshold) {
        writeln!(out, "  at site {site}  watch list from {watch}, interruptive from {interruptive}")?;
    }
    if let Some(replaces) = replaces {
        writeln!(out, "  in place of {replaces}")?;
    }
    let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    Ok(writeln!(out, "  {step:<10} {} at site {site}{by}, entry {index}{why}", at.to_rfc3339())?)
}

fn show_detail(out: &mut impl Write, detail: &Detail) -> anyhow::Result<()> {
    show_row(out, &detail.row)?;
    writeln!(out, "\nentries")?;
    detail.history.iter().try_for_each(|step| show_step(out, step))?;
    let Some(card) = &detail.card else {
        writeln!(out, "\nits card is sealed by another site")?;
        return Ok(());
    };
    let text = |field: &str| card[field].as_str().unwrap_or("not said").to_owned();
    writeln!(out, "\ncard (--json has all of it)")?;
    writeln!(out, "  predicts      {}", text("predicts"))?;
    writeln!(out, "  intended use  {}", text("intended_use"))?;
    for claim in card["must_not_claim"].as_array().into_iter().flatten() {
        writeln!(out, "  no claim      {}", claim.as_str().unwrap_or_default())?;
    }
    Ok(())
}
