//! What an exchange of RabbitMQ has no queue for. With an alternate exchange it arrives there, and is delivered; without one
//! the broker returns it, and it is neither delivered nor lost: it is told of, and sent again until there is a queue.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{AmqpQueues, Letter, Listing, Site, SiteOptions, eventually};

use crate::brokers::{AMQP, Bus};
use crate::recovery::scene::ALERTS;
use crate::recovery::traffic::{Traffic, alerts};

const WAIT: Duration = Duration::from_secs(120);
/// Each of six patients comes, and is ill once.
const MESSAGES: usize = 42;
const REFUSED: &str = "no HL7, and of Confidential^Person";
const DELIVERED: &str = "medulla_deliveries_total{outcome=\"delivered\",sink=\"bus\"}";

struct Scene {
    queues: AmqpQueues,
    alerts: String,
    dead: String,
    site: Site,
    folder: tempfile::TempDir,
}

impl Scene {
    /// A site whose alerts and dead letters go to exchanges with nothing bound to them, and what makes some of both.
    async fn start(test: &str, with_alternate: bool) -> anyhow::Result<Option<Scene>> {
        let Some(Bus::Amqp(queues)) = Bus::amqp(test).await? else { return Ok(None) };
        let alerts = queues.exchange("x-alerts", with_alternate).await?;
        let dead = queues.exchange("x-dead", with_alternate).await?;
        let config = queues.config();
        let own =
            config.lines().find(|line| line.starts_with("dead_letter_exchange")).context("an exchange")?;
        let config = config.replace(own, &format!("dead_letter_exchange = \"{dead}\""));
        let extra = format!("{config}exchange = \"{alerts}\"\n{ALERTS}");
        let folder = tempfile::tempdir()?;
        let site = Site::alone(folder.path(), &SiteOptions { extra, ..SiteOptions::default() }).await?;
        let mut traffic = Traffic::new("bus");
        let mut bodies: Vec<Vec<u8>> = (0..MESSAGES).map(|_| traffic.next().text.into_bytes()).collect();
        bodies.insert(MESSAGES / 2, REFUSED.into());
        queues.produce(bodies.into_iter()).await?;
        Ok(Some(Scene { queues, alerts, dead, site, folder }))
    }

    /// Ids of the alerts, once there is one for each who is ill.
    async fn alert_ids(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut traffic = Traffic::new("bus");
        let ill = (0..MESSAGES).filter(|_| alerts(&traffic.next().control_id)).count();
        let kept = eventually("an alert for each who is ill", WAIT, async || {
            let listing = Listing::of(&self.site).await.ok()?;
            let kept: Vec<u64> = listing.of_kind("alert", &self.site.name).map(|row| row.index).collect();
            (kept.len() == ill).then_some(kept)
        });
        let mut ids = BTreeSet::new();
        for index in kept.await? {
            let entry = self.site.get(&format!("/api/messages/{index}")).await?;
            ids.insert(entry["content"]["facts"]["id"].as_str().context("an alert's id")?.to_owned());
        }
        ensure!(!ids.is_empty(), "nobody was ill");
        Ok(ids)
    }

    /// Waits until both queues hold what belongs there, each once.
    async fn arrive(&self, alerts: &str, dead: &str, expected: &BTreeSet<String>) -> anyhow::Result<()> {
        let ids = |letters: &[Letter]| -> Vec<String> {
            letters.iter().map(|letter| letter.header("id").to_owned()).collect()
        };
        let both = eventually("alerts and dead letter", WAIT, async || {
            let letters = (self.queues.letters(alerts).await.ok()?, self.queues.letters(dead).await.ok()?);
            (letters.0.len() >= expected.len() && !letters.1.is_empty()).then_some(letters)
        });
        let (told, refused) = both.await?;
        let told = ids(&told);
        ensure!(told.len() == expected.len(), "alerts twice: {told:?}");
        ensure!(told.iter().cloned().collect::<BTreeSet<_>>() == *expected, "{told:?}, not {expected:?}");
        ensure!(refused.len() == 1 && refused[0].body == REFUSED.as_bytes(), "{} letters", refused.len());
        ensure!(!refused[0].header("medulla-code").is_empty(), "a dead letter without a code");
        let counted = eventually("deliveries that are counted", WAIT, async || {
            (self.site.metric(DELIVERED).await.ok()? == expected.len() as f64).then_some(())
        });
        counted.await
    }

