use actix_web::{get, web};

use super::{ApiError, LedgerView, SiteData};
use crate::http::Identity;

/// This site's replica: role, term, size and root.
#[utoipa::path(path = "/api/ledger", tag = "ledger",
    responses((status = 200, body = LedgerView), (status = 403, body = ApiError)))]
#[get("/ledger")]
pub async fn ledger(site: SiteData, who: Identity) -> Result<web::Json<LedgerView>, ApiError> {
    who.must_see_operations()?;
    site.ledger().await.map(web::Json).map_err(ApiError::internal)
}
