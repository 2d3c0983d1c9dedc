//! What is done with a sink that holds an alert.

use actix_web::http::StatusCode;
use actix_web::{post, web};
use actors::ReleaseError;
use actors::entry::Release;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ApiError, SiteData, errors};
use crate::http::Operator;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Letting {
    /// `retry`: it is sent once more; `skip`: it is not sent again, and the next one follows.
    #[schema(value_type = String)]
    how: Release,
    /// Ledger index of the alert that is meant: another one is not let go.
    index: Option<u64>,
    /// Why, in the person's own words; a skip needs one.
    #[serde(default)]
    reason: String,
}

/// Where it is written down.
#[derive(Serialize, ToSchema)]
pub struct LetGo {
    /// Of the entry that says so.
    index: u64,
}

/// Lets a sink go that stands at an alert which its receiver refused.
#[utoipa::path(path = "/api/sinks/{name}/release", tag = "feeds", params(("name" = String, Path)),
    request_body = Letting, responses((status = 200, body = LetGo), (status = 403, body = ApiError),
        (status = 404, body = ApiError), (status = 409, body = ApiError), (status = 503, body = ApiError)))]
#[post("/sinks/{name}/release")]
pub async fn release(
    site: SiteData,
    Operator(who): Operator,
    name: web::Path<String>,
    body: web::Json<Letting>,
) -> Result<web::Json<LetGo>, ApiError> {
    let Letting { how, index, reason } = body.into_inner();
    let reason = errors::bounded(reason)?;
    if how == Release::Skip && reason.trim().is_empty() {
        let text = "say why the receiver shall not have this alert";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "reason-invalid", text));
    }
    let index = site.release_sink(&name, index, how, who.name(), &reason).await.map_err(refused)?;
    tracing::info!(by = who.name(), sink = %*name, ?how, "a sink was let go");
    Ok(web::Json(LetGo { index }))
}

fn refused(error: ReleaseError) -> ApiError {
    let (status, code) = match error {
        ReleaseError::UnknownSink(_) => (StatusCode::NOT_FOUND, "not-found"),
        ReleaseError::NotHeld(_) => (StatusCode::CONFLICT, "not-held"),
        ReleaseError::Another { .. } => (StatusCode::CONFLICT, "another-held"),
        ReleaseError::Append(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    ApiError::new(status, code, error.to_string())
}
