//! `[[sink]]`: where alerts go.

use std::collections::BTreeMap;
use std::path::PathBuf;

use connectors::kafka;

use super::amqp::read_broker;
use super::contents::Contents;
use super::http::read_tls_ca;
use super::kafka::read_sign_in;
use super::table::{Spot, Table};
use super::types::{OnNack, Peer, Sink, SinkKind};
use super::{check, receiver, refusal};

/// `peers`: as far as they are known.
pub fn read_all(tables: Vec<Table>, peers: Option<&[Peer]>) -> Option<Vec<Sink>> {
    let mut names = BTreeMap::new();
    let sinks: Vec<Option<Sink>> = tables.into_iter().map(|table| read(table, &mut names, peers)).collect();
    sinks.into_iter().collect()
}

fn read(table: Table, names: &mut BTreeMap<String, usize>, peers: Option<&[Peer]>) -> Option<Sink> {
    let name = table.required("name").filter(|name| check::name(table.report(), name));
    if let Some(name) = &name {
        check::first(table.report(), name, names, "sink");
    }
    let kind = table.required("kind").and_then(|kind| read_kind(&table, &kind));
    let takeover_for = table.texts("takeover_for");
    for site in &takeover_for {
        if peers.is_some_and(|peers| peers.iter().all(|peer| peer.name != site.value)) {
            check::no_peer(table.report(), site);
        }
    }
    let words = [("skip", OnNack::Skip), ("hold", OnNack::Hold)];
    let on_nack = refusal::read(&table, "on_nack", &words, OnNack::Retry);
    if kind.is_some() {
        table.finish();
    }
    let takeover_for = takeover_for.into_iter().map(|site| site.value).collect();
    let kind = kind?;
    let files: Vec<PathBuf> = match &kind {
        SinkKind::Webhook { tls_ca, .. } => tls_ca.iter().cloned().collect(),
        SinkKind::Amqp { broker, .. } => broker.tls_ca.iter().cloned().collect(),
        SinkKind::Kafka { options, .. } => Contents::files_of_kafka(options).collect(),
        // An MLLP receiver's are read for each connection.
        SinkKind::Mllp(_) => Vec::new(),
    };
    let contents = Contents::of(&files);
    Some(Sink { name: name?.value, kind, takeover_for, on_nack: on_nack?, contents })
}

fn read_kind(table: &Table, kind: &Spot<String>) -> Option<SinkKind> {
    match kind.value.as_str() {
        "webhook" => {
            let url = table.secret("url").filter(|url| check::url(table.report(), url, &["http", "https"]));
            let tls_ca = read_tls_ca(table);
            let headers =
                table.secrets("headers").into_iter().map(|(name, value)| (name, value.value)).collect();
            Some(SinkKind::Webhook { url: url?.value, tls_ca, headers })
        }
        "kafka" => {
            let (brokers, topic) = (table.required("brokers"), table.required("topic"));
            let (options, token) = read_sign_in(table, kafka::check_sink);
            Some(SinkKind::Kafka { brokers: brokers?.value, topic: topic?.value, options, token })
        }
        "amqp" => {
            let broker = read_broker(table);
            // Without an exchange the default one is meant, whose routing key is the queue's name.
            let exchange = table.text("exchange").map(|exchange| exchange.value).unwrap_or_default();
            let routing_key = table.required("routing_key");
            Some(SinkKind::Amqp { broker: broker?, exchange, routing_key: routing_key?.value })
        }
        "mllp" => receiver::read(table).map(SinkKind::Mllp),
        _ => {
            check::unknown_kind(table.report(), kind, &SinkKind::NAMES);
            None
        }
    }
}
