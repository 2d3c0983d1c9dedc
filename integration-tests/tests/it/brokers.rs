//! A broker's messages through three sites and back out as alerts, whatever is killed meanwhile. What the ledger
//! holds is compared with what the simulated hospital says it sent, never with a counter of the product's own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{
    AmqpQueues, Consortium, KafkaTopics, Letter, Listing, Site, SiteOptions, TruthFile, eventually, medulla,
    skip,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tokio::sync::RwLock;

/// Tests share the brokers; one that restarts a broker has it for itself.
pub static KAFKA: RwLock<()> = RwLock::const_new(());
pub static AMQP: RwLock<()> = RwLock::const_new(());

/// The site with the feed and the sink. Site `a` initialises and so leads first: killing the leader then kills
/// another one than the consumer.
const CONSUMER: usize = 2;
const LONG: Duration = Duration::from_secs(240);
/// Messages without an answer when a site is killed.
const UNDER_WAY: u64 = 50;
/// Messages in the outbox when its site is killed.
const IN_OUTBOX: f64 = 300.0;

pub enum Bus {
    Kafka(KafkaTopics),
    Amqp(AmqpQueues),
}

impl Bus {
    /// `None` where no Kafka was named, which is said.
    pub async fn kafka(test: &str) -> anyhow::Result<Option<Bus>> {
        let Ok(brokers) = std::env::var("KAFKA_BROKERS") else {
            skip(test, "KAFKA_BROKERS is not set");
            return Ok(None);
        };
        Ok(Some(Bus::Kafka(KafkaTopics::create(&brokers, &unique(test)?).await?)))
    }

    /// `None` where no AMQP broker was named, which is said.
    pub async fn amqp(test: &str) -> anyhow::Result<Option<Bus>> {
        let Ok(url) = std::env::var("AMQP_URL") else {
            skip(test, "AMQP_URL is not set");
            return Ok(None);
        };
        Ok(Some(Bus::Amqp(AmqpQueues::create(&url, &unique(test)?).await?)))
    }

    pub fn target(&self) -> String {
        match self {
            Bus::Kafka(topics) => topics.target(),
            Bus::Amqp(queues) => queues.target(),
        }
    }

    pub fn config(&self) -> String {
        match self {
            Bus::Kafka(topics) => topics.config(),
            Bus::Amqp(queues) => queues.config(),
        }
    }

    pub async fn dead_letters(&self) -> anyhow::Result<Vec<Letter>> {
        match self {
            Bus::Kafka(topics) => topics.letters(&topics.dead()),
            Bus::Amqp(queues) => queues.letters(&queues.dead()).await,
        }
    }

    pub async fn alerts(&self) -> anyhow::Result<Vec<Letter>> {
        match self {
            Bus::Kafka(topics) => topics.letters(&topics.alerts()),
            Bus::Amqp(queues) => queues.letters(&queues.alerts()).await,
        }
    }

    /// What the broker still owes once nobody consumes.
    pub async fn left(&self) -> anyhow::Result<i64> {
        match self {
            Bus::Kafka(topics) => topics.left(),
            Bus::Amqp(queues) => Ok(queues.left().await?.into()),
        }
    }

    pub async fn produce(&self, bodies: impl Iterator<Item = Vec<u8>>) -> anyhow::Result<()> {
        match self {
            Bus::Kafka(topics) => topics.produce(bodies).await,
            Bus::Amqp(queues) => queues.produce(bodies).await,
        }
    }
}

/// How many seeds the endless kind of test shall try (`MEDULLA_SEEDS`, 10 unless given); `None` where it was not asked
/// for, which is said.
pub fn seeds(test: &str) -> Option<u64> {
    if std::env::var_os("MEDULLA_LONG").is_none() {
        skip(test, "MEDULLA_LONG is not set");
        return None;
    }
    std::env::var("MEDULLA_SEEDS").map_or(Some(10), |count| count.parse().ok())
}

fn unique(test: &str) -> anyhow::Result<String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(format!("{}-{}", test.replace('_', "-"), now.as_nanos()))
}

/// What goes wrong when half of the messages are in the ledger.
pub enum Fault {
    None,
    KillConsumer,
    KillLeader,
    /// With `ack = "site"`: the peers hang, and the consumer is killed while its outbox holds what it acknowledged.
    LoseQuorum,
    /// A shell command that restarts the broker.
    Broker(String),
    /// So many sites, drawn by the seed, are killed one after the other.
    Kills {
        seed: u64,
        count: u32,
    },
}

