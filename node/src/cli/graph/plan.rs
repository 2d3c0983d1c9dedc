//! What stands in the picture, and what leads where.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::{Ack, Config, Feed, FeedKind, OnError, Sink, SinkKind};

/// The columns of the picture, left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Column {
    Feed,
    Reader,
    Ledger,
    Scorer,
    Sink,
}

impl Column {
    pub const ALL: [Column; 5] = [Column::Feed, Column::Reader, Column::Ledger, Column::Scorer, Column::Sink];

    pub fn title(self) -> &'static str {
        match self {
            Column::Feed => "feeds",
            Column::Reader => "read as",
            Column::Ledger => "ledger",
            Column::Scorer => "scorers",
            Column::Sink => "alerts to",
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Node {
    /// Stable within one picture: a column's letter and a number.
    pub id: String,
    pub column: Column,
    pub title: String,
    pub lines: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Plan {
    pub site: String,
    pub nodes: Vec<Node>,
    /// Pairs of ids.
    pub edges: Vec<(String, String)>,
}

impl Plan {
    pub fn of(config: &Config) -> Plan {
        let mut plan = Plan { site: config.site.name.clone(), nodes: Vec::new(), edges: Vec::new() };
        let ledger = plan.add(Column::Ledger, "ledger".into(), ledger_lines(config));
        let mut readers: BTreeMap<Vec<String>, String> = BTreeMap::new();
        for feed in &config.feeds {
            let id = plan.add(Column::Feed, feed.name.clone(), feed_lines(feed));
            let lines = reader_lines(feed);
            let reader = match readers.get(&lines) {
                Some(reader) => reader.clone(),
                None => {
                    let reader = plan.add(Column::Reader, feed.authority.clone(), lines.clone());
                    plan.edges.push((reader.clone(), ledger.clone()));
                    readers.insert(lines, reader.clone());
                    reader
                }
            };
            plan.edges.push((id, reader));
        }
        let alerting = plan.add_scorers(config, &ledger);
        let board = ("care board".to_owned(), vec![format!("http listener {}", config.http.listen)]);
        let sinks = config.sinks.iter().map(|sink| (sink.name.clone(), sink_lines(sink)));
        for (title, lines) in std::iter::once(board).chain(sinks) {
            let id = plan.add(Column::Sink, title, lines);
            plan.edges.extend(alerting.iter().map(|scorer| (scorer.clone(), id.clone())));
        }
        plan
    }

    /// Those whose alerts somebody gets.
    fn add_scorers(&mut self, config: &Config, ledger: &str) -> Vec<String> {
        let name = |folder: &std::path::Path| {
            folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned()
        };
        let scoring = &config.scoring;
        let rules = scoring.rules.iter().map(|rule| (rule.clone(), "rule", true));
        let models = scoring.models.iter().map(|folder| (name(folder), "model", true));
        let shadow = scoring
            .shadow_models
            .iter()
            .map(|folder| (name(folder), "model in shadow: alerts nobody", false));
        let mut alerting = Vec::new();
        for (title, what, alerts) in rules.chain(models).chain(shadow) {
            let id = self.add(Column::Scorer, title, vec![what.to_owned()]);
            self.edges.push((ledger.to_owned(), id.clone()));
            if alerts {
                alerting.push(id);
            }
        }
        alerting
    }

    fn add(&mut self, column: Column, title: String, lines: Vec<String>) -> String {
        let number = self.of_column(column).count() + 1;
        let letter = column.title().get(..1).unwrap_or("n");
        let letter = if column == Column::Sink {
            "s"
        } else if column == Column::Scorer {
            "m"
        } else {
            letter
        };
        let id = format!("{letter}{number}");
        self.nodes.push(Node { id: id.clone(), column, title, lines });
        id
    }

    pub fn of_column(&self, column: Column) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.column == column)
    }
}

fn ledger_lines(config: &Config) -> Vec<String> {
    let ledger = &config.ledger;
    let mut lines = vec![format!("site {} on {}", config.site.name, ledger.listen)];
    lines.extend(ledger.peers.iter().map(|peer| format!("with {} at {}", peer.name, peer.address)));
    lines.extend(ledger.takeover.iter().map(|partner| format!("{partner} stands in for it")));
    lines
}

fn over(tls: bool) -> &'static str {
    if tls { " (TLS)" } else { "" }
}

