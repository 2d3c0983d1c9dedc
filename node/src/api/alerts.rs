use actix_web::http::StatusCode;
use actix_web::{get, post, web};
use actors::{AlertExplained, AlertRow, ExplainError};
use ml_scoring::Answered;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{AcknowledgeError, ApiError, SiteData, schemas};
use crate::http::Identity;

/// Kept in the ledger: long enough for a sentence, short enough for a leaf.
pub(super) const REASON_CHARS_MAX: usize = 500;
const LIMIT_DEFAULT: usize = 200;
/// A shift or two, and a weekend.
const SNOOZE_H: std::ops::RangeInclusive<u32> = 1..=72;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Limit {
    /// At most so many; 200 unless given.
    limit: Option<usize>,
}

/// Alerts, newest first.
#[utoipa::path(path = "/api/alerts", tag = "care", params(Limit),
    responses((status = 200, body = Vec<schemas::AlertRow>), (status = 403, body = ApiError)))]
#[get("/alerts")]
pub async fn alerts(
    site: SiteData,
    who: Identity,
    query: web::Query<Limit>,
) -> Result<web::Json<Vec<AlertRow>>, ApiError> {
    who.must_see_patients()?;
    Ok(web::Json(site.alerts(query.limit.unwrap_or(LIMIT_DEFAULT))))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// Why, in the person's own words.
    reason: String,
    /// 1 to 72: no further alert of this patient by the same scorer for so many hours. What is so still is told of then.
    #[serde(default)]
    snooze_h: Option<u32>,
    /// The patient has what the alert warned of: the same for `quiet_after_confirmation_h` of `[alerts]`.
    #[serde(default)]
    confirmed: bool,
}

#[derive(Serialize, ToSchema)]
pub struct Acknowledged {
    /// Ledger index of the acknowledgement.
    index: u64,
    /// The signed-in name that it carries.
    by: String,
}

/// Answers an alert. The name is the signed-in one; 200 means that the ledger has it.
#[utoipa::path(path = "/api/alerts/{id}/acknowledge", tag = "care", params(("id" = String, Path)),
    request_body = Acknowledgement,
    responses((status = 200, body = Acknowledged), (status = 404, body = ApiError), (status = 503, body = ApiError)))]
#[post("/alerts/{id}/acknowledge")]
pub async fn acknowledge(
    site: SiteData,
    who: Identity,
    id: web::Path<String>,
    body: web::Json<Acknowledgement>,
) -> Result<web::Json<Acknowledged>, ApiError> {
    who.must_see_patients()?;
    let reason = body.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
        let text = format!("give a reason of 1 to {REASON_CHARS_MAX} characters");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "reason-invalid", text));
    }
    let then = match body.snooze_h {
        Some(hours) if body.confirmed || !SNOOZE_H.contains(&hours) => {
            let (from, to) = (SNOOZE_H.start(), SNOOZE_H.end());
            let text = format!("snooze for {from} to {to} hours, or say that it is confirmed");
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "snooze-invalid", text));
        }
        Some(hours) => Answered::Snoozed { hours },
        None if body.confirmed => Answered::Confirmed,
        None => Answered::Seen,
    };
    let index = site.acknowledge(&id, who.name(), reason, then).await.map_err(|error| match error {
        AcknowledgeError::NotFound => ApiError::not_found("alert"),
        AcknowledgeError::Unavailable(_) => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
        }
    })?;
    Ok(web::Json(Acknowledged { index, by: who.name().to_owned() }))
}

/// The alert's score computed again from the patient's entries in the ledger, by the model that made it, with the values
/// that it rests on. Only at the site that alerted, and while that model is configured there.
#[utoipa::path(path = "/api/alerts/{id}/explain", tag = "care", params(("id" = String, Path)),
    responses((status = 200, body = schemas::AlertExplained), (status = 403, body = ApiError),
        (status = 404, body = ApiError), (status = 409, body = ApiError), (status = 410, body = ApiError)))]
#[get("/alerts/{id}/explain")]
pub async fn explain(
    site: SiteData,
    who: Identity,
    id: web::Path<String>,
) -> Result<web::Json<AlertExplained>, ApiError> {
    who.must_see_patients()?;
    let explained = web::block(move || site.explain(&id)).await.map_err(ApiError::internal)?;
    let explained = explained.map_err(|error| {
        let refused = |status, code| ApiError::new(status, code, error.to_string());
        match error {
            ExplainError::UnknownAlert => refused(StatusCode::NOT_FOUND, "not-found"),
            ExplainError::Sealed { .. } => refused(StatusCode::CONFLICT, "sealed"),
            ExplainError::Shredded { .. } => refused(StatusCode::GONE, "shredded"),
            ExplainError::OtherModel { .. } => refused(StatusCode::CONFLICT, "model-not-configured"),
            ExplainError::TooMany(_) => refused(StatusCode::CONFLICT, "too-many-entries"),
            ExplainError::Entry { .. } => refused(StatusCode::CONFLICT, "entry-unreadable"),
            ExplainError::Ledger(error) => ApiError::reading(error),
        }
    })?;
    tracing::info!(
        by = who.name(),
        index = explained.index,
        equal = explained.equal,
        "an alert was explained"
    );
    Ok(web::Json(explained))
}
