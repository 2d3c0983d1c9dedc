//! `medulla ledger …`: this site's replica, and exports that anybody can verify.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use raft_ledger::keys::{SiteKeys, VerifierKeys};
use raft_ledger::{Progress, Report, verify_export};

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
    /// Recompute an export and name the place of whatever is wrong
    #[command(after_help = "Example:\n  medulla ledger verify export/ --keys keys.txt\n\n\
        Exits with 1 when something is wrong. Without --keys it is judged by the keys in the export itself: that \
        shows that it is whole, not who made it.")]
    Verify(Verify),
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
pub struct Verify {
    /// The export's folder
    folder: PathBuf,
    /// C2SP verifier keys, as `medulla ledger keys` prints them
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Status(args) => status(args),
        Command::Keys(at) => keys(at),
        Command::Verify(args) => verify(args),
    }
}

fn status(args: &Status) -> anyhow::Result<Verdict> {
    let place = place(&args.at.config)?;
    let client = AdminClient::new(&socket_path(&place.data))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
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

fn keys(at: &At) -> anyhow::Result<Verdict> {
    let place = place(&at.config)?;
    let mut out = out::stdout();
    out.write_all(SiteKeys::load(&place.keys)?.verifier_keys().as_bytes())?;
    out.flush()?;
    Ok(Verdict::Fine)
}

fn verify(args: &Verify) -> anyhow::Result<Verdict> {
    let keys = args.keys.as_deref().map(read_keys).transpose()?;
    let bar = progress::counter("leaves verified");
    let report = verify_export(&args.folder, keys.as_ref(), &mut |Progress { done, .. }| bar.set_position(done))?;
    bar.finish_and_clear();
    show(&report, args.json)?;
    Ok(if report.ok { Verdict::Fine } else { Verdict::Wrong })
}

fn read_keys(file: &Path) -> anyhow::Result<VerifierKeys> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    VerifierKeys::parse(&text).with_context(|| file.display().to_string())
}

fn show(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = out::stdout();
    if json {
        out::json_line(&mut out, report)?;
    } else {
        for finding in &report.findings {
            let place = |name: &str, value: Option<u64>| value.map(|value| format!(" {name} {value}"));
            let (byte, leaf) = (place("byte", finding.offset), place("leaf", finding.index));
            let (byte, leaf) = (byte.unwrap_or_default(), leaf.unwrap_or_default());
            writeln!(out, "{}{byte}{leaf}: {}", finding.file, finding.text)?;
        }
        if report.more_findings > 0 {
            writeln!(out, "and {} more", report.more_findings)?;
        }
        let verdict = if report.ok { "passed" } else { "FAILED" };
        writeln!(out, "verify {verdict}: {} leaves in {} batches, root {}", report.size, report.batches, report.root)?;
        if report.ok && !report.keys_brought {
            writeln!(out, "judged by the export's own keys; bring yours with --keys to see who made it")?;
        }
    }
    out.flush()?;
    Ok(())
}

fn place(file: &Path) -> anyhow::Result<config::Place> {
    config::place(file).map_err(|findings| {
        let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow!("{}", all.join("\n"))
    })
}
