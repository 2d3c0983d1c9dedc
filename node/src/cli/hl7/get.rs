//! `medulla hl7 get`: one value.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clinical::hl7::{Limits, Message, messages};

use super::{files, reader};
use crate::cli::{Usage, Verdict, out};

/// Print one value: decoded to UTF-8, escapes resolved
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  medulla hl7 get adt.hl7 PID-5.1\n  \
    medulla hl7 get oru.hl7 'OBX[2]-5' --message 3\n\n\
    SEG[n]-field[repetition].component.subcomponent, all counted from 1. Exits with 1 when there is no such value.")]
pub struct Args {
    /// A file of messages or a batch; - is standard input
    file: PathBuf,
    /// Such as PID-5.1, OBX[2]-5, PID-3[2].4.2
    path: String,
    /// Which message of the file, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    message: u64,
    #[command(flatten)]
    reader: reader::Reader,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    if !is_path(&args.path) {
        return Err(Usage(format!("{} is no path; write it like PID-5.1 or OBX[2]-5", args.path)).into());
    }
    let feed = args.reader.feed()?;
    let position = usize::try_from(args.message - 1)?;
    let Some(piece) = messages(files::read(&args.file)?).nth(position) else {
        bail!("{} has no message {}", args.file.display(), args.message);
    };
    let message = Message::parse(piece.bytes, &Limits::default())
        .with_context(|| format!("{}: byte {}", args.file.display(), piece.offset))?;
    let message = message.for_feed(&feed);
    let Some(value) = message.get(&args.path) else { return Ok(Verdict::Wrong) };
    let mut out = out::stdout();
    writeln!(out, "{value}")?;
    out.flush()?;
    Ok(Verdict::Fine)
}

/// `SEG[n]-F[r].C.S`. The parser says "no value" to anything else; a typing mistake should be told apart.
fn is_path(path: &str) -> bool {
    let Some((segment, rest)) = path.split_once('-') else { return false };
    let (name, indexed) = split_index(segment);
    let mut parts = rest.split('.');
    let (field, repeated) = split_index(parts.next().unwrap_or_default());
    let parts: Vec<&str> = parts.collect();
    name.len() == 3
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        && indexed
        && is_number(field)
        && repeated
        && parts.len() <= 2
        && parts.iter().all(|part| is_number(part))
}

/// The part before `[n]`, and whether `[n]` is right or absent.
fn split_index(text: &str) -> (&str, bool) {
    match text.split_once('[') {
        Some((name, index)) => (name, index.strip_suffix(']').is_some_and(is_number)),
        None => (text, true),
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<usize>().is_ok_and(|number| number > 0)
}

#[cfg(test)]
mod tests {
    use super::is_path;

    #[test]
    fn knows_paths() {
        for right in ["PID-5.1", "OBX[2]-5", "PID-3[2].4.2", "ZB1-1"] {
            assert!(is_path(right), "{right}");
        }
        for wrong in
            ["PID", "PID-", "PID-0", "pid-5", "PID-5.", "PID-5.1.1.1", "OBX[0]-5", "OBX[2-5", "PIDX-1", ""]
        {
            assert!(!is_path(wrong), "{wrong}");
        }
    }
}
