//! `[[feed]]` → sources.

use std::sync::Arc;

use anyhow::Context;
use clinical::CodeTable;
use clinical::hl7::Limits;
use connectors::{Secret, ServerTls, Source, amqp, fhir_rest, file, kafka, mllp};
use raft_ledger::Ledger;

use super::lookup::Lookup;
use super::sinks;
use super::split::split;
use crate::config::{Ack, Feed, FeedKind, OnError};

pub struct Made {
    pub feed: actors::Feed,
    /// Of the http feed, for the web server.
    pub endpoint: Option<fhir_rest::Endpoint>,
    pub tls: Option<ServerTls>,
}

/// It listens from here on, or has begun to read.
pub async fn make(feed: &Feed, ledger: &Ledger) -> anyhow::Result<Made> {
    made(feed, ledger).await.with_context(|| format!("feed {} does not start", feed.name))
}

async fn made(feed: &Feed, ledger: &Ledger) -> anyhow::Result<Made> {
    // First: what is wrong with it must leave no listener behind.
    let reader = reader(feed)?;
    let Sourced { source, endpoint, tls } = source(feed, ledger).await?;
    let feed = actors::Feed {
        name: feed.name.clone(),
        kind: feed.kind.name(),
        source,
        reader,
        limits: Limits { bytes_max: feed.max_message_bytes, ..Limits::default() },
        on_error: match feed.on_error {
            OnError::Hold => actors::OnError::Hold,
            OnError::DeadLetter => actors::OnError::DeadLetter,
            OnError::Retry(retries) => actors::OnError::Retry(retries),
        },
        ack: match feed.ack {
            Ack::Quorum => actors::Ack::Quorum,
            Ack::Site => actors::Ack::Site,
        },
        application_acks: application_acks(&feed.kind),
        silence: feed.silence,
    };
    Ok(Made { feed, endpoint, tls })
}

/// The name of its listener, where certificates are told of.
pub fn listener(feed: &str) -> String {
    format!("feed {feed}")
}

fn application_acks(kind: &FeedKind) -> Option<Box<dyn connectors::Sink>> {
    let FeedKind::Mllp { application_acks: Some(to), .. } = kind else { return None };
    Some(Box::new(mllp::Sink::new(sinks::receiver(to), Arc::new(sinks::judge))))
}

/// How it reads.
pub fn reader(feed: &Feed) -> anyhow::Result<clinical::Feed> {
    let codes = match &feed.codes {
        Some(file) => {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            // Checked when the configuration was read; it can only have changed since.
            CodeTable::parse(&text)
                .map_err(|_| anyhow::anyhow!("{}: run `medulla validate`", file.display()))?
        }
        None => CodeTable::empty(),
    };
    Ok(clinical::Feed {
        authority: feed.authority.clone(),
        zone: feed.zone.clone(),
        charset: feed.charset.clone(),
        codes,
        icu_wards: feed.icu_wards.clone(),
        processing_ids: feed.processing_ids.clone(),
    })
}

struct Sourced {
    source: Box<dyn Source>,
    endpoint: Option<fhir_rest::Endpoint>,
    tls: Option<ServerTls>,
}

async fn source(feed: &Feed, ledger: &Ledger) -> anyhow::Result<Sourced> {
    let max_message_bytes = feed.max_message_bytes;
    let (mut endpoint, mut tls_of) = (None, None);
    let source: Box<dyn Source> = match &feed.kind {
        FeedKind::Mllp { listen, tls, tls_client_ca, .. } => {
            let mut config = mllp::Config::new(listen.to_string());
            config.tls_cert = tls.as_ref().map(|tls| tls.cert.clone());
            config.tls_key = tls.as_ref().map(|tls| tls.key.clone());
            config.tls_client_ca = tls_client_ca.clone();
            config.max_message_bytes = max_message_bytes;
            let source = mllp::Source::listen(config).await?;
            tls_of = source.tls().cloned();
            Box::new(source)
        }
        FeedKind::Kafka { brokers, topics, group, dead_letter_topic, options, token } => {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            let mut config = kafka::Config::new(brokers, &topics, group);
            config.dead_letter_topic = dead_letter_topic.clone();
            config.options =
                options.iter().map(|(name, value)| (name.clone(), Secret::new(value.expose()))).collect();
            config.token = token.clone();
            config.max_message_bytes = max_message_bytes;
            Box::new(kafka::source(config)?)
        }
        FeedKind::Amqp { broker, queue, prefetch, dead_letter_exchange, declare } => {
            let mut config = amqp::Config::new(broker.clone(), queue);
            config.prefetch = *prefetch;
            config.dead_letter_exchange = dead_letter_exchange.clone();
            config.declare = *declare;
            config.max_message_bytes = max_message_bytes;
            Box::new(amqp::source(config)?)
        }
        FeedKind::Http => {
            let config = fhir_rest::Config { max_message_bytes, ..fhir_rest::Config::default() };
            let lookup = Arc::new(Lookup::new(ledger.clone()));
            let (source, made) = fhir_rest::Source::new(config, lookup);
            endpoint = Some(made);
            Box::new(source)
        }
        FeedKind::File { path, watch } => {
            let mut config = file::Config::new(path);
            config.watch = *watch;
            config.max_message_bytes = max_message_bytes;
            Box::new(file::source(config, split)?)
        }
    };
    Ok(Sourced { source, endpoint, tls: tls_of })
}
