//! The figures, as a table and as JSON.

use std::fmt;

use serde::Serialize;

use super::clients::Measured;

#[derive(Debug, Serialize)]
pub struct Report {
    pub sites: usize,
    pub cores: usize,
    /// Of one event, incompressible.
    pub bytes: usize,
    pub seconds: u64,
    /// Before and after: median of 4 KiB.
    pub fdatasync_ms: [f64; 2],
    pub steps: Vec<Step>,
    /// What the run wrote was recomputed: hashes, chains, signatures, root.
    pub verified: bool,
    pub size: u64,
    pub batches: u64,
}

#[derive(Debug, Serialize)]
pub struct Step {
    pub clients: usize,
    /// The ledger's rate in the open loop, events a second; `None`: closed loop.
    pub rate: Option<f64>,
    pub ledger: Measured,
    /// All sites together, this program's clients included.
    pub cpu_us_per_event: f64,
    pub etcd: Option<Measured>,
}

impl Report {
    /// Closed loops: the ledger's best rate, etcd's best rate.
    pub fn best(&self) -> (f64, Option<f64>) {
        let closed = || self.steps.iter().filter(|step| step.rate.is_none());
        let ledger = closed().map(|step| step.ledger.events_per_s).fold(0.0, f64::max);
        let etcd = closed().filter_map(|step| Some(step.etcd.as_ref()?.events_per_s)).reduce(f64::max);
        (ledger, etcd)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = self.fdatasync_ms;
        writeln!(
            f,
            "{} sites in one process, {} cores; {} bytes an event; {} s a step",
            self.sites, self.cores, self.bytes, self.seconds
        )?;
        writeln!(f, "fdatasync of 4 KiB: {before:.2} ms before, {after:.2} ms after (median)")?;
        let with_etcd = self.steps.iter().any(|step| step.etcd.is_some());
        write!(f, "{:>7} {:<6} {} {:>12}", "clients", "loop", heading("ledger"), "CPU µs/event")?;
        writeln!(f, "{}", if with_etcd { format!("   {}   ratio", heading("etcd")) } else { String::new() })?;
        for step in &self.steps {
            let form = if step.rate.is_some() { "open" } else { "closed" };
            let (ledger, cpu_us) = (row(&step.ledger), step.cpu_us_per_event);
            write!(f, "{:>7} {form:<6} {ledger} {cpu_us:>12.1}", step.clients)?;
            match &step.etcd {
                Some(etcd) => {
                    let ratio = step.ledger.events_per_s / etcd.events_per_s;
                    writeln!(f, "   {}   {ratio:>5.1}", row(etcd))?;
                }
                None => writeln!(f)?,
            }
        }
        let (ledger, etcd) = self.best();
        write!(f, "best: ledger {ledger:.0} events/s")?;
        if let Some(etcd) = etcd {
            write!(f, ", etcd {etcd:.0}, ratio {:.2}", ledger / etcd)?;
        }
        let verdict = if self.verified { "verified" } else { "NOT VERIFIED" };
        writeln!(f, "\n{verdict}: {} leaves in {} batches", self.size, self.batches)
    }
}

fn heading(what: &str) -> String {
    format!("{:>12} {:>8} {:>8} {:>8}", format!("{what}/s"), "p50 ms", "p99 ms", "p99.9 ms")
}

fn row(measured: &Measured) -> String {
    let Measured { events_per_s, p50_ms, p99_ms, p999_ms, .. } = measured;
    format!("{events_per_s:>12.0} {p50_ms:>8.2} {p99_ms:>8.2} {p999_ms:>8.2}")
}
