use std::path::PathBuf;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{get, post, web};
use raft_ledger::{Archived, Backup, CosignedCheckpoint, Lease, LedgerError, Report, Status};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ApiError, SiteData, Works, schemas};
use crate::http::{Access, Identity};

/// This site's replica: role, term, size and root.
#[utoipa::path(path = "/api/ledger", tag = "ledger",
    responses((status = 200, body = schemas::LedgerStatus), (status = 403, body = ApiError)))]
#[get("/ledger")]
pub async fn ledger(site: SiteData, who: Identity) -> Result<web::Json<LedgerNow>, ApiError> {
    who.must_see_operations()?;
    let now =
        web::block(move || Ok::<_, LedgerError>(LedgerNow { leases: site.leases()?, status: site.ledger() }));
    Ok(web::Json(now.await.map_err(ApiError::internal)?.map_err(ApiError::internal)?))
}

#[derive(Serialize)]
pub struct LedgerNow {
    #[serde(flatten)]
    pub status: Status,
    /// Sites that others stand in for.
    pub leases: Vec<Lease>,
}

/// The newest checkpoint that a majority of the sites has cosigned; a site alone signs its own.
#[derive(Serialize, ToSchema)]
pub struct Checkpoint {
    /// Leaves that it covers.
    size: u64,
    /// RFC 6962 root over them, lowercase hex.
    root: String,
    /// Names of the keys that cosigned; empty for a site alone.
    cosigners: Vec<String>,
    /// Unix time at which this site had it complete.
    made_at_s: u64,
    /// C2SP signed note.
    checkpoint: String,
}

impl From<CosignedCheckpoint> for Checkpoint {
    fn from(newest: CosignedCheckpoint) -> Checkpoint {
        let CosignedCheckpoint { size, root, note, cosigners, made_at_s } = newest;
        Checkpoint { size, root: hex::encode(root), cosigners, made_at_s, checkpoint: note }
    }
}

/// The newest cosigned checkpoint: what receipts are given under.
#[utoipa::path(path = "/api/ledger/checkpoint", tag = "ledger",
    responses((status = 200, body = Checkpoint), (status = 403, body = ApiError), (status = 404, body = ApiError)))]
#[get("/ledger/checkpoint")]
pub async fn checkpoint(site: SiteData, who: Identity) -> Result<web::Json<Checkpoint>, ApiError> {
    who.must_see_operations()?;
    let newest = site.checkpoint().ok_or_else(|| ApiError::not_found("checkpoint yet"))?;
    Ok(web::Json(newest.into()))
}

#[derive(Serialize, ToSchema)]
pub struct Proof {
    /// As text, to be kept and judged elsewhere.
    proof: String,
}

/// A receipt for one entry: C2SP tlog-proof with the leaf record in its extra line.
#[utoipa::path(path = "/api/ledger/proof/{index}", tag = "ledger", params(("index" = u64, Path)),
    responses((status = 200, body = Proof), (status = 403, body = ApiError), (status = 409, body = ApiError)))]
#[get("/ledger/proof/{index}")]
pub async fn proof(
    site: SiteData,
    who: Identity,
    index: web::Path<u64>,
) -> Result<web::Json<Proof>, ApiError> {
    who.must_see_operations()?;
    proven(web::block(move || site.prove(*index)).await.map_err(ApiError::internal)?)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Leaves at the earlier time.
    old: u64,
    /// Leaves at the later time, at most those under the newest cosigned checkpoint.
    new: u64,
}

/// That nothing of an earlier ledger was changed or removed in a later one.
#[utoipa::path(path = "/api/ledger/consistency", tag = "ledger", params(Sizes),
    responses((status = 200, body = Proof), (status = 403, body = ApiError), (status = 409, body = ApiError)))]
#[get("/ledger/consistency")]
pub async fn consistency(
    site: SiteData,
    who: Identity,
    sizes: web::Query<Sizes>,
) -> Result<web::Json<Proof>, ApiError> {
    who.must_see_operations()?;
    let Sizes { old, new } = sizes.into_inner();
    proven(web::block(move || site.prove_consistency(old, new)).await.map_err(ApiError::internal)?)
}

fn proven(made: Result<String, LedgerError>) -> Result<web::Json<Proof>, ApiError> {
    match made {
        Ok(text) => Ok(web::Json(Proof { proof: text })),
        Err(LedgerError::NotProven(text)) => Err(ApiError::new(StatusCode::CONFLICT, "not-proven", text)),
        Err(error) => Err(ApiError::internal(error)),
    }
}

/// Recomputes everything that this site stores: hashes, root, chains, signatures. Takes as long as it takes.
#[utoipa::path(path = "/api/ledger/verify", tag = "ledger",
    responses((status = 200, body = schemas::Report), (status = 403, body = ApiError)))]
