//! `medulla bench`: figures of whole sites, of the ledger alone, of the HL7 v2 readers, of scoring and of searches, on
//! this machine.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{Usage, Verdict, out};
use crate::bench::ledger::{Growth, Plan as Steps, run_growth, run_steps};
use crate::bench::{self, Load, Plan};

/// Measure whole sites, the ledger alone, the HL7 v2 readers, scoring, or searches, on this machine
#[derive(clap::Subcommand)]
pub enum Command {
    /// Start sites and a load generator, and report what went through: parse, commit, score, alert
    #[command(after_help = "Example:\n  medulla bench pipeline --connections 16 --window 8 --seconds 20\n\n\
        Every message is an ORU^R01 of more than 1 KB with 12 results. Sites keep fsync on. Compare only runs \
        of the same minutes on the same machine.")]
    Pipeline(Pipeline),
    /// The ledger alone: sites in this process over loopback TLS, fsync on, signing, hashing, encryption, indexes
    #[command(
        after_help = "Examples:\n  medulla bench ledger --etcd\n  medulla bench ledger --grow 10000000 --bytes 64\n\n\
        Each number of clients appends events of random bytes, first each its next when the last is durable (closed \
        loop), then at a rate of --open-share of that, counted from when an event was due (open loop). --etcd drives \
        an etcd of as many members in turn, with as many clients and the same values; it takes no TLS. --grow \
        shows instead what an event costs, and what a receipt, a restart and a verification take, as a ledger grows."
    )]
    Ledger(LedgerArgs),
    /// The HL7 v2 readers: one thread from bytes to fields, to events, to FHIR JSON; hl7-parser beside it
    #[command(after_help = "Example:\n  medulla bench hl7 --seconds 2 --json\n\n\
        Messages are ORU^R01 with 40 and with 64,000 OBX. MB are those of the HL7 v2 read. A reader takes its figure \
        from the best of its rounds, by the thread's CPU time (on Linux). The ratio is time a byte over that with 40.")]
    Hl7(Hl7Args),
    /// Scoring: a row, an explanation and an event of a patient, one thread; libxgboost beside it
    #[command(after_help = "Example:\n  medulla bench score --model ml-scoring/models/sepsis\n\n\
        Without a model: 300 trees of depth 6 over 100 features. An event is a pulse: state update, features, score. Runs \
        the program medulla-train, as `medulla model train` does: libxgboost is not linked where patients are scored.")]
    Score(ScoreArgs),
    /// Finding messages by what one knows of them, as a ledger grows
    #[command(after_help = "Example:\n  medulla bench search --messages 10000000 --bytes 64\n\n\
        One site's ledger is filled with entries that have the tags of messages. At 100,000 and each further power of \
        ten, pages are sought by what callers know: an id, a patient, a type, an hour. 10,000,000 take about 10 GB.")]
    Search(SearchArgs),
    /// The load generator alone, against listeners that run already
    #[command(hide = true)]
    Load(LoadArgs),
}

#[derive(clap::Args)]
pub struct Pipeline {
    #[command(flatten)]
    shape: Shape,
    /// Sites that make the consortium
    #[arg(long, default_value = "3", value_parser = ["1", "3", "5"], value_name = "1|3|5")]
    sites: String,
    /// Spread the connections over all sites, instead of the first alone
    #[arg(long)]
    spread: bool,
    /// Folder of a model that scores beside NEWS2
    #[arg(long = "model", value_name = "DIR")]
    models: Vec<PathBuf>,
    /// The feed's ack point: what an answer waits for
    #[arg(long, default_value = "quorum", value_parser = ["quorum", "site"], value_name = "quorum|site")]
    ack: String,
    /// Where the sites' data lie while it runs (a new folder in it); the disk is part of what is measured
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct LedgerArgs {
    /// Sites that make the consortium
    #[arg(long, default_value = "3", value_parser = ["1", "3", "5"], value_name = "1|3|5")]
    sites: String,
    /// Numbers of clients
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256,1024",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: Vec<u32>,
    /// Bytes an event, incompressible
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    bytes: u32,
    /// Counted time, a step
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Seconds before the counted time, a step
    #[arg(long, default_value_t = 1)]
    warm: u64,
    /// The open loop's rate, as a share of the closed loop's
    #[arg(long, default_value_t = 0.7)]
    open_share: f64,
    /// Drive an etcd of as many members beside it, and print the ratio (Debian: etcd-server)
    #[arg(long)]
    etcd: bool,
    /// Grow one ledger to so many entries instead
    #[arg(long, value_name = "ENTRIES", conflicts_with_all = ["clients", "seconds", "warm", "open_share", "etcd"],
          value_parser = clap::value_parser!(u64).range(1_000..))]
    grow: Option<u64>,
    /// Where the sites' data lie while it runs (a new folder in it); the disk is part of what is measured
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct Hl7Args {
    /// Time for each reader and each size
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct ScoreArgs {
    /// Folder of a model that is timed too, with a patient's events
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// One JSON object a model instead of the tables
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct SearchArgs {
    /// Messages in the end
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    messages: u64,
    /// Bytes a message, incompressible
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    bytes: u32,
    /// Pages of each kind of search at each size
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    searches: u32,
    /// Where the site's data lie while it runs (a new folder in it); the disk is part of what is measured
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct LoadArgs {
    /// HOST:PORT of an MLLP listener; give it more than once to spread the connections
    #[arg(long, value_name = "ADDRESS", required = true)]
    to: Vec<String>,
    #[command(flatten)]
    shape: Shape,
}

#[derive(clap::Args)]
struct Shape {
    /// MLLP connections
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Messages ahead of their answers, a connection
    #[arg(long, default_value_t = 8)]
    window: usize,
    /// Patients, spread over the connections
    #[arg(long, default_value_t = 2_000)]
    patients: u64,
    /// Counted time
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Seconds before the counted time
    #[arg(long, default_value_t = 3)]
    warm: u64,
    /// Messages a second over all connections; default: as many as are answered
    #[arg(long)]
    rate: Option<f64>,
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Pipeline(args) => pipeline(args).await,
            Command::Ledger(args) => ledger(args).await,
            Command::Load(args) => load(args).await,
            Command::Hl7(args) => hl7(args),
            Command::Score(args) => score(args),
            Command::Search(args) => search(args).await,
        }
    })
}

