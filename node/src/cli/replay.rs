//! `medulla replay`: messages of a running site, read again as their feeds read now.

use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::at::At;
use super::{Usage, Verdict, ledger, out, progress};

/// Indices of one request.
const CHUNK: usize = 200;

/// Read messages again, as their feeds read now, and mend what they had been misread to say
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medulla replay --feed lab --since 2026-11-23T08:00:00+01:00 --dry-run\n  \
    medulla replay --feed lab --since 2026-11-23T08:00:00+01:00 --reason 'code table mended' --yes\n  \
    medulla replay --patient 'HOSP|4711' --type 'ORU^R01' --dry-run --json\n  \
    medulla replay --feed lab --received-since 2026-11-23T08:00:00+01:00 --received-until 2026-11-23T09:30:00+01:00 --yes\n  \
    medulla replay --kind rejected --code patient-id-missing --yes\n  \
    medulla replay 17 18\n\n\
    A code that no table had is no issue, since most of a laboratory's are none that is scored: messages that hold one are \
    found by feed, type and time, and the dry run shows those that a new table reads otherwise.\n\n\
    A message that is read otherwise now, by its feed's reader, code table, zone, authority and wards as the site runs \
    with them, becomes an entry once more, in the place of its former reading, beside an act that says who had it done. \
    One that is read the same is left alone, so a second replay changes nothing, and so is one whose former reading \
    was computed with and says what the new one does not: only its sender can take that back. Refused messages that can be read now \
    are repaired as `medulla errors retry` does it. None of them raises an alert by itself, unless --with-alerts is \
    given; what is so still alerts with the patient's next message or hour. Without --yes a query only counts. Exits \
    with 1 where a message cannot be read now; it stays as it is.")]
pub struct Args {
    /// Ledger indices, in the place of a query
    indices: Vec<u64>,
    #[command(flatten)]
    query: Query,
    /// Show what would change, and write nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do so to all that the query finds; without it they are counted only
    #[arg(long)]
    yes: bool,
    /// What is read otherwise may alert, as if it came now
    #[arg(long)]
    with_alerts: bool,
    /// Kept in the ledger
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args, Serialize)]
struct Query {
    /// message or rejected; both unless given
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    feed: Option<String>,
    /// Assigning authority and number, as in PID-3
    #[arg(long, value_name = "AUTHORITY|ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<String>,
    /// PV1-19, or the Encounter's identifier
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    visit: Option<String>,
    /// MSH-10, or the id of a FHIR resource
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    control_id: Option<String>,
    /// ORU^R01, Observation
    #[arg(long = "type", value_name = "TYPE")]
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_: Option<String>,
    /// Of a refusal, or of an issue with a message that was taken; none is told of codes that no table has
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Event times from here on, with offset; of refused messages the receipt
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Event times before here
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// Received by this site from here on, with offset
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    received_since: Option<String>,
    /// Received before here
    #[arg(long, value_name = "TIME", requires = "received_since")]
    #[serde(skip_serializing_if = "Option::is_none")]
    received_until: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    as_of: u64,
    messages: Vec<Value>,
    next: Option<Value>,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let query = json!(args.query);
    let is_empty = query == json!({});
    if args.indices.is_empty() == is_empty {
        let text = "name the messages: their indices, or a query such as --feed lab, one of both";
        return Err(Usage(text.into()).into());
    }
    // Whoever names a message means it; what a query finds is looked at first.
    let only_counts = args.indices.is_empty() && !args.yes && !args.dry_run;
    let asked = json!({
        "dry_run": args.dry_run || only_counts,
        "with_alerts": args.with_alerts,
        "reason": args.reason,
    });
    let mut run = Run { out: out::stdout(), is_json: args.at.json, only_counts, counts: BTreeMap::new() };
    let (client, runtime) = ledger::connect_to(&args.at.config)?;
    let bar = progress::counter("messages");
    let mut post = |parts: &[(&str, Value)]| -> anyhow::Result<Page> {
        let mut body = asked.clone();
        parts.iter().for_each(|(name, value)| body[*name] = value.clone());
        let page: Page = runtime.block_on(client.post("/api/replay", &body))?;
        bar.inc(page.messages.len() as u64);
        run.show(&page.messages)?;
        Ok(page)
    };
    // Either may come in several pages.
    let mut all = |name: &str, of: Value| -> anyhow::Result<()> {
        let mut page = post(&[(name, of.clone())])?;
        let before = json!(page.as_of);
        while let Some(next) = page.next {
            page = post(&[(name, of.clone()), ("after", next), ("before", before.clone())])?;
        }
        Ok(())
    };
    match args.indices.as_slice() {
        [] => all("query", query)?,
        indices => indices.chunks(CHUNK).try_for_each(|indices| all("indices", json!(indices)))?,
    }
    bar.finish_and_clear();
    run.end(args)
}

