//! One step after the other: so many clients, closed loop, then open loop; the ledger and etcd in turn.

use std::path::PathBuf;
use std::time::Duration;

use super::clients::{Load, Loop, Measured, Target, run as run_clients};
use super::etcd::Etcd;
use super::probe::fdatasync_ms;
use super::report::{Report, Step};
use super::sites::Sites;
use crate::bench::proc;

#[derive(Clone, Debug)]
pub struct Plan {
    pub sites: usize,
    pub clients: Vec<usize>,
    pub bytes: usize,
    pub seconds: u64,
    pub warm_s: u64,
    /// The open loop's rate, as a share of what the closed loop just did.
    pub open_share: f64,
    pub etcd: bool,
    /// Removed afterwards. Its disk is part of what is measured.
    pub folder: PathBuf,
}

pub async fn run(plan: &Plan, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    std::fs::create_dir_all(&plan.folder)?;
    let _removed = Removed(plan.folder.clone());
    let before_ms = fdatasync_ms(&plan.folder)?;
    say("starting the sites");
    let sites = Sites::open(&plan.folder, plan.sites).await?;
    let etcd = match plan.etcd {
        true => {
            say("starting etcd");
            Some(Etcd::start(&plan.folder.join("etcd"), plan.sites).await?)
        }
        false => None,
    };
    let mut steps = Vec::new();
    for clients in &plan.clients {
        steps.extend(step(plan, *clients, &sites, etcd.as_ref(), &mut say).await?);
    }
    let after_ms = fdatasync_ms(&plan.folder)?;
    say("verifying what was written");
    let verified = {
        let ledger = sites.first().clone();
        tokio::task::spawn_blocking(move || ledger.verify(&mut |_| {})).await??
    };
    sites.close().await?;
    Ok(Report {
        sites: plan.sites,
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        bytes: plan.bytes,
        seconds: plan.seconds,
        fdatasync_ms: [before_ms, after_ms],
        steps,
        verified: verified.ok,
        size: verified.size,
        batches: verified.batches,
    })
}

/// Closed and open loop with so many clients.
async fn step(
    plan: &Plan,
    clients: usize,
    sites: &Sites,
    etcd: Option<&Etcd>,
    say: &mut impl FnMut(&str),
) -> anyhow::Result<[Step; 2]> {
    say(&format!("{clients} clients, closed loop"));
    let (ledger, cpu_us_per_event) = measure_sites(plan, sites, clients, Loop::Closed).await?;
    let closed = Step {
        clients,
        rate: None,
        ledger,
        cpu_us_per_event,
        etcd: match etcd {
            Some(etcd) => Some(measure(plan, &etcd.clients(clients).await?, clients, Loop::Closed).await?),
            None => None,
        },
    };
    let rate = closed.ledger.events_per_s * plan.open_share;
    say(&format!("{clients} clients, open loop at {rate:.0}/s"));
    let (ledger, cpu_us_per_event) = measure_sites(plan, sites, clients, Loop::Open(rate)).await?;
    // Each at its own share: at the ledger's rate etcd would only show its queue.
    let etcd = match (etcd, &closed.etcd) {
        (Some(etcd), Some(closed)) => {
            let rate = closed.events_per_s * plan.open_share;
            Some(measure(plan, &etcd.clients(clients).await?, clients, Loop::Open(rate)).await?)
        }
        _ => None,
    };
    Ok([closed, Step { clients, rate: Some(rate), ledger, cpu_us_per_event, etcd }])
}

/// With the CPU time that an event took, of all sites and the clients.
async fn measure_sites(
    plan: &Plan,
    sites: &Sites,
    clients: usize,
    form: Loop,
) -> anyhow::Result<(Measured, f64)> {
    let (size, cpu_s) = (sites.first().size(), proc::own_cpu_s());
    let measured = measure(plan, sites, clients, form).await?;
    let events = sites.first().size().saturating_sub(size).max(1);
    Ok((measured, (proc::own_cpu_s() - cpu_s) * 1e6 / events as f64))
}

async fn measure(plan: &Plan, target: &impl Target, clients: usize, form: Loop) -> anyhow::Result<Measured> {
    let (warm, time) = (Duration::from_secs(plan.warm_s), Duration::from_secs(plan.seconds));
    run_clients(target, Load { clients, bytes: plan.bytes, warm, time, form }).await
}

/// A folder that goes when this is dropped.
pub struct Removed(pub PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
