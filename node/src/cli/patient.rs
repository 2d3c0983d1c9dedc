//! `medulla patient shred`: a patient's content made unreadable, everywhere and for good.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Usage, Verdict, ledger, out, progress};

/// What concerns one patient
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make everything unreadable that this site has kept of a patient, in every copy, backups included
    #[command(
        after_help = "Examples:\n  medulla patient shred --authority HOSP --id 4711 --config site.toml\n  \
        medulla patient shred --authority HOSP --id 4711 --yes --json\n\n\
        The keys of the patient are destroyed; the entries stay, sealed for ever, and every proof still holds. It \
        cannot be undone, and it needs a majority of the sites. The ledger says who ordered it. A new visit is kept under a new key.\n\
        Not reached, and said: entries that are about another patient, too, and what other sites have sealed: shred \
        there as well. Not reached, and not found: refused messages, of which nobody could tell whose they are; what \
        has left for receivers of alerts. An identifier that was merged into another one is shredded by itself."
    )]
    Shred(Shred),
}

#[derive(clap::Args)]
pub struct Shred {
    /// Assigning authority, as in PID-3.4
    #[arg(long)]
    authority: String,
    /// As in PID-3.1
    #[arg(long)]
    id: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// The site's configuration
    #[arg(long, value_name = "FILE", env = "MEDULLA_CONFIG", default_value = "site.toml")]
    config: PathBuf,
}

#[derive(Deserialize, Serialize)]
struct Shredded {
    index: Option<u64>,
    keys: u64,
    shredded: u64,
    remaining: Vec<u64>,
    elsewhere: BTreeMap<String, u64>,
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Shred(args) => shred(args),
    }
}

fn shred(args: &Shred) -> anyhow::Result<Verdict> {
    if !args.yes && !confirmed(args)? {
        eprintln!("nothing was shredded");
        return Ok(Verdict::Wrong);
    }
    let (client, runtime) = ledger::connect_to(&args.config)?;
    let bar = progress::waiting("shredding: the outbox drains, a majority takes the entry");
    let body = json!({ "authority": args.authority, "id": args.id });
    let shredded = runtime.block_on(client.post::<Shredded>("/api/patients/shred", &body));
    bar.finish_and_clear();
    let shredded = shredded?;
    let mut out = out::stdout();
    if args.json {
        out::json_line(&mut out, &shredded)?;
    } else {
        show(&mut out, &shredded)?;
    }
    out.flush()?;
    let nothing = shredded.index.is_none() && shredded.shredded == 0;
    Ok(if nothing { Verdict::Wrong } else { Verdict::Fine })
}

/// The id once more: one that was mistyped once is rarely mistyped twice.
fn confirmed(args: &Shred) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let text = "shredding cannot be undone: confirm it at a terminal, or give --yes";
        return Err(Usage(text.into()).into());
    }
    eprint!("Everything about this patient at this site becomes unreadable, for good. Type the id again: ");
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    Ok(line.trim() == args.id)
}

fn show(out: &mut out::Out, shredded: &Shredded) -> anyhow::Result<()> {
    let Shredded { index, keys, shredded, remaining, elsewhere } = shredded;
    match index {
        Some(index) => writeln!(out, "shredded: entry {index} of the ledger says so, {keys} keys destroyed")?,
        None if *shredded > 0 => writeln!(out, "shredded already: nothing is left to destroy here")?,
        None => writeln!(out, "nothing to shred: this site holds no key of this patient")?,
    }
    writeln!(out, "unreadable     {shredded} entries that name the patient; their proofs still hold")?;
    if !remaining.is_empty() {
        let indices: Vec<String> = remaining.iter().map(u64::to_string).collect();
        writeln!(
            out,
            "still readable {}: about another patient, too, or made meanwhile: then shred again",
            indices.join(" ")
        )?;
    }
    for (site, entries) in elsewhere {
        writeln!(
            out,
            "at site {site:<6} {entries} entries that only that site can shred: run this there as well"
        )?;
    }
    Ok(())
}
