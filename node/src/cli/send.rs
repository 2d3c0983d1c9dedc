//! `medulla send`: a file's messages over MLLP, each answer printed.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clinical::hl7;
use connectors::mllp::ClientConfig;
use serde::Serialize;

use super::{Verdict, out};
use crate::simulate::Connection;

/// Send the HL7 v2 messages of a file over MLLP and print each answer
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  medulla send adt.hl7 --to 127.0.0.1:2575\n\nExits with 1 when an answer is not AA or CA."
)]
pub struct Args {
    file: PathBuf,
    /// HOST:PORT of the MLLP listener
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// PEM file with the authorities to trust: speaks TLS
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Seconds to go on trying when the receiver is away
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
    config.tls_ca.clone_from(&args.tls_ca);
    let mut connection = Connection::new(config, 1, Duration::from_secs(args.patience_s));
    let mut verdict = Verdict::Fine;
    let mut out = out::stdout();
    for piece in hl7::messages(bytes) {
        connection.send(piece.bytes).await?;
        let Some(answer) = connection.drain().await? else { continue };
        if !answer.accepted() {
            verdict = Verdict::Wrong;
        }
        let text = String::from_utf8_lossy(&answer.bytes).trim_end().replace('\r', "\n");
        if args.json {
            let code = answer.code.map(hl7::ack::AckCode::text);
            let line = Answered { offset: piece.offset, code, control_id: &answer.control_id, answer: text };
            out::json_line(&mut out, &line)?;
        } else {
            writeln!(out, "{text}\n")?;
        }
        out.flush()?;
    }
    Ok(verdict)
}
