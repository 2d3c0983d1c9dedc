//! The figures of one run, as a table and as JSON.

use std::fmt;

use serde::Serialize;

use super::load::Loaded;

#[derive(Debug, Serialize)]
pub struct Report {
    pub sites: usize,
    pub connections: u32,
    pub window: usize,
    pub patients: u64,
    pub rate: Option<f64>,
    /// Models that scored beside NEWS2.
    pub models: usize,
    pub cores: usize,
    /// What the load generator read.
    #[serde(flatten)]
    pub loaded: Loaded,
    /// The site's own clock, from its histograms, warming included.
    pub receipt_to_ack_p50_ms: Option<f64>,
    pub receipt_to_ack_p99_ms: Option<f64>,
    pub receipt_to_alert_p50_ms: Option<f64>,
    pub receipt_to_alert_p99_ms: Option<f64>,
    pub alerts: u64,
    pub processes: Vec<Process>,
}

#[derive(Debug, Serialize)]
pub struct Process {
    pub name: String,
    /// User and system time over the whole load, warming included.
    pub cpu_s: f64,
    pub rss_mib: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loaded = &self.loaded;
        writeln!(
            f,
            "{} sites, {} cores; {} connections with {} outstanding; {} patients; {} bytes a message",
            self.sites, self.cores, self.connections, self.window, self.patients, loaded.message_bytes
        )?;
        writeln!(f, "acknowledged (AA)      {:>10} in {:.0} s", loaded.accepted, loaded.seconds)?;
        writeln!(f, "other answers          {:>10}", loaded.wrong)?;
        writeln!(f, "messages/s             {:>10.0}", loaded.messages_per_s)?;
        writeln!(f, "send → answer, sender  {}", pair(Some(loaded.ack_p50_ms), Some(loaded.ack_p99_ms)))?;
        writeln!(
            f,
            "receipt → ACK, site    {}",
            pair(self.receipt_to_ack_p50_ms, self.receipt_to_ack_p99_ms)
        )?;
        let alert = pair(self.receipt_to_alert_p50_ms, self.receipt_to_alert_p99_ms);
        writeln!(f, "receipt → alert        {alert} ({} alerts)", self.alerts)?;
        for process in &self.processes {
            writeln!(f, "{:<22} {:>8.1} CPU s  {:>8.0} MiB", process.name, process.cpu_s, process.rss_mib)?;
        }
        Ok(())
    }
}

fn pair(p50: Option<f64>, p99: Option<f64>) -> String {
    match (p50, p99) {
        (Some(p50), Some(p99)) => format!("{p50:>10.1} ms p50  {p99:>8.1} ms p99"),
        _ => format!("{:>10}", "none"),
    }
}
