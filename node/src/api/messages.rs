use actix_web::http::StatusCode;
use actix_web::{get, web};
use actors::entry::{self, Kind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use raft_ledger::{Entry, LedgerError, Payload, SHRED, TAKEOVER};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};

use super::filter::Filter;
use super::{ApiError, SiteData};
use crate::http::Identity;

/// One ledger entry, opened where this site holds its key.
#[derive(Serialize, ToSchema)]
pub struct Message {
    index: u64,
    /// `message`, `rejected`, `alert`, `delivered`, `acknowledged`, `tick`, `model-registered`, `shred` or `kind-N`.
    kind: String,
    site: String,
    epoch: u64,
    site_seq: u64,
    event_time_ms: i64,
    message_time_ms: i64,
    received_time_ms: i64,
    /// This site holds no key for it: another site sealed it.
    sealed: bool,
    /// Its site has destroyed its key: nobody can read it any more.
    shredded: bool,
    /// What the reader made of it: feed, type, events, issues.
    #[schema(value_type = Object)]
    content: Option<serde_json::Value>,
    /// The raw bytes, when they are UTF-8.
    raw: Option<String>,
    /// The raw bytes, when they are not.
    raw_base64: Option<String>,
}

/// One ledger entry by its index, opened where this site holds the key.
#[utoipa::path(path = "/api/messages/{index}", tag = "ledger", params(("index" = u64, Path), Freshness),
    responses((status = 200, body = Message), (status = 404, body = ApiError), (status = 503, body = ApiError)))]
#[get("/messages/{index}")]
pub async fn message(
    site: SiteData,
    who: Identity,
    index: web::Path<u64>,
    freshness: web::Query<Freshness>,
) -> Result<web::Json<Message>, ApiError> {
    who.must_see_entries()?;
    freshness.reach(&site).await?;
    let entries = site.entries(*index, 1).map_err(ApiError::reading)?;
    let entry = entries.into_iter().next().ok_or_else(|| ApiError::not_found("entry"))?;
    Ok(web::Json(show(entry)))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Freshness {
    /// Wait until everything is here that was committed anywhere before this request; 503 when no majority of the
    /// sites confirms it
    #[serde(default)]
    linearizable: bool,
}

impl Freshness {
    async fn reach(&self, site: &SiteData) -> Result<(), ApiError> {
        if !self.linearizable {
            return Ok(());
        }
        site.catch_up().await.map_err(|error| match error {
            LedgerError::Unavailable(_) => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no-quorum", error.to_string())
            }
            error => ApiError::internal(error),
        })
    }
}

/// What a list shows of an entry: enough to hold the ledger against a sender's own list.
#[derive(Serialize, ToSchema)]
pub struct MessageRow {
    index: u64,
    /// As in [`Message`].
    kind: String,
    site: String,
    event_time_ms: i64,
    received_time_ms: i64,
    /// As in [`Message`].
    sealed: bool,
    shredded: bool,
    feed: Option<String>,
    #[serde(rename = "type")]
    type_: Option<String>,
    control_id: Option<String>,
    /// Of a refused message: its stable code.
    code: Option<String>,
    /// Of an alert, its delivery and its answer: the alert's id.
    alert: Option<String>,
    /// SHA-256 of the raw bytes, for whoever may open them.
    sha256: Option<String>,
}

/// Entries of the ledger as it was at one size.
#[derive(Serialize, ToSchema)]
pub struct Page {
    /// Leaves that were looked through: what came later is not in it.
    as_of: u64,
    /// Nothing was missing that had been committed anywhere before the request.
    linearizable: bool,
    entries: Vec<MessageRow>,
    /// Path and query of the page that follows, if there may be one.
    next: Option<String>,
}

/// Entries in the ledger's order, all or those that have in common what is asked for. Of a time, and not
/// of one patient, visit or control id, they come in the order of their event times.
#[utoipa::path(path = "/api/messages", tag = "ledger", params(Filter),
    responses((status = 200, body = Page), (status = 400, body = ApiError), (status = 503, body = ApiError)))]
