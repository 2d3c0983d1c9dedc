//! `[[sink]]`: where alerts go.

use std::collections::BTreeMap;

use super::check;
use super::http::read_tls_ca;
use super::table::{Spot, Table};
use super::types::{Sink, SinkKind};

pub fn read_all(tables: Vec<Table>) -> Option<Vec<Sink>> {
    let mut names = BTreeMap::new();
    let sinks: Vec<Option<Sink>> = tables.into_iter().map(|table| read(table, &mut names)).collect();
    sinks.into_iter().collect()
}

fn read(table: Table, names: &mut BTreeMap<String, usize>) -> Option<Sink> {
    let name = table.required("name").filter(|name| check::name(table.report(), name));
    if let Some(name) = &name {
        check::first(table.report(), name, names, "sink");
    }
    let kind = table.required("kind").and_then(|kind| read_kind(&table, &kind));
    if kind.is_some() {
        table.finish();
    }
    Some(Sink { name: name?.value, kind: kind? })
}

fn read_kind(table: &Table, kind: &Spot<String>) -> Option<SinkKind> {
    match kind.value.as_str() {
        "webhook" => {
            let url = table.secret("url").filter(|url| check::url(table.report(), url, &["http", "https"]));
            let (tls_ca, headers) = (read_tls_ca(table), table.secrets("headers"));
            Some(SinkKind::Webhook { url: url?.value, tls_ca, headers })
        }
        "kafka" => {
            let (brokers, topic) = (table.required("brokers"), table.required("topic"));
            let options = table.secrets("options");
            Some(SinkKind::Kafka { brokers: brokers?.value, topic: topic?.value, options })
        }
        "amqp" => {
            let url = table.secret("url").filter(|url| check::url(table.report(), url, &["amqp", "amqps"]));
            let tls_ca = read_tls_ca(table);
            // Without an exchange the default one is meant, whose routing key is the queue's name.
            let exchange = table.text("exchange").map(|exchange| exchange.value).unwrap_or_default();
            let routing_key = table.required("routing_key");
            Some(SinkKind::Amqp { url: url?.value, tls_ca, exchange, routing_key: routing_key?.value })
        }
        "mllp" => {
            let address =
                table.required("address").filter(|address| check::host_port(table.report(), address));
            Some(SinkKind::Mllp { address: address?.value })
        }
        _ => {
            check::unknown_kind(table.report(), kind, &SinkKind::NAMES);
            None
        }
    }
}
