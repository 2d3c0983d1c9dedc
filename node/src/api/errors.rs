//! The error queue: refused messages, what they are, and what is done with them.

use actix_web::error::JsonPayloadError;
use actix_web::http::StatusCode;
use actix_web::{get, post, web};
use actors::{ErrorRow, ErrorState, Listed, RepairError, Repairs, Search, View};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::alerts::REASON_CHARS_MAX;
use super::{ApiError, SiteData, filter, schemas};
use crate::config::MESSAGE_BYTES_MAX;
use crate::http::{Identity, Operator};

const LIMIT_MAX: usize = 1000;
/// The largest message, in base64, and what stands around it.
const BODY_BYTES_MAX: usize = MESSAGE_BYTES_MAX as usize / 3 * 4 + (64 << 10);

#[derive(Clone, Deserialize, Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The first ledger index
    #[serde(default)]
    from: u64,
    /// Refused messages that one page looks at, at most 1000
    limit: Option<usize>,
    feed: Option<String>,
    /// Stable code of the refusal
    code: Option<String>,
    control_id: Option<String>,
    /// Received from here on: RFC 3339, or ms since 1970
    since: Option<String>,
    /// Received before here
    until: Option<String>,
    /// Also those that are repaired or discarded
    #[serde(default)]
    all: bool,
    /// `true`: held ones alone; `false`: none of them
    held: Option<bool>,
}

impl Query {
    fn listed(&self) -> Result<Listed, ApiError> {
        match (self.all, self.held) {
            (false, None) => Ok(Listed::Waiting),
            (false, Some(true)) => Ok(Listed::Held),
            (false, Some(false)) => Ok(Listed::Open),
            (true, None) => Ok(Listed::All),
            (true, Some(_)) => {
                let text = "ask for all, or for those that are held";
                Err(ApiError::new(StatusCode::BAD_REQUEST, "query-invalid", text))
            }
        }
    }
}

/// One page. `next` is the index to go on from, if more may follow.
#[derive(Serialize, ToSchema)]
pub struct Page {
    as_of: u64,
    #[schema(value_type = Vec<schemas::ErrorRow>)]
    errors: Vec<ErrorRow>,
    next: Option<u64>,
}

/// Refused messages of this site that nobody has repaired or discarded, open and held ones, in the ledger's order.
#[utoipa::path(path = "/api/errors", tag = "errors", params(Query),
    responses((status = 200, body = Page), (status = 400, body = ApiError), (status = 403, body = ApiError)))]
#[get("/errors")]
pub async fn errors(
    site: SiteData,
    who: Identity,
    query: web::Query<Query>,
) -> Result<web::Json<Page>, ApiError> {
    who.must_see_operations()?;
    let query = query.into_inner();
    let listed = query.listed()?;
    let search = Search {
        from: query.from,
        limit: query.limit.unwrap_or(100).clamp(1, LIMIT_MAX),
        feed: query.feed,
        control_id: query.control_id,
        since: filter::time("since", &query.since)?,
        until: filter::time("until", &query.until)?,
        ..Search::default()
    };
    let found = web::block(move || site.errors(&search, query.code.as_deref(), listed));
    let found = found.await.map_err(ApiError::internal)?.map_err(ApiError::reading)?;
    Ok(web::Json(Page { as_of: found.as_of, errors: found.rows, next: found.next }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Show {
    /// `tree` or `fhir`: the message as its feed reads it, as text
    view: Option<String>,
}

/// A refused message with its bytes, the issues, and what was done with it.
#[utoipa::path(path = "/api/errors/{index}", tag = "errors", params(("index" = u64, Path), Show),
    responses((status = 200, body = Object), (status = 404, body = ApiError), (status = 409, body = ApiError)))]
#[get("/errors/{index}")]
pub async fn show(
    site: SiteData,
    who: Identity,
    index: web::Path<u64>,
    how: web::Query<Show>,
) -> Result<web::Json<Value>, ApiError> {
    who.must_see_operations()?;
    let view = match how.view.as_deref() {
        None => None,
        Some("tree") => Some(View::Tree),
        Some("fhir") => Some(View::Fhir),
        Some(_) => {
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "view-invalid", "view is tree or fhir"));
        }
    };
    let shown = web::block(move || match view {
        Some(view) => site.error_view(*index, view).map(|text| json!({ "text": text })),
        None => site.error(*index).map(|detail| {
            let mut shown = json!(detail);
            shown["raw_base64"] = json!(STANDARD.encode(&detail.raw));
            shown
        }),
    });
    shown.await.map_err(ApiError::internal)?.map(web::Json).map_err(refused)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// In the place of the bytes that came, base64.
    raw_base64: Option<String>,
    /// The feed to read it for, unless the one that it came by.
    feed: Option<String>,
    #[serde(default)]
    reason: String,
    /// Nothing is written: the answer says what would become of it
    #[serde(default)]
    dry_run: bool,
}

/// Reads a refused message again, edited or as it came, and lets it flow as if its feed had sent it. 200 means that the
/// ledger has the outcome, whichever it is, with the signed-in name. One that is held stays so where it is refused again.
#[utoipa::path(post, path = "/api/errors/{index}/retry", tag = "errors", params(("index" = u64, Path)), request_body = Retry,
    responses((status = 200, body = Object), (status = 404, body = ApiError), (status = 409, body = ApiError),
        (status = 413, body = ApiError), (status = 503, body = ApiError)))]
