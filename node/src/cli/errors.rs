//! `medulla errors`: refused messages of a running site, and what is done with them.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clinical::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::at::At;
use super::{Usage, Verdict, ledger, out, progress, replay};
use crate::http::{AdminClient, ClientError};

/// Work on messages that were refused: list, show, edit and retry, redirect, release, discard
#[derive(clap::Subcommand)]
#[command(after_help = "Example:\n  medulla errors list --held --config site.toml\n  \
    medulla errors show 17 --raw > 17.hl7 && $EDITOR 17.hl7\n  \
    medulla errors release 17 --edit 17.hl7 --reason 'id was missing'")]
pub enum Command {
    /// Refused messages that nobody has repaired or discarded yet: open ones, and held ones, which wait for a person
    #[command(
        after_help = "Examples:\n  medulla errors list --config site.toml\n  medulla errors list --held\n  \
        medulla errors list --feed lab --code patient-id-missing --since 2026-11-23T08:00:00+01:00 --json"
    )]
    List(List),
    /// One refused message: its bytes, tree or FHIR, the issues, and what was done with it
    #[command(after_help = "Examples:\n  medulla errors show 17 --config site.toml\n  \
        medulla errors show 17 --raw > 17.hl7\n  medulla errors show 17 --tree")]
    Show(Show),
    /// Read refused messages again, and let them flow as if their feed had sent them
    #[command(after_help = "Examples:\n  medulla errors show 17 --raw > 17.hl7 && $EDITOR 17.hl7\n  \
        medulla errors retry 17 --edit 17.hl7 --reason 'ward was missing'\n  \
        medulla errors retry 17 --as-feed lab-b\n  \
        medulla errors retry 17 --edit 17.hl7 --dry-run\n  \
        medulla errors retry --feed lab --code patient-id-missing --yes\n\n\
        Each try is an entry of the ledger: who, which message, the hashes of what came and of what was tried. What is \
        refused again stays in its queue; then this exits with 1. What was taken cannot be retried a second time. A query \
        leaves out what is held (`on_error = \"hold\"`), unless --held asks for it.")]
    Retry(Retry),
    /// Let held messages go: they are read again, and refused again they stand in the error queue
    #[command(
        after_help = "Examples:\n  medulla errors release 17 --reason 'looked at with the lab' --config site.toml\n  \
        medulla errors release 17 --edit 17.hl7 --reason 'id was missing'\n  \
        medulla errors release --feed lab --reason 'ward list mended' --yes\n\n\
        What shall not be read again is let go with `medulla errors discard`."
    )]
    Release(Retry),
    /// Take refused messages off the queue; their bytes stay in the ledger
    #[command(after_help = "Examples:\n  medulla errors discard 17 --reason 'test message'\n  \
        medulla errors discard --feed lab --until 2026-11-01T00:00:00Z --reason 'resent by the lab' --yes")]
    Discard(Discard),
}

