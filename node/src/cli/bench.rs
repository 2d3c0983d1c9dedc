//! `medulla bench`: figures of whole sites on this machine.

use std::io::Write;
use std::path::PathBuf;

use super::{Usage, Verdict, out};
use crate::bench::{self, Load, Plan};

/// Measure whole sites on this machine
#[derive(clap::Subcommand)]
pub enum Command {
    /// Start sites and a load generator, and report what went through: parse, commit, score, alert
    #[command(after_help = "Example:\n  medulla bench pipeline --connections 16 --window 8 --seconds 20\n\n\
        Every message is an ORU^R01 of more than 1 KB with 12 results. Sites keep fsync on. Compare only runs \
        of the same minutes on the same machine.")]
    Pipeline(Pipeline),
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
            Command::Load(args) => load(args).await,
        }
    })
}

async fn pipeline(args: &Pipeline) -> anyhow::Result<Verdict> {
    args.shape.check()?;
    let shape = &args.shape;
    let parent = args.dir.clone().unwrap_or_else(std::env::temp_dir);
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
        folder: std::path::absolute(parent.join(format!("medulla-bench-{}", std::process::id())))?,
    };
    let report = bench::run_pipeline(&plan, |text| eprintln!("{text}")).await?;
    let mut out = out::stdout();
    if args.json {
        out::json_line(&mut out, &report)?;
    } else {
        write!(out, "{report}")?;
    }
    out.flush()?;
    Ok(if report.loaded.wrong == 0 && report.loaded.accepted > 0 { Verdict::Fine } else { Verdict::Wrong })
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
