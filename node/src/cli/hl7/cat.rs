//! `medulla hl7 cat`: proof that the parser accounts for every byte.

use std::io::Write;
use std::path::PathBuf;

use clinical::hl7::{Limits, Message, PieceKind, split};

use super::files;
use crate::cli::{Verdict, out};

/// Print what was parsed, written back from the parse: the same bytes
#[derive(clap::Args)]
#[command(after_help = "Example:\n  medulla hl7 cat adt.hl7 | cmp - adt.hl7\n\n\
    Bytes that belong to no message are passed through and told on stderr; then it exits with 1.")]
pub struct Args {
    /// A file of messages or a batch; - is standard input
    file: PathBuf,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let mut out = out::stdout();
    let mut verdict = Verdict::Fine;
    for piece in split(files::read(&args.file)?) {
        let problem = match piece.kind {
            PieceKind::Message => match Message::parse(piece.bytes.clone(), &Limits::default()) {
                Ok(message) => {
                    out.write_all(&message.write())?;
                    continue;
                }
                Err(error) => Some(error.to_string()),
            },
            PieceKind::Stray => Some("belongs to no message: messages begin with MSH".into()),
            PieceKind::Envelope | PieceKind::Blank => None,
        };
        if let Some(problem) = problem {
            eprintln!("{}: byte {}: {problem}", args.file.display(), piece.offset);
            verdict = Verdict::Wrong;
        }
        out.write_all(&piece.bytes)?;
    }
    out.flush()?;
    Ok(verdict)
}
