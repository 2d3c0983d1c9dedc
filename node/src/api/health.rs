//! `/healthz`, `/readyz`, `/metrics`.

use actix_web::{HttpResponse, Responder};
use raft_ledger::OutboxStatus;

use super::{ApiError, SiteData};
use crate::http::Identity;

/// The process answers.
pub async fn healthz() -> impl Responder {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// The site can commit: 200, else 503 with the reason. The second line tells how the outbox is.
pub async fn readyz(site: SiteData) -> impl Responder {
    let outbox = outbox_line(&site.outbox());
    if site.is_ready() {
        HttpResponse::Ok().content_type("text/plain").body(format!("ready\n{outbox}\n"))
    } else {
        let text = format!("no quorum: no leader is known\n{outbox}\n");
        HttpResponse::ServiceUnavailable().content_type("text/plain").body(text)
    }
}

fn outbox_line(outbox: &OutboxStatus) -> String {
    let OutboxStatus { state, entries, bytes, limit_bytes, .. } = outbox;
    let fault = if outbox.fault.is_some() { ", cannot be forwarded: the log says why" } else { "" };
    format!("outbox: {}, {entries} entries, {bytes} of {limit_bytes} bytes{fault}", state.as_str())
}

pub async fn metrics(site: SiteData, who: Identity) -> Result<HttpResponse, ApiError> {
    who.must_see_operations()?;
    let text =
        prometheus::TextEncoder::new().encode_to_string(&site.metrics()).map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}
