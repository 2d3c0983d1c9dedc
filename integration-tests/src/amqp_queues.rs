//! One test's queues on a real RabbitMQ.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};

use crate::letter::Letter;

const PAUSE: Duration = Duration::from_millis(300);
const WAIT: Duration = Duration::from_secs(10);

/// `NAME` for the feed, the exchange `NAME-dlx` with the queue `NAME-dead` for what it refuses, `NAME-alerts` for
/// the sink.
pub struct AmqpQueues {
    url: String,
    name: String,
}

impl AmqpQueues {
    pub async fn create(url: &str, name: &str) -> anyhow::Result<AmqpQueues> {
        let queues = AmqpQueues { url: url.to_owned(), name: name.to_owned() };
        let (_connection, channel) = queues.open().await?;
        for queue in [name, &queues.dead(), &queues.alerts()] {
            channel
                .queue_declare(queue.into(), QueueDeclareOptions::durable(), FieldTable::default())
                .await?;
        }
        let exchange = format!("{name}-dlx");
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        channel
            .exchange_declare(exchange.as_str().into(), ExchangeKind::Direct, options, FieldTable::default())
            .await?;
        // A dead letter's routing key is the feed's queue.
        let dead = queues.dead();
        channel
            .queue_bind(
                dead.as_str().into(),
                exchange.as_str().into(),
                name.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok(queues)
    }

    /// Anew for each use: the broker may have restarted since.
    async fn open(&self) -> anyhow::Result<(Connection, Channel)> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    pub fn dead(&self) -> String {
        format!("{}-dead", self.name)
    }

    pub fn alerts(&self) -> String {
        format!("{}-alerts", self.name)
    }

    pub fn target(&self) -> String {
        format!("{}#{}", self.url, self.name)
    }

    /// TOML of the feed and the sink.
    pub fn config(&self) -> String {
        let (url, name, alerts) = (&self.url, &self.name, self.alerts());
        format!(
            "[[feed]]\nname = \"bus\"\nkind = \"amqp\"\nurl = \"{url}\"\nqueue = \"{name}\"\n\
             dead_letter_exchange = \"{name}-dlx\"\nauthority = \"SIMHOSP\"\ncodes = \"codes.csv\"\n\
             icu_wards = [\"ICU*\"]\n\
             [[sink]]\nname = \"bus\"\nkind = \"amqp\"\nurl = \"{url}\"\nrouting_key = \"{alerts}\"\n"
        )
    }

    /// The exchange `NAME-WHAT`, with nothing bound to it. With an alternate, what it has no queue for goes to the queue
    /// `NAME-WHAT-alternate`.
    pub async fn exchange(&self, what: &str, with_alternate: bool) -> anyhow::Result<String> {
        let (_connection, channel) = self.open().await?;
        let exchange = format!("{}-{what}", self.name);
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let mut arguments = FieldTable::default();
        if with_alternate {
            let alternate = format!("{exchange}-alternate");
            let kind = ExchangeKind::Fanout;
            channel.exchange_declare(alternate.as_str().into(), kind, options, FieldTable::default()).await?;
            arguments.insert("alternate-exchange".into(), AMQPValue::LongString(alternate.as_str().into()));
            self.bind(&alternate, &alternate, "").await?;
        }
        channel.exchange_declare(exchange.as_str().into(), ExchangeKind::Topic, options, arguments).await?;
        Ok(exchange)
    }

    /// Makes the queue, too.
    pub async fn bind(&self, exchange: &str, queue: &str, key: &str) -> anyhow::Result<()> {
        let (_connection, channel) = self.open().await?;
        let (durable, none) = (QueueDeclareOptions::durable(), FieldTable::default());
        channel.queue_declare(queue.into(), durable, none.clone()).await?;
        let options = QueueBindOptions::default();
        Ok(channel.queue_bind(queue.into(), exchange.into(), key.into(), options, none).await?)
    }

    /// Everything in one of the queues; it stays there.
    pub async fn letters(&self, queue: &str) -> anyhow::Result<Vec<Letter>> {
        let (connection, channel) = self.open().await?;
        let mut letters = Vec::new();
        while let Some(message) = channel.basic_get(queue.into(), BasicGetOptions::default()).await? {
            let (properties, body) = (message.delivery.properties, message.delivery.data);
            let mut headers = BTreeMap::new();
            if let Some(id) = properties.message_id() {
                headers.insert("id".to_owned(), id.to_string());
            }
            for (name, value) in properties.headers().iter().flat_map(|table| table.inner()) {
                if let AMQPValue::LongString(text) = value {
                    headers.insert(name.to_string(), text.to_string());
                }
            }
            letters.push(Letter { body, headers });
        }
        // Nothing was acknowledged: closing puts all of it back.
        connection.close(200, "read".into()).await?;
        Ok(letters)
    }

    /// Messages of the feed's queue that nobody holds.
    pub async fn left(&self) -> anyhow::Result<u32> {
        let (connection, channel) = self.open().await?;
        let passive = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
        let queue = channel.queue_declare(self.name.as_str().into(), passive, FieldTable::default()).await?;
        connection.close(200, "read".into()).await?;
        Ok(queue.message_count())
    }

    /// Puts one after the other onto the feed's queue.
    pub fn sender(&self) -> AmqpSender<'_> {
        AmqpSender { queues: self, open: None }
    }

    /// Puts these onto the feed's queue, persistent and confirmed.
    pub async fn produce(&self, bodies: impl Iterator<Item = Vec<u8>>) -> anyhow::Result<()> {
        let (connection, channel) = self.open().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        for body in bodies {
            let properties = BasicProperties::default().with_delivery_mode(2);
            let (options, queue) = (BasicPublishOptions::default(), self.name.as_str().into());
            let confirmed =
                channel.basic_publish("".into(), queue, options, &body, properties).await?.await?;
            anyhow::ensure!(confirmed.is_ack(), "not confirmed");
        }
        connection.close(200, "sent".into()).await?;
        Ok(())
    }
}

pub struct AmqpSender<'q> {
    queues: &'q AmqpQueues,
    open: Option<(Connection, Channel)>,
}

impl AmqpSender<'_> {
    /// Returns when the broker has it, however long that is away. What was not confirmed may be there twice.
    pub async fn send(&mut self, body: &str) {
        while self.attempt(body).await.is_err() {
            self.open = None;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(&mut self, body: &str) -> anyhow::Result<()> {
        if self.open.is_none() {
            let (connection, channel) = self.queues.open().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            self.open = Some((connection, channel));
        }
        let (_, channel) = self.open.as_ref().context("a channel")?;
        let properties = BasicProperties::default().with_delivery_mode(2);
        let queue = self.queues.name.as_str().into();
        let sent = channel.basic_publish(
            "".into(),
            queue,
            BasicPublishOptions::default(),
            body.as_bytes(),
            properties,
        );
        let confirmed = tokio::time::timeout(WAIT, async { sent.await?.await }).await??;
        anyhow::ensure!(confirmed.is_ack(), "not confirmed");
        Ok(())
    }
}
