//! `medulla ledger verify`: a running site, an export, a receipt.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ledger_verifier::{Keys, judge_receipt};
use raft_ledger::keys::VerifierKeys;
use raft_ledger::{Progress, verify_export};
use serde::Deserialize;
use serde_json::json;

use super::ask::ask;
use super::{At, connect};
use crate::cli::{Usage, Verdict, out, progress};

#[derive(clap::Args)]
pub struct Verify {
    /// The export's folder or a receipt; without it the running site's own ledger
    path: Option<PathBuf>,
    #[command(flatten)]
    at: At,
    /// C2SP verifier keys, as `medulla ledger keys` prints them; lines of `ledger keys --admissions` may follow
    #[arg(long, value_name = "FILE", requires = "path")]
    keys: Option<PathBuf>,
    /// Cosigners that a receipt needs; without it a majority of those in the keys, none of a single one
    #[arg(short, value_name = "N", requires = "path")]
    k: Option<usize>,
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

pub fn execute(args: &Verify) -> anyhow::Result<Verdict> {
    match &args.path {
        Some(file) if file.is_file() => receipt(args, file),
        _ => ledger(args),
    }
}

/// By the verifier that shares no code with the ledger.
fn receipt(args: &Verify, file: &Path) -> anyhow::Result<Verdict> {
    let Some(keys) = &args.keys else {
        let text = "a receipt is judged by keys that you bring: add --keys FILE".to_owned();
        return Err(Usage(text).into());
    };
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let brought = Keys::parse(&text_of(keys)?).with_context(|| keys.display().to_string())?;
    let judged = judge_receipt(&bytes, &brought, args.k.unwrap_or(brought.majority()));
    let mut out = out::stdout();
    let verdict = match judged {
        Ok(receipt) => {
            if args.json {
                let mut line = serde_json::to_value(&receipt)?;
                line["ok"] = json!(true);
                out::json_line(&mut out, &line)?;
            } else {
                let by: Vec<&str> = receipt.checkpoint.cosigners.iter().map(String::as_str).collect();
                let by = if by.is_empty() { "nobody".to_owned() } else { by.join(", ") };
                let (index, site, size) = (receipt.index, &receipt.leaf.site, receipt.checkpoint.size);
                writeln!(
                    out,
                    "verify passed: entry {index} of site {site} in a ledger of {size}, cosigned by {by}"
                )?;
            }
            Verdict::Fine
        }
        Err(refusal) => {
            if args.json {
                out::json_line(&mut out, &json!({ "ok": false, "refusal": refusal.to_string() }))?;
            } else {
                writeln!(out, "verify FAILED: {refusal}")?;
            }
            Verdict::Wrong
        }
    };
    out.flush()?;
    Ok(verdict)
}

fn ledger(args: &Verify) -> anyhow::Result<Verdict> {
    let report: serde_json::Value = match &args.path {
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
            runtime.block_on(ask(&client, "verify", &json!({}), "the site verifies its ledger"))?
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

fn text_of(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn read_keys(file: &Path) -> anyhow::Result<VerifierKeys> {
    VerifierKeys::parse(&text_of(file)?).with_context(|| file.display().to_string())
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
