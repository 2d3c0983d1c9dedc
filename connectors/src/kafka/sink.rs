//! The producer's side.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::config::create;
use super::{SinkConfig, context, token};
use crate::{ConnectorError, Outbound, SinkError, TokenSource};

/// A client whose errors come back with each message.
#[derive(Clone)]
pub(super) struct Quiet(pub(super) Option<TokenSource>);

impl ClientContext for Quiet {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token::read(self.0.as_ref())
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka: producer");
    }
}

/// Idempotent, acks=all: the broker keeps order and drops the producer's own repeats.
pub struct Sink {
    producer: FutureProducer<Quiet>,
    topic: String,
}

impl Sink {
    /// Connects in the background; an unreachable broker shows when something is delivered.
    pub fn new(config: &SinkConfig) -> Result<Sink, ConnectorError> {
        let producer = create(&config.producer()?, Quiet(config.token.clone()))?;
        Ok(Sink { producer, topic: config.topic.clone() })
    }
}

#[async_trait]
impl crate::Sink for Sink {
    async fn deliver(&mut self, message: &Outbound) -> Result<(), SinkError> {
        let headers = OwnedHeaders::new()
            .insert(Header { key: "id", value: Some(&message.id) })
            .insert(Header { key: "content-type", value: Some(message.content_type) });
        let record =
            FutureRecord::to(&self.topic).key(&message.key).payload(message.body.as_ref()).headers(headers);
        match self.producer.send(record, Duration::from_secs(5)).await {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(judge(&error)),
        }
    }
}

/// Too large or malformed stays so however often it is sent.
fn judge(error: &KafkaError) -> SinkError {
    use RDKafkaErrorCode::{InvalidMessage, InvalidMessageSize, InvalidRecord, MessageSizeTooLarge};
    match error.rdkafka_error_code() {
        Some(MessageSizeTooLarge | InvalidMessageSize | InvalidMessage | InvalidRecord) => {
            SinkError::Refused(error.to_string())
        }
        _ => SinkError::Unreachable(error.to_string()),
    }
}
