//! Which sites take part, and letting them come and go.

use actix_web::http::StatusCode;
use actix_web::{get, post, web};
use raft_ledger::{LedgerError, MemberChange, MemberStatus};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{ApiError, SiteData, schemas};
use crate::http::Identity;

/// The members, as the leader sees them; as this site does while there is none.
#[utoipa::path(path = "/api/sites", tag = "sites",
    responses((status = 200, body = Vec<schemas::MemberStatus>), (status = 403, body = ApiError)))]
#[get("/sites")]
pub async fn sites(site: SiteData, who: Identity) -> Result<web::Json<Vec<MemberStatus>>, ApiError> {
    who.must_see_operations()?;
    Ok(web::Json(site.members().await))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Joining {
    site: String,
    /// `host:port` of its raft port; without it, where the leader's configuration says.
    address: Option<String>,
    /// Of a site that none of the founders knew: the text of its admission, as `medulla keys admit` wrote it.
    keys: Option<String>,
}

/// Lets a running site join as a learner.
#[utoipa::path(path = "/api/sites", tag = "sites", request_body = Joining,
    responses((status = 200, body = Vec<schemas::MemberStatus>), (status = 403, body = ApiError),
        (status = 409, body = ApiError), (status = 503, body = ApiError)))]
#[post("/sites")]
pub async fn add(
    site: SiteData,
    who: Identity,
    body: web::Json<Joining>,
) -> Result<web::Json<Vec<MemberStatus>>, ApiError> {
    let Joining { site: name, address, keys } = body.into_inner();
    change(&site, &who, MemberChange::Add { site: name, address, keys }).await
}

/// Makes a learner that has caught up a voter, in the place of the site's former disk if it lost one.
#[utoipa::path(path = "/api/sites/{site}/promote", tag = "sites", params(("site" = String, Path)),
    responses((status = 200, body = Vec<schemas::MemberStatus>), (status = 403, body = ApiError),
        (status = 409, body = ApiError), (status = 503, body = ApiError)))]
#[post("/sites/{site}/promote")]
pub async fn promote(
    site: SiteData,
    who: Identity,
    name: web::Path<String>,
) -> Result<web::Json<Vec<MemberStatus>>, ApiError> {
    change(&site, &who, MemberChange::Promote { site: name.into_inner() }).await
}

/// Ends a site's membership; refused where no majority of the rest answers.
#[utoipa::path(path = "/api/sites/{site}/remove", tag = "sites", params(("site" = String, Path)),
    responses((status = 200, body = Vec<schemas::MemberStatus>), (status = 403, body = ApiError),
        (status = 409, body = ApiError), (status = 503, body = ApiError)))]
#[post("/sites/{site}/remove")]
pub async fn remove(
    site: SiteData,
    who: Identity,
    name: web::Path<String>,
) -> Result<web::Json<Vec<MemberStatus>>, ApiError> {
    change(&site, &who, MemberChange::Remove { site: name.into_inner() }).await
}

/// Hands the lead to a voter.
#[utoipa::path(path = "/api/sites/{site}/lead", tag = "sites", params(("site" = String, Path)),
    responses((status = 200, body = Vec<schemas::MemberStatus>), (status = 403, body = ApiError),
        (status = 409, body = ApiError), (status = 503, body = ApiError)))]
#[post("/sites/{site}/lead")]
pub async fn lead(
    site: SiteData,
    who: Identity,
    name: web::Path<String>,
) -> Result<web::Json<Vec<MemberStatus>>, ApiError> {
    change(&site, &who, MemberChange::Lead { site: name.into_inner() }).await
}

async fn change(
    site: &SiteData,
    who: &Identity,
    change: MemberChange,
) -> Result<web::Json<Vec<MemberStatus>>, ApiError> {
    who.must_administer()?;
    agreed(site.change_members(change, who.name()).await)
}

/// What the sites agreed on, or why they did not.
pub fn agreed<T>(told: Result<T, LedgerError>) -> Result<web::Json<T>, ApiError> {
    match told {
        Ok(done) => Ok(web::Json(done)),
        Err(LedgerError::Refused(why)) => Err(ApiError::new(StatusCode::CONFLICT, "refused", why)),
        Err(error @ LedgerError::Unavailable(_)) => {
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string()))
        }
        Err(error) => Err(ApiError::internal(error)),
    }
}
