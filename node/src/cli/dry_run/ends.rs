//! Where messages come from, and where alerts go.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use connectors::{Secret, TokenSource, amqp, greet_url, kafka, mllp};

use super::Check;
use super::disk::writable;
use super::site::listener;
use crate::config::{self, Feed, FeedKind, Sink, SinkKind};
use crate::site::receiver;

const LOOK_AT_BROKER: &str = "the broker is not as configured; look at url, network, sign-in and names";
const LOOK_AT_RECEIVER: &str =
    "the receiver is not as configured; look at its address, network and certificate";

/// A feed, and where what it refuses goes.
pub fn feed(feed: &Feed, data: &Path, wait: Duration) -> Check {
    let name = format!("feed {}", feed.name);
    match &feed.kind {
        FeedKind::Mllp { listen, tls, tls_client_ca, .. } => {
            listener(name, *listen, tls.as_ref(), tls_client_ca.as_ref(), data)
        }
        FeedKind::Kafka { brokers, topics, dead_letter_topic, options, token, .. } => {
            let topics = topics.iter().chain(dead_letter_topic).cloned().collect();
            broker(name, brokers, topics, options, token.clone(), wait)
        }
        FeedKind::Amqp { broker, queue, dead_letter_exchange, declare, .. } => {
            let broker = broker.clone();
            let (queue, exchange, declare) = (queue.clone(), dead_letter_exchange.clone(), *declare);
            Check::new(name, async move {
                let exchange = exchange.as_deref().map(amqp::Wanted::Exchange);
                let wanted: Vec<_> = [amqp::Wanted::Queue(&queue)].into_iter().chain(exchange).collect();
                amqp::probe(&broker, &wanted, declare).await.context(LOOK_AT_BROKER)
            })
        }
        FeedKind::Http => Check::new(name, async { Ok("comes by the http listener".into()) }),
        FeedKind::File { path, watch } => {
            let (path, watch) = (path.clone(), *watch);
            Check::blocking(name, move || file(&path, watch))
        }
    }
}

pub fn sink(sink: &Sink, wait: Duration) -> Check {
    let name = format!("sink {}", sink.name);
    match &sink.kind {
        SinkKind::Webhook { url, tls_ca, .. } => {
            let (url, ca) = (secret(url), tls_ca.clone());
            Check::new(name, async move { greet_url(&url, ca.as_deref()).await.context(LOOK_AT_RECEIVER) })
        }
        SinkKind::Kafka { brokers, topic, options, token } => {
            broker(name, brokers, vec![topic.clone()], options, token.clone(), wait)
        }
        SinkKind::Amqp { broker, exchange, routing_key } => {
            let broker = broker.clone();
            let (exchange, key) = (exchange.clone(), routing_key.clone());
            Check::new(name, async move {
                // The default exchange needs no declaration; its routing key is a queue.
                let wanted = match exchange.as_str() {
                    "" => amqp::Wanted::Queue(&key),
                    exchange => amqp::Wanted::Exchange(exchange),
                };
                amqp::probe(&broker, &[wanted], false).await.context(LOOK_AT_BROKER)
            })
        }
        SinkKind::Mllp(to) => answers(name, receiver(to)),
    }
}

/// Where a feed's application answers go.
pub fn application_acks(feed: &Feed) -> Option<Check> {
    let FeedKind::Mllp { application_acks: Some(to), .. } = &feed.kind else { return None };
    Some(answers(format!("feed {} application_acks", feed.name), receiver(to)))
}

fn answers(name: String, config: mllp::ClientConfig) -> Check {
    Check::new(name, async move {
        let connected = mllp::Client::connect(&config).await;
        connected.context(LOOK_AT_RECEIVER)?;
        Ok(format!("{} answers", config.address))
    })
}

fn broker(
    name: String,
    brokers: &str,
    topics: Vec<String>,
    options: &BTreeMap<String, config::Secret>,
    token: Option<TokenSource>,
    wait: Duration,
) -> Check {
    let brokers = brokers.to_owned();
    let options = options.iter().map(|(name, value)| (name.clone(), secret(value))).collect();
    // Its own words about what does not answer, before the check's time is over.
    let patience = wait.mul_f64(0.8);
    Check::blocking(name, move || {
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        Ok(kafka::probe(&brokers, &topics, &options, token.as_ref(), patience)?)
    })
}

fn file(path: &Path, watch: bool) -> anyhow::Result<String> {
    let shown = path.display();
    if !watch {
        std::fs::File::open(path).with_context(|| format!("cannot read {shown}; give its user the right"))?;
        return Ok(format!("{shown} can be read"));
    }
    let waiting =
        std::fs::read_dir(path).with_context(|| format!("cannot read {shown}; give its user the right"))?;
    let waiting = waiting.flatten().filter(|entry| entry.path().is_file()).count();
    // What was read moves into folders of it.
    writable(path)?;
    Ok(format!("{shown} can be read and written; {waiting} files wait"))
}

fn secret(text: &config::Secret) -> Secret {
    Secret::new(text.expose())
}
