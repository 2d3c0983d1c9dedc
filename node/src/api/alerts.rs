use actix_web::http::StatusCode;
use actix_web::{HttpResponse, get, post, web};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{AcknowledgeError, AlertView, ApiError, SiteData};
use crate::http::Identity;

/// Kept in the ledger: long enough for a sentence, short enough for a leaf.
const REASON_CHARS_MAX: usize = 500;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Since {
    /// Only alerts after this position of the board stream.
    #[serde(default)]
    since: u64,
}

/// Alerts, oldest first.
#[utoipa::path(path = "/api/alerts", tag = "care", params(Since),
    responses((status = 200, body = Vec<AlertView>), (status = 403, body = ApiError)))]
#[get("/alerts")]
pub async fn alerts(
    site: SiteData,
    who: Identity,
    query: web::Query<Since>,
) -> Result<web::Json<Vec<AlertView>>, ApiError> {
    who.must_see_patients()?;
    Ok(web::Json(site.alerts(query.since)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// Why, in the person's own words.
    reason: String,
}

/// Answers an alert. The name is the signed-in one; 204 means that the ledger has it.
#[utoipa::path(path = "/api/alerts/{id}/acknowledge", tag = "care", params(("id" = String, Path)),
    request_body = Acknowledgement,
    responses((status = 204), (status = 404, body = ApiError), (status = 409, body = ApiError),
        (status = 503, body = ApiError)))]
#[post("/alerts/{id}/acknowledge")]
pub async fn acknowledge(
    site: SiteData,
    who: Identity,
    id: web::Path<String>,
    body: web::Json<Acknowledgement>,
) -> Result<HttpResponse, ApiError> {
    who.must_see_patients()?;
    let reason = body.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
        let text = format!("give a reason of 1 to {REASON_CHARS_MAX} characters");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "reason-invalid", text));
    }
    site.acknowledge(&id, who.name(), reason).await.map_err(|error| match error {
        AcknowledgeError::NotFound => ApiError::not_found("alert"),
        AcknowledgeError::Already => ApiError::new(StatusCode::CONFLICT, "already-acknowledged", error.to_string()),
        AcknowledgeError::Unavailable(_) => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
        }
    })?;
    Ok(HttpResponse::NoContent().finish())
}