#[derive(clap::Args, Serialize)]
struct Query {
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    /// Stable code of the refusal
    #[arg(long)]
    code: Option<String>,
    /// MSH-10, or the id of a FHIR resource
    #[arg(long, value_name = "ID")]
    control_id: Option<String>,
    /// Received from here on, with offset
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Received before here
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Query {
    fn is_empty(&self) -> bool {
        let Query { feed, code, control_id, since, until } = self;
        [feed, code, control_id, since, until].into_iter().all(Option::is_none)
    }
}

#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    query: Query,
    /// Also those that are repaired or discarded
    #[arg(long)]
    all: bool,
    /// Those alone that wait for a person
    #[arg(long, conflicts_with = "all")]
    held: bool,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub struct Show {
    /// The refused message's ledger index
    index: u64,
    /// Its bytes and nothing else
    #[arg(long, conflicts_with_all = ["tree", "fhir"])]
    raw: bool,
    /// A line a field
    #[arg(long, conflicts_with = "fhir")]
    tree: bool,
    /// As the feed would write it in FHIR R4
    #[arg(long)]
    fhir: bool,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub struct Which {
    /// Ledger indices; in their place a query, for all open ones that it finds
    indices: Vec<u64>,
    #[command(flatten)]
    query: Query,
    /// Of the query: those that are held, in place of the open ones
    #[arg(long)]
    held: bool,
    /// Do so to all that the query finds; without it they are counted only
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args)]
pub struct Retry {
    #[command(flatten)]
    which: Which,
    /// The whole message as it should have come
    #[arg(long, value_name = "FILE")]
    edit: Option<PathBuf>,
    /// Read it for another feed
    #[arg(long, value_name = "NAME")]
    as_feed: Option<String>,
    /// Show what would become of it, and write nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Kept in the ledger
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub struct Discard {
    #[command(flatten)]
    which: Which,
    /// Kept in the ledger
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    at: At,
}

#[derive(Deserialize)]
struct Page {
    errors: Vec<Value>,
    next: Option<u64>,
}

/// A running site, asked one thing after another.
struct Client {
    client: AdminClient,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    fn of(at: &At) -> anyhow::Result<Client> {
        let (client, runtime) = ledger::connect_to(&at.config)?;
        Ok(Client { client, runtime })
    }

    fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.runtime.block_on(self.client.get(path))
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.runtime.block_on(self.client.post(path, body))
    }

    /// Each of them to `each`, page by page.
    fn walk(
        &self,
        query: &Query,
        which: &str,
        mut each: impl FnMut(Value) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let query = serde_urlencoded::to_string(query)?;
        let mut next = Some(0);
        while let Some(from) = next {
            let page: Page = self.get(&format!("/api/errors?{query}&{which}&from={from}&limit=1000"))?;
            page.errors.into_iter().try_for_each(&mut each)?;
            next = page.next;
        }
        Ok(())
    }
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::List(args) => list(args),
        Command::Show(args) => show(args),
        Command::Retry(args) => retry(args, "retry"),
        Command::Release(args) => retry(args, "release"),
        Command::Discard(args) => discard(args),
    }
}

fn list(List { query, all, held, at }: &List) -> anyhow::Result<Verdict> {
    let (client, mut out, mut count) = (Client::of(at)?, out::stdout(), 0);
    let which = match (all, held) {
        (true, _) => "all=true",
        (false, true) => "held=true",
        (false, false) => "all=false",
    };
    client.walk(query, which, |row| {
        count += 1;
        if at.json {
            return out::json_line(&mut out, &row);
        }
        let text = |field: &str| row[field].as_str().unwrap_or("-").to_owned();
        let time = Time(row["received_time_ms"].as_i64().unwrap_or_default()).to_rfc3339();
        let (state, feed, control_id, code) = (text("state"), text("feed"), text("control_id"), text("code"));
        Ok(writeln!(out, "{:<9} {time:<30} {state:<10} {feed:<12} {control_id:<14} {code}", row["index"])?)
    })?;
    out.flush()?;
    eprintln!("{count} refused messages");
    Ok(Verdict::Fine)
}

