//! `medulla messages`: the entries of a running site, by what one knows of them.

use std::io::Write;
use std::path::PathBuf;

use clinical::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Verdict, ledger, out};

mod trace;

const PAGE: usize = 1000;

/// Find entries of a running site's ledger: by index, patient, visit, control id, feed, kind, type, code, event time, receipt
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  medulla messages --patient 'HOSP|4711' --since 2026-11-23T08:00:00+01:00\n  \
    medulla messages --kind rejected --limit 20 --json\n  \
    medulla messages --type 'ORU^R01' --code unit-mismatch --since 2026-11-23T08:00:00+01:00\n  \
    medulla messages --index 17 --linearizable\n  \
    medulla messages --index 17 --trace\n\n\
    The last column is a refused message's code, or the id of the alert that an entry is about.\n\
    What is printed is as of the ledger's size at this site; it says which. With --linearizable nothing is missing \
    that any site had committed before, and without a majority of the sites there is no answer."
)]
pub struct Args {
    /// One entry, whole, as JSON
    #[arg(long, conflicts_with_all = ["from", "limit", "patient", "visit", "control_id", "feed", "kind", "type_", "code", "since", "until", "received_since", "received_until"])]
    index: Option<u64>,
    /// With --index: what followed from this message, from later readings and scores to alerts and their deliveries
    #[arg(long, requires = "index")]
    trace: bool,
    #[command(flatten)]
    filter: Filter,
    /// Entries at most
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Wait until everything is here that was committed anywhere before
    #[arg(long)]
    linearizable: bool,
    /// One JSON object an entry and line; a trace as one object
    #[arg(long)]
    json: bool,
    /// The site's configuration
    #[arg(long, value_name = "FILE", env = "MEDULLA_CONFIG", default_value = "site.toml")]
    config: PathBuf,
}

#[derive(clap::Args, Serialize)]
struct Filter {
    /// The first ledger index; of a time, and of no patient, visit or control id, the first at the very time --since
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    from: u64,
    /// Assigning authority and number, as in PID-3
    #[arg(long, value_name = "AUTHORITY|ID")]
    patient: Option<String>,
    /// PV1-19, or the Encounter's identifier
    #[arg(long, value_name = "ID")]
    visit: Option<String>,
    /// MSH-10, or the id of a FHIR resource
    #[arg(long, value_name = "ID")]
    control_id: Option<String>,
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    /// message, rejected, alert, delivered, acknowledged, tick, model-registered, members-changed, repaired, released or
    /// reloaded
    #[arg(long)]
    kind: Option<String>,
    /// MSH-9, or the resource's type
    #[arg(long = "type", value_name = "TYPE")]
    #[serde(rename = "type")]
    type_: Option<String>,
    /// Of a refusal, or of an issue with a message that was taken
    #[arg(long)]
    code: Option<String>,
    /// Event times from here on, with offset
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Event times before here
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Messages that their site received from here on, with offset; they come hour by hour
    #[arg(long, value_name = "TIME")]
    received_since: Option<String>,
    /// Messages received before here
    #[arg(long, value_name = "TIME", requires = "received_since")]
    received_until: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    as_of: u64,
    entries: Vec<Value>,
    next: Option<String>,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let (client, runtime) = ledger::connect_to(&args.config)?;
    let mut out = out::stdout();
    let Some(index) = args.index else {
        let (mut left, mut next) = (args.limit, Some(first_page(args)?));
        let (mut shown, mut as_of, mut more) = (0, 0, false);
        while let Some(path) = next.filter(|_| left > 0) {
            let page: Page = runtime.block_on(client.get(&path))?;
            as_of = page.as_of;
            for entry in page.entries.iter().take(left) {
                show(&mut out, entry, as_of, args.json)?;
                shown += 1;
            }
            more = page.next.is_some() || page.entries.len() > left;
            left -= page.entries.len().min(left);
            next = page.next;
        }
        out.flush()?;
        let reach = if args.linearizable { ", nothing missing" } else { " at this site" };
        eprintln!("{shown} entries, as of size {as_of}{reach}{}", told_more(more));
        return Ok(Verdict::Fine);
    };
    let path = match args.trace {
        true => format!("/api/messages/{index}/trace"),
        false => format!("/api/messages/{index}?linearizable={}", args.linearizable),
    };
    let found: Value = runtime.block_on(client.get(&path))?;
    match (args.json, args.trace) {
        (true, _) => out::json_line(&mut out, &found)?,
        (false, true) => trace::show(&mut out, &serde_json::from_value(found)?)?,
        (false, false) => {
            serde_json::to_writer_pretty(&mut out, &found)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

fn told_more(more: bool) -> &'static str {
    if more { "; there may be more: raise --limit" } else { "" }
}

fn first_page(args: &Args) -> anyhow::Result<String> {
    let query = serde_urlencoded::to_string(&args.filter)?;
    let limit = args.limit.clamp(1, PAGE);
    Ok(format!("/api/messages?{query}&limit={limit}&linearizable={}", args.linearizable))
}

fn show(out: &mut out::Out, entry: &Value, as_of: u64, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let mut entry = entry.clone();
        entry["as_of"] = json!(as_of);
        return out::json_line(out, &entry);
    }
    let text = |field: &str| entry[field].as_str().unwrap_or("-");
    let type_ = if entry["shredded"] == true { "shredded" } else { text("type") };
    let at = Time(entry["event_time_ms"].as_i64().unwrap_or_default()).to_rfc3339();
    writeln!(
        out,
        "{:<9} {at:<30} {:<16} {:<12} {:<12} {:<14} {} {}",
        entry["index"].as_u64().unwrap_or_default(),
        text("kind"),
        text("site"),
        text("feed"),
        type_,
        text("control_id"),
        entry["code"].as_str().or(entry["alert"].as_str()).unwrap_or_default(),
    )?;
    Ok(())
}