struct Run {
    out: out::Out,
    is_json: bool,
    only_counts: bool,
    /// By outcome.
    counts: BTreeMap<String, u64>,
}

impl Run {
    fn show(&mut self, messages: &[Value]) -> anyhow::Result<()> {
        for message in messages {
            let outcome = message["outcome"].as_str().unwrap_or_default();
            *self.counts.entry(outcome.to_owned()).or_default() += 1;
            match (self.only_counts, self.is_json) {
                (true, _) => {}
                (false, true) => out::json_line(&mut self.out, message)?,
                (false, false) if outcome == "same" => {}
                (false, false) => self.say(message, outcome)?,
            }
        }
        Ok(())
    }

    fn say(&mut self, message: &Value, outcome: &str) -> anyhow::Result<()> {
        let text = |field: &str| message[field].as_str().unwrap_or_default();
        let (feed, type_, control_id) = (text("feed"), text("type"), text("control_id"));
        let became = match &message["became"][0] {
            Value::Null => String::new(),
            index => format!(", as entry {index}"),
        };
        writeln!(self.out, "{} {feed} {type_} {control_id}: {outcome}{became}", message["index"])?;
        difference(&mut self.out, &message["difference"])?;
        let is_error = |issue: &&Value| issue["severity"] == "error";
        for issue in message["issues"].as_array().into_iter().flatten().filter(is_error) {
            let text = |field: &str| issue[field].as_str().unwrap_or_default();
            writeln!(self.out, "  ! {}: {} ({})", text("location"), text("text"), text("code"))?;
        }
        Ok(())
    }

    fn end(mut self, args: &Args) -> anyhow::Result<Verdict> {
        let count = |name: &str| self.counts.get(name).copied().unwrap_or_default();
        let (same, changed, taken) = (count("same"), count("changed"), count("taken"));
        let (refused, no_feed, counted) = (count("refused"), count("no-feed"), count("counted"));
        let all: u64 = self.counts.values().sum();
        if self.is_json {
            let summary = json!({ "messages": all, "same": same, "changed": changed, "taken": taken,
                "refused": refused, "no_feed": no_feed, "counted": counted, "overtaken": count("overtaken"),
                "written": !args.dry_run && !self.only_counts });
            out::json_line(&mut self.out, &summary)?;
        }
        self.out.flush()?;
        eprintln!(
            "{all} messages: {changed} read otherwise, {taken} that were refused can be read now, {same} the same, \
             {refused} cannot be read now, {no_feed} without their feed, {} overtaken by another replay",
            count("overtaken")
        );
        if counted > 0 {
            eprintln!(
                "{counted} would take back what has counted already, and stay as they are: only their senders can correct \
                 that (OBX-11 C or D, a FHIR status)"
            );
        }
        if self.only_counts {
            eprintln!("nothing is written; --dry-run shows each, --yes replays them");
            return Ok(Verdict::Wrong);
        }
        Ok(if refused + no_feed + counted == 0 { Verdict::Fine } else { Verdict::Wrong })
    }
}

/// A line a difference: `+` is added, `-` removed, `~` changed.
pub(super) fn difference(out: &mut out::Out, difference: &Value) -> anyhow::Result<()> {
    let all = |name: &str| difference[name].as_array().cloned().unwrap_or_default();
    let words = |said: &Value| said["words"].as_str().unwrap_or_default().to_owned();
    for (sign, name) in [("+", "added"), ("-", "removed")] {
        for said in all(name) {
            writeln!(out, "  {sign} {}", words(&said))?;
        }
    }
    for both in all("changed") {
        writeln!(out, "  ~ {}\n    now {}", words(&both[0]), words(&both[1]))?;
    }
    if difference["cut"] == true {
        let count = |name: &str| difference["counts"][name].as_u64().unwrap_or_default();
        let (added, removed, changed) = (count("added"), count("removed"), count("changed"));
        writeln!(out, "  … {added} added, {removed} removed, {changed} changed in all")?;
    }
    Ok(())
}