pub async fn retry(
    site: SiteData,
    who: Operator,
    index: web::Path<u64>,
    body: web::Json<Retry>,
) -> Result<web::Json<Value>, ApiError> {
    read_again(site, who, *index, body.into_inner(), false).await
}

/// Lets a held message go: it is read again, edited or as it came, and refused again it stands in the error queue.
#[utoipa::path(post, path = "/api/errors/{index}/release", tag = "errors", params(("index" = u64, Path)), request_body = Retry,
    responses((status = 200, body = Object), (status = 404, body = ApiError), (status = 409, body = ApiError),
        (status = 413, body = ApiError), (status = 503, body = ApiError)))]
pub async fn release(
    site: SiteData,
    who: Operator,
    index: web::Path<u64>,
    body: web::Json<Retry>,
) -> Result<web::Json<Value>, ApiError> {
    read_again(site, who, *index, body.into_inner(), true).await
}

async fn read_again(
    site: SiteData,
    Operator(who): Operator,
    index: u64,
    body: Retry,
    release: bool,
) -> Result<web::Json<Value>, ApiError> {
    let Retry { raw_base64, feed, reason, dry_run } = body;
    let raw = raw_base64.map(|text| STANDARD.decode(text)).transpose().map_err(|_| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "base64-invalid",
            "raw_base64 is not base64: encode the message",
        )
    })?;
    let raw = raw.map(Into::into);
    let how = Repairs { raw, feed, reason: bounded(reason)?, release, ..Repairs::default() };
    if dry_run {
        let tried = web::block(move || site.try_error(index, &how)).await.map_err(ApiError::internal)?;
        return tried.map(|tried| web::Json(json!(tried))).map_err(refused);
    }
    let retried = site.retry_error(index, how, who.name()).await.map_err(refused)?;
    tracing::info!(
        by = who.name(),
        index,
        accepted = retried.accepted,
        release,
        "a refused message was retried"
    );
    Ok(web::Json(json!(retried)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Discard {
    /// Why, in the person's own words.
    reason: String,
}

/// Takes a refused message off the queue; its bytes stay in the ledger.
#[utoipa::path(path = "/api/errors/{index}/discard", tag = "errors", params(("index" = u64, Path)),
    request_body = Discard, responses((status = 200, body = Object), (status = 404, body = ApiError),
        (status = 409, body = ApiError), (status = 503, body = ApiError)))]
#[post("/errors/{index}/discard")]
pub async fn discard(
    site: SiteData,
    Operator(who): Operator,
    index: web::Path<u64>,
    body: web::Json<Discard>,
) -> Result<web::Json<Value>, ApiError> {
    let reason = bounded(body.into_inner().reason)?;
    if reason.trim().is_empty() {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "reason-invalid", "say why it is discarded"));
    }
    let kept = site.discard_error(*index, &reason, who.name()).await.map_err(refused)?;
    tracing::info!(by = who.name(), index = *index, "a refused message was discarded");
    Ok(web::Json(json!({ "index": kept, "state": ErrorState::Discarded })))
}

/// A whole message in base64: as large as any feed takes it.
pub fn with_message() -> web::JsonConfig {
    web::JsonConfig::default().limit(BODY_BYTES_MAX).error_handler(|error, _| {
        let (status, code, text) = match error {
            JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. } => {
                let text = format!(
                    "the message is larger than the {} MiB that any feed takes",
                    MESSAGE_BYTES_MAX >> 20
                );
                (StatusCode::PAYLOAD_TOO_LARGE, "too-large", text)
            }
            error => (StatusCode::BAD_REQUEST, "bad-request", error.to_string()),
        };
        ApiError::new(status, code, text).into()
    })
}

pub(super) fn bounded(reason: String) -> Result<String, ApiError> {
    if reason.chars().count() <= REASON_CHARS_MAX {
        return Ok(reason);
    }
    let text = format!("a reason has {REASON_CHARS_MAX} characters at most");
    Err(ApiError::new(StatusCode::BAD_REQUEST, "reason-invalid", text))
}

pub(super) fn refused(error: RepairError) -> ApiError {
    let (status, code) = match error {
        RepairError::Ledger(error) => return ApiError::reading(error),
        RepairError::Unknown(_) | RepairError::NoMessage(_) => (StatusCode::NOT_FOUND, "not-found"),
        RepairError::Closed(_) => (StatusCode::CONFLICT, "closed"),
        RepairError::NotHeld(_) => (StatusCode::CONFLICT, "not-held"),
        RepairError::Partial(_) => (StatusCode::CONFLICT, "partial"),
        RepairError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
        RepairError::UnknownFeed(_) => (StatusCode::CONFLICT, "feed-unknown"),
        RepairError::NoView => (StatusCode::CONFLICT, "unreadable"),
        RepairError::TooManyActs(_) => (StatusCode::CONFLICT, "too-many-acts"),
        RepairError::Unconfirmed(_) => (StatusCode::SERVICE_UNAVAILABLE, "unconfirmed"),
        RepairError::Append(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    ApiError::new(status, code, error.to_string())
}
