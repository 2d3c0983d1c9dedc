//! `medulla run`: one site, until it is told to stop.

use std::path::PathBuf;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::{Verdict, validate};
use crate::config::Config;
use crate::site::RunningSite;

/// Run one site until SIGTERM or Ctrl-C
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  medulla keys init --dir keys --site a\n  medulla run --config site.toml\n\n\
    A stop is graceful: it stops reading, settles what is in flight and flushes. A second signal ends at once."
)]
pub struct Args {
    /// The site's configuration
    #[arg(long, value_name = "FILE", env = "MEDULLA_CONFIG")]
    config: PathBuf,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let Some(config) = validate::load_or_tell(&args.config)? else { return Ok(Verdict::Wrong) };
    // The actors' arbiters have threads of their own; ledger and transports share these.
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime().context("cannot start the runtime")?;
    let system = actix::System::with_tokio_rt(move || runtime);
    system.block_on(run(&config))?;
    Ok(Verdict::Fine)
}

async fn run(config: &Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let site = RunningSite::start(config).await?;
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    if let Some(log) = &site.log {
        tracing::info!(address = %log.address, "/log/ is open to everybody");
    }
    tracing::info!(site = %config.site.name, "running; care board at {scheme}://{}/", site.server.address);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: settling what is in flight");
    tokio::select! {
        stopped = site.stop() => stopped?,
        _ = terminate.recv() => anyhow::bail!("stopped at once by a second signal; unanswered messages come again"),
        _ = interrupt.recv() => anyhow::bail!("stopped at once by a second signal; unanswered messages come again"),
    }
    tracing::info!("stopped");
    Ok(())
}
