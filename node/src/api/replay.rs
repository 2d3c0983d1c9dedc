//! Messages read again as their feeds read now.

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use actix_web::{post, web};
use actors::{Replay, Search};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{ApiError, SiteData, errors, filter};
use crate::http::Identity;

/// Messages a page: each is read, and what differs committed, before the answer.
const LIMIT_MAX: usize = 200;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Ledger indices, at most 200, in the place of a query
    #[serde(default)]
    indices: BTreeSet<u64>,
    #[serde(default)]
    query: Query,
    /// As the answer before said in `next`
    #[serde(default)]
    after: Option<After>,
    /// As the first answer said in `as_of`
    before: Option<u64>,
    /// Nothing is written
    #[serde(default)]
    dry_run: bool,
    /// What is read otherwise may alert
    #[serde(default)]
    with_alerts: bool,
    /// Why, in the person's own words
    #[serde(default)]
    reason: String,
}

/// What the messages have in common. They are met where they stand now: of several readings at the last one.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// `message` or `rejected`
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feed: Option<String>,
    /// `AUTHORITY|ID`
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_id: Option<String>,
    /// `ORU^R01`, `Observation`
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_: Option<String>,
    /// Of a refusal, or of an issue with a message that was taken
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Event times from here on: RFC 3339, or ms since 1970
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Event times before here
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// Received by this site from here on
    #[serde(skip_serializing_if = "Option::is_none")]
    received_since: Option<String>,
    /// Received before here; needs `received_since`
    #[serde(skip_serializing_if = "Option::is_none")]
    received_until: Option<String>,
}

/// Where a page ended.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
pub struct After {
    since_ms: Option<i64>,
    from: u64,
}

/// One page: per message what reading it now gives against what the ledger holds.
#[derive(Serialize, ToSchema)]
pub struct Page {
    as_of: u64,
    #[schema(value_type = Vec<Object>)]
    messages: Vec<Value>,
    next: Option<After>,
}

/// Reads messages of this site again, as their feeds read now. What is read otherwise is committed in the place of the
/// former reading, unless `dry_run`; 200 means that the ledger has it, with the signed-in name.
#[utoipa::path(path = "/api/replay", tag = "errors", request_body = Asked,
    responses((status = 200, body = Page), (status = 400, body = ApiError), (status = 403, body = ApiError),
        (status = 503, body = ApiError)))]
#[post("/replay")]
pub async fn replay(
    site: SiteData,
    who: Identity,
    asked: web::Json<Asked>,
) -> Result<web::Json<Page>, ApiError> {
    who.must_see_operations()?;
    let asked = asked.into_inner();
    let dry_run = asked.dry_run;
    let done = site.replay(asked.replay()?, who.name()).await.map_err(errors::refused)?;
    let written = done.rows.iter().filter(|row| !row.became.is_empty()).count();
    if !dry_run && written > 0 {
        tracing::info!(by = who.name(), messages = done.rows.len(), written, "messages were replayed");
    }
    let next = done.next.map(|(since, from)| After { since_ms: since.map(|at| at.0), from });
    let messages = done.rows.iter().map(|row| serde_json::json!(row)).collect();
    Ok(web::Json(Page { as_of: done.as_of, messages, next }))
}

impl Asked {
    fn replay(self) -> Result<Replay, ApiError> {
        if self.indices.len() > LIMIT_MAX {
            return Err(bad(format!("at most {LIMIT_MAX} indices in one request")));
        }
        let query = serde_json::to_string(&self.query).unwrap_or_default();
        let is_empty = query == "{}";
        if self.indices.is_empty() == is_empty {
            return Err(bad("name the messages: by indices or by a query, one of both"));
        }
        let mut search = self.query.search()?;
        if let Some(After { since_ms, from }) = self.after {
            search.go_on((since_ms.map(clinical::Time), from));
        }
        Ok(Replay {
            query: if is_empty { String::new() } else { query },
            indices: self.indices,
            search,
            type_: self.query.type_,
            code: self.query.code,
            before: self.before,
            dry_run: self.dry_run,
            with_alerts: self.with_alerts,
            reason: errors::bounded(self.reason)?,
        })
    }
}

impl Query {
    fn search(&self) -> Result<Search, ApiError> {
        let kind = match self.kind.as_deref() {
            None => None,
            Some("message") => Some(actors::entry::Kind::Message),
            Some("rejected") => Some(actors::entry::Kind::Rejected),
            Some(_) => return Err(bad("kind is message or rejected")),
        };
        Ok(Search {
            from: 0,
            limit: LIMIT_MAX,
            patient: self.patient.as_deref().map(filter::patient).transpose()?,
            visit: self.visit.clone(),
            control_id: self.control_id.clone(),
            feed: self.feed.clone(),
            kind,
            since: filter::time("since", &self.since)?,
            until: filter::time("until", &self.until)?,
            received: filter::received(&self.received_since, &self.received_until)?,
            // Also of entries whose tags do not tell: `Replay` looks into them.
            type_: None,
            code: None,
            in_ledger_order: false,
        })
    }
}

fn bad(text: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad-query", text)
}
