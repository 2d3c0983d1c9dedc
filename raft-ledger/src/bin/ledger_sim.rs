//! `ledger-sim`: seeds of the ledger's simulation, until one fails.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{CommandFactory, Parser, ValueEnum};
use raft_ledger::sim::{Found, Outcome, Plant, Search, run_seed};

/// Runs the ledger of 3 or 5 sites through losses, partitions, power cuts and clock jumps that a seed decides, and
/// checks that nothing acknowledged is lost and that all sites agree.
///
/// The same seed does the same again: `ledger-sim --seed 42 --verbose` tells what happens in it.
#[derive(Parser)]
#[command(
    name = "ledger-sim",
    after_help = "examples:\n  ledger-sim --seeds 1000                     seeds 1 to 1000\n  \
                  ledger-sim --seconds 300                    as many as five minutes take\n  \
                  ledger-sim --seed 42 --verbose              one seed, with what happens in it\n  \
                  ledger-sim --plant double-vote              until the planted bug is found\n\n\
                  exit code: 0 all seeds hold, 1 one does not, 2 wrong usage"
)]
struct Args {
    /// How many seeds to run
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
    /// Stop after so many seconds; then --seeds is no limit unless given
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// Run this one seed
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "seconds", "from"])]
    seed: Option<u64>,
    /// 3 or 5 sites; without it, 3 for even seeds and 5 for odd ones
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    sites: Option<u8>,
    /// Plant a bug that production does not have, to see that it is found
    #[arg(long, value_name = "BUG")]
    plant: Option<Plant>,
    /// Go on when a seed fails
    #[arg(long)]
    all: bool,
    /// Seeds at the same time
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Tell what happens in the seed, on stderr
    #[arg(long, requires = "seed")]
    verbose: bool,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    let given = Args::command().get_matches();
    if args.seconds.is_some() && given.value_source("seeds") == Some(clap::parser::ValueSource::DefaultValue)
    {
        args.seeds = u64::MAX;
    }
    if args.seed.is_none() || !args.verbose {
        // Panics of a simulated site are judged by the simulation.
        std::panic::set_hook(Box::new(|_| {}));
    }
    let search = Search {
        first_seed: args.seed.unwrap_or(args.from),
        seeds: if args.seed.is_some() { 1 } else { args.seeds },
        limit: args.seconds.map(Duration::from_secs),
        sites: args.sites.map(usize::from),
        plant: args.plant,
        all: args.all,
        threads: args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
    };
    if let Some(seed) = args.seed {
        let outcome = run_seed(seed, search.sites_of(seed), args.plant, args.verbose);
        report_seed(&args, &search, &outcome);
        return exit_code(outcome.violation.is_some());
    }
    let mut progress = Progress::new();
    let found = search.run(&mut |found| progress.show(found));
    progress.end();
    report(&args, &search, &found);
    exit_code(!found.failed.is_empty())
}

fn exit_code(failed: bool) -> ExitCode {
    if failed { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn report_seed(args: &Args, search: &Search, outcome: &Outcome) {
    let Outcome { seed, trace, counts, violation } = outcome;
    let trace = format!("{trace:016x}");
    if args.json {
        let mut object = serde_json::json!(counts);
        object["seed"] = (*seed).into();
        object["sites"] = search.sites_of(*seed).into();
        object["trace"] = trace.into();
        object["violation"] = violation.clone().into();
        println!("{object}");
        return;
    }
    println!("seed {seed}: {} events (trace {trace}) in {} ms, {counts}", counts.events, counts.simulated_ms);
    println!("{}", violation.as_ref().map_or("holds".to_owned(), |what| format!("does not hold: {what}")));
}

fn report(args: &Args, search: &Search, found: &Found) {
    let Found { seeds, counts, elapsed, failed } = found;
    let (per_seed, per_second) = (counts.events / (*seeds).max(1), *seeds as f64 / elapsed.as_secs_f64());
    if args.json {
        let mut object = serde_json::json!(counts);
        object["seeds"] = (*seeds).into();
        object["first_seed"] = search.first_seed.into();
        object["events_per_seed"] = per_seed.into();
        object["seeds_per_second"] = per_second.into();
        object["seconds"] = elapsed.as_secs_f64().into();
        let failed = failed.iter().map(|failed| {
            serde_json::json!({
                "seed": failed.seed, "violation": failed.violation, "replay": replay(search, failed.seed),
            })
        });
        object["failed"] = failed.collect();
        println!("{object}");
        return;
    }
    println!(
        "{seeds} seeds in {:.0} s ({per_second:.1}/s), {per_seed} events a seed, {} s simulated, {counts}",
        elapsed.as_secs_f64(),
        counts.simulated_ms / 1_000,
    );
    for Outcome { seed, violation, .. } in failed {
        println!("seed {seed} does not hold: {}", violation.as_deref().unwrap_or_default());
        println!("replay: {}", replay(search, *seed));
    }
    println!("{}", if failed.is_empty() { "all hold".to_owned() } else { format!("{} fail", failed.len()) });
}

fn replay(search: &Search, seed: u64) -> String {
    let mut command = format!(
        "cargo run -p raft-ledger --features sim --bin ledger-sim -- --seed {seed} --sites {} --verbose",
        search.sites_of(seed)
    );
    if let Some(plant) = search.plant.and_then(|plant| plant.to_possible_value()) {
        command += &format!(" --plant {}", plant.get_name());
    }
    command
}

/// On a terminal a line that moves, elsewhere one now and then.
struct Progress {
    every: Duration,
    shown: Instant,
}

impl Progress {
    fn new() -> Progress {
        let seconds = if std::io::stderr().is_terminal() { 1 } else { 10 };
        Progress { every: Duration::from_secs(seconds), shown: Instant::now() }
    }

    fn show(&mut self, found: &Found) {
        if self.shown.elapsed() >= self.every {
            self.shown = Instant::now();
            let end = if std::io::stderr().is_terminal() { "\r" } else { "\n" };
            eprint!("{} seeds in {} s{end}", found.seeds, found.elapsed.as_secs());
        }
    }

    fn end(&self) {
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
    }
}
