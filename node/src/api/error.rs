//! Refusals of the API: `{"code","text"}` with a fitting status.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use raft_ledger::LedgerError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Finding;

/// Why a request was refused. `code` is stable; `text` says what to do and holds no patient data.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ApiError {
    #[serde(skip)]
    #[schema(ignore)]
    status: u16,
    pub code: &'static str,
    pub text: String,
    /// One by one, where a configuration was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> ApiError {
        ApiError { status: status.as_u16(), code, text: text.into(), findings: Vec::new() }
    }

    pub fn not_found(what: &str) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "not-found", format!("there is no such {what} at this site"))
    }

    /// Entries could not be read.
    pub fn reading(error: LedgerError) -> ApiError {
        match error {
            LedgerError::Cold(_) => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "cold-file-lost", error.to_string())
            }
            error => ApiError::internal(error),
        }
    }

    pub fn internal(error: impl fmt::Display) -> ApiError {
        tracing::error!(%error, "request failed");
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "failed inside the site; its log says why",
        )
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.text, self.code)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).json(self)
    }
}