fn feed_lines(feed: &Feed) -> Vec<String> {
    let place = match &feed.kind {
        FeedKind::Mllp { listen, tls, .. } => format!("mllp on {listen}{}", over(tls.is_some())),
        FeedKind::Kafka { brokers, topics, .. } => format!("kafka {} at {brokers}", topics.join(", ")),
        FeedKind::Amqp { broker, queue, .. } => format!("amqp {queue} at {}", host(broker.url.expose())),
        FeedKind::Http => "http: POST /fhir, /hl7".into(),
        FeedKind::File { path, watch: true } => format!("folder {}", path.display()),
        FeedKind::File { path, watch: false } => format!("file {}", path.display()),
    };
    let ack = match feed.ack {
        Ack::Quorum => "answers when a majority has it",
        Ack::Site => "answers when this site has it",
    };
    let dead_letters = match &feed.kind {
        FeedKind::Kafka { dead_letter_topic: Some(topic), .. } => format!("to topic {topic}"),
        FeedKind::Amqp { dead_letter_exchange: Some(exchange), .. } => format!("to exchange {exchange}"),
        FeedKind::File { watch: true, .. } => "to failed/".into(),
        _ => "stays in the ledger".into(),
    };
    let refused = match feed.on_error {
        OnError::Hold => "held in the ledger".into(),
        OnError::Retry(times) => format!("stays in the ledger, read again by itself up to {times} times"),
        OnError::DeadLetter => dead_letters,
    };
    let mut lines = vec![place, ack.into(), format!("refused: {refused}")];
    if let FeedKind::Mllp { application_acks: Some(to), .. } = &feed.kind {
        lines.push(format!("application answers to {}", to.address));
    }
    lines
}

fn reader_lines(feed: &Feed) -> Vec<String> {
    let mut lines = vec![format!("authority {}", feed.authority), format!("zone {}", feed.zone)];
    lines.extend(feed.charset.iter().map(|charset| format!("charset {charset}")));
    lines.extend(feed.codes.iter().map(|codes| format!("codes {}", codes.display())));
    if feed.processing_ids != ["P"] {
        lines.push(format!("processing ids {}", feed.processing_ids.join(", ")));
    }
    if !feed.icu_wards.is_empty() {
        lines.push(format!("intensive care: {}", feed.icu_wards.join(", ")));
    }
    lines
}

fn sink_lines(sink: &Sink) -> Vec<String> {
    let place = match &sink.kind {
        SinkKind::Webhook { url, .. } => format!("webhook at {}", host(url.expose())),
        SinkKind::Kafka { brokers, topic, .. } => format!("kafka {topic} at {brokers}"),
        SinkKind::Amqp { broker, exchange, routing_key } if exchange.is_empty() => {
            format!("amqp queue {routing_key} at {}", host(broker.url.expose()))
        }
        SinkKind::Amqp { broker, exchange, .. } => {
            format!("amqp {exchange} at {}", host(broker.url.expose()))
        }
        SinkKind::Mllp(to) => format!("mllp to {}{}", to.address, over(to.tls.is_some())),
    };
    let takeover = sink.takeover_for.iter().map(|site| format!("also for site {site}"));
    std::iter::once(place).chain(takeover).collect()
}

/// Path, user and password may be secret.
fn host(url: &str) -> String {
    let url = reqwest::Url::parse(url).ok();
    let place = url.as_ref().and_then(|url| Some((url.host_str()?, url.port())));
    match place {
        Some((host, Some(port))) => format!("{host}:{port}"),
        Some((host, None)) => host.to_owned(),
        None => "(secret)".into(),
    }
}
