//! What may be configured, and what must not be.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use serde::Deserialize;

use super::token::check_token;
use crate::{ConnectorError, Secret, TokenSource};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Names, or patterns that start with `^`.
    pub topics: Vec<String>,
    pub group: String,
    /// Where refused messages go, with their reason in headers; without one only the ledger keeps them.
    pub dead_letter_topic: Option<String>,
    /// librdkafka options as in its CONFIGURATION.md; values may be secret.
    #[serde(default)]
    pub options: BTreeMap<String, Secret>,
    /// For `sasl.mechanism = OAUTHBEARER`.
    pub token: Option<TokenSource>,
    /// Messages taken and not yet settled; beyond it partitions are paused.
    #[serde(default = "default_in_flight")]
    pub max_in_flight: usize,
    #[serde(default = "default_in_flight_bytes")]
    pub max_in_flight_bytes: usize,
    #[serde(default = "default_message_bytes")]
    pub max_message_bytes: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    pub brokers: String,
    pub topic: String,
    #[serde(default)]
    pub options: BTreeMap<String, Secret>,
    /// For `sasl.mechanism = OAUTHBEARER`.
    pub token: Option<TokenSource>,
}

fn default_in_flight() -> usize {
    2000
}
fn default_in_flight_bytes() -> usize {
    32 * 1024 * 1024
}
fn default_message_bytes() -> usize {
    16 * 1024 * 1024
}

impl Config {
    /// A consumer with every limit at its default.
    pub fn new(brokers: impl Into<String>, topics: &[&str], group: impl Into<String>) -> Config {
        Config {
            brokers: brokers.into(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            group: group.into(),
            dead_letter_topic: None,
            options: BTreeMap::new(),
            token: None,
            max_in_flight: default_in_flight(),
            max_in_flight_bytes: default_in_flight_bytes(),
            max_message_bytes: default_message_bytes(),
        }
    }

    pub(super) fn consumer(&self) -> Result<ClientConfig, ConnectorError> {
        let defaults = [
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("auto.commit.interval.ms", "1000"),
            // Prefetched data is the memory that a slow ledger costs; the default is 64 MiB.
            ("queued.max.messages.kbytes", "16384"),
            // The default of 1 s leaves the consumer idle between two fetches when that memory is full.
            ("fetch.queue.backoff.ms", "20"),
            ("statistics.interval.ms", "1000"),
            // After so long a topic that a pattern names is found, and a leader that went and came unseen. The default: 5 min.
            ("topic.metadata.refresh.interval.ms", "60000"),
        ];
        let fixed = [("enable.auto.offset.store", "false"), ("enable.auto.commit", "true")];
        if self.topics.is_empty() {
            return Err(ConnectorError::config("topics", "is empty; name at least one topic"));
        }
        if self.group.is_empty() {
            return Err(ConnectorError::config("group", "is empty; name the consumer group"));
        }
        let mut config = build(&self.brokers, &defaults, &fixed, &self.options, self.token.as_ref())?;
        config.set("group.id", &self.group);
        Ok(config)
    }

    /// Dead letters travel by the same brokers and sign-in, under a producer's guarantees.
    pub(super) fn producer(&self) -> Result<ClientConfig, ConnectorError> {
        producer(&self.brokers, &shared(&self.options), self.token.as_ref(), self.max_message_bytes)
    }
}

impl SinkConfig {
    pub(super) fn producer(&self) -> Result<ClientConfig, ConnectorError> {
        producer(&self.brokers, &self.options, self.token.as_ref(), default_message_bytes())
    }

    /// Neither reads nor writes.
    pub(super) fn connection(&self) -> Result<ClientConfig, ConnectorError> {
        build(&self.brokers, &[], &[], &self.options, self.token.as_ref())
    }
}

/// Whether librdkafka takes the options of a feed, and of the dead letters beside it. Asks no broker.
///
/// # Errors
/// An option that it does not know, a value that it does not take, one that a guarantee forbids.
pub fn check_source(
    options: &BTreeMap<String, Secret>,
    token: Option<&TokenSource>,
) -> Result<(), ConnectorError> {
    let (options, token) = (options.clone(), token.cloned());
    let config = Config { options, token, ..Config::new("localhost:9092", &["topic"], "group") };
    try_out(&config.consumer()?)?;
    try_out(&config.producer()?)
}

/// As [`check_source`], for a sink.
///
/// # Errors
/// As [`check_source`].
pub fn check_sink(
    options: &BTreeMap<String, Secret>,
    token: Option<&TokenSource>,
) -> Result<(), ConnectorError> {
    try_out(&producer("localhost:9092", options, token, default_message_bytes())?)
}

fn try_out(config: &ClientConfig) -> Result<(), ConnectorError> {
    config.create_native_config().map(drop).map_err(|error| unusable(&error))
}

/// The one way to a client: its errors are worded by [`unusable`].
pub(super) fn create<C, T>(config: &ClientConfig, context: C) -> Result<T, ConnectorError>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C>,
{
    config.create_with_context(context).map_err(|error| unusable(&error))
}

/// Names the option and never its value, which may be a secret: rdkafka's own words hold it, and librdkafka's as well.
fn unusable(error: &KafkaError) -> ConnectorError {
    match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => {
            let text =
                format!("there is no option {name:?}; correct its name after librdkafka's CONFIGURATION.md");
            ConnectorError::config("options", text)
        }
        KafkaError::ClientConfig(_, _, name, _) => {
            let text = format!(
                "{name:?} does not take the value given; look it up in librdkafka's CONFIGURATION.md"
            );
            ConnectorError::config("options", text)
        }
        error => ConnectorError::Kafka(format!("unusable options: {error}")),
    }
}

