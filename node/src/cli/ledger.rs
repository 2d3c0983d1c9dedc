//! `medulla ledger …`: this site's replica, and exports that anybody can verify.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use raft_ledger::keys::{SiteKeys, VerifierKeys};
use raft_ledger::{Progress, verify_export};

use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Runtime;

use super::{Verdict, out, progress};
use crate::config;
use crate::http::{AdminClient, socket_path};

/// Look at the ledger of a running site, and verify exports
#[derive(clap::Subcommand)]
pub enum Command {
    /// Role, term, size and root of the running site's replica
    #[command(after_help = "Example:\n  medulla ledger status --config site.toml --json")]
    Status(Status),
    /// C2SP verifier keys of all sites, one a line: what a verifier brings along
    #[command(after_help = "Example:\n  medulla ledger keys --config site.toml > keys.txt")]
    Keys(At),
    /// Recompute a running site's ledger, or an export, and name the place of whatever is wrong
    #[command(after_help = "Examples:\n  medulla ledger verify --config site.toml\n  \
        medulla ledger verify export/ --keys keys.txt\n\n\
        Exits with 1 when something is wrong. Without --keys it is judged by the keys in the export itself: that \
        shows that it is whole, not who made it.")]
    Verify(Verify),
    /// Write the running site's ledger into a folder that proves itself
    #[command(after_help = "Example:\n  medulla ledger export export/ --config site.toml\n\n\
        Payloads stay sealed: an export can be given to anybody who shall judge it.")]
    Export(Export),
}

/// Which site
#[derive(clap::Args)]
pub struct At {
    /// The site's configuration
    #[arg(long, value_name = "FILE", env = "MEDULLA_CONFIG", default_value = "site.toml")]
    config: PathBuf,
}

#[derive(clap::Args)]
pub struct Status {
    #[command(flatten)]
    at: At,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct Export {
    /// Empty or new
    folder: PathBuf,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub struct Verify {
    /// The export's folder; without it the running site's own ledger
    folder: Option<PathBuf>,
    #[command(flatten)]
    at: At,
    /// C2SP verifier keys, as `medulla ledger keys` prints them
    #[arg(long, value_name = "FILE", requires = "folder")]
    keys: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What both ways to verify answer with.
#[derive(Deserialize)]
struct Report {
    ok: bool,
    size: u64,
    root: String,
    batches: u64,
    keys_brought: bool,
    findings: Vec<Finding>,
    more_findings: u64,
}

#[derive(Deserialize)]
struct Finding {
    file: String,
    offset: Option<u64>,
    index: Option<u64>,
    text: String,
}

#[derive(Deserialize)]
struct Exported {
    size: u64,
    root: String,
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Status(args) => status(args),
        Command::Keys(at) => keys(at),
        Command::Verify(args) => verify(args),
        Command::Export(args) => export(args),
    }
}

fn status(args: &Status) -> anyhow::Result<Verdict> {
    let (client, runtime) = connect(&args.at)?;
    let status: serde_json::Value = runtime.block_on(client.get("/api/ledger"))?;
    let mut out = out::stdout();
    if args.json {
        out::json_line(&mut out, &status)?;
    } else {
        for (name, value) in status.as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            writeln!(out, "{name:<16} {text}")?;
        }
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

fn connect(at: &At) -> anyhow::Result<(AdminClient, Runtime)> {
    connect_to(&at.config)
}

/// The running site of a configuration.
pub fn connect_to(config: &Path) -> anyhow::Result<(AdminClient, Runtime)> {
    let client = AdminClient::new(&socket_path(&place(config)?.data))?;
    Ok((client, tokio::runtime::Builder::new_current_thread().enable_all().build()?))
}

fn keys(at: &At) -> anyhow::Result<Verdict> {
    let place = place(&at.config)?;
    let mut out = out::stdout();
    out.write_all(SiteKeys::load(&place.keys)?.verifier_keys().as_bytes())?;
    out.flush()?;
    Ok(Verdict::Fine)
}

fn verify(args: &Verify) -> anyhow::Result<Verdict> {
    let report: serde_json::Value = match &args.folder {
        Some(folder) => {
            let keys = args.keys.as_deref().map(read_keys).transpose()?;
            let bar = progress::counter("leaves verified");
            let report =
                verify_export(folder, keys.as_ref(), &mut |Progress { done, .. }| bar.set_position(done))?;
            bar.finish_and_clear();
            serde_json::to_value(report)?
        }
        None => {
            let (client, runtime) = connect(&args.at)?;
            let bar = progress::waiting("the site verifies its ledger");
            let report = runtime.block_on(client.post("/api/ledger/verify", &json!({})))?;
            bar.finish_and_clear();
            report
        }
    };
    let verdict: Report = serde_json::from_value(report.clone())?;
    let mut out = out::stdout();
    if args.json {
        out::json_line(&mut out, &report)?
    } else {
        show(&mut out, &verdict)?
    }
    out.flush()?;
    Ok(if verdict.ok { Verdict::Fine } else { Verdict::Wrong })
}

fn export(args: &Export) -> anyhow::Result<Verdict> {
    let (client, runtime) = connect(&args.at)?;
    // The site has another working directory.
    let folder = std::path::absolute(&args.folder)?;
    let bar = progress::waiting("the site writes its ledger");
    let made: Exported = runtime.block_on(client.post("/api/ledger/export", &json!({ "folder": folder })))?;
    bar.finish_and_clear();
    let mut out = out::stdout();
    writeln!(out, "{}: {} leaves, root {}", folder.display(), made.size, made.root)?;
    out.flush()?;
    Ok(Verdict::Fine)
}

fn read_keys(file: &Path) -> anyhow::Result<VerifierKeys> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    VerifierKeys::parse(&text).with_context(|| file.display().to_string())
}

fn show(out: &mut impl Write, report: &Report) -> anyhow::Result<()> {
    for Finding { file, offset, index, text } in &report.findings {
        let place = |name: &str, value: &Option<u64>| {
            value.map(|value| format!(" {name} {value}")).unwrap_or_default()
        };
        writeln!(out, "{file}{}{}: {text}", place("byte", offset), place("leaf", index))?;
    }
    if report.more_findings > 0 {
        writeln!(out, "and {} more", report.more_findings)?;
    }
    let verdict = if report.ok { "passed" } else { "FAILED" };
    writeln!(
        out,
        "verify {verdict}: {} leaves in {} batches, root {}",
        report.size, report.batches, report.root
    )?;
    if report.ok && !report.keys_brought {
        writeln!(out, "judged by the export's own keys; bring yours with --keys to see who made it")?;
    }
    Ok(())
}

fn place(file: &Path) -> anyhow::Result<config::Place> {
    config::place(file).map_err(|findings| {
        let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow!("{}", all.join("\n"))
    })
}
