use actix_web::{get, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::SiteData;
use crate::config::Role;
use crate::http::Identity;

/// The site and the one who asks.
#[derive(Serialize, ToSchema)]
pub struct Status {
    site: String,
    version: &'static str,
    /// It can commit.
    ready: bool,
    /// The signed-in name; acknowledgements carry it.
    user: String,
    #[schema(value_type = Vec<String>)]
    roles: Vec<Role>,
}

/// The site's state, and as whom one is signed in.
#[utoipa::path(path = "/api/status", tag = "site", responses((status = 200, body = Status)))]
#[get("/status")]
pub async fn status(site: SiteData, who: Identity) -> web::Json<Status> {
    web::Json(Status {
        site: site.name(),
        version: env!("CARGO_PKG_VERSION"),
        ready: site.is_ready(),
        user: who.name().to_owned(),
        roles: who.roles().to_vec(),
    })
}
