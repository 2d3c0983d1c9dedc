//! A ledger that grows: what an event costs at each power of ten, and what a large ledger still does quickly.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use raft_ledger::Ledger;
use rand::{Rng, RngCore};
use serde::Serialize;
use tokio::task::JoinSet;

use super::sites::Sites;
use super::steps::Removed;
use crate::bench::histogram::percentile;
use crate::bench::proc;

/// Callers at once, and what each appends in one call.
const CALLERS: usize = 8;
const CALL_EVENTS: usize = 128;
const FIRST_MARK: u64 = 100_000;
const RECEIPTS: usize = 1_000;
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Growth {
    pub sites: usize,
    pub entries: u64,
    pub bytes: usize,
    /// Removed afterwards.
    pub folder: PathBuf,
}

#[derive(Debug, Serialize)]
pub struct Grown {
    pub sites: usize,
    pub bytes: usize,
    pub marks: Vec<Mark>,
    /// After a clean stop, until the ledgers of all sites are open with all their entries.
    pub restart_s: f64,
    pub export_s: f64,
    /// The independent verifier over the whole export.
    pub verifier_leaves_per_s: f64,
    pub verified: bool,
    pub leaves_per_batch: f64,
}

#[derive(Debug, Serialize)]
pub struct Mark {
    pub size: u64,
    /// Over the second half of the way to this size.
    pub events_per_s: f64,
    /// All sites together, this program's callers included.
    pub cpu_us_per_event: f64,
    pub receipt_p50_ms: f64,
    pub receipt_p99_ms: f64,
    pub receipt_bytes_max: usize,
}

pub async fn run(growth: &Growth, mut say: impl FnMut(&str)) -> anyhow::Result<Grown> {
    std::fs::create_dir_all(&growth.folder)?;
    let _removed = Removed(growth.folder.clone());
    let sites = Sites::open(&growth.folder, growth.sites).await?;
    let mut marks = Vec::new();
    for size in sizes(growth.entries) {
        let now = sites.first().size();
        fill(&sites, now + (size - now) / 2, growth.bytes, &mut say).await?;
        let (from, began, cpu) = (sites.first().size(), Instant::now(), proc::own_cpu_s());
        fill(&sites, size, growth.bytes, &mut say).await?;
        let events = (sites.first().size() - from) as f64;
        let (events_per_s, cpu_us_per_event) =
            (events / began.elapsed().as_secs_f64(), (proc::own_cpu_s() - cpu) * 1e6 / events);
        let (times, receipt_bytes_max) = receipts(sites.first(), size).await?;
        let [receipt_p50_ms, receipt_p99_ms] = times;
        // A long run that is broken off has told so much.
        say(&format!(
            "at {size} entries: {events_per_s:.0} events/s, {cpu_us_per_event:.1} µs of CPU an event, \
             receipt p99 {receipt_p99_ms:.3} ms"
        ));
        marks.push(Mark {
            size,
            events_per_s,
            cpu_us_per_event,
            receipt_p50_ms,
            receipt_p99_ms,
            receipt_bytes_max,
        });
    }
    say("closing, and opening again");
    let size = sites.first().size();
    sites.close().await?;
    let began = Instant::now();
    let site = Sites::reopen(&growth.folder, growth.sites).await?;
    let restart_s = began.elapsed().as_secs_f64();
    anyhow::ensure!(site.first().size() == size, "the ledger came back with another size");
    say("exporting, and verifying the export");
    let began = Instant::now();
    let export = judge(site.first(), &growth.folder).await?;
    let export_s = began.elapsed().as_secs_f64() - export.seconds;
    site.close().await?;
    Ok(Grown {
        sites: growth.sites,
        bytes: growth.bytes,
        marks,
        restart_s,
        export_s,
        verifier_leaves_per_s: export.leaves_per_s,
        verified: export.ok && export.size == size,
        leaves_per_batch: export.size as f64 / export.batches.max(1) as f64,
    })
}

/// Powers of ten on the way, and the end.
pub fn sizes(entries: u64) -> Vec<u64> {
    let powers = std::iter::successors(Some(FIRST_MARK), |size| size.checked_mul(10));
    powers.take_while(|size| *size < entries).chain([entries]).collect()
}

