//! CPU and memory of a process, from `/proc`.

use std::fs;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system, all threads.
    pub cpu_s: f64,
    pub rss_mib: f64,
}

/// Linux counts CPU time to programs in hundredths of a second, whatever its own tick is.
const TICKS_PER_S: f64 = 100.0;

/// `None` once the process is gone.
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().trim_end_matches("kB").trim();
    Some(Usage { cpu_s: cpu_s(&stat)?, rss_mib: rss.parse::<f64>().ok()? / 1024.0 })
}

/// Of this process so far.
pub fn own_cpu_s() -> f64 {
    usage(std::process::id()).unwrap_or_default().cpu_s
}

/// Fields 14 and 15, counted after the name, which may hold spaces and brackets.
fn cpu_s(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<f64>().ok()?, fields.next()?.parse::<f64>().ok()?);
    Some((user + system) / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_any_name() {
        assert_eq!(cpu_s("7 (a) b) R 1 1 1 0 -1 0 0 0 0 0 150 50 0 0"), Some(2.0));
        assert!(usage(std::process::id()).is_some_and(|usage| usage.rss_mib > 0.0));
    }
}
