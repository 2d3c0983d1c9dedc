//! Refused messages go to a topic, with what they were and why, before their offset may pass.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::config::create;
use super::sink::Quiet;
use crate::{ConnectorError, Refusal};

pub(super) struct DeadLetters {
    producer: FutureProducer<Quiet>,
    topic: String,
}

/// The record as it came.
pub(super) struct Original {
    pub(super) topic: std::sync::Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) headers: Option<OwnedHeaders>,
    pub(super) payload: Bytes,
}

impl DeadLetters {
    pub(super) fn new(config: &super::Config) -> Result<Option<DeadLetters>, ConnectorError> {
        let Some(topic) = config.dead_letter_topic.clone() else { return Ok(None) };
        let producer = create(&config.producer()?, Quiet(config.token.clone()))?;
        Ok(Some(DeadLetters { producer, topic }))
    }

    /// Returns when every in-sync replica has it.
    pub(super) async fn publish(&self, original: &Original, refusal: &Refusal) -> Result<(), String> {
        let (partition, offset) = (original.partition.to_string(), original.offset.to_string());
        let mut headers = original.headers.clone().unwrap_or_default();
        for (name, value) in [
            ("medulla-code", refusal.code.as_str()),
            ("medulla-reason", refusal.reason.as_str()),
            ("medulla-topic", &original.topic),
            ("medulla-partition", &partition),
            ("medulla-offset", &offset),
        ] {
            headers = headers.insert(Header { key: name, value: Some(value) });
        }
        let mut record = FutureRecord::to(&self.topic).payload(original.payload.as_ref()).headers(headers);
        if let Some(key) = &original.key {
            record = record.key(key);
        }
        match self.producer.send(record, Duration::from_secs(5)).await {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(format!("dead-letter topic {}: {error}", self.topic)),
        }
    }
}
