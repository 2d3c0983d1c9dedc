//! `medulla ledger checkpoint` and `prove`: what a site hands out for others to judge.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use serde::Deserialize;

use super::{At, connect};
use crate::cli::{Verdict, out};

#[derive(clap::Args)]
pub struct Checkpoint {
    #[command(flatten)]
    at: At,
    /// One JSON object: size, root, cosigners, time, and the checkpoint itself
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["index", "consistency"])))]
pub struct Prove {
    /// Ledger index of the entry
    index: Option<u64>,
    /// That the ledger of M entries is the beginning of that of N entries
    #[arg(long, num_args = 2, value_names = ["M", "N"])]
    consistency: Option<Vec<u64>>,
    /// Write it there instead of to stdout; an existing file is replaced
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

#[derive(Deserialize)]
struct Proof {
    proof: String,
}

pub fn checkpoint(args: &Checkpoint) -> anyhow::Result<Verdict> {
    let (client, runtime) = connect(&args.at)?;
    let newest: serde_json::Value = runtime.block_on(client.get("/api/ledger/checkpoint"))?;
    let mut out = out::stdout();
    if args.json {
        out::json_line(&mut out, &newest)?;
    } else {
        let note = newest["checkpoint"].as_str().context("the site answered without a checkpoint")?;
        out.write_all(note.as_bytes())?;
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

pub fn prove(args: &Prove) -> anyhow::Result<Verdict> {
    let path = match (args.index, args.consistency.as_deref()) {
        (Some(index), _) => format!("/api/ledger/proof/{index}"),
        (None, Some([old, new])) => format!("/api/ledger/consistency?old={old}&new={new}"),
        (None, _) => anyhow::bail!("name an entry, or two sizes"),
    };
    let (client, runtime) = connect(&args.at)?;
    let Proof { proof } = runtime.block_on(client.get(&path))?;
    match &args.out {
        Some(file) => {
            std::fs::write(file, proof).with_context(|| format!("cannot write {}", file.display()))?;
        }
        None => {
            let mut out = out::stdout();
            out.write_all(proof.as_bytes())?;
            out.flush()?;
        }
    }
    Ok(Verdict::Fine)
}