fn show(Show { index, raw, tree, fhir, at }: &Show) -> anyhow::Result<Verdict> {
    let (client, mut out) = (Client::of(at)?, out::stdout());
    if *tree || *fhir {
        let view = if *tree { "tree" } else { "fhir" };
        let shown: Value = client.get(&format!("/api/errors/{index}?view={view}"))?;
        writeln!(out, "{}", shown["text"].as_str().unwrap_or_default().trim_end())?;
    } else {
        let shown: Value = client.get(&format!("/api/errors/{index}"))?;
        match raw {
            true => out.write_all(&STANDARD.decode(shown["raw_base64"].as_str().unwrap_or_default())?)?,
            false if at.json => out::json_line(&mut out, &shown)?,
            false => writeln!(out, "{}", serde_json::to_string_pretty(&shown)?)?,
        }
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

fn retry(args: &Retry, how: &'static str) -> anyhow::Result<Verdict> {
    let edited = args.edit.as_ref().map(|file| {
        if args.which.indices.len() != 1 {
            return Err(anyhow::Error::from(Usage("--edit takes exactly one index".into())));
        }
        std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
    });
    let raw = edited.transpose()?.map(|bytes| STANDARD.encode(bytes));
    let body =
        json!({ "raw_base64": raw, "feed": args.as_feed, "reason": args.reason, "dry_run": args.dry_run });
    act(&args.which, &args.at, how, &body)
}

fn discard(args: &Discard) -> anyhow::Result<Verdict> {
    act(&args.which, &args.at, "discard", &json!({ "reason": args.reason }))
}

/// One after another; one that fails does not keep the others.
fn act(which: &Which, at: &At, act: &'static str, body: &Value) -> anyhow::Result<Verdict> {
    let is_query = which.held || !which.query.is_empty();
    if !which.indices.is_empty() && is_query {
        return Err(Usage("give indices or a query, not both".into()).into());
    }
    if which.indices.is_empty() && !is_query {
        return Err(Usage("name the messages: their indices, or a query such as --feed lab".into()).into());
    }
    let (client, mut out, mut indices) = (Client::of(at)?, out::stdout(), which.indices.clone());
    if indices.is_empty() {
        let listed = if which.held || act == "release" { "held=true" } else { "held=false" };
        client.walk(&which.query, listed, |row| {
            indices.extend(row["index"].as_u64());
            Ok(())
        })?;
        if !which.yes && body["dry_run"] != true {
            eprintln!("{} of them are found; with --yes they are worked on", indices.len());
            return Ok(Verdict::Wrong);
        }
    }
    let (bar, mut failed) = (progress::counter("refused messages"), 0);
    for index in &indices {
        let done = match client.post(&format!("/api/errors/{index}/{act}"), body) {
            Ok(done) => done,
            Err(ClientError::Refused { code, text, .. }) => {
                json!({ "accepted": false, "code": code, "text": text })
            }
            Err(error) => return Err(error.into()),
        };
        failed += usize::from(done["accepted"] == false);
        bar.inc(1);
        match at.json {
            true => out::json_line(&mut out, &json!({ "original": index, "outcome": done }))?,
            false => writeln!(out, "{index}: {}", words(&done))?,
        }
        if !at.json {
            replay::difference(&mut out, &done["difference"])?;
        }
    }
    bar.finish_and_clear();
    out.flush()?;
    eprintln!("{} of {} done", indices.len() - failed, indices.len());
    Ok(if failed == 0 { Verdict::Fine } else { Verdict::Wrong })
}

fn words(done: &Value) -> String {
    if let Some(text) = done["text"].as_str() {
        return format!("{text} [{}]", done["code"].as_str().unwrap_or_default());
    }
    let issues = done["issues"].as_array().into_iter().flatten();
    let why: Vec<String> = issues
        .filter(|issue| issue["severity"] == "error")
        .map(|issue| {
            let text = |field: &str| issue[field].as_str().unwrap_or_default();
            format!("{}: {} ({})", text("location"), text("text"), text("code"))
        })
        .collect();
    match (done["accepted"].as_bool(), done["duplicate"].as_bool()) {
        (None, _) => format!("discarded, as entry {} says", done["index"]),
        (Some(true), _) if done["difference"].is_object() => {
            format!("would be taken, as {} messages", done["messages"])
        }
        (Some(false), _) if done["difference"].is_object() => {
            format!("would be refused again: {}", why.join("; "))
        }
        (Some(false), _) => format!("refused again: {}", why.join("; ")),
        (_, Some(true)) => format!("in the ledger already, as entry {}", done["became"]),
        _ => format!("taken, as entry {}", done["became"]),
    }
}