async fn pipeline(args: &Pipeline) -> anyhow::Result<Verdict> {
    args.shape.check()?;
    let shape = &args.shape;
    let models = args.models.iter().map(std::path::absolute).collect::<Result<_, _>>()?;
    let plan = Plan {
        sites: args.sites.parse()?,
        connections: shape.connections,
        window: shape.window,
        patients: shape.patients,
        seconds: shape.seconds,
        warm_s: shape.warm,
        rate: shape.rate,
        spread: args.spread,
        models,
        ack: args.ack.clone(),
        folder: folder(args.dir.as_deref())?,
    };
    let report = bench::run_pipeline(&plan, |text| eprintln!("{text}")).await?;
    print(&report, args.json)?;
    Ok(if report.loaded.wrong == 0 && report.loaded.accepted > 0 { Verdict::Fine } else { Verdict::Wrong })
}

async fn ledger(args: &LedgerArgs) -> anyhow::Result<Verdict> {
    if !(args.open_share > 0.0 && args.open_share.is_finite()) {
        return Err(Usage("--open-share must be greater than 0".into()).into());
    }
    let (sites, bytes, folder) = (args.sites.parse()?, args.bytes as usize, folder(args.dir.as_deref())?);
    let say = |text: &str| eprintln!("{text}");
    if let Some(entries) = args.grow {
        let growth = Growth { sites, entries, bytes, folder };
        let grown = run_growth(&growth, say).await?;
        print(&grown, args.json)?;
        return Ok(if grown.verified { Verdict::Fine } else { Verdict::Wrong });
    }
    let plan = Steps {
        sites,
        clients: args.clients.iter().map(|clients| *clients as usize).collect(),
        bytes,
        seconds: args.seconds,
        warm_s: args.warm,
        open_share: args.open_share,
        etcd: args.etcd,
        folder,
    };
    let report = run_steps(&plan, say).await?;
    print(&report, args.json)?;
    Ok(if report.verified { Verdict::Fine } else { Verdict::Wrong })
}

fn hl7(args: &Hl7Args) -> anyhow::Result<Verdict> {
    let report = bench::run_hl7(Duration::from_secs(args.seconds), |text| eprintln!("{text}"))?;
    print(&report, args.json)?;
    Ok(Verdict::Fine)
}

fn score(args: &ScoreArgs) -> anyhow::Result<Verdict> {
    super::model::hand_over(|command| {
        command.arg("bench-score");
        if let Some(model) = &args.model {
            command.arg("--model").arg(model);
        }
        if args.json {
            command.arg("--json");
        }
    })
}

async fn search(args: &SearchArgs) -> anyhow::Result<Verdict> {
    let plan = bench::search::Plan {
        messages: args.messages,
        bytes: args.bytes as usize,
        searches: args.searches,
        folder: folder(args.dir.as_deref())?,
    };
    let report = bench::search::run(&plan, |text| eprintln!("{text}")).await?;
    print(&report, args.json)?;
    Ok(Verdict::Fine)
}

async fn load(args: &LoadArgs) -> anyhow::Result<Verdict> {
    args.shape.check()?;
    let shape = &args.shape;
    let load = Load {
        to: args.to.clone(),
        connections: shape.connections,
        window: shape.window,
        patients: shape.patients,
        seconds: shape.seconds,
        warm_s: shape.warm,
        rate: shape.rate,
    };
    let loaded = bench::run_load(load).await?;
    let mut out = out::stdout();
    out::json_line(&mut out, &loaded)?;
    out.flush()?;
    Ok(Verdict::Fine)
}

fn folder(parent: Option<&Path>) -> anyhow::Result<PathBuf> {
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
    Ok(std::path::absolute(parent.join(format!("medulla-bench-{}", std::process::id())))?)
}

fn print<T: Serialize + Display>(report: &T, json: bool) -> anyhow::Result<()> {
    let mut out = out::stdout();
    if json {
        out::json_line(&mut out, report)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(out.flush()?)
}

impl Shape {
    fn check(&self) -> Result<(), Usage> {
        match self.rate {
            Some(rate) if !(rate > 0.0 && rate.is_finite()) => {
                Err(Usage("--rate must be greater than 0".into()))
            }
            _ => Ok(()),
        }
    }
}