/// How much the simulated hospital sends; about 28 messages a patient and day.
pub struct Load {
    pub patients: u32,
    pub messages_min: usize,
    /// Messages a second, so that a fault comes in the middle; `None`: as fast as the broker takes them.
    pub rate: Option<u32>,
}

/// The whole way. The faults differ; what must hold afterwards is the same.
pub async fn flow(bus: &Bus, load: &Load, fault: Fault) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let exactly = matches!(fault, Fault::None);
    let ack = if matches!(fault, Fault::LoseQuorum) { "site" } else { "quorum" };
    let mut consortium = start(folder.path(), bus, ack).await?;
    let truth = folder.path().join("truth.jsonl");
    let sender = send(bus.target(), load, &truth);
    let struck_at = strike(&mut consortium, load.messages_min / 2, fault).await?;
    sender.await??;
    let truth = TruthFile::read(&truth)?;
    ensure!(truth.sent.len() >= load.messages_min, "only {} messages were made", truth.sent.len());
    ensure!(struck_at < truth.distinct(), "the fault came too late: {struck_at} messages were in");

    wait_for_all(&consortium.sites[CONSUMER], &truth).await?;
    let alerts = wait_for_alerts(&consortium.sites[CONSUMER], bus).await?;
    feed_has_read_all(&consortium.sites[CONSUMER]).await?;
    // A graceful end settles what is in flight; then the broker must owe nothing.
    consortium.sites[CONSUMER].stop()?;
    let left = eventually("an empty queue", LONG, async || bus.left().await.ok().filter(|left| *left == 0));
    left.await?;
    consortium.sites[CONSUMER].start()?;
    consortium.sites[CONSUMER].ready().await?;

    let listing = Listing::of(&consortium.sites[CONSUMER]).await?;
    let name = &consortium.sites[CONSUMER].name;
    holds_exactly(&listing, name, &truth)?;
    dead_letters_match(&listing, name, &bus.dead_letters().await?, exactly)?;
    replicas_agree(&consortium, folder.path(), &listing).await?;
    println!(
        "{} sent: {} committed once, {} duplicates, {} refused and dead-lettered, {alerts} alerts delivered",
        truth.sent.len(),
        truth.count("committed"),
        truth.count("duplicate"),
        truth.count("rejected"),
    );
    Ok(())
}

async fn start(folder: &Path, bus: &Bus, ack: &str) -> anyhow::Result<Consortium> {
    let config = bus.config().replace("[[feed]]\n", &format!("[[feed]]\nack = \"{ack}\"\n"));
    let options = |name: &str| {
        let extra = if name == "c" { config.clone() } else { String::new() };
        SiteOptions { extra, ..SiteOptions::with_sepsis_model() }
    };
    Consortium::start(folder, options).await
}

