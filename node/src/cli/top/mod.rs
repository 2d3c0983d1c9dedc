//! `medulla top`: a running site on one screen.

mod sample;
mod screen;

use std::io::Write;
use std::time::Duration;

use tokio::runtime::Runtime;

use self::sample::Sample;
use super::at::At;
use super::{Verdict, ledger, out};
use crate::http::AdminClient;

/// Watch a running site: feeds, ledger, other sites, sinks, alerts, refused messages
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  medulla top\n  medulla top --every 5\n  medulla top --once --json | jq .feeds\n\n\
    Rates are over the time between two looks; --once takes two, one after the other. Ctrl-C ends."
)]
pub struct Args {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// One screen, and the end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    at: At,
}

/// Cursor to the upper left corner; what stands there is written over, so nothing flickers.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";
const CLEAR: &str = "\x1b[2J";

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let (client, runtime) = ledger::connect_to(&args.at.config)?;
    let every = Duration::from_secs(if args.once { 1 } else { args.every });
    let mut before = look(&client, &runtime)?;
    let mut is_first = true;
    loop {
        std::thread::sleep(every);
        let now = look(&client, &runtime)?;
        let view = screen::View::of(&before, &now);
        let mut out = out::stdout();
        if args.at.json {
            out::json_line(&mut out, &view)?;
        } else if args.once {
            out.write_all(view.text().as_bytes())?;
        } else {
            let text = view.text().replace('\n', &format!("{REST_OF_LINE}\n"));
            let clear = if std::mem::take(&mut is_first) { CLEAR } else { "" };
            write!(out, "{clear}{HOME}{text}{REST_OF_SCREEN}")?;
        }
        out.flush()?;
        if args.once {
            return Ok(Verdict::Fine);
        }
        before = now;
    }
}

fn look(client: &AdminClient, runtime: &Runtime) -> anyhow::Result<Sample> {
    Ok(runtime.block_on(Sample::take(client))?)
}