    /// What the feed's queue still has once the site lets go of it.
    async fn left_after_stop(&mut self) -> anyhow::Result<u32> {
        self.site.stop()?;
        self.queues.left().await
    }

    /// lapin warns of what is returned to it, with all that is in it.
    fn log_holds_no_content(&self) -> anyhow::Result<()> {
        let log = std::fs::read_to_string(self.folder.path().join(format!("{}.log", self.site.name)))?;
        let bytes = |text: &str| format!("{:?}", text.as_bytes()).trim_matches(['[', ']']).to_owned();
        for secret in ["Confidential", "RiskAssessment"] {
            let lines = log.lines().filter(|line| line.contains(secret) || line.contains(&bytes(secret)));
            ensure!(lines.count() == 0, "a message is in the log: {secret}");
        }
        Ok(())
    }
}

#[tokio::test]
async fn amqp_an_alternate_exchange_takes_what_is_not_routed() -> anyhow::Result<()> {
    let _broker = AMQP.read().await;
    let test = "amqp_an_alternate_exchange_takes_what_is_not_routed";
    let Some(mut scene) = Scene::start(test, true).await? else { return Ok(()) };
    let expected = scene.alert_ids().await?;
    let of = |exchange: &str| format!("{exchange}-alternate");
    scene.arrive(&of(&scene.alerts), &of(&scene.dead), &expected).await?;
    let left = scene.left_after_stop().await?;
    ensure!(left == 0, "{left} are left in the feed's queue");
    println!("{} alerts and a dead letter by the alternates, delivered once", expected.len());
    scene.log_holds_no_content()
}

#[tokio::test]
async fn amqp_what_no_queue_takes_is_kept_and_told() -> anyhow::Result<()> {
    let _broker = AMQP.read().await;
    let test = "amqp_what_no_queue_takes_is_kept_and_told";
    let Some(mut scene) = Scene::start(test, false).await? else { return Ok(()) };
    let expected = scene.alert_ids().await?;
    let told = eventually("what is wrong, of feed and sink", WAIT, async || {
        let page = scene.site.get("/api/feeds").await.ok()?;
        let of = |what: &str| page[what][0]["last_error"].as_str().map(str::to_owned);
        let (feed, sink) = (of("feeds")?, of("sinks")?);
        let is_told = |text: &str| text.contains("to no queue; bind one");
        (feed.contains(&scene.dead) && is_told(&feed) && sink.contains(&scene.alerts) && is_told(&sink))
            .then_some((feed, sink))
    });
    let (feed, sink) = told.await?;
    println!("feed: {feed}\nsink: {sink}");
    // Several tries later neither is taken for delivered.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let delivered = scene.site.metric(DELIVERED).await?;
    ensure!(delivered == 0.0, "{delivered} alerts are counted as delivered, and nobody has them");
    let left = scene.left_after_stop().await?;
    ensure!(left == 1, "{left} messages are in the feed's queue; the refused one has no letter yet");

    scene.site.start()?;
    scene.site.ready().await?;
    let (alerts, dead) = (scene.queues.alerts(), scene.queues.dead());
    scene.queues.bind(&scene.alerts, &alerts, "#").await?;
    scene.queues.bind(&scene.dead, &dead, "#").await?;
    scene.arrive(&alerts, &dead, &expected).await?;
    let left = scene.left_after_stop().await?;
    ensure!(left == 0, "{left} are left in the feed's queue");
    println!("{} alerts and a dead letter once a queue was bound, each once", expected.len());
    scene.log_holds_no_content()
}