#[post("/ledger/verify")]
pub async fn verify(
    site: SiteData,
    who: Identity,
    works: web::Data<Works>,
) -> Result<web::Json<Report>, ApiError> {
    who.must_administer()?;
    let verify = works.begin("verify");
    let report = web::block(move || site.verify(&mut |what, at| verify.is(what, at)))
        .await
        .map_err(ApiError::internal)?;
    report.map(web::Json).map_err(ApiError::internal)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Absolute path at the site's machine; empty or new, or of an earlier backup.
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
    works: web::Data<Works>,
    body: web::Json<Export>,
) -> Result<web::Json<Exported>, ApiError> {
    who.must_administer()?;
    on_the_machine(&access, "exports are made with `medulla ledger export` on the site's machine")?;
    let folder = body.into_inner().folder;
    let export = works.begin("export");
    let made = web::block(move || site.export(&folder, &mut |what, at| export.is(what, at)))
        .await
        .map_err(ApiError::internal)?;
    let (size, root) = made.map_err(|error| failed("export-failed", format!("{error:#}")))?;
    Ok(web::Json(Exported { size, root: hex::encode(root) }))
}

/// Writes a verified backup into a folder that is new, empty or holds an earlier one. Only over the unix socket.
#[utoipa::path(path = "/api/ledger/backup", tag = "ledger", request_body = Export,
    responses((status = 200, body = schemas::Backup), (status = 403, body = ApiError), (status = 422, body = ApiError)))]
#[post("/ledger/backup")]
pub async fn backup(
    site: SiteData,
    who: Identity,
    access: web::Data<Access>,
    works: web::Data<Works>,
    body: web::Json<Export>,
) -> Result<web::Json<Backup>, ApiError> {
    who.must_administer()?;
    on_the_machine(&access, "backups are made with `medulla ledger backup` on the site's machine")?;
    let folder = body.into_inner().folder;
    let backup = works.begin("backup");
    let made = web::block(move || site.backup(&folder, &mut |what, at| backup.is(what, at)))
        .await
        .map_err(ApiError::internal)?;
    made.map(web::Json).map_err(|error| failed("backup-failed", error.to_string()))
}

#[derive(Serialize, ToSchema)]
pub struct Keys {
    /// C2SP verifier keys, one a line.
    keys: String,
    /// The authority's word for each site that joined after the founding, one a line.
    admissions: String,
}

/// Public keys of every site that takes or took part.
#[utoipa::path(path = "/api/ledger/keys", tag = "ledger",
    responses((status = 200, body = Keys), (status = 403, body = ApiError)))]
#[get("/ledger/keys")]
pub async fn keys(site: SiteData, who: Identity) -> Result<web::Json<Keys>, ApiError> {
    who.must_see_operations()?;
    Ok(web::Json(Keys { keys: site.verifier_keys(), admissions: site.admissions() }))
}

#[derive(Serialize, ToSchema)]
pub struct Upgraded {
    /// The rules that entries are applied by now.
    apply_version: u32,
}

/// Has entries applied by the latest rules that every voter's release knows; nobody goes back.
#[utoipa::path(path = "/api/ledger/upgrade", tag = "ledger",
    responses((status = 200, body = Upgraded), (status = 403, body = ApiError),
        (status = 409, body = ApiError), (status = 503, body = ApiError)))]
#[post("/ledger/upgrade")]
pub async fn upgrade(site: SiteData, who: Identity) -> Result<web::Json<Upgraded>, ApiError> {
    who.must_administer()?;
    let raised = site.upgrade_ledger(who.name()).await;
    super::sites::agreed(raised.map(|apply_version| Upgraded { apply_version }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Entries that came in before so many days.
    older_than_days: u32,
}

/// Moves the sealed payloads of old entries from the database into cold files, as far as they fill whole files and a
/// cosigned checkpoint covers them. Takes as long as it takes; the site goes on meanwhile.
#[utoipa::path(path = "/api/ledger/archive", tag = "ledger", request_body = Archive,
    responses((status = 200, body = schemas::Archived), (status = 403, body = ApiError), (status = 422, body = ApiError)))]
#[post("/ledger/archive")]
pub async fn archive(
    site: SiteData,
    who: Identity,
    works: web::Data<Works>,
    body: web::Json<Archive>,
) -> Result<web::Json<Archived>, ApiError> {
    who.must_administer()?;
    let older_than = Duration::from_secs(u64::from(body.older_than_days) * 24 * 3_600);
    let archive = works.begin("archive");
    let moved = web::block(move || site.archive(older_than, &mut |what, at| archive.is(what, at)))
        .await
        .map_err(ApiError::internal)?;
    moved.map(web::Json).map_err(|error| failed("archive-failed", error.to_string()))
}

pub(super) fn on_the_machine(access: &Access, text: &str) -> Result<(), ApiError> {
    match access {
        Access::Socket => Ok(()),
        Access::Tcp(_) => Err(ApiError::new(StatusCode::FORBIDDEN, "socket-only", text)),
    }
}

/// The caller is the local administrator, who named the folder: the reason is for their eyes.
pub(super) fn failed(code: &'static str, text: String) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, code, text)
}
