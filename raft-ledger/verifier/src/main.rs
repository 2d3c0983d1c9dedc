//! `medulla-verify`: judges receipts, consistency proofs and exports by keys that you bring.
//!
//! Exit codes: 0 = holds, 1 = does not hold or cannot be read, 2 = wrong usage.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ledger_verifier::{
    Keys, Refusal, evidence_of, judge_consistency, judge_evidence, judge_export, judge_receipt,
};
use serde::Serialize;

/// Judges what a Medulla ledger hands out, by public keys that you bring. Needs files and keys, no site.
#[derive(Parser)]
#[command(name = "medulla-verify", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A receipt (.tlog-proof): the entry is in the ledger, and who vouches for it
    #[command(after_help = "Example:\n  medulla-verify receipt 17.tlog-proof --keys keys.txt\n\n\
        The keys come from you, never from whom you check: exchange them once, over another way.")]
    Receipt(Receipt),
    /// A consistency proof: nothing that an earlier checkpoint covers was changed or removed
    #[command(
        after_help = "Example:\n  medulla-verify consistency 100-250.txt --old checkpoint-100.txt --keys keys.txt\n\n\
        OLD is a checkpoint that you kept, or a receipt."
    )]
    Consistency(Consistency),
    /// Evidence against a site: what it signed contradicts itself, or the majority
    #[command(after_help = "Examples:\n  medulla-verify evidence split-view-b-600.json --keys keys.txt\n  \
        medulla-verify evidence mine-2025.tlog-proof --and mine-2026.tlog-proof --keys keys.txt --out rewritten.json\n\n\
        With --and: two receipts of one entry that tell two stories. --out keeps them as one file, for others to judge.")]
    Evidence(Evidence),
    /// A whole export: leaves, payload hashes, each site's signatures and chain, root, checkpoint
    #[command(after_help = "Example:\n  medulla-verify export export/ --keys keys.txt --json\n\n\
        Sites that joined after the founding are in the export's admissions.txt: each counts if the authority, whose key \
        you bring in keys.txt, has signed it.")]
    Export(Export),
}

