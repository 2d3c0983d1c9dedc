//! `/healthz`, `/readyz`, `/metrics`.

use actix_web::{HttpResponse, Responder};
use actors::SinkStatus;
use raft_ledger::OutboxStatus;

use super::{ApiError, SiteData};
use crate::http::Identity;

/// The process answers.
pub async fn healthz() -> impl Responder {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// The site can commit: 200, else 503 with the reason. The second line tells how the outbox is, a third one which sinks
/// hold: they wait for a person, and nothing that comes in waits for them.
pub async fn readyz(site: SiteData) -> impl Responder {
    let outbox = [outbox_line(&site.outbox())].into_iter().chain(held_line(&site.sinks()));
    let outbox = outbox.collect::<Vec<_>>().join("\n");
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

fn held_line(sinks: &[SinkStatus]) -> Option<String> {
    let held: Vec<&str> =
        sinks.iter().filter(|sink| sink.held.is_some()).map(|sink| sink.name.as_str()).collect();
    (!held.is_empty()).then(|| format!("sinks held: {}", held.join(", ")))
}

pub async fn metrics(site: SiteData, who: Identity) -> Result<HttpResponse, ApiError> {
    who.must_see_operations()?;
    let text =
        prometheus::TextEncoder::new().encode_to_string(&site.metrics()).map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}
