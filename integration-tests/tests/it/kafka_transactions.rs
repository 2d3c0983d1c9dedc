//! An upstream that writes to Kafka in transactions: what it committed is taken, in order and once; what it aborted is never
//! seen; what is open is neither read nor owed.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use integration_tests::{
    KafkaTopics, KafkaTransactions, Site, SiteOptions, admission, control_ids, eventually, medulla, text,
};

use crate::brokers::{Bus, KAFKA};

const WAIT: Duration = Duration::from_secs(120);
/// Over several of the feed's own measurements, which are a second apart.
const STAYS: Duration = Duration::from_secs(4);

struct Scene {
    topics: KafkaTopics,
    site: Site,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn start(test: &str) -> anyhow::Result<Option<Scene>> {
        let Some(Bus::Kafka(topics)) = Bus::kafka(test).await? else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let extra = topics.config().split("[[sink]]").next().context("a feed")?.to_owned();
        let site = Site::alone(folder.path(), &SiteOptions { extra, ..SiteOptions::default() }).await?;
        Ok(Some(Scene { topics, site, _folder: folder }))
    }

    /// Waits for the last of `expected`, which must be all that is there, in this order.
    async fn holds(&self, expected: &[String]) -> anyhow::Result<()> {
        let mut there = Vec::new();
        let all = eventually("the committed messages", WAIT, async || {
            there = control_ids(&self.site, "message").await.ok()?;
            (there.len() >= expected.len()).then_some(())
        });
        let waited = all.await;
        ensure!(there == expected, "in the ledger {there:?}, committed {expected:?}; {waited:?}");
        Ok(())
    }

    /// Waits until the feed owes nothing, and goes on owing nothing: before it has measured anything it says 0, too.
    async fn owes_nothing(&self) -> anyhow::Result<()> {
        let (mut lag, mut since) = (0.0, Instant::now());
        let at_end = eventually("a lag of 0 that stays", WAIT, async || {
            lag = self.site.metric("medulla_feed_lag{feed=\"bus\"}").await.ok()?;
            if lag != 0.0 {
                since = Instant::now();
            }
            (since.elapsed() >= STAYS).then_some(())
        });
        at_end
            .await
            .with_context(|| format!("lag {lag}; {:?} left to the last stable offset", self.topics.left()))
    }

    /// The committed offsets stand at the end of what can be read: whoever watches the group at the broker sees nothing left.
    async fn broker_sees_nothing_left(&self) -> anyhow::Result<()> {
        let mut left = 0;
        let none = eventually("offsets at the end of the log", WAIT, async || {
            left = self.topics.left().ok()?;
            (left == 0).then_some(())
        });
        none.await.with_context(|| format!("{left} are left"))
    }

    /// Neither an entry, nor a count, nor a dead letter, nor something for the error queue.
    async fn nothing_was_refused(&self) -> anyhow::Result<()> {
        let refused = control_ids(&self.site, "rejected").await?;
        ensure!(refused.is_empty(), "refused: {refused:?}");
        let metrics = self.site.text("/metrics").await?;
        let counted = metrics.lines().find(|line| line.starts_with("medulla_rejected_total{feed=\"bus\""));
        ensure!(counted.is_none(), "{counted:?}");
        ensure!(self.topics.letters(&self.topics.dead())?.is_empty(), "a dead letter");
        let open = medulla(&["errors", "list", "--json", "--config", text(&self.site.config())])?;
        ensure!(open.is_empty(), "in the error queue: {open}");
        Ok(())
    }
}

fn ids(what: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{what}-{number}")).collect()
}

fn bodies(ids: &[String]) -> Vec<String> {
    ids.iter().map(|id| admission(id)).collect()
}

async fn committed(upstream: &KafkaTransactions, partition: i32, ids: &[String]) -> anyhow::Result<()> {
    upstream.begin()?;
    upstream.write(partition, &bodies(ids)).await?;
    upstream.commit()
}

/// Admissions, and what would be refused if it were read.
async fn aborted(upstream: &KafkaTransactions, partition: i32, count: usize) -> anyhow::Result<()> {
    upstream.begin()?;
    upstream.write(partition, &bodies(&ids("aborted", count))).await?;
    upstream.write(partition, &["no HL7 at all".to_owned()]).await?;
    upstream.abort()
}