/// Options of the connection itself.
pub(super) fn shared(options: &BTreeMap<String, Secret>) -> BTreeMap<String, Secret> {
    let is_shared = |name: &str| {
        ["security.", "sasl.", "ssl.", "socket.", "client.", "broker.", "enable.ssl", "enable.sasl"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    let shared = options.iter().filter(|(name, _)| is_shared(name));
    shared.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn producer(
    brokers: &str,
    options: &BTreeMap<String, Secret>,
    token: Option<&TokenSource>,
    message_bytes_max: usize,
) -> Result<ClientConfig, ConnectorError> {
    // Headers and framing come on top of the payload; the broker has the last word.
    let message_max_bytes =
        message_bytes_max.saturating_add(64 * 1024).clamp(1000, 1_000_000_000).to_string();
    let defaults = [
        ("message.max.bytes", message_max_bytes.as_str()),
        // How long one try lasts before the caller is told; the caller tries again.
        ("message.timeout.ms", "30000"),
        ("linger.ms", "5"),
        ("queue.buffering.max.kbytes", "65536"),
    ];
    build(brokers, &defaults, &[("enable.idempotence", "true"), ("acks", "all")], options, token)
}

/// Defaults, then the user's options, then what the guarantees rest on, which the user may only repeat.
fn build(
    brokers: &str,
    defaults: &[(&str, &str)],
    fixed: &[(&str, &str)],
    options: &BTreeMap<String, Secret>,
    token: Option<&TokenSource>,
) -> Result<ClientConfig, ConnectorError> {
    check_token(|name| options.get(name).map(Secret::expose), token.is_some())
        .map_err(|(field, text)| ConnectorError::config(field, text))?;
    if brokers.is_empty() {
        return Err(ConnectorError::config("brokers", "is empty; give host:port"));
    }
    let mut config = ClientConfig::new();
    for (name, value) in defaults {
        config.set(*name, *value);
    }
    for (name, value) in options {
        let name = canonical(name);
        if let Some((_, must)) = fixed.iter().find(|(fixed, must)| *fixed == name && *must != value.expose())
        {
            let text =
                format!("{name} has to be {must}, because acknowledging only what is kept rests on it");
            return Err(ConnectorError::config("options", text));
        }
        if matches!(name, "bootstrap.servers" | "group.id") {
            let text = format!("{name} is set by this feed's own field (brokers, group); remove it");
            return Err(ConnectorError::config("options", text));
        }
        config.set(name, value.expose());
    }
    for (name, value) in fixed {
        config.set(*name, *value);
    }
    config.set("bootstrap.servers", brokers);
    Ok(config)
}

/// librdkafka's aliases, so that a fixed option cannot be overruled under its other name.
fn canonical(name: &str) -> &str {
    match name {
        "metadata.broker.list" => "bootstrap.servers",
        "request.required.acks" => "acks",
        "auto.commit.enable" => "enable.auto.commit",
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Config {
        let mut config = Config::new("localhost:9092", &["adt"], "medulla");
        config.options.insert(name.into(), Secret::new(value));
        config
    }

    #[test]
    fn options_pass_through_and_guarantees_stay() {
        let config = with("isolation.level", "read_uncommitted").consumer().unwrap();
        assert_eq!(config.get("isolation.level"), Some("read_uncommitted"));
        assert_eq!(config.get("enable.auto.offset.store"), Some("false"));
        assert!(with("enable.auto.offset.store", "true").consumer().is_err());
        assert!(with("auto.commit.enable", "false").consumer().is_err());
        assert!(with("metadata.broker.list", "elsewhere").consumer().is_err());
    }

    #[test]
    fn a_token_is_for_oauthbearer_and_oauthbearer_needs_one() {
        let field = |config: &Config| match config.consumer() {
            Err(ConnectorError::Config { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        let mut config = with("sasl.mechanisms", "OAUTHBEARER");
        assert_eq!(field(&config), "sasl.mechanisms");
        config.token = Some(TokenSource::File("token".into()));
        config.consumer().unwrap();
        config.producer().unwrap();
        config.options.insert("sasl.oauthbearer.method".into(), Secret::new("oidc"));
        assert_eq!(field(&config), "sasl.oauthbearer.method");
        config.options.clear();
        assert_eq!(field(&config), "token");
    }

    #[test]
    fn dead_letters_sign_in_like_the_consumer_and_secrets_stay_secret() {
        let config = with("sasl.password", "hunter2");
        assert_eq!(config.producer().unwrap().get("sasl.password"), Some("hunter2"));
        assert_eq!(with("fetch.min.bytes", "1").producer().unwrap().get("fetch.min.bytes"), None);
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn an_option_that_is_not_taken_is_named_without_its_value() {
        use rdkafka::consumer::{BaseConsumer, DefaultConsumerContext};
        for (name, value) in [
            ("sasl.pasword", "hunter2"),
            ("security.protocol", "hunter2"),
            ("socket.timeout.ms", "hunter2"),
            ("enable.ssl.certificate.verification", "hunter2"),
        ] {
            let config = with(name, value);
            let created = create::<_, BaseConsumer>(&config.consumer().unwrap(), DefaultConsumerContext);
            for refused in
                [created.map(drop), check_source(&config.options, None), check_sink(&config.options, None)]
            {
                let text = refused.unwrap_err().to_string();
                assert!(text.contains(name) && !text.contains("hunter2"), "{text}");
            }
        }
        assert!(check_source(&with("fetch.min.bytes", "1").options, None).is_ok());
        assert!(check_sink(&with("compression.type", "zstd").options, None).is_ok());
        assert!(check_source(&with("auto.commit.enable", "false").options, None).is_err());
    }
}
