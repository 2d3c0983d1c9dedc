//! Whether brokers, sign-in and topics are as configured. Joins no group, reads and writes nothing.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{SinkConfig, config, context, token};
use crate::{ConnectorError, Secret, TokenSource};

/// Keeps what librdkafka says of its connections: the answer to a question only says that there was none.
struct Listening(Mutex<Option<String>>, Option<TokenSource>);

impl Listening {
    fn heard(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Listening {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token::read(self.1.as_ref())
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, _: KafkaError, reason: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }
}

impl ConsumerContext for Listening {}

/// What was found, in words. Blocks for up to `wait`.
///
/// # Errors
/// Brokers that do not answer, a sign-in that is refused, a topic that is not there.
pub fn probe(
    brokers: &str,
    topics: &[&str],
    options: &BTreeMap<String, Secret>,
    token: Option<&TokenSource>,
    wait: Duration,
) -> Result<String, ConnectorError> {
    let failed = |text: String| ConnectorError::Kafka(text);
    let (topic, token) = (String::new(), token.cloned());
    let shared = SinkConfig { brokers: brokers.to_owned(), topic, options: config::shared(options), token };
    let listening = Listening(Mutex::default(), shared.token.clone());
    let client: BaseConsumer<Listening> = config::create(&shared.connection()?, listening)?;
    if shared.token.is_some() {
        // The token is asked for while it polls; without one no broker is spoken to.
        let _ = client.poll(Duration::from_millis(500));
        if let Some(heard) = client.context().heard() {
            return Err(failed(heard));
        }
    }
    let mut found = Vec::new();
    for topic in topics {
        // librdkafka's pattern: whatever matches is read, also what comes later.
        let named = (!topic.starts_with('^')).then_some(*topic);
        let metadata = client.fetch_metadata(named, wait).map_err(|error| {
            // Errors are handed out while it polls.
            let _ = client.poll(Duration::from_millis(100));
            let heard = client.context().heard();
            failed(format!("{}: {}; look at brokers, network and sign-in", error, heard.unwrap_or_default()))
        })?;
        let Some(named) = named else {
            found.push(format!("{topic}: a pattern"));
            continue;
        };
        let described = metadata.topics().iter().find(|described| described.name() == named);
        let error = described.and_then(|described| described.error()).map(RDKafkaErrorCode::from);
        match (error, described.map_or(0, |described| described.partitions().len())) {
            (None, partitions) if partitions > 0 => found.push(format!("{named}: {partitions} partitions")),
            (Some(RDKafkaErrorCode::TopicAuthorizationFailed), _) => {
                return Err(failed(format!("no right to topic {named}; ask the broker's operator")));
            }
            _ => return Err(failed(format!("there is no topic {named}; make it, or correct its name"))),
        }
    }
    Ok(found.join(", "))
}
