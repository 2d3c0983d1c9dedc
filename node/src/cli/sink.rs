//! `medulla sink …`: where alerts go, and letting a sink go that holds one.

use std::io::Write;

use serde_json::{Value, json};

use super::at::At;
use super::{Usage, Verdict, ledger, out};

/// Sinks: how they stand, and letting one go that holds an alert its receiver refused
#[derive(clap::Subcommand)]
#[command(after_help = "Example:\n  medulla sink list && echo 'no sink holds an alert'")]
pub enum Command {
    /// The sinks, what they have delivered, and what they hold
    #[command(after_help = "Example:\n  medulla sink list --config site.toml --json\n\n\
        --json prints one object a sink: {\"name\",\"kind\",\"state\",\"on_nack\",\"delivered\",\"refused\",\"last_error\",\"held\"}. \
        \"held\" is null, or {\"alert\",\"index\",\"reason\",\"since\"}. Exits with 1 where a sink holds one.")]
    List(List),
    /// Let a sink go that stands at an alert its receiver refused (`on_nack = "hold"`)
    #[command(after_help = "Examples:\n  medulla sink release pager --retry --config site.toml\n  \
        medulla sink release pager --skip --reason 'the ward was told by telephone'\n\n\
        Who did so is an entry of the ledger. Refused again, the sink holds again.")]
    Release(Release),
}

#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub struct Release {
    /// Its name in the configuration
    sink: String,
    /// Send the alert once more
    #[arg(long, required_unless_present = "skip", conflicts_with = "skip")]
    retry: bool,
    /// Do not send it again, and go on with the next one
    #[arg(long, requires = "reason")]
    skip: bool,
    /// The alert's ledger index: another one that is held meanwhile is not let go
    #[arg(long, value_name = "INDEX")]
    alert: Option<u64>,
    /// Kept in the ledger
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    at: At,
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::List(args) => list(&args.at),
        Command::Release(args) => release(args),
    }
}

fn list(at: &At) -> anyhow::Result<Verdict> {
    let (client, runtime) = ledger::connect_to(&at.config)?;
    let feeds: Value = runtime.block_on(client.get("/api/feeds"))?;
    let (mut out, mut held) = (out::stdout(), 0);
    for sink in feeds["sinks"].as_array().into_iter().flatten() {
        held += usize::from(!sink["held"].is_null());
        if at.json {
            out::json_line(&mut out, sink)?;
            continue;
        }
        let text = |field: &str| sink[field].as_str().unwrap_or("-");
        let (name, kind, state, on_nack) = (text("name"), text("kind"), text("state"), text("on_nack"));
        write!(out, "{name:<16} {kind:<8} {state:<8} on_nack {on_nack:<10} ")?;
        write!(out, "{} delivered, {} refused", sink["delivered"], sink["refused"])?;
        if let Some(alert) = sink["held"].as_object() {
            let reason = alert["reason"].as_str().unwrap_or_default();
            write!(out, "; holds the alert of entry {}: {reason}", alert["index"])?;
        }
        writeln!(out)?;
    }
    out.flush()?;
    Ok(if held == 0 { Verdict::Fine } else { Verdict::Wrong })
}

fn release(args: &Release) -> anyhow::Result<Verdict> {
    // It becomes a part of a path.
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if args.sink.is_empty() || !args.sink.chars().all(valid) {
        return Err(Usage(format!("{:?} is no name of a sink", args.sink)).into());
    }
    let how = if args.skip { "skip" } else { "retry" };
    let (client, runtime) = ledger::connect_to(&args.at.config)?;
    let body = json!({ "how": how, "index": args.alert, "reason": args.reason });
    let path = format!("/api/sinks/{}/release", args.sink);
    let done: Value = runtime.block_on(client.post(&path, &body))?;
    let mut out = out::stdout();
    match args.at.json {
        true => out::json_line(&mut out, &done)?,
        false => writeln!(out, "let go, as entry {} says", done["index"])?,
    }
    out.flush()?;
    Ok(Verdict::Fine)
}
