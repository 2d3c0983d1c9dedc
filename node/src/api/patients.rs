use actix_web::http::StatusCode;
use actix_web::{get, post, web};
use actors::{PatientDetail, PatientRow, PatientShredded};
use clinical::PatientId;
use raft_ledger::LedgerError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ApiError, SiteData, schemas};
use crate::http::Identity;

#[derive(Serialize, ToSchema)]
pub struct Board {
    /// Event number to go on from: `/api/stream?since=`.
    seq: u64,
    #[schema(value_type = Vec<schemas::PatientRow>)]
    patients: Vec<PatientRow>,
}

/// Patients in the house by falling risk.
#[utoipa::path(path = "/api/patients", tag = "care",
    responses((status = 200, body = Board), (status = 403, body = ApiError)))]
#[get("/patients")]
pub async fn patients(site: SiteData, who: Identity) -> Result<web::Json<Board>, ApiError> {
    who.must_see_patients()?;
    let (patients, seq) = site.board();
    Ok(web::Json(Board { seq, patients }))
}

/// One patient with the curves of the risk and the alerts.
#[utoipa::path(path = "/api/patients/{key}", tag = "care", params(("key" = String, Path)),
    responses((status = 200, body = schemas::PatientDetail), (status = 404, body = ApiError)))]
#[get("/patients/{key}")]
pub async fn patient(
    site: SiteData,
    who: Identity,
    key: web::Path<String>,
) -> Result<web::Json<PatientDetail>, ApiError> {
    who.must_see_patients()?;
    site.patient(&key).await.map(web::Json).ok_or_else(|| ApiError::not_found("patient"))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Identifier {
    /// Assigning authority, as in PID-3.4.
    authority: String,
    /// As in PID-3.1.
    id: String,
}

/// Destroys the keys of a patient: what this site has sealed about the patient is unreadable from then on, everywhere,
/// backups included. It cannot be undone. A new visit is sealed under a new key.
#[utoipa::path(path = "/api/patients/shred", tag = "care", request_body = Identifier,
    responses((status = 200, body = schemas::PatientShredded), (status = 400, body = ApiError),
        (status = 403, body = ApiError), (status = 503, body = ApiError)))]
#[post("/patients/shred")]
pub async fn shred(
    site: SiteData,
    who: Identity,
    body: web::Json<Identifier>,
) -> Result<web::Json<PatientShredded>, ApiError> {
    who.must_administer()?;
    let Identifier { authority, id } = body.into_inner();
    if authority.is_empty() || id.is_empty() {
        let text = "name the patient by assigning authority and id, as in PID-3";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "patient-invalid", text));
    }
    let shredded = site.shred(&PatientId { authority: authority.into(), id: id.into() }, who.name()).await;
    let shredded = shredded.map_err(|error| {
        let later = |code| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string());
        match error {
            LedgerError::Unavailable(_) => later("unavailable"),
            LedgerError::Unconfirmed(_) => later("unconfirmed"),
            error => ApiError::internal(error),
        }
    })?;
    let (index, keys) = (shredded.index, shredded.keys);
    tracing::info!(by = who.name(), ?index, keys, "a patient was shredded");
    Ok(web::Json(shredded))
}