#[derive(Args)]
struct Common {
    /// C2SP verifier keys, one a line, as `medulla ledger keys` prints them. Lines of `medulla ledger keys --admissions`
    /// may follow: they add sites, if the authority whose key is in FILE has signed them
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Receipt {
    file: PathBuf,
    #[command(flatten)]
    common: Common,
    /// Cosigners that are needed; without it a majority of those in FILE, none of a single one
    #[arg(short, value_name = "N")]
    k: Option<usize>,
}

#[derive(Args)]
struct Consistency {
    file: PathBuf,
    /// The earlier checkpoint, or a receipt that holds it
    #[arg(long, value_name = "OLD")]
    old: PathBuf,
    #[command(flatten)]
    common: Common,
    /// Cosigners that both checkpoints need
    #[arg(short, value_name = "N", default_value_t = 0)]
    k: usize,
}

#[derive(Args)]
struct Evidence {
    /// An evidence file, or a receipt
    file: PathBuf,
    /// Another receipt of the same entry
    #[arg(long, value_name = "RECEIPT")]
    and: Option<PathBuf>,
    /// Where to write the evidence that two receipts make
    #[arg(long, value_name = "FILE", requires = "and")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
    /// Log keys that outvote a site; without it a majority of those in FILE. Give it where FILE holds keys of sites
    /// that do not vote: a majority of those that do
    #[arg(short, value_name = "N")]
    k: Option<usize>,
}

#[derive(Args)]
struct Export {
    folder: PathBuf,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    let judged = match Cli::parse().command {
        Command::Receipt(args) => receipt(&args),
        Command::Consistency(args) => consistency(&args),
        Command::Evidence(args) => evidence(&args),
        Command::Export(args) => export(&args),
    };
    match judged {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(refusal) => {
            eprintln!("medulla-verify: {refusal}");
            ExitCode::from(1)
        }
    }
}

fn receipt(args: &Receipt) -> Result<bool, Refusal> {
    let keys = keys(&args.common.keys)?;
    let judged = judge_receipt(&read(&args.file)?, &keys, args.k.unwrap_or(keys.majority()));
    say(args.common.json, judged, |receipt| {
        let by: Vec<&str> = receipt.checkpoint.cosigners.iter().map(String::as_str).collect();
        let by = if by.is_empty() { "nobody: guarantee D3 is not available".into() } else { by.join(", ") };
        format!(
            "receipt holds: entry {} of site {}, in a ledger of {} with root {}\ncosigned by {by}",
            receipt.index,
            receipt.leaf.site,
            receipt.checkpoint.size,
            hex::encode(receipt.checkpoint.root)
        )
    })
}

fn consistency(args: &Consistency) -> Result<bool, Refusal> {
    let judged = judge_consistency(&read(&args.file)?, &read(&args.old)?, &keys(&args.common.keys)?, args.k);
    say(args.common.json, judged, |proof| {
        format!(
            "consistent: the ledger of {} begins with that of {}; cosigned by {} and {}",
            proof.new.size,
            proof.old.size,
            proof.new.cosigners.len(),
            proof.old.cosigners.len()
        )
    })
}

fn evidence(args: &Evidence) -> Result<bool, Refusal> {
    let keys = keys(&args.common.keys)?;
    let file = match &args.and {
        None => read(&args.file)?,
        Some(other) => {
            let text = |path: &Path| Ok(String::from_utf8_lossy(&read(path)?).into_owned());
            let evidence = evidence_of(&text(&args.file)?, &text(other)?);
            format!("{evidence:#}\n").into_bytes()
        }
    };
    let judged = judge_evidence(&file, &keys, args.k);
    if let (Ok(_), Some(out)) = (&judged, &args.out) {
        let io = |source| Refusal::Io { path: out.display().to_string(), source };
        std::fs::write(out, &file).map_err(io)?;
    }
    say(args.common.json, judged, |evidence| format!("evidence holds: {evidence}"))
}

fn export(args: &Export) -> Result<bool, Refusal> {
    let keys = keys(&args.common.keys)?;
    let shown = std::io::stderr().is_terminal();
    let mut progress = |leaves: u64| {
        if shown {
            eprint!("\r{leaves} leaves");
        }
    };
    let report = judge_export(&args.folder, &keys, &mut progress)?;
    if shown {
        eprintln!();
    }
    if args.common.json {
        print(&report);
        return Ok(report.ok);
    }
    let mut lines = String::new();
    for finding in &report.findings {
        let index = finding.index.map(|index| format!(" leaf {index}")).unwrap_or_default();
        lines += &format!("{} byte {}{index}: {}\n", finding.file, finding.offset, finding.text);
    }
    if report.more_findings > 0 {
        lines += &format!("and {} more\n", report.more_findings);
    }
    let verdict = if report.ok { "holds" } else { "DOES NOT HOLD" };
    if !report.admitted.is_empty() {
        lines += &format!(
            "sites that the authority has admitted since the founding: {}\n",
            report.admitted.join(", ")
        );
    }
    write(&format!(
        "{lines}export {verdict}: {} leaves in {} batches, root {} ({:.0} leaves/s)\n",
        report.size, report.batches, report.root, report.leaves_per_s
    ));
    Ok(report.ok)
}

/// A refusal is an answer, too: with `--json` it goes to stdout as one.
fn say<T: Serialize>(
    json: bool,
    judged: Result<T, Refusal>,
    text: impl Fn(&T) -> String,
) -> Result<bool, Refusal> {
    #[derive(Serialize)]
    struct Answer<'a, T> {
        ok: bool,
        #[serde(flatten)]
        found: Option<&'a T>,
        refusal: Option<String>,
    }
    match &judged {
        Ok(found) if json => print(&Answer { ok: true, found: Some(found), refusal: None }),
        Err(refusal) if json => {
            print(&Answer::<T> { ok: false, found: None, refusal: Some(refusal.to_string()) });
            return Ok(false);
        }
        Ok(found) => write(&(text(found) + "\n")),
        Err(_) => {}
    }
    judged.map(|_| true)
}

fn print(value: &impl Serialize) {
    // Plain data with string keys: it always serialises.
    write(&(serde_json::to_string(value).unwrap_or_default() + "\n"));
}

fn write(text: &str) {
    // Whoever reads our output may have gone (`| head`); the exit code still tells.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn keys(path: &Path) -> Result<Keys, Refusal> {
    Keys::parse(&String::from_utf8_lossy(&read(path)?))
}

fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    std::fs::read(path).map_err(|source| Refusal::Io { path: path.display().to_string(), source })
}
