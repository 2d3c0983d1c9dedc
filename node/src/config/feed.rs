//! `[[feed]]`: where messages come from, and how they are read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use actors::Silence;
use connectors::kafka;

use super::amqp::read_broker;
use super::contents::Contents;
use super::http::read_tls;
use super::kafka::read_sign_in;
use super::table::{Spot, Table};
use super::types::{Ack, Feed, FeedKind, OnError};
use super::{check, receiver, refusal};

/// DESIGN §5: at most 64 MiB a message.
/// `max_message_bytes` goes no higher.
pub const MESSAGE_BYTES_MAX: u64 = 64 << 20;
const SILENCE_MAX_S: u64 = 30 * 24 * 3_600;
const MESSAGE_BYTES_DEFAULT: u64 = 16 << 20;

pub fn read_all(tables: Vec<Table>, site_zone: &str) -> Option<Vec<Feed>> {
    let mut names = BTreeMap::new();
    let mut http_seen = false;
    let one = |table: Table| read(table, site_zone, &mut names, &mut http_seen);
    let feeds: Vec<Option<Feed>> = tables.into_iter().map(one).collect();
    feeds.into_iter().collect()
}

fn read(
    table: Table,
    site_zone: &str,
    names: &mut BTreeMap<String, usize>,
    http_seen: &mut bool,
) -> Option<Feed> {
    let name = table.required("name").filter(|name| check::name(table.report(), name));
    if let Some(name) = &name {
        check::first(table.report(), name, names, "feed");
    }
    let kind_name = table.required("kind");
    let kind = kind_name.as_ref().and_then(|kind| read_kind(&table, kind));
    if let (Some(FeedKind::Http), Some(at)) = (&kind, &kind_name)
        && std::mem::replace(http_seen, true)
    {
        at.refuse(
            table.report(),
            "duplicate-name",
            "a second http feed; /fhir and /hl7 belong to one, remove this",
        );
    }
    let authority = table.required("authority");
    let zone = match table.text("zone") {
        Some(zone) => check::zone(table.report(), zone),
        None => site_zone.to_owned(),
    };
    let charset = table.text("charset").filter(|charset| check::charset(table.report(), charset));
    let codes = table.path("codes");
    if let Some(codes) = &codes {
        check::codes(table.report(), codes);
    }
    let icu_wards = table.texts("icu_wards").into_iter().map(|ward| ward.value).collect();
    let processing_ids = read_processing_ids(&table);
    let ack = read_ack(&table);
    let words = [("dead_letter", OnError::DeadLetter), ("hold", OnError::Hold)];
    let on_error = refusal::read(&table, "on_error", &words, OnError::Retry);
    let silence = read_silence(&table, kind.as_ref());
    let max_message_bytes =
        table.number("max_message_bytes", 1..=MESSAGE_BYTES_MAX).unwrap_or(MESSAGE_BYTES_DEFAULT);
    // With an unknown kind its own fields cannot be told from mistakes.
    if kind_name.is_some() && kind.is_some() {
        table.finish();
    }
    let kind = kind?;
    let files: Vec<PathBuf> = match &kind {
        FeedKind::Amqp { broker, .. } => broker.tls_ca.iter().cloned().collect(),
        FeedKind::Kafka { options, .. } => Contents::files_of_kafka(options).collect(),
        FeedKind::Mllp { .. } | FeedKind::Http | FeedKind::File { .. } => Vec::new(),
    };
    let codes = codes.map(|codes| codes.value);
    let contents = Contents::of(codes.iter().chain(&files));
    Some(Feed {
        name: name?.value,
        kind,
        authority: authority?.value,
        zone,
        charset: charset.map(|charset| charset.value),
        codes,
        icu_wards,
        processing_ids: processing_ids?,
        on_error: on_error?,
        ack: ack?,
        silence: silence?,
        max_message_bytes: usize::try_from(max_message_bytes).ok()?,
        contents,
    })
}

/// Production alone unless the feed names others: a test message must alert nobody.
fn read_processing_ids(table: &Table) -> Option<Vec<String>> {
    if !table.has("processing_ids") {
        return Some(vec!["P".into()]);
    }
    let ids = table.texts("processing_ids");
    if ids.is_empty() {
        let text =
            "`processing_ids` takes no message; name \"P\", \"T\" or \"D\", or leave it out for \"P\" alone";
        table.refuse("value-invalid", text);
        return None;
    }
    let known = |id: &Spot<String>| ["P", "T", "D"].contains(&id.value.as_str());
    for id in ids.iter().filter(|id| !known(id)) {
        let text = "must be \"P\" (production), \"T\" (training) or \"D\" (debugging), of HL7 table 0103";
        id.refuse(table.report(), "value-invalid", text);
    }
    ids.iter().all(known).then(|| ids.into_iter().map(|id| id.value).collect())
}

