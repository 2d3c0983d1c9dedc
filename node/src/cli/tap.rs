//! `medulla tap`: follows what a feed brings.

use std::io::Write;

use anyhow::{Context, bail};
use clinical::Time;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::at::At;
use super::{Verdict, ledger, out};
use crate::http::AdminClient;

/// Follow what a feed of a running site brings: time, type, control id, what became of it, milliseconds
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  medulla tap adt\n  medulla tap lab --json --limit 100\n  medulla tap adt --content\n\n\
    Outcomes: committed, stored (on this site's disk, for feeds with ack = \"site\"), duplicate, rejected with its code, \
    retry (the sender is asked to send again). Times are those of receipt, milliseconds those up to the answer. It \
    shows what comes from now on and ends with Ctrl-C; `medulla messages --feed` shows what came before. The content of \
    what is only stored is not shown: it is not in the ledger yet."
)]
pub struct Args {
    /// Name of the feed
    feed: String,
    /// The message itself, too: patient data
    #[arg(long)]
    content: bool,
    /// End after so many messages
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    #[command(flatten)]
    at: At,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let (client, runtime) = ledger::connect_to(&args.at.config)?;
    // A name is letters, digits, `-`, `_` and `.`; anything else is no feed's.
    let name: String =
        args.feed.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    if name != args.feed || name.is_empty() {
        bail!("no feed can have the name `{}`; `medulla graph` shows this site's", args.feed);
    }
    let mut events =
        runtime.block_on(client.events(&format!("/api/feeds/{name}/tap"))).with_context(|| {
            format!("feed {name} cannot be followed; `medulla graph` shows this site's feeds")
        })?;
    eprintln!("following {name}; Ctrl-C ends");
    let (mut out, mut shown) = (out::stdout(), 0);
    while args.limit.is_none_or(|limit| shown < limit) {
        let Some((event, data)) = runtime.block_on(events.next())? else {
            bail!("the site has stopped");
        };
        let mut message: Value = serde_json::from_str(&data).context("the site sent no JSON")?;
        match event.as_str() {
            "message" => {
                if args.content {
                    message["content"] = content(&client, &runtime, &message)?;
                }
                show(&mut out, &message, args.at.json)?;
                // Whoever follows wants to see it now.
                out.flush()?;
                shown += 1;
            }
            "missed" => eprintln!("more came than could be shown: up to {} are missing", message["at_most"]),
            _ => {}
        }
    }
    Ok(Verdict::Fine)
}

/// The raw text; null where there is none to show.
fn content(client: &AdminClient, runtime: &Runtime, message: &Value) -> anyhow::Result<Value> {
    let Some(index) = message["index"].as_u64() else { return Ok(Value::Null) };
    let entry: Value = runtime.block_on(client.get(&format!("/api/messages/{index}")))?;
    let raw = if entry["raw"].is_string() { &entry["raw"] } else { &entry["raw_base64"] };
    Ok(raw.clone())
}

fn show(out: &mut out::Out, message: &Value, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return out::json_line(out, message);
    }
    let text = |field: &str| message[field].as_str().unwrap_or_default();
    let at = Time(message["at_ms"].as_i64().unwrap_or_default()).to_rfc3339();
    let index = message["index"].as_u64().map_or("-".to_owned(), |index| index.to_string());
    writeln!(
        out,
        "{at:<30} {:<12} {:<20} {:<10} {:>9.1} ms {index:>9} {}",
        text("type"),
        printable(text("control_id")),
        text("outcome"),
        message["ms"].as_f64().unwrap_or_default(),
        text("code"),
    )?;
    // A terminal must not obey what a sender wrote.
    for line in text("content").split(['\r', '\n']).filter(|line| !line.is_empty()) {
        writeln!(out, "    {}", printable(line))?;
    }
    Ok(())
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{b7}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_sender_cannot_command_the_terminal() {
        assert_eq!(super::printable("a\u{1b}[2Jb\u{9b}c\t"), "a·[2Jb·c·");
    }
}
