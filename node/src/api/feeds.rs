use actix_web::{get, web};

use super::{ApiError, FeedView, SiteData};
use crate::http::Identity;

/// Every configured feed with its state.
#[utoipa::path(path = "/api/feeds", tag = "feeds",
    responses((status = 200, body = Vec<FeedView>), (status = 403, body = ApiError)))]
#[get("/feeds")]
pub async fn feeds(site: SiteData, who: Identity) -> Result<web::Json<Vec<FeedView>>, ApiError> {
    who.must_see_operations()?;
    Ok(web::Json(site.feeds()))
}
