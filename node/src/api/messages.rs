use actix_web::{get, web};

use super::{ApiError, MessageView, SiteData};
use crate::http::Identity;

/// One ledger entry by its index, opened where this site holds the key.
#[utoipa::path(path = "/api/messages/{index}", tag = "ledger", params(("index" = u64, Path)),
    responses((status = 200, body = MessageView), (status = 404, body = ApiError)))]
#[get("/messages/{index}")]
pub async fn message(
    site: SiteData,
    who: Identity,
    index: web::Path<u64>,
) -> Result<web::Json<MessageView>, ApiError> {
    who.must_see_operations()?;
    let message = site.message(*index).await.map_err(ApiError::internal)?;
    message.map(web::Json).ok_or_else(|| ApiError::not_found("entry"))
}
