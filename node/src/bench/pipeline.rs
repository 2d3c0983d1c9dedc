//! Runs the sites and the generator, and takes the measurements.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::consortium::Consortium;
use super::histogram::{buckets, quantile};
use super::load::Loaded;
use super::proc::{self, Usage};
use super::report::{Process, Report};

#[derive(Clone, Debug)]
pub struct Plan {
    pub sites: usize,
    pub connections: u32,
    pub window: usize,
    pub patients: u64,
    pub seconds: u64,
    pub warm_s: u64,
    pub rate: Option<f64>,
    /// Spread the connections over all sites instead of the first.
    pub spread: bool,
    pub models: Vec<PathBuf>,
    /// The feed's ack point: `quorum` or `site`.
    pub ack: String,
    /// Where the sites keep their data while it runs: its disk is part of what is measured.
    pub folder: PathBuf,
}

/// How long the last messages may take until they are scored.
const SETTLE: Duration = Duration::from_secs(30);

pub async fn run(plan: &Plan, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    say("starting the sites");
    let consortium = Consortium::start(plan.folder.clone(), plan.sites, &plan.models, &plan.ack).await?;
    let before = scrape(&consortium).await?;
    say(&format!("load for {} s after {} s of warming", plan.seconds, plan.warm_s));
    let started: Vec<Usage> = usages(&consortium);
    let (loaded, generator) = generate(plan, &consortium).await?;
    let ended: Vec<Usage> = usages(&consortium);
    say("waiting until all is scored");
    let after = settled(&consortium).await?;

    let mut processes: Vec<Process> = consortium
        .sites
        .iter()
        .zip(started.iter().zip(&ended))
        .map(|(site, (started, ended))| Process {
            name: format!("site {}", site.name),
            cpu_s: ended.cpu_s - started.cpu_s,
            rss_mib: ended.rss_mib,
        })
        .collect();
    processes.push(Process {
        name: "load generator".into(),
        cpu_s: generator.cpu_s,
        rss_mib: generator.rss_mib,
    });
    let alert =
        difference(&buckets(&after, "medulla_alert_seconds"), &buckets(&before, "medulla_alert_seconds"));
    let commit =
        difference(&buckets(&after, "medulla_commit_seconds"), &buckets(&before, "medulla_commit_seconds"));
    let milliseconds = |buckets: &[(f64, f64)], p: f64| quantile(buckets, p).map(|seconds| seconds * 1000.0);
    Ok(Report {
        sites: plan.sites,
        connections: plan.connections,
        window: plan.window,
        patients: plan.patients,
        rate: plan.rate,
        models: plan.models.len(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        receipt_to_ack_p50_ms: milliseconds(&commit, 0.5),
        receipt_to_ack_p99_ms: milliseconds(&commit, 0.99),
        receipt_to_alert_p50_ms: milliseconds(&alert, 0.5),
        receipt_to_alert_p99_ms: milliseconds(&alert, 0.99),
        alerts: alert.last().map_or(0, |(_, count)| *count as u64),
        loaded,
        processes,
    })
}

/// The generator as a process of its own: what it read, and what it took.
async fn generate(plan: &Plan, consortium: &Consortium) -> anyhow::Result<(Loaded, Usage)> {
    let receivers = if plan.spread { consortium.sites.len() } else { 1 };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "load"]);
    for site in consortium.sites.iter().take(receivers) {
        command.arg("--to").arg(&site.mllp);
    }
    for (option, value) in [
        ("--connections", plan.connections.to_string()),
        ("--window", plan.window.to_string()),
        ("--patients", plan.patients.to_string()),
        ("--seconds", plan.seconds.to_string()),
        ("--warm", plan.warm_s.to_string()),
    ] {
        command.args([option, &value]);
    }
    if let Some(rate) = plan.rate {
        command.args(["--rate", &rate.to_string()]);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let pid = child.id().context("the load generator did not start")?;
    let mut out = child.stdout.take().context("no output of the load generator")?;
    let mut text = String::new();
    let mut usage = Usage::default();
    let mut every = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            read = out.read_to_string(&mut text) => { read?; break }
            // Its last sign of life: /proc forgets a process that ended.
            _ = every.tick() => usage = proc::usage(pid).unwrap_or(usage),
        }
    }
    ensure!(child.wait().await?.success(), "the load generator failed; its message stands above");
    Ok((serde_json::from_str(&text).context("the load generator's result")?, usage))
}

fn usages(consortium: &Consortium) -> Vec<Usage> {
    consortium.sites.iter().map(|site| proc::usage(site.pid()).unwrap_or_default()).collect()
}

async fn scrape(consortium: &Consortium) -> anyhow::Result<String> {
    let mut all = String::new();
    for site in &consortium.sites {
        all.push_str(&site.metrics().await?);
    }
    Ok(all)
}

/// The metrics once no site has anything left to score.
async fn settled(consortium: &Consortium) -> anyhow::Result<String> {
    let began = std::time::Instant::now();
    loop {
        let text = scrape(consortium).await?;
        let behind =
            text.lines().filter_map(|line| line.strip_prefix("medulla_tail_lag ")).any(|lag| lag != "0");
        if !behind || began.elapsed() > SETTLE {
            return Ok(text);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What came to the buckets of `before` since then.
fn difference(after: &[(f64, f64)], before: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let earlier = |bound: f64| before.iter().find(|(b, _)| *b == bound).map_or(0.0, |(_, count)| *count);
    after.iter().map(|(bound, count)| (*bound, count - earlier(*bound))).collect()
}
