use actix_web::{get, web};
use actors::{FeedStatus, SinkStatus};
use raft_ledger::OutboxStatus;
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, SiteData, schemas};
use crate::http::Identity;

/// What comes in and what goes out.
#[derive(Serialize, ToSchema)]
pub struct Feeds {
    #[schema(value_type = Vec<schemas::FeedStatus>)]
    feeds: Vec<FeedStatus>,
    #[schema(value_type = Vec<schemas::SinkStatus>)]
    sinks: Vec<SinkStatus>,
    #[schema(value_type = schemas::OutboxStatus)]
    outbox: OutboxStatus,
}

/// Every configured feed and sink with its state.
#[utoipa::path(path = "/api/feeds", tag = "feeds",
    responses((status = 200, body = Feeds), (status = 403, body = ApiError)))]
#[get("/feeds")]
pub async fn feeds(site: SiteData, who: Identity) -> Result<web::Json<Feeds>, ApiError> {
    who.must_see_operations()?;
    Ok(web::Json(Feeds { feeds: site.feeds(), sinks: site.sinks(), outbox: site.outbox() }))
}
