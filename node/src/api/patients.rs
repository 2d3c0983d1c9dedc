use actix_web::{get, web};

use super::{ApiError, PatientDetail, PatientView, SiteData};
use crate::http::Identity;

/// Patients by falling risk.
#[utoipa::path(path = "/api/patients", tag = "care",
    responses((status = 200, body = Vec<PatientView>), (status = 403, body = ApiError)))]
#[get("/patients")]
pub async fn patients(site: SiteData, who: Identity) -> Result<web::Json<Vec<PatientView>>, ApiError> {
    who.must_see_patients()?;
    Ok(web::Json(site.patients()))
}

/// One patient with the curve of the risk and the alerts.
#[utoipa::path(path = "/api/patients/{key}", tag = "care", params(("key" = String, Path)),
    responses((status = 200, body = PatientDetail), (status = 404, body = ApiError)))]
#[get("/patients/{key}")]
pub async fn patient(
    site: SiteData,
    who: Identity,
    key: web::Path<String>,
) -> Result<web::Json<PatientDetail>, ApiError> {
    who.must_see_patients()?;
    site.patient(&key).map(web::Json).ok_or_else(|| ApiError::not_found("patient"))
}
