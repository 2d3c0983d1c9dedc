//! `medulla hl7 to-fhir`: one Bundle a message.

use std::io::Write;
use std::path::PathBuf;

use clinical::hl7::{Limits, Message, PieceKind, split};

use super::{files, reader};
use crate::cli::{Verdict, out};

/// Print each message as a FHIR R4 Bundle, one a line
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  medulla hl7 to-fhir oru.hl7 --authority HOSP --zone Europe/Zurich | jq .\n\n\
    Messages that cannot be read are told on stderr; then it exits with 1."
)]
pub struct Args {
    /// A file of messages or a batch; - is standard input
    file: PathBuf,
    #[command(flatten)]
    reader: reader::Reader,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let feed = args.reader.feed()?;
    let now = reader::now();
    let mut out = out::stdout();
    let mut verdict = Verdict::Fine;
    for piece in split(files::read(&args.file)?) {
        let problem = match piece.kind {
            PieceKind::Message => match Message::parse(piece.bytes, &Limits::default()) {
                Ok(message) => {
                    out.write_all(&clinical::fhir::from_hl7(&message, &feed, now))?;
                    out.write_all(b"\n")?;
                    continue;
                }
                Err(error) => error.to_string(),
            },
            PieceKind::Stray => "belongs to no message: messages begin with MSH".into(),
            PieceKind::Envelope | PieceKind::Blank => continue,
        };
        eprintln!("{}: byte {}: {problem}", args.file.display(), piece.offset);
        verdict = Verdict::Wrong;
    }
    out.flush()?;
    Ok(verdict)
}