#[get("/messages")]
pub async fn messages(
    site: SiteData,
    who: Identity,
    filter: web::Query<Filter>,
) -> Result<web::Json<Page>, ApiError> {
    // The care team may look for what is known of a patient; all of the traffic is the engineer's.
    if filter.is_about_a_patient() {
        who.must_see_entries()?
    } else {
        who.must_see_operations()?
    };
    let search = filter.search()?;
    let freshness = Freshness { linearizable: filter.linearizable };
    freshness.reach(&site).await?;
    let found = web::block(move || site.search(&search)).await.map_err(ApiError::internal)?;
    let found = found.map_err(ApiError::reading)?;
    Ok(web::Json(Page {
        as_of: found.as_of,
        linearizable: freshness.linearizable,
        next: found.next.map(|(since, from)| filter.after(since, from)),
        entries: found.entries.into_iter().map(row).collect(),
    }))
}

fn row(entry: Entry) -> MessageRow {
    let shown = show_parts(&entry);
    let text = |field: &str| shown.content.as_ref()?.get(field)?.as_str().map(str::to_owned);
    let is_message = matches!(shown.kind, Some(Kind::Message | Kind::Rejected));
    MessageRow {
        index: entry.index,
        kind: kind_name(entry.kind, shown.kind),
        event_time_ms: entry.event_time_ms,
        received_time_ms: entry.received_time_ms,
        sealed: matches!(entry.payload, Payload::Sealed | Payload::Entrusted(_)),
        shredded: matches!(entry.payload, Payload::Shredded),
        feed: text("feed"),
        type_: text("type"),
        control_id: text("control_id"),
        code: text("code"),
        alert: alert_id(shown.content.as_ref()),
        sha256: (is_message && shown.content.is_some()).then(|| hex::encode(Sha256::digest(&shown.raw))),
        site: entry.site,
    }
}

fn alert_id(content: Option<&serde_json::Value>) -> Option<String> {
    let content = content?;
    let id = content.pointer("/facts/id").or_else(|| content.get("alert"))?;
    id.as_str().map(str::to_owned)
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
        (Payload::Shred { by, .. }, _) if !by.is_empty() => (Some(json!({ "by": by })), Bytes::new()),
        (Payload::Entrusted(_) | Payload::Sealed | Payload::Shredded | Payload::Shred { .. }, _) => {
            (None, Bytes::new())
        }
    };
    Shown { kind, content, raw }
}

fn kind_name(number: u16, kind: Option<Kind>) -> String {
    match kind {
        Some(kind) => name(kind).to_owned(),
        None if number == SHRED => "shred".to_owned(),
        None if number == TAKEOVER => "takeover".to_owned(),
        None => format!("kind-{number}"),
    }
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
        sealed: matches!(entry.payload, Payload::Sealed | Payload::Entrusted(_)),
        shredded: matches!(entry.payload, Payload::Shredded),
        content,
        raw: text.filter(|text| !text.is_empty()),
        raw_base64,
    }
}

pub(super) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Message => "message",
        Kind::Rejected => "rejected",
        Kind::Alert => "alert",
        Kind::Delivered => "delivered",
        Kind::Acknowledged => "acknowledged",
        Kind::Tick => "tick",
        Kind::ModelRegistered => "model-registered",
        Kind::MembersChanged => "members-changed",
        Kind::Repaired => "repaired",
        Kind::Released => "released",
        Kind::Reloaded => "reloaded",
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
        Kind::MembersChanged => decoded::<entry::MembersChanged>(payload),
        Kind::Repaired => decoded::<entry::Repaired>(payload),
        Kind::Released => decoded::<entry::Released>(payload),
        Kind::Reloaded => decoded::<entry::Reloaded>(payload),
    }
}

fn decoded<T: DeserializeOwned + Serialize>(payload: &Bytes) -> (Option<serde_json::Value>, Bytes) {
    match entry::decode::<T>(payload) {
        Ok((head, raw)) => (serde_json::to_value(head).ok(), raw),
        Err(_) => (None, payload.clone()),
    }
}
