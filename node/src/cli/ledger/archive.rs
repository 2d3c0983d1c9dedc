//! `medulla ledger archive`.

use std::io::Write;
use std::time::Duration;

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{At, connect, place};
use crate::cli::{Usage, Verdict, out, progress};
use crate::http::AdminClient;

/// How often the site is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    let bar = progress::counter("entries are in cold files");
    let body = json!({ "older_than_days": days });
    let moved = runtime.block_on(async {
        tokio::select! {
            moved = client.post::<Archived>("/api/ledger/archive", &body) => moved,
            never = show(&client, &bar) => match never {},
        }
    });
    bar.finish_and_clear();
    let moved = moved?;
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

async fn show(client: &AdminClient, bar: &ProgressBar) -> std::convert::Infallible {
    loop {
        // Where it cannot be asked, the answer says why.
        if let Ok(status) = client.get::<Value>("/api/ledger").await {
            bar.set_position(status["cold"]["entries"].as_u64().unwrap_or_default());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