fn read_ack(table: &Table) -> Option<Ack> {
    let Some(ack) = table.text("ack") else { return Some(Ack::Quorum) };
    match ack.value.as_str() {
        "quorum" => Some(Ack::Quorum),
        "site" => Some(Ack::Site),
        _ => {
            ack.refuse(table.report(), "value-invalid", "must be \"quorum\" or \"site\"");
            None
        }
    }
}

/// `auto`, `off`, or a span. A file that is read once falls silent by its nature.
fn read_silence(table: &Table, kind: Option<&FeedKind>) -> Option<Silence> {
    let Some(silence) = table.text("silence") else {
        let is_read_once = matches!(kind, Some(FeedKind::File { watch: false, .. }));
        return Some(if is_read_once { Silence::Off } else { Silence::Auto });
    };
    match silence.value.as_str() {
        "auto" => Some(Silence::Auto),
        "off" => Some(Silence::Off),
        text => {
            let span = span(text);
            if span.is_none() {
                let text = "must be \"auto\", \"off\" or a span from 1s to 30d, such as \"15m\"";
                silence.refuse(table.report(), "value-invalid", text);
            }
            span.map(Silence::After)
        }
    }
}

/// A whole number and its unit: `90s`, `15m`, `2h`, `1d`.
fn span(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 24 * 3_600,
        _ => return None,
    };
    let s = number.parse::<u64>().ok()?.checked_mul(unit_s)?;
    (1..=SILENCE_MAX_S).contains(&s).then(|| Duration::from_secs(s))
}

fn read_kind(table: &Table, kind: &Spot<String>) -> Option<FeedKind> {
    match kind.value.as_str() {
        "mllp" => read_mllp(table),
        "kafka" => read_kafka(table),
        "amqp" => read_amqp(table),
        "http" => Some(FeedKind::Http),
        "file" => read_file(table),
        _ => {
            check::unknown_kind(table.report(), kind, &FeedKind::NAMES);
            None
        }
    }
}

fn read_mllp(table: &Table) -> Option<FeedKind> {
    let listen = table.required("listen").and_then(|text| check::socket(table.report(), text));
    let tls = read_tls(table);
    let tls_client_ca = table.path("tls_client_ca");
    if let Some(authority) = &tls_client_ca {
        check::certificate(table.report(), authority);
    }
    if let Some(listen) = &listen
        && !listen.value.ip().is_loopback()
        && (matches!(tls, Ok(None)) || tls_client_ca.is_none())
    {
        let text = "listens beyond loopback without TLS and client certificates; add tls_cert, tls_key and \
                    tls_client_ca, or listen on 127.0.0.1";
        listen.refuse(table.report(), "insecure-listen", text);
    }
    let application_acks = receiver::read_secure(table, "application_acks");
    Some(FeedKind::Mllp {
        listen: listen?.value,
        tls: tls.ok()?,
        tls_client_ca: tls_client_ca.map(|file| file.value),
        application_acks: application_acks.ok()?,
    })
}

fn read_kafka(table: &Table) -> Option<FeedKind> {
    let brokers = table.required("brokers");
    let topics = table.texts("topics");
    if topics.is_empty() {
        table.refuse("missing-field", "`topics` is missing or empty; name at least one topic");
    }
    let group = table.required("group");
    let dead_letter_topic = table.text("dead_letter_topic");
    let (options, token) = read_sign_in(table, kafka::check_source);
    Some(FeedKind::Kafka {
        brokers: brokers?.value,
        topics: topics.into_iter().map(|topic| topic.value).collect(),
        group: group?.value,
        dead_letter_topic: dead_letter_topic.map(|topic| topic.value),
        options,
        token,
    })
}

fn read_amqp(table: &Table) -> Option<FeedKind> {
    let broker = read_broker(table);
    let queue = table.required("queue");
    let prefetch = table.number("prefetch", 1..=u64::from(u16::MAX)).unwrap_or(200);
    let dead_letter_exchange = table.text("dead_letter_exchange");
    let declare = table.flag("declare").unwrap_or(false);
    Some(FeedKind::Amqp {
        broker: broker?,
        queue: queue?.value,
        prefetch: u16::try_from(prefetch).ok()?,
        dead_letter_exchange: dead_letter_exchange.map(|exchange| exchange.value),
        declare,
    })
}

fn read_file(table: &Table) -> Option<FeedKind> {
    let path = table.required_path("path");
    let watch = table.flag("watch").unwrap_or(false);
    if let Some(path) = &path {
        check::exists(table.report(), path);
        if watch && path.value.is_file() {
            path.refuse(
                table.report(),
                "value-invalid",
                "watch = true needs a folder; name the file's folder",
            );
        }
    }
    Some(FeedKind::File { path: path?.value, watch })
}
