//! The site and its peers.

use std::future::Future;

use anyhow::Context;
use integration_tests::{AmqpQueues, KafkaTopics, Receiver, Site, SiteOptions};
use tokio::sync::watch;

use super::senders;
use super::traffic::Traffic;
use crate::brokers::Bus;

/// Each alert is a new one: no refractory time, no budget that is ever used up.
pub const ALERTS: &str = "[alerts]\nrefractory_h = 0\nper_ward_budget_per_day = 10000\n";

/// Three feeds and three sinks, `kafka`, `amqp` and `mllp`.
pub struct Scene {
    pub site: Site,
    pub kafka: KafkaTopics,
    pub amqp: AmqpQueues,
    pub receiver: Receiver,
    /// Of the sender over MLLP.
    hang_up: watch::Sender<()>,
    /// Where that one finds the site.
    pub mllp: u16,
    _folder: tempfile::TempDir,
}

/// Where the site finds its peers, if not where they are.
#[derive(Default)]
pub struct Ways {
    pub kafka: Option<String>,
    /// Feed and sink.
    pub amqp: Option<[String; 2]>,
    pub receiver: Option<u16>,
    /// An MLLP receiver is waited for so long.
    pub timeout_s: Option<u64>,
}

impl Scene {
    /// `None` where a broker was not named, which is said.
    pub async fn buses(test: &str) -> anyhow::Result<Option<(KafkaTopics, AmqpQueues)>> {
        let Some(Bus::Kafka(kafka)) = Bus::kafka(test).await? else { return Ok(None) };
        let Some(Bus::Amqp(amqp)) = Bus::amqp(test).await? else { return Ok(None) };
        Ok(Some((kafka, amqp)))
    }

    pub async fn start(
        (kafka, amqp): (KafkaTopics, AmqpQueues),
        receiver: Receiver,
        ways: &Ways,
    ) -> anyhow::Result<Scene> {
        let named = |config: String, name: &str| config.replace("\"bus\"", &format!("\"{name}\""));
        let mut kafka_config = named(kafka.config(), "kafka");
        if let Some(brokers) = &ways.kafka {
            let own = std::env::var("KAFKA_BROKERS").context("KAFKA_BROKERS")?;
            kafka_config = kafka_config.replace(&format!("\"{own}\""), &format!("\"{brokers}\""));
        }
        let mut amqp_config = named(amqp.config(), "amqp");
        if let Some([feed, sink]) = &ways.amqp {
            let own = std::env::var("AMQP_URL").context("AMQP_URL")?;
            amqp_config = amqp_config.replacen(&own, feed, 1).replacen(&own, sink, 1);
        }
        let (port, timeout_s) = (ways.receiver.unwrap_or(receiver.port), ways.timeout_s.unwrap_or(2));
        let extra = format!(
            "[[feed]]\nname = \"mllp\"\nkind = \"mllp\"\nlisten = \"127.0.0.1:{{mllp}}\"\nauthority = \"SIMHOSP\"\n\
             {kafka_config}{amqp_config}\
             [[sink]]\nname = \"mllp\"\nkind = \"mllp\"\naddress = \"127.0.0.1:{port}\"\ntimeout_s = {timeout_s}\n\
             {ALERTS}"
        );
        let folder = tempfile::tempdir()?;
        let site = Site::alone(folder.path(), &SiteOptions { extra, ..SiteOptions::default() }).await?;
        let (mllp, hang_up) = (site.mllp, watch::Sender::new(()));
        Ok(Scene { site, kafka, amqp, receiver, hang_up, mllp, _folder: folder })
    }

    /// The sender over MLLP goes in the middle of it all, and comes back.
    pub fn hang_up(&self) {
        self.hang_up.send_replace(());
    }

    /// What was sent while `storm` raged.
    pub async fn sent_during(
        &self,
        storm: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<Vec<Traffic>> {
        let flowing = watch::Sender::new(true);
        let raging = async {
            let over = storm.await;
            flowing.send_replace(false);
            over
        };
        let (over, kafka, amqp, mllp) = tokio::join!(
            raging,
            senders::kafka(&self.kafka, flowing.subscribe()),
            senders::amqp(&self.amqp, flowing.subscribe()),
            senders::mllp(self.mllp, flowing.subscribe(), self.hang_up.subscribe()),
        );
        over?;
        Ok(vec![kafka?, amqp?, mllp?])
    }
}
