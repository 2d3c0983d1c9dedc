//! A site's key store: over the unix socket alone, because keys are the machine's own users' affair.

use std::path::PathBuf;

use actix_web::{post, web};
use raft_ledger::{KeyBackup, KeysRotated};
use serde::Deserialize;
use utoipa::ToSchema;

use super::ledger::{failed, on_the_machine};
use super::{ApiError, SiteData, schemas};
use crate::http::{Access, Identity};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rotated {
    /// The key that encrypts the key store.
    Master,
    /// Every subject's key: the next entry is sealed under a new one.
    Subjects,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKeys {
    what: Rotated,
}

/// Another master key, or new keys for subjects. What was sealed opens as before.
#[utoipa::path(path = "/api/keys/rotate", tag = "keys", request_body = RotateKeys,
    responses((status = 200, body = schemas::KeysRotated), (status = 403, body = ApiError), (status = 422, body = ApiError)))]
#[post("/keys/rotate")]
pub async fn rotate(
    site: SiteData,
    who: Identity,
    access: web::Data<Access>,
    body: web::Json<RotateKeys>,
) -> Result<web::Json<KeysRotated>, ApiError> {
    who.must_administer()?;
    on_the_machine(&access, "keys are rotated with `medulla keys rotate` on the site's machine")?;
    let subjects = body.what == Rotated::Subjects;
    let rotated = web::block(move || site.rotate_keys(subjects)).await.map_err(ApiError::internal)?;
    rotated.map(web::Json).map_err(|error| failed("not-rotated", error.to_string()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupKeys {
    /// Absolute path at the site's machine; is overwritten.
    #[schema(value_type = String)]
    file: PathBuf,
    /// After so many it is refused.
    days: u32,
}

/// A backup of the key store, encrypted under the present master key and refused once it has expired.
#[utoipa::path(path = "/api/keys/backup", tag = "keys", request_body = BackupKeys,
    responses((status = 200, body = schemas::KeyBackup), (status = 403, body = ApiError), (status = 422, body = ApiError)))]
#[post("/keys/backup")]
pub async fn backup(
    site: SiteData,
    who: Identity,
    access: web::Data<Access>,
    body: web::Json<BackupKeys>,
) -> Result<web::Json<KeyBackup>, ApiError> {
    who.must_administer()?;
    on_the_machine(&access, "keys are backed up with `medulla keys backup` on the site's machine")?;
    let BackupKeys { file, days } = body.into_inner();
    let made = web::block(move || site.backup_keys(&file, days)).await.map_err(ApiError::internal)?;
    made.map(web::Json).map_err(|error| failed("backup-failed", error.to_string()))
}
