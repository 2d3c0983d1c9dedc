use actix_web::{get, web};
use actors::entry::{self, Kind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use raft_ledger::{Entry, Payload};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

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
    who.must_see_operations()?;
    let entry = site.entry(*index).map_err(ApiError::internal)?;
    entry.map(|entry| web::Json(show(entry))).ok_or_else(|| ApiError::not_found("entry"))
}

fn show(entry: Entry) -> Message {
    let kind = Kind::from_u16(entry.kind);
    let (content, raw) = match (&entry.payload, kind) {
        (Payload::Open(payload), Some(kind)) => open(kind, payload),
        (Payload::Open(payload), None) => (None, payload.clone()),
        (Payload::Sealed, _) => (None, Bytes::new()),
    };
    let text = std::str::from_utf8(&raw).ok().map(str::to_owned);
    let raw_base64 = text.is_none().then(|| STANDARD.encode(&raw));
    Message {
        index: entry.index,
        kind: kind.map_or_else(|| format!("kind-{}", entry.kind), |kind| name(kind).to_owned()),
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
