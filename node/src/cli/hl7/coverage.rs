//! `medulla hl7 coverage`: which fields reach FHIR, measured.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clinical::fhir::{Fate, coverage};
use clinical::hl7::{Limits, Message, messages};
use serde::Serialize;

use super::{files, reader};
use crate::cli::{Verdict, out};

/// Tell for each field whether its values were found again in the FHIR that is written
#[derive(clap::Args)]
#[command(after_help = "Example:\n  medulla hl7 coverage messages/ --json | jq 'select(.kept > 0)'\n\n\
    mapped: what each value says stands in an element that the field's own maps write; kept: the field stands as it \
    was sent in the Bundle's Basic resource; dropped: neither, which is a fault. MSH-1, MSH-2 and numbers that only count segments \
    are left out. Exits with 1 when a field was dropped or a message could not be read.")]
pub struct Args {
    /// Files or folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// One JSON object a field: {"field","count","mapped","kept","dropped"}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reader: reader::Reader,
}

#[derive(Serialize)]
struct Line<'a> {
    field: &'a str,
    count: u64,
    mapped: u64,
    kept: u64,
    dropped: u64,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let feed = args.reader.feed()?;
    let now = reader::now();
    let (mut read, mut unreadable) = (0_u64, 0_u64);
    let mut fields: BTreeMap<(String, usize), [u64; 3]> = BTreeMap::new();
    for file in files::expand(&args.paths)? {
        for piece in messages(files::read(&file)?) {
            match Message::parse(piece.bytes, &Limits::default()) {
                Ok(message) => {
                    read += 1;
                    for (field, fate) in coverage(&message, &feed, now) {
                        fields.entry(key(&field)).or_default()[place(fate)] += 1;
                    }
                }
                Err(error) => {
                    unreadable += 1;
                    eprintln!("{}: byte {}: {error}", file.display(), piece.offset);
                }
            }
        }
    }
    let mut out = out::stdout();
    let mut total = [0_u64; 3];
    if !args.json {
        writeln!(out, "{:<10} {:>9} {:>9} {:>9} {:>9}", "field", "count", "mapped", "kept", "dropped")?;
    }
    for ((segment, number), counts) in &fields {
        let field = if *number == 0 { segment.clone() } else { format!("{segment}-{number}") };
        let [mapped, kept, dropped] = *counts;
        let line = Line { field: &field, count: mapped + kept + dropped, mapped, kept, dropped };
        total.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        if args.json {
            out::json_line(&mut out, &line)?;
        } else {
            writeln!(out, "{field:<10} {:>9} {mapped:>9} {kept:>9} {dropped:>9}", line.count)?;
        }
    }
    out.flush()?;
    let [mapped, kept, dropped] = total;
    eprintln!(
        "{read} messages, {unreadable} unreadable; {mapped} fields mapped, {kept} kept, {dropped} dropped"
    );
    Ok(if dropped + unreadable == 0 { Verdict::Fine } else { Verdict::Wrong })
}

/// So that PID-5 stands before PID-11.
fn key(field: &str) -> (String, usize) {
    let (segment, number) = field.rsplit_once('-').unwrap_or((field, "0"));
    (segment.to_owned(), number.parse().unwrap_or_default())
}

fn place(fate: Fate) -> usize {
    match fate {
        Fate::Mapped => 0,
        Fate::Kept => 1,
        Fate::Dropped => 2,
    }
}
