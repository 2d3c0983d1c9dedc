//! Two sites read one topic as one group, while further members join and leave it every second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Consortium, KafkaTopics, SiteOptions, eventually};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;

use super::{judge, senders, storms};
use crate::brokers::{Bus, KAFKA};

const STRAYS_MAX: usize = 3;
const CHANGES: usize = 25;
const WAIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_storm_of_rebalances_costs_nothing() -> anyhow::Result<()> {
    const TEST: &str = "a_storm_of_rebalances_costs_nothing";
    let _broker = KAFKA.read().await;
    for (seed, mut random) in storms(TEST) {
        let Some(Bus::Kafka(topics)) = Bus::kafka(TEST).await? else { return Ok(()) };
        storm(&topics, &mut random).await.with_context(|| format!("seed {seed}"))?;
        println!("seed {seed}");
    }
    Ok(())
}

async fn storm(topics: &KafkaTopics, random: &mut ChaCha8Rng) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let feed = topics.config().split("[[sink]]").next().context("a feed")?.replace("\"bus\"", "\"kafka\"");
    let options = |name: &str| {
        let extra = if name == "c" { String::new() } else { feed.clone() };
        SiteOptions { extra, ..SiteOptions::default() }
    };
    let sites = Consortium::start(folder.path(), options).await?;
    let flowing = watch::Sender::new(true);
    let quarrel = async {
        let seen = quarrel(topics, random).await;
        flowing.send_replace(false);
        seen
    };
    let (seen, sent) = tokio::join!(quarrel, senders::kafka(topics, flowing.subscribe()));
    let (seen, sent) = (seen?, sent?);
    ensure!(seen > 0, "no stray member was ever given a partition");
    let count = sent.control_ids().len();
    let listing = judge::ledger_holds(&[&sites.sites[0], &sites.sites[1]], &[sent]).await?;
    let by = |site: &str| listing.of_kind("message", site).count();
    println!("{count} messages once and in order, {} by a, {} by b; strays read {seen}", by("a"), by("b"));
    let read =
        eventually("offsets of all messages", WAIT, async || topics.left().ok().filter(|left| *left == 0));
    read.await?;
    sites.agree().await?;
    for site in &sites.sites {
        let (passed, said) = site.ledger_verify()?;
        ensure!(passed, "site {}: {said}", site.name);
    }
    Ok(())
}

/// Somebody joins or leaves, about once a second. Returns how many messages strays have read.
async fn quarrel(topics: &KafkaTopics, random: &mut ChaCha8Rng) -> anyhow::Result<usize> {
    let read = Arc::new(AtomicUsize::new(0));
    let mut strays: Vec<Stray> = Vec::new();
    for _ in 0..CHANGES {
        tokio::time::sleep(Duration::from_millis(random.gen_range(600..1400))).await;
        let joins = strays.is_empty() || (strays.len() < STRAYS_MAX && random.gen_bool(0.5));
        if joins {
            strays.push(Stray::join(topics, read.clone())?);
        } else {
            let leaves = strays.swap_remove(random.gen_range(0..strays.len()));
            leaves.leave().await?;
        }
    }
    for stray in strays {
        stray.leave().await?;
    }
    Ok(read.load(Ordering::Relaxed))
}

/// A member of the group that reads, and says nothing of it to the broker.
struct Stray {
    over: Arc<AtomicBool>,
    reading: tokio::task::JoinHandle<()>,
}

impl Stray {
    fn join(topics: &KafkaTopics, read: Arc<AtomicUsize>) -> anyhow::Result<Stray> {
        let (consumer, over) = (topics.stray()?, Arc::new(AtomicBool::new(false)));
        let told = over.clone();
        let reading = tokio::task::spawn_blocking(move || {
            while !told.load(Ordering::Relaxed) {
                if let Some(Ok(_)) = consumer.poll(Duration::from_millis(100)) {
                    read.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Stray { over, reading })
    }

    async fn leave(self) -> anyhow::Result<()> {
        self.over.store(true, Ordering::Relaxed);
        Ok(self.reading.await?)
    }
}