fn send(target: String, load: &Load, truth: &Path) -> tokio::task::JoinHandle<anyhow::Result<String>> {
    let mut arguments = ["simulate", "--to", &target, "--septic", "0.3", "--broken", "0.012", "--seed", "11"]
        .map(str::to_owned)
        .to_vec();
    arguments.extend(["--patients".into(), load.patients.to_string()]);
    arguments.extend(["--truth".into(), truth.display().to_string(), "--json".into()]);
    arguments.extend(load.rate.into_iter().flat_map(|rate| ["--rate".into(), rate.to_string()]));
    tokio::task::spawn_blocking(move || medulla(&arguments.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// Waits for `after` messages in the ledger, does the harm and repairs it. Returns how many were in.
async fn strike(consortium: &mut Consortium, after: usize, fault: Fault) -> anyhow::Result<usize> {
    if matches!(fault, Fault::None) {
        return Ok(0);
    }
    let mut listing = Listing::default();
    let consumer = &consortium.sites[CONSUMER];
    let halfway = eventually("half of the messages", LONG, async || {
        listing.read_on(consumer).await.ok()?;
        (listing.count_incoming("c") >= after).then_some(())
    });
    halfway.await?;
    match fault {
        Fault::None => {}
        Fault::KillConsumer => kill_consumer(consortium).await?,
        Fault::KillLeader => kill_leader(consortium).await?,
        Fault::LoseQuorum => lose_quorum(consortium).await?,
        Fault::Broker(command) => {
            let run = tokio::task::spawn_blocking(move || Command::new("sh").args(["-c", &command]).status());
            ensure!(run.await??.success(), "the broker's restart command failed");
        }
        Fault::Kills { seed, count } => kill_some(consortium, seed, count).await?,
    }
    let struck_at = listing.count_incoming("c");
    println!("struck at {struck_at} of the site's messages");
    Ok(struck_at)
}

/// Random sites at random moments of the load, each back before the next one goes.
async fn kill_some(consortium: &mut Consortium, seed: u64, count: u32) -> anyhow::Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..count {
        tokio::time::sleep(Duration::from_millis(random.gen_range(0..1500))).await;
        let victim = &mut consortium.sites[random.gen_range(0..3)];
        victim.kill_9()?;
        tokio::time::sleep(Duration::from_millis(random.gen_range(0..2500))).await;
        victim.start()?;
        victim.ready().await?;
    }
    Ok(())
}

async fn kill_consumer(consortium: &mut Consortium) -> anyhow::Result<()> {
    kill_under_way(consortium, CONSUMER).await?;
    consortium.sites[CONSUMER].start()?;
    consortium.sites[CONSUMER].ready().await
}

async fn lose_quorum(consortium: &mut Consortium) -> anyhow::Result<()> {
    consortium.sites[..CONSUMER].iter_mut().try_for_each(|peer| peer.process().signal("STOP"))?;
    let consumer = &mut consortium.sites[CONSUMER];
    let gathered = eventually("messages in the outbox", LONG, async || {
        let waiting = consumer.metric("medulla_outbox_entries").await.ok()?;
        (waiting >= IN_OUTBOX).then_some(waiting)
    });
    println!("{} messages waited in the outbox", gathered.await?);
    consumer.kill_9()?;
    consumer.start()?;
    consumer.up().await?;
    let kept = consumer.metric("medulla_outbox_entries").await?;
    ensure!(kept >= IN_OUTBOX, "only {kept} are in the outbox after the restart");
    consortium.sites[..CONSUMER].iter_mut().try_for_each(|peer| peer.process().signal("CONT"))
}

/// The others elect a new leader before the old one comes back.
async fn kill_leader(consortium: &mut Consortium) -> anyhow::Result<()> {
    let killed = consortium.leader().await?;
    kill_under_way(consortium, killed).await?;
    let old = consortium.sites[killed].name.clone();
    let survivor = &consortium.sites[(killed + 1) % 3];
    let elected = eventually("another leader", Duration::from_secs(60), async || {
        let status = survivor.get("/api/ledger").await.ok()?;
        status["leader"].as_str().filter(|leader| *leader != old).map(str::to_owned)
    });
    println!("leader {old} killed, {} leads", elected.await?);
    consortium.sites[killed].start()?;
    consortium.sites[killed].ready().await
}

/// Kills a site while messages are on their way, however fast the machine is: what commits them hangs until some have
/// gathered at the consumer.
async fn kill_under_way(consortium: &mut Consortium, victim: usize) -> anyhow::Result<()> {
    let hanging: Vec<usize> = if victim == CONSUMER { vec![0, 1] } else { vec![victim] };
    for site in &hanging {
        consortium.sites[*site].process().signal("STOP")?;
    }
    let consumer = &consortium.sites[CONSUMER];
    let gathered = eventually("messages on their way", LONG, async || {
        let status = consumer.get("/api/feeds").await.ok()?;
        status["feeds"][0]["in_flight"].as_u64().filter(|count| *count >= UNDER_WAY)
    });
    println!("{} messages were on their way", gathered.await?);
    consortium.sites[victim].kill_9()?;
    for site in hanging.iter().filter(|site| **site != victim) {
        consortium.sites[*site].process().signal("CONT")?;
    }
    Ok(())
}

async fn wait_for_all(site: &Site, truth: &TruthFile) -> anyhow::Result<()> {
    let expected = truth.distinct();
    let mut listing = Listing::default();
    let all = eventually("all messages in the ledger", LONG, async || {
        listing.read_on(site).await.ok()?;
        (listing.count_incoming(&site.name) >= expected).then_some(())
    })
    .await;
    all.with_context(|| format!("{} of {expected} arrived", listing.count_incoming(&site.name)))
}

/// What came twice makes no second entry: it has been read when nothing waits and nothing is on its way.
async fn feed_has_read_all(site: &Site) -> anyhow::Result<()> {
    let read = eventually("a feed that has read everything", LONG, async || {
        let feed = site.get("/api/feeds").await.ok()?["feeds"][0].take();
        (feed["lag"] == 0 && feed["in_flight"] == 0).then_some(())
    });
    read.await
}

/// Every alert in the ledger has reached the sink as a Bundle with a RiskAssessment; returns how many there are.
async fn wait_for_alerts(site: &Site, bus: &Bus) -> anyhow::Result<usize> {
    let delivered = eventually("each alert of the ledger at the sink", LONG, async || {
        let kept = alert_ids(site).await.ok().filter(|kept| !kept.is_empty())?;
        let letters = bus.alerts().await.ok()?;
        let ids: BTreeSet<String> = letters.iter().map(|letter| letter.header("id").to_owned()).collect();
        (ids == kept).then_some((ids.len(), letters))
    });
    let (count, letters) = delivered.await?;
    for letter in letters {
        let bundle: Value = serde_json::from_slice(&letter.body)?;
        ensure!(bundle["resourceType"] == "Bundle", "no Bundle: {bundle}");
        let entries = bundle["entry"].as_array().context("entries")?;
        for wanted in ["RiskAssessment", "Provenance"] {
            let found = entries.iter().any(|entry| entry["resource"]["resourceType"] == wanted);
            ensure!(found, "no {wanted} in {bundle}");
        }
    }
    Ok(count)
}

/// Ids of the alerts in the ledger, each there once.
async fn alert_ids(site: &Site) -> anyhow::Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    for row in Listing::of(site).await?.of_kind("alert", &site.name) {
        let entry = site.get(&format!("/api/messages/{}", row.index)).await?;
        let id = entry["content"]["facts"]["id"].as_str().context("an alert's id")?;
        ensure!(ids.insert(id.to_owned()), "alert {id} is in the ledger twice");
    }
    Ok(ids)
}

/// Committed exactly once, and nothing else.
fn holds_exactly(listing: &Listing, site: &str, truth: &TruthFile) -> anyhow::Result<()> {
    let messages: Vec<(String, String)> = listing
        .of_kind("message", site)
        .map(|row| (row.control_id.clone().unwrap_or_default(), row.sha256.clone().unwrap_or_default()))
        .collect();
    let kept: BTreeSet<_> = messages.iter().cloned().collect();
    ensure!(kept.len() == messages.len(), "{} messages are there twice", messages.len() - kept.len());
    let expected = truth.committed();
    let missing = expected.difference(&kept).count();
    let foreign = kept.difference(&expected).count();
    ensure!(missing == 0 && foreign == 0, "{missing} messages missing, {foreign} that nobody sent");

    let refused: Vec<String> =
        listing.of_kind("rejected", site).map(|row| row.sha256.clone().unwrap_or_default()).collect();
    let kept: BTreeSet<String> = refused.iter().cloned().collect();
    ensure!(kept.len() == refused.len(), "{} refused ones are there twice", refused.len() - kept.len());
    ensure!(
        kept == truth.rejected(),
        "refused: {} in the ledger, {} sent",
        kept.len(),
        truth.rejected().len()
    );
    ensure!(
        !kept.is_empty() && truth.count("duplicate") > 0,
        "the traffic had nothing broken or nothing twice"
    );
    Ok(())
}

/// Each refused message is a dead letter with the reason that the ledger has.
fn dead_letters_match(
    listing: &Listing,
    site: &str,
    letters: &[Letter],
    exactly: bool,
) -> anyhow::Result<()> {
    let mut codes = BTreeMap::new();
    for letter in letters {
        ensure!(!letter.header("medulla-reason").is_empty(), "a dead letter without a reason");
        codes.insert(letter.sha256(), letter.header("medulla-code").to_owned());
    }
    let kept: BTreeMap<String, String> = listing
        .of_kind("rejected", site)
        .map(|row| (row.sha256.clone().unwrap_or_default(), row.code.clone().unwrap_or_default()))
        .collect();
    ensure!(codes == kept, "dead letters and refused entries differ: {codes:?} {kept:?}");
    // After a crash one may come again; without one none does.
    ensure!(!exactly || letters.len() == kept.len(), "{} dead letters of {}", letters.len(), kept.len());
    Ok(())
}

/// Same size and root everywhere, recomputed from the leaves at each site and in an export.
async fn replicas_agree(consortium: &Consortium, folder: &Path, listing: &Listing) -> anyhow::Result<()> {
    let (size, root) = consortium.agree().await?;
    for site in &consortium.sites {
        let (passed, said) = site.ledger_verify()?;
        ensure!(passed, "site {}: {said}", site.name);
        let verdict: Value = serde_json::from_str(&said)?;
        ensure!(verdict["size"].as_u64() >= Some(size), "site {}: {said}", site.name);
        let there = Listing::of(site).await?.count_incoming("c");
        ensure!(there == listing.count_incoming("c"), "site {} has {there} messages", site.name);
    }
    let export = folder.join("export");
    consortium.sites[0].export(&export)?;
    let said = medulla(&["ledger", "verify", export.to_str().context("a plain name")?, "--json"])?;
    let verdict: Value = serde_json::from_str(&said)?;
    ensure!(verdict["size"].as_u64() >= Some(size) && verdict["ok"] == true, "{said}");
    println!("size {size}, root {root} at all three sites");
    Ok(())
}
