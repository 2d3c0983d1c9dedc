//! What followed from one message.

use actix_web::http::StatusCode;
use actix_web::{get, web};
use actors::{ExplainError, Trace, TraceError};

use super::{ApiError, SiteData};
use crate::http::Identity;

/// A message of this site from its entry on: later readings of it (`became`) and what was done with it (`acts`), what
/// its patients were scored then (`scores`, computed now from the entries up to it), the `alerts` that rest on it, and
/// of each its `deliveries` and who has `acknowledged` it, all with their ledger indices. `left_out` counts patients and
/// alerts that were too many to look into. Scores are for the care team alone. What is known under another id that the
/// patient's was merged into is not in it: neither its history in the scores, nor its alerts.
#[utoipa::path(path = "/api/messages/{index}/trace", tag = "ledger", params(("index" = u64, Path)),
    responses((status = 200, body = Object), (status = 404, body = ApiError), (status = 409, body = ApiError)))]
#[get("/messages/{index}/trace")]
pub async fn trace(
    site: SiteData,
    who: Identity,
    index: web::Path<u64>,
) -> Result<web::Json<Trace>, ApiError> {
    who.must_see_entries()?;
    // Risks are the care team's, also of patients without an alert.
    let with_scores = who.must_see_patients().is_ok();
    let traced = web::block(move || site.trace(*index, with_scores)).await.map_err(ApiError::internal)?;
    let traced = traced.map_err(|error| match error {
        TraceError::Ledger(error) | TraceError::Scores(ExplainError::Ledger(error)) => {
            ApiError::reading(error)
        }
        error @ TraceError::NotAMessage { .. } => {
            ApiError::new(StatusCode::NOT_FOUND, "not-a-message", error.to_string())
        }
        error => ApiError::new(StatusCode::CONFLICT, "trace-unreadable", error.to_string()),
    })?;
    traced.map(web::Json).ok_or_else(|| ApiError::not_found("message of this site that can be opened"))
}
