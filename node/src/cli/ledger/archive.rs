//! `medulla ledger archive`.

use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::ask::ask;
use super::{At, connect, place};
use crate::cli::{Usage, Verdict, out};

#[derive(clap::Args)]
pub struct Archive {
    /// Entries that came in before so many days; without it `after_days` of [ledger.retention]
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u32>,
    #[command(flatten)]
    at: At,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize, Serialize)]
struct Archived {
    files: u64,
    entries: u64,
    bytes: u64,
    cold_entries: u64,
}

pub fn archive(args: &Archive) -> anyhow::Result<Verdict> {
    let days = args.older_than.map_or_else(|| configured_days(args), Ok)?;
    let (client, runtime) = connect(&args.at)?;
    let body = json!({ "older_than_days": days });
    let shown = "the site moves old entries to cold files";
    let moved: Archived = runtime.block_on(ask(&client, "archive", &body, shown))?;
    let mut out = out::stdout();
    if args.json {
        out::json_line(&mut out, &moved)?;
    } else {
        let Archived { files, entries, bytes, cold_entries } = moved;
        writeln!(
            out,
            "{entries} entries moved to {files} cold files, {bytes} bytes; the first {cold_entries} entries are in cold files now"
        )?;
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

fn configured_days(args: &Archive) -> anyhow::Result<u32> {
    let days = place(&args.at.config)?.archive_after_days.and_then(|days| u32::try_from(days).ok());
    days.ok_or_else(|| {
        let text = "say how old entries must be: --older-than DAYS, or after_days in [ledger.retention]";
        Usage(text.into()).into()
    })
}