async fn fill(sites: &Sites, size: u64, bytes: usize, say: &mut impl FnMut(&str)) -> anyhow::Result<()> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let sites = sites.clone();
        callers.spawn(async move {
            while sites.first().size() < size {
                let drafts = (0..CALL_EVENTS).map(|_| {
                    let mut value = vec![0; bytes];
                    rand::thread_rng().fill_bytes(&mut value);
                    sites.draft(value.into())
                });
                let drafts = drafts.collect();
                sites.append(caller, drafts).await?;
            }
            anyhow::Ok(())
        });
    }
    filled(callers, sites.first(), size, say).await
}

/// Waits for all who fill the ledger, and says every now and then how far it is.
pub async fn filled(
    mut callers: JoinSet<anyhow::Result<()>>,
    ledger: &Ledger,
    size: u64,
    say: &mut impl FnMut(&str),
) -> anyhow::Result<()> {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            done = callers.join_next() => match done {
                Some(done) => done??,
                None => return Ok(()),
            },
            _ = every.tick() => say(&format!("{} of {size} entries", ledger.size())),
        }
    }
}

/// p50 and p99 of making a receipt, in milliseconds, and the largest one's bytes.
async fn receipts(ledger: &Ledger, size: u64) -> anyhow::Result<([f64; 2], usize)> {
    let began = Instant::now();
    while ledger.checkpoint().is_none_or(|checkpoint| checkpoint.size < size) {
        if began.elapsed() > CHECKPOINT_WITHIN {
            bail!("no majority cosigned a checkpoint of {size} leaves");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ledger = ledger.clone();
    let made = tokio::task::spawn_blocking(move || {
        let (mut times_ms, mut bytes_max) = (Vec::with_capacity(RECEIPTS), 0);
        for _ in 0..RECEIPTS {
            let index = rand::thread_rng().gen_range(0..size);
            let began = Instant::now();
            let receipt = ledger.prove(index)?;
            times_ms.push(began.elapsed().as_secs_f64() * 1e3);
            bytes_max = bytes_max.max(receipt.len());
        }
        let percentiles = [0.5, 0.99].map(|p| percentile(&mut times_ms, p));
        anyhow::Ok((percentiles, bytes_max))
    });
    made.await?
}

async fn judge(ledger: &Ledger, folder: &Path) -> anyhow::Result<ledger_verifier::Export> {
    let (ledger, dir) = (ledger.clone(), folder.join("export"));
    let judged = tokio::task::spawn_blocking(move || {
        ledger.export(&dir, &mut |_| {})?;
        let keys = std::fs::read_to_string(dir.join("keys.txt")).context("the export's keys")?;
        let keys = ledger_verifier::Keys::parse(&keys)?;
        anyhow::Ok(ledger_verifier::judge_export(&dir, &keys, &mut |_| {})?)
    });
    judged.await?
}

impl fmt::Display for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} sites in one process; {} bytes an event, calls of {CALL_EVENTS}",
            self.sites, self.bytes
        )?;
        writeln!(
            f,
            "{:>10} {:>10} {:>13} {:>15} {:>15} {:>13}",
            "entries", "events/s", "CPU µs/event", "receipt p50 ms", "receipt p99 ms", "receipt bytes"
        )?;
        for mark in &self.marks {
            writeln!(
                f,
                "{:>10} {:>10.0} {:>13.1} {:>15.3} {:>15.3} {:>13}",
                mark.size,
                mark.events_per_s,
                mark.cpu_us_per_event,
                mark.receipt_p50_ms,
                mark.receipt_p99_ms,
                mark.receipt_bytes_max
            )?;
        }
        writeln!(f, "restart {:.2} s; export {:.1} s", self.restart_s, self.export_s)?;
        writeln!(
            f,
            "verifier: {:.0} leaves/s at {:.0} leaves a batch, {}",
            self.verifier_leaves_per_s,
            self.leaves_per_batch,
            if self.verified { "everything verified" } else { "NOT VERIFIED" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_powers_of_ten_and_the_end() {
        assert_eq!(sizes(50_000), [50_000]);
        assert_eq!(sizes(1_000_000), [100_000, 1_000_000]);
        assert_eq!(sizes(2_500_000), [100_000, 1_000_000, 2_500_000]);
    }
}