#[tokio::test]
async fn kafka_committed_transactions_and_no_others() -> anyhow::Result<()> {
    let _broker = KAFKA.read().await;
    let Some(mut scene) = Scene::start("kafka_committed_transactions_and_no_others").await? else {
        return Ok(());
    };
    let lab = scene.topics.transactions("lab")?;
    let (first, second) = (ids("first", 20), ids("second", 10));
    committed(&lab, 0, &first).await?;
    aborted(&lab, 0, 50).await?;
    committed(&lab, 0, &second).await?;
    // Behind the last message, and in a partition where nothing was ever committed.
    aborted(&lab, 0, 7).await?;
    aborted(&lab, 1, 5).await?;
    let mut expected = [first, second].concat();
    scene.holds(&expected).await?;
    scene.owes_nothing().await?;
    scene.broker_sees_nothing_left().await?;
    println!("{} committed are there, lag 0, and the broker sees nothing left", expected.len());

    // What is committed behind an open transaction waits for it; another partition does not.
    let monitor = scene.topics.transactions("monitor")?;
    monitor.begin()?;
    monitor.write(0, &bodies(&ids("open", 5))).await?;
    let (behind, beside) = (ids("behind", 10), ids("beside", 3));
    lab.begin()?;
    lab.write(0, &bodies(&behind)).await?;
    lab.write(2, &bodies(&beside)).await?;
    lab.commit()?;
    expected.extend(beside);
    scene.holds(&expected).await?;
    scene.owes_nothing().await?;
    println!("behind an open transaction {} messages wait, lag 0", behind.len());
    scene.nothing_was_refused().await?;

    scene.site.kill_9()?;
    scene.site.start()?;
    scene.site.ready().await?;
    let restarted = ids("restarted", 3);
    committed(&lab, 2, &restarted).await?;
    expected.extend(restarted);
    scene.holds(&expected).await?;
    scene.owes_nothing().await?;

    // It crashed; the one that takes its place ends what it left open.
    drop(monitor);
    let monitor = scene.topics.transactions("monitor")?;
    expected.extend(behind);
    scene.holds(&expected).await?;
    let again = ids("again", 5);
    committed(&monitor, 0, &again).await?;
    expected.extend(again);
    scene.holds(&expected).await?;
    scene.owes_nothing().await?;
    scene.broker_sees_nothing_left().await?;

    scene.site.stop()?;
    // While nobody reads: nothing of it is ever delivered.
    aborted(&lab, 1, 20).await?;
    scene.site.start()?;
    scene.site.ready().await?;
    scene.broker_sees_nothing_left().await?;
    scene.owes_nothing().await?;
    scene.holds(&expected).await?;
    scene.nothing_was_refused().await?;
    println!("{} messages, each once and in order, none refused", expected.len());
    Ok(())
}

#[tokio::test]
async fn kafka_restarts_amid_transactions() -> anyhow::Result<()> {
    const TRANSACTIONS: usize = 24;
    const EACH: usize = 25;
    let _broker = KAFKA.read().await;
    let Some(mut scene) = Scene::start("kafka_restarts_amid_transactions").await? else { return Ok(()) };
    let lab = scene.topics.transactions("lab")?;
    let is_aborted = |transaction: usize| transaction % 3 == 1;
    let expected: Vec<String> = (0..TRANSACTIONS)
        .filter(|transaction| !is_aborted(*transaction))
        .flat_map(|transaction| ids(&format!("t{transaction}"), EACH))
        .collect();
    let writing = tokio::spawn(async move {
        for transaction in 0..TRANSACTIONS {
            match is_aborted(transaction) {
                true => aborted(&lab, 0, EACH).await?,
                false => committed(&lab, 0, &ids(&format!("t{transaction}"), EACH)).await?,
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        anyhow::Ok(())
    });
    let mut struck_at = Vec::new();
    for (share, hard) in [(expected.len() / 4, true), (expected.len() / 2, false)] {
        let so_far = eventually("messages in the ledger", WAIT, async || {
            let there = control_ids(&scene.site, "message").await.ok()?.len();
            (there >= share).then_some(there)
        });
        struck_at.push(so_far.await?);
        match hard {
            true => scene.site.kill_9()?,
            false => scene.site.stop()?,
        }
        scene.site.start()?;
        scene.site.ready().await?;
    }
    writing.await??;
    ensure!(struck_at.iter().all(|at| *at < expected.len()), "too late: {struck_at:?}");
    scene.holds(&expected).await?;
    scene.owes_nothing().await?;
    scene.broker_sees_nothing_left().await?;
    scene.nothing_was_refused().await?;
    println!("restarted at {struck_at:?} of {}: each once, in order", expected.len());
    Ok(())
}
