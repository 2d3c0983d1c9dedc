//! One test's topics on a real Kafka.

use std::time::Duration;

use anyhow::{Context, anyhow};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::kafka_transactions::KafkaTransactions;
use crate::letter::Letter;

const PARTITIONS: i32 = 3;
const WAIT: Duration = Duration::from_secs(20);

/// `NAME` for the feed, `NAME-dead` for what it refuses, `NAME-alerts` for the sink.
pub struct KafkaTopics {
    brokers: String,
    name: String,
}

impl KafkaTopics {
    pub async fn create(brokers: &str, name: &str) -> anyhow::Result<KafkaTopics> {
        let topics = KafkaTopics { brokers: brokers.to_owned(), name: name.to_owned() };
        let admin: AdminClient<DefaultClientContext> = topics.client().create()?;
        let names = [name.to_owned(), topics.dead(), topics.alerts()];
        let new: Vec<NewTopic> =
            names.iter().map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1))).collect();
        for made in admin.create_topics(&new, &AdminOptions::new()).await? {
            made.map_err(|(topic, code)| anyhow!("topic {topic}: {code}"))?;
        }
        Ok(topics)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    pub fn dead(&self) -> String {
        format!("{}-dead", self.name)
    }

    pub fn alerts(&self) -> String {
        format!("{}-alerts", self.name)
    }

    pub fn target(&self) -> String {
        format!("kafka://{}/{}", self.brokers, self.name)
    }

    /// TOML of the feed and the sink.
    pub fn config(&self) -> String {
        let (brokers, name, dead, alerts) = (&self.brokers, &self.name, self.dead(), self.alerts());
        format!(
            "[[feed]]\nname = \"bus\"\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopics = [\"{name}\"]\n\
             group = \"{name}\"\ndead_letter_topic = \"{dead}\"\nauthority = \"SIMHOSP\"\ncodes = \"codes.csv\"\n\
             icu_wards = [\"ICU*\"]\noptions = {{ \"session.timeout.ms\" = \"6000\" }}\n\
             [[sink]]\nname = \"bus\"\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{alerts}\"\n"
        )
    }

    /// Everything in one of the topics, from its beginning to its present end.
    pub fn letters(&self, topic: &str) -> anyhow::Result<Vec<Letter>> {
        let consumer = self.reader(&format!("{topic}-reader"))?;
        let mut list = TopicPartitionList::new();
        let mut open = 0;
        for partition in 0..PARTITIONS {
            let (low, high) = consumer.fetch_watermarks(topic, partition, WAIT)?;
            open += high - low;
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        let mut letters = Vec::new();
        // Records and offsets are one to one here: the site writes in no transactions.
        while open > 0 {
            let message = consumer.poll(WAIT).context("the topic ended before its high watermark")??;
            open -= 1;
            let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
            letters.push(Letter {
                headers: headers.map(|header| (header.key.to_owned(), lossy(header.value))).collect(),
                body: message.payload().unwrap_or_default().to_vec(),
            });
        }
        Ok(letters)
    }

    fn reader(&self, group: &str) -> anyhow::Result<BaseConsumer> {
        Ok(self.client().set("group.id", group).set("enable.auto.commit", "false").create()?)
    }

    /// From what the site's group has committed to the end of the feed's topic (the last stable offset), as anybody counts it
    /// who watches the broker.
    pub fn left(&self) -> anyhow::Result<i64> {
        let consumer = self.reader(&self.name)?;
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition(&self.name, partition);
        }
        let mut left = 0;
        for committed in consumer.committed_offsets(list, WAIT)?.elements() {
            let (low, high) = consumer.fetch_watermarks(&self.name, committed.partition(), WAIT)?;
            let Offset::Offset(offset) = committed.offset() else {
                left += high - low;
                continue;
            };
            left += high - offset;
        }
        Ok(left)
    }

    /// Puts one after the other onto the feed's topic, in order for each key.
    pub fn sender(&self) -> anyhow::Result<KafkaSender> {
        let producer =
            self.client().set("enable.idempotence", "true").set("message.timeout.ms", "300000").create()?;
        Ok(KafkaSender { producer, topic: self.name.clone() })
    }

    /// Writes onto the feed's topic in transactions. `id`: one that comes back with it aborts what it left open.
    pub fn transactions(&self, id: &str) -> anyhow::Result<KafkaTransactions> {
        KafkaTransactions::open(self.client(), &format!("{}-{id}", self.name), &self.name)
    }

    /// A member of the feed's group that reads and never says how far.
    pub fn stray(&self) -> anyhow::Result<BaseConsumer> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", &self.name)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "6000")
            .create()?;
        consumer.subscribe(&[self.name.as_str()])?;
        Ok(consumer)
    }

    /// Puts these onto the feed's topic, spread over its partitions.
    pub async fn produce(&self, bodies: impl Iterator<Item = Vec<u8>>) -> anyhow::Result<()> {
        let producer: FutureProducer =
            self.client().set("message.max.bytes", "16777216").set("linger.ms", "5").create()?;
        for body in bodies {
            let record = FutureRecord::<str, _>::to(&self.name).payload(&body);
            producer.send(record, WAIT).await.map_err(|(error, _)| error)?;
        }
        Ok(())
    }
}

pub struct KafkaSender {
    producer: FutureProducer,
    topic: String,
}

impl KafkaSender {
    /// Returns when the broker has it, however long that is away.
    pub async fn send(&self, key: &str, body: &str) -> anyhow::Result<()> {
        let record = FutureRecord::to(&self.topic).key(key).payload(body);
        self.producer.send(record, WAIT).await.map(drop).map_err(|(error, _)| error.into())
    }
}

fn lossy(value: Option<&[u8]>) -> String {
    String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
}
