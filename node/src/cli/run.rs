//! `medulla run`: one site, until it is told to stop.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Verdict, validate};
use crate::api::{AskReload, Reload};
use crate::config::Config;
use crate::http::socket_path;
use crate::site::RunningSite;

/// Run one site until SIGTERM or Ctrl-C
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  medulla keys init --dir keys --site a\n  medulla run --config site.toml\n\n\
    A stop is graceful: it stops reading, settles what is in flight and flushes. A second signal ends at once.\n\
    SIGHUP has it take over its changed configuration, as `medulla reload` does."
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
    match system.block_on(run(config, &args.config))? {
        End::Told => Ok(Verdict::Fine),
        End::Outdated | End::Damaged => Err(start_again()),
    }
}

/// Why a site ended.
#[derive(Clone, Copy)]
enum End {
    Told,
    /// It starts again as another node: see `Ledger::outdated`.
    Outdated,
    /// Its ledger is damaged: another start heals it.
    Damaged,
}

/// This very process, from its beginning: what the former run still holds of the databases is gone for certain. Returns
/// only what went wrong.
fn start_again() -> anyhow::Error {
    let mut arguments = std::env::args_os();
    let named = arguments.next();
    let program = std::env::current_exe().ok().filter(|path| path.exists()).or(named.map(PathBuf::from));
    let Some(program) = program else {
        return anyhow::anyhow!("cannot tell which program this is; start this site again");
    };
    let failed = Command::new(program).args(arguments).exec();
    anyhow::Error::new(failed).context("cannot begin anew; start this site again")
}

/// Ends a site that takes no part yet, at once, when it is told to. What heals its ledger may read disks for minutes and
/// cannot be interrupted; it begins anew with the next start, as after a power cut. Without RocksDB's destructors, too:
/// they would run, or wait, beside threads that still use what they destroy.
async fn end_unstarted([mut terminate, mut interrupt]: [Signal; 2], socket: PathBuf) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopped before the site ran");
    let _ = std::fs::remove_file(socket);
    signal_hook::low_level::exit(0)
}

async fn run(config: Config, file: &Path) -> anyhow::Result<End> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // From here on: one that comes before the site runs is answered once it does.
    let mut hangup = signal(SignalKind::hangup())?;
    // A ledger that heals may take long. In a task of its own, because what heals it may hold up this one.
    let signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let unstarted = tokio::spawn(end_unstarted(signals, socket_path(&config.site.data)));
    let name = config.site.name.clone();
    let site = RunningSite::start(config, file).await;
    unstarted.abort();
    let site = site?;
    let scheme = if site.server.tls.is_some() { "https" } else { "http" };
    if let Some(log) = &site.log {
        tracing::info!(address = %log.address, "/log/ is open to everybody");
    }
    tracing::info!(site = %name, "running; care board at {scheme}://{}/", site.server.address);
    let reloads = async {
        while hangup.recv().await.is_some() {
            // Its log says what became of it.
            let _ = site.reloader.reload(AskReload::default(), "SIGHUP").await;
        }
        std::future::pending().await
    };
    let end = tokio::select! {
        end = reloads => end,
        _ = terminate.recv() => End::Told,
        _ = interrupt.recv() => End::Told,
        () = site.outdated() => {
            tracing::info!("this site begins anew, as a new node");
            End::Outdated
        }
        damage = site.damaged() => {
            tracing::error!(damage, "the ledger database is damaged; the site begins anew to heal it from its peers");
            End::Damaged
        }
    };
    tracing::info!("stopping: settling what is in flight");
    tokio::select! {
        stopped = site.stop() => match end {
            End::Told | End::Outdated => stopped?,
            // What could not be saved is made again from the ledger.
            End::Damaged => drop(stopped.inspect_err(|error| tracing::error!(%error, "the stop was not clean"))),
        },
        _ = terminate.recv() => anyhow::bail!("stopped at once by a second signal; unanswered messages come again"),
        _ = interrupt.recv() => anyhow::bail!("stopped at once by a second signal; unanswered messages come again"),
    }
    tracing::info!("stopped");
    Ok(end)
}
