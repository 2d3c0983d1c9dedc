use std::path::PathBuf;

use actix_web::http::StatusCode;
use actix_web::{get, post, web};
use raft_ledger::{Report, Status};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ApiError, SiteData, schemas};
use crate::http::{Access, Identity};

/// This site's replica: role, term, size and root.
#[utoipa::path(path = "/api/ledger", tag = "ledger",
    responses((status = 200, body = schemas::LedgerStatus), (status = 403, body = ApiError)))]
#[get("/ledger")]
pub async fn ledger(site: SiteData, who: Identity) -> Result<web::Json<Status>, ApiError> {
    who.must_see_operations()?;
    Ok(web::Json(site.ledger()))
}

/// Recomputes everything that this site stores: hashes, root, chains, signatures. Takes as long as it takes.
#[utoipa::path(path = "/api/ledger/verify", tag = "ledger",
    responses((status = 200, body = schemas::Report), (status = 403, body = ApiError)))]
#[post("/ledger/verify")]
pub async fn verify(site: SiteData, who: Identity) -> Result<web::Json<Report>, ApiError> {
    who.must_administer()?;
    let report = web::block(move || site.verify()).await.map_err(ApiError::internal)?;
    report.map(web::Json).map_err(ApiError::internal)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Absolute path at the site's machine; empty or new.
    #[schema(value_type = String)]
    folder: PathBuf,
}

#[derive(Serialize, ToSchema)]
pub struct Exported {
    /// Leaves.
    size: u64,
    /// RFC 6962 root, lowercase hex.
    root: String,
}

/// Writes the ledger into a folder. Only over the unix socket: files are the machine's own users' affair.
#[utoipa::path(path = "/api/ledger/export", tag = "ledger", request_body = Export,
    responses((status = 200, body = Exported), (status = 403, body = ApiError), (status = 422, body = ApiError)))]
#[post("/ledger/export")]
pub async fn export(
    site: SiteData,
    who: Identity,
    access: web::Data<Access>,
    body: web::Json<Export>,
) -> Result<web::Json<Exported>, ApiError> {
    who.must_administer()?;
    if !matches!(&**access, Access::Socket) {
        let text = "exports are made with `medulla ledger export` on the site's machine";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "socket-only", text));
    }
    let folder = body.into_inner().folder;
    let made = web::block(move || site.export(&folder)).await.map_err(ApiError::internal)?;
    // The caller is the local administrator, who named the folder: the reason is for their eyes.
    let failed =
        |error| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "export-failed", format!("{error:#}"));
    let (size, root) = made.map_err(failed)?;
    Ok(web::Json(Exported { size, root: hex::encode(root) }))
}
