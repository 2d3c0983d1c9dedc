use actix_web::{get, web};
use actors::entry::{self, Kind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use raft_ledger::{Entry, Payload};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};

use super::{ApiError, SiteData};
use crate::http::Identity;

/// One ledger entry, opened where this site holds its key.
#[derive(Serialize, ToSchema)]
pub struct Message {
    index: u64,
    /// `message`, `rejected`, `alert`, `delivered`, `acknowledged`, `tick`, `model-registered` or `kind-N`.
    kind: String,
    site: String,
    epoch: u64,
    site_seq: u64,
    event_time_ms: i64,
    message_time_ms: i64,
    received_time_ms: i64,
    /// This site holds no key for it: another site's patient, or shredded.
    sealed: bool,
    /// What the reader made of it: feed, type, events, issues.
    #[schema(value_type = Object)]
    content: Option<serde_json::Value>,
    /// The raw bytes, when they are UTF-8.
    raw: Option<String>,
    /// The raw bytes, when they are not.
    raw_base64: Option<String>,
}

/// One ledger entry by its index, opened where this site holds the key.
#[utoipa::path(path = "/api/messages/{index}", tag = "ledger", params(("index" = u64, Path)),
    responses((status = 200, body = Message), (status = 404, body = ApiError)))]
#[get("/messages/{index}")]
pub async fn message(
    site: SiteData,
    who: Identity,
    index: web::Path<u64>,
) -> Result<web::Json<Message>, ApiError> {
    who.must_see_entries()?;
    let entries = site.entries(*index, 1).map_err(ApiError::internal)?;
    let entry = entries.into_iter().next().ok_or_else(|| ApiError::not_found("entry"))?;
    Ok(web::Json(show(entry)))
}

/// What a list shows of an entry: enough to hold the ledger against a sender's own list.
#[derive(Serialize, ToSchema)]
pub struct MessageRow {
    index: u64,
    /// As in [`Message`].
    kind: String,
    site: String,
    received_time_ms: i64,
    sealed: bool,
    feed: Option<String>,
    #[serde(rename = "type")]
    type_: Option<String>,
    control_id: Option<String>,
    /// Of a refused message: its stable code.
    code: Option<String>,
    /// SHA-256 of the raw bytes, for whoever may open them.
    sha256: Option<String>,
}

#[derive(Deserialize, IntoParams)]
pub struct Page {
    /// The first ledger index
    #[serde(default)]
    from: u64,
    /// At most 1000
    #[serde(default = "page_default")]
    limit: usize,
}

fn page_default() -> usize {
    100
}

/// Entries in the ledger's order, from an index on. Empty at the end.
#[utoipa::path(path = "/api/messages", tag = "ledger", params(Page),
    responses((status = 200, body = [MessageRow])))]
#[get("/messages")]
pub async fn messages(
    site: SiteData,
    who: Identity,
    page: web::Query<Page>,
) -> Result<web::Json<Vec<MessageRow>>, ApiError> {
    who.must_see_operations()?;
    let entries = site.entries(page.from, page.limit.clamp(1, 1000)).map_err(ApiError::internal)?;
    Ok(web::Json(entries.into_iter().map(row).collect()))
}

fn row(entry: Entry) -> MessageRow {
    let shown = show_parts(&entry);
    let text = |field: &str| shown.content.as_ref()?.get(field)?.as_str().map(str::to_owned);
    let is_message = matches!(shown.kind, Some(Kind::Message | Kind::Rejected));
    MessageRow {
        index: entry.index,
        kind: kind_name(entry.kind, shown.kind),
        received_time_ms: entry.received_time_ms,
        sealed: matches!(entry.payload, Payload::Sealed),
        feed: text("feed"),
        type_: text("type"),
        control_id: text("control_id"),
        code: text("code"),
        sha256: (is_message && shown.content.is_some()).then(|| hex::encode(Sha256::digest(&shown.raw))),
        site: entry.site,
    }
}

struct Shown {
    kind: Option<Kind>,
    content: Option<serde_json::Value>,
    raw: Bytes,
}

fn show_parts(entry: &Entry) -> Shown {
    let kind = Kind::from_u16(entry.kind);
    let (content, raw) = match (&entry.payload, kind) {
        (Payload::Open(payload), Some(kind)) => open(kind, payload),
        (Payload::Open(payload), None) => (None, payload.clone()),
        (Payload::Sealed, _) => (None, Bytes::new()),
    };
    Shown { kind, content, raw }
}

fn kind_name(number: u16, kind: Option<Kind>) -> String {
    kind.map_or_else(|| format!("kind-{number}"), |kind| name(kind).to_owned())
}

fn show(entry: Entry) -> Message {
    let Shown { kind, content, raw } = show_parts(&entry);
    let text = std::str::from_utf8(&raw).ok().map(str::to_owned);
    let raw_base64 = text.is_none().then(|| STANDARD.encode(&raw));
    Message {
        index: entry.index,
        kind: kind_name(entry.kind, kind),
        site: entry.site,
        epoch: entry.epoch,
        site_seq: entry.site_seq,
        event_time_ms: entry.event_time_ms,
        message_time_ms: entry.message_time_ms,
        received_time_ms: entry.received_time_ms,
        sealed: matches!(entry.payload, Payload::Sealed),
        content,
        raw: text.filter(|text| !text.is_empty()),
        raw_base64,
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Message => "message",
        Kind::Rejected => "rejected",
        Kind::Alert => "alert",
        Kind::Delivered => "delivered",
        Kind::Acknowledged => "acknowledged",
        Kind::Tick => "tick",
        Kind::ModelRegistered => "model-registered",
    }
}

/// The head as JSON and the raw bytes behind it. What cannot be decoded is shown as it is.
fn open(kind: Kind, payload: &Bytes) -> (Option<serde_json::Value>, Bytes) {
    match kind {
        Kind::Message => decoded::<entry::Message>(payload),
        Kind::Rejected => decoded::<entry::Rejected>(payload),
        Kind::Alert => decoded::<entry::Alert>(payload),
        Kind::Delivered => decoded::<entry::Delivered>(payload),
        Kind::Acknowledged => decoded::<entry::Acknowledged>(payload),
        Kind::Tick => decoded::<entry::Tick>(payload),
        Kind::ModelRegistered => decoded::<entry::ModelRegistered>(payload),
    }
}

fn decoded<T: DeserializeOwned + Serialize>(payload: &Bytes) -> (Option<serde_json::Value>, Bytes) {
    match entry::decode::<T>(payload) {
        Ok((head, raw)) => (serde_json::to_value(head).ok(), raw),
        Err(_) => (None, payload.clone()),
    }
}
