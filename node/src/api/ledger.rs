use actix_web::{get, web};
use raft_ledger::Status;

use super::{ApiError, SiteData, schemas};
use crate::http::Identity;

/// This site's replica: role, term, size and root.
#[utoipa::path(path = "/api/ledger", tag = "ledger",
    responses((status = 200, body = schemas::LedgerStatus), (status = 403, body = ApiError)))]
#[get("/ledger")]
pub async fn ledger(site: SiteData, who: Identity) -> Result<web::Json<Status>, ApiError> {
    who.must_see_operations()?;
    Ok(web::Json(site.ledger()))
}
