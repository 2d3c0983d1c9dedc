use actix_web::{get, web};
use actors::{PatientDetail, PatientRow};
use serde::Serialize;
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
