//! A ledger that takes nothing: the feed stops reading, memory stays flat however much waits in the broker, and
//! when the ledger is back everything arrives once.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use base64::Engine;
use integration_tests::{Consortium, Listing, SiteOptions, eventually, sha256};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::brokers::{AMQP, Bus, KAFKA};

const MIB: usize = 1 << 20;
const RAW_BYTES: usize = 48 * 1024;

/// MiB that wait in the broker at the first and at the second look. `MEDULLA_LONG=1` takes ten minutes and some GB.
fn scale() -> (usize, usize) {
    let long = std::env::var_os("MEDULLA_LONG").is_some();
    if long { (100, 1000) } else { (50, 200) }
}

#[tokio::test]
async fn kafka_waits_and_memory_stays_flat() -> anyhow::Result<()> {
    let _broker = KAFKA.read().await;
    let Some(bus) = Bus::kafka("kafka_waits_and_memory_stays_flat").await? else { return Ok(()) };
    waits(&bus).await
}

#[tokio::test]
async fn amqp_waits_and_memory_stays_flat() -> anyhow::Result<()> {
    let _broker = AMQP.read().await;
    let Some(bus) = Bus::amqp("amqp_waits_and_memory_stays_flat").await? else { return Ok(()) };
    waits(&bus).await
}

async fn waits(bus: &Bus) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let options = |name: &str| {
        let extra = if name == "c" { bus.config() } else { String::new() };
        SiteOptions { extra, ..SiteOptions::default() }
    };
    let mut consortium = Consortium::start(folder.path(), options).await?;
    for peer in [0, 1] {
        consortium.sites[peer].process().signal("STOP")?;
    }
    let (first, second) = scale();
    let mut traffic = Traffic::new();
    bus.produce(traffic.messages(first)).await?;
    let low = settled_rss(&mut consortium).await?;
    bus.produce(traffic.messages(second - first)).await?;
    let high = settled_rss(&mut consortium).await?;
    println!(
        "RSS {} MiB with {first} MiB waiting, {} MiB with {second} MiB",
        low / MIB as u64,
        high / MIB as u64
    );
    let kept = Listing::of(&consortium.sites[2]).await?.count_incoming("c");
    ensure!(kept == 0, "{kept} messages committed without a quorum");
    ensure!(high as f64 <= low as f64 * 1.2, "memory grows with what waits: {low} then {high} bytes");

    for peer in [0, 1] {
        consortium.sites[peer].process().signal("CONT")?;
    }
    let sent = traffic.sent;
    let mut listing = Listing::default();
    let consumer = &consortium.sites[2];
    let all = eventually("everything in the ledger", Duration::from_secs(400), async || {
        listing.read_on(consumer).await.ok()?;
        (listing.count_incoming("c") >= sent.len()).then_some(())
    });
    all.await?;
    let kept: Vec<&str> = listing.of_kind("message", "c").filter_map(|row| row.sha256.as_deref()).collect();
    ensure!(kept.len() == sent.len(), "{} messages of {}", kept.len(), sent.len());
    ensure!(kept.iter().all(|hash| sent.contains(*hash)), "kept and sent differ");
    consortium.agree().await.map(drop)
}

/// The largest of the samples after the feed has taken all it will take.
async fn settled_rss(consortium: &mut Consortium) -> anyhow::Result<u64> {
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut largest = 0;
    for _ in 0..40 {
        largest = largest.max(consortium.sites[2].process().rss_bytes().unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    ensure!(largest > 0, "the consumer died: {}", consortium.sites[2].process().tail());
    Ok(largest)
}

/// Results with 64 KiB of random bytes as base64, so that no compression makes them smaller.
struct Traffic {
    random: ChaCha8Rng,
    sent: BTreeSet<String>,
}

impl Traffic {
    fn new() -> Traffic {
        Traffic { random: ChaCha8Rng::seed_from_u64(31), sent: BTreeSet::new() }
    }

    fn messages(&mut self, mib: usize) -> impl Iterator<Item = Vec<u8>> {
        (0..mib * MIB / (RAW_BYTES * 4 / 3)).map(|_| self.message())
    }

    fn message(&mut self) -> Vec<u8> {
        let mut raw = vec![0; RAW_BYTES];
        self.random.fill_bytes(&mut raw);
        let data = base64::engine::general_purpose::STANDARD.encode(raw);
        let number = self.sent.len();
        let message = format!(
            "MSH|^~\\&|TEST|TEST|MEDULLA|TEST|20260101120000||ORU^R01^ORU_R01|B{number}|P|2.5\r\
             PID|1||{}^^^TEST||Example^Person||19600101|F\rPV1|1|I|ICU^1^1\r\
             OBR|1||{number}|11502-2^Report^LN|||20260101120000\r\
             OBX|1|ED|11502-2^Report^LN||^AP^PDF^Base64^{data}||||||F|||20260101120000\r",
            number % 50
        );
        self.sent.insert(sha256(message.as_bytes()));
        message.into_bytes()
    }
}
