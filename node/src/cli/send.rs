//! `medulla send`: a file's messages over MLLP, each answer printed.

mod line;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clinical::hl7;
use connectors::mllp::ClientConfig;
use line::Line;
use serde::Serialize;

use super::{Verdict, out};
use crate::simulate::Answer;

/// Send the HL7 v2 messages of a file over MLLP and print each answer
#[derive(clap::Args)]
#[command(after_help = "Example:\n  medulla send adt.hl7 --to 127.0.0.1:2575\n\n\
    One message at a time: the next one leaves once all answers are there that MSH-15 and MSH-16 of this one ask for (CA and \
    AA, say). An answer that comes only for one outcome (ER, SU) is waited for two seconds. Exits with 1 when an answer \
    to a message is not AA or CA.")]
pub struct Args {
    file: PathBuf,
    /// HOST:PORT of the MLLP listener
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// PEM file with the authorities to trust: speaks TLS
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The name expected in the receiver's certificate, where it is not the address's host
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    tls_name: Option<String>,
    /// PEM file with the certificate to show, where the receiver asks for one
    #[arg(long, value_name = "FILE", requires = "tls_ca", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Seconds to go on trying when the receiver is away, and to wait for an answer
    #[arg(long, default_value_t = 30)]
    patience_s: u64,
    /// One JSON object an answer
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answered<'a> {
    offset: usize,
    /// MSA-1; null: no acknowledgement came back.
    code: Option<&'a str>,
    control_id: &'a str,
    answer: String,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let bytes = bytes::Bytes::from(std::fs::read(&args.file)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(send(args, bytes))
}

async fn send(args: &Args, bytes: bytes::Bytes) -> anyhow::Result<Verdict> {
    let mut config = ClientConfig::new(args.to.clone());
    config.timeout_s = args.patience_s;
    config.tls_ca.clone_from(&args.tls_ca);
    config.tls_name.clone_from(&args.tls_name);
    config.tls_cert.clone_from(&args.tls_cert);
    config.tls_key.clone_from(&args.tls_key);
    let mut line = Line::new(config, Duration::from_secs(args.patience_s));
    let mut verdict = Verdict::Fine;
    let mut out = out::stdout();
    for piece in hl7::messages(bytes) {
        let mut printed = Ok(());
        let print = |answer: &Answer| {
            if !answer.accepted() {
                verdict = Verdict::Wrong;
            }
            printed = show(&mut out, piece.offset, answer, args.json);
        };
        let heard = line.deliver(&piece.bytes, print).await?;
        printed?;
        if !heard.is_all {
            eprintln!(
                "the message at byte {} asks for an answer that did not come on this connection within {} s",
                piece.offset, args.patience_s
            );
        }
    }
    Ok(verdict)
}

fn show(out: &mut out::Out, offset: usize, answer: &Answer, as_json: bool) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(&answer.bytes).trim_end().replace('\r', "\n");
    if as_json {
        let code = answer.code.map(hl7::ack::AckCode::text);
        out::json_line(out, &Answered { offset, code, control_id: &answer.control_id, answer: text })?;
    } else {
        writeln!(out, "{text}\n")?;
    }
    Ok(out.flush()?)
}
