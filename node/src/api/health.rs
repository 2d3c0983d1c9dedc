//! `/healthz`, `/readyz`, `/metrics`.

use actix_web::{HttpResponse, Responder};

use super::{ApiError, SiteData};
use crate::http::Identity;

/// The process answers.
pub async fn healthz() -> impl Responder {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// The site can commit: 200, else 503 with the reason.
pub async fn readyz(site: SiteData) -> impl Responder {
    if site.is_ready() {
        HttpResponse::Ok().content_type("text/plain").body("ready\n")
    } else {
        HttpResponse::ServiceUnavailable().content_type("text/plain").body("no quorum: no leader is known\n")
    }
}

pub async fn metrics(site: SiteData, who: Identity) -> Result<HttpResponse, ApiError> {
    who.must_see_operations()?;
    let text =
        prometheus::TextEncoder::new().encode_to_string(&site.metrics()).map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}
