//! What may be configured.

use serde::Deserialize;

use super::Broker;
use crate::ConnectorError;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub broker: Broker,
    pub queue: String,
    /// Messages taken and not yet settled; the broker sends no more.
    #[serde(default = "default_prefetch")]
    pub prefetch: u16,
    /// Where refused messages go, with their reason in headers; without one only the ledger keeps them.
    pub dead_letter_exchange: Option<String>,
    /// Default: the queue's name.
    pub dead_letter_routing_key: Option<String>,
    /// Make what is missing: the queue, and the dead-letter exchange (direct) with a queue of its name bound to it; the
    /// queues are quorum queues. What the broker's operator made is used as it is.
    #[serde(default)]
    pub declare: bool,
    #[serde(default = "default_message_bytes")]
    pub max_message_bytes: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    pub broker: Broker,
    /// Empty: the default exchange, whose routing key is a queue's name.
    #[serde(default)]
    pub exchange: String,
    pub routing_key: String,
}

impl SinkConfig {
    pub fn new(broker: Broker, exchange: impl Into<String>, routing_key: impl Into<String>) -> SinkConfig {
        SinkConfig { broker, exchange: exchange.into(), routing_key: routing_key.into() }
    }
}

fn default_prefetch() -> u16 {
    200
}
fn default_message_bytes() -> usize {
    16 * 1024 * 1024
}

impl Config {
    /// A consumer with every limit at its default, declaring nothing.
    pub fn new(broker: Broker, queue: impl Into<String>) -> Config {
        Config {
            broker,
            queue: queue.into(),
            prefetch: default_prefetch(),
            dead_letter_exchange: None,
            dead_letter_routing_key: None,
            declare: false,
            max_message_bytes: default_message_bytes(),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConnectorError> {
        self.broker.checked()?;
        match (self.queue.as_str(), self.prefetch) {
            ("", _) => Err(ConnectorError::config("queue", "is empty; name the queue")),
            // 0 means without limit in AMQP.
            (_, 0) => Err(ConnectorError::config("prefetch", "is 0, which means no limit; give at least 1")),
            _ => {
                let exchange = self.dead_letter_exchange.as_deref().unwrap_or_default();
                check_names(&[("queue", &self.queue), ("dead_letter_exchange", exchange)])?;
                check_names(&[("dead_letter_routing_key", self.dead_letter_key())])
            }
        }
    }

    pub(super) fn dead_letter_key(&self) -> &str {
        self.dead_letter_routing_key.as_deref().unwrap_or(&self.queue)
    }
}

/// AMQP's short strings hold 255 bytes.
pub(super) fn check_names(names: &[(&'static str, &str)]) -> Result<(), ConnectorError> {
    match names.iter().find(|(_, name)| name.len() > 255) {
        Some((field, _)) => {
            Err(ConnectorError::config(field, "is longer than 255 bytes; AMQP takes no longer name"))
        }
        None => Ok(()),
    }
}
