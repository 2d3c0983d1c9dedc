//! `medulla hl7 check`: what a feed would say to each message.

use std::io::Write;
use std::path::PathBuf;

use clinical::hl7::{Limits, Report, Status, check};

use super::{files, reader};
use crate::cli::{Verdict, out};

/// Tell for each message whether a feed would take it, and what it noticed
#[derive(clap::Args)]
#[command(after_help = "Example:\n  medulla hl7 check messages/ --json | jq 'select(.status != \"ok\")'\n\n\
    Exits with 1 when a message would be rejected. Texts hold no value of the message.")]
pub struct Args {
    /// Files or folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// One JSON object a message: {"file","offset","type","control_id","version","segments","charset","status","issues"}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reader: reader::Reader,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let feed = args.reader.feed()?;
    let (limits, now) = (Limits::default(), reader::now());
    let mut out = out::stdout();
    let mut counts = [0_u64; 3];
    for file in files::expand(&args.paths)? {
        let name = file.display().to_string();
        for report in check(files::read(&file)?, &name, &feed, &limits, now) {
            counts[match report.status {
                Status::Ok => 0,
                Status::Warn => 1,
                Status::Rejected => 2,
            }] += 1;
            if args.json { out::json_line(&mut out, &report)? } else { show(&mut out, &report)? }
        }
    }
    out.flush()?;
    let [ok, warn, rejected] = counts;
    eprintln!("{} messages: {ok} ok, {warn} with warnings, {rejected} rejected", ok + warn + rejected);
    Ok(if rejected == 0 { Verdict::Fine } else { Verdict::Wrong })
}

fn show(out: &mut impl Write, report: &Report) -> anyhow::Result<()> {
    let status = match report.status {
        Status::Ok => "ok",
        Status::Warn => "warn",
        Status::Rejected => "rejected",
    };
    let Report { file, offset, type_, control_id, .. } = report;
    writeln!(out, "{file}:{offset}: {status} {type_} {control_id}")?;
    for issue in &report.issues {
        writeln!(out, "    {} {}: {}", issue.location, issue.code, issue.text)?;
    }
    Ok(())
}
