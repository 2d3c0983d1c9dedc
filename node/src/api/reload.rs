//! Taking over a changed configuration while the site runs.

use std::path::PathBuf;

use actix_web::http::StatusCode;
use actix_web::{post, web};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ApiError;
use crate::config::{Change, Finding};
use crate::http::Identity;

/// Whoever can have the running site take over its file.
#[async_trait]
pub trait Reload: Send + Sync + 'static {
    async fn reload(&self, ask: AskReload, by: &str) -> Result<Reloaded, ReloadError>;
}

#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AskReload {
    /// Tell what would be done, and do nothing.
    pub dry_run: bool,
    /// The file that is meant, by its absolute path: where the site runs with another one, nothing is done. The site
    /// reads its own file in any case.
    #[schema(value_type = Option<String>)]
    pub file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// What would be taken over was told.
    Planned,
    /// What needs no restart was taken over.
    Done,
    /// There was nothing that the running site can take over.
    Unchanged,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Reloaded {
    pub outcome: Outcome,
    pub file: String,
    /// Of the file as it was read, lowercase hex.
    pub sha256: String,
    /// Of the ledger entry that says so.
    pub index: Option<u64>,
    pub changes: Vec<Change>,
    /// Feeds and sinks that are the same; they go on.
    pub unchanged: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("the file has {} that must be mended first; nothing was changed", mistakes(.0.len()))]
    Invalid(Vec<Finding>),
    #[error("this site runs with {0}; name that file")]
    OtherFile(String),
    #[error("nothing was changed, because it cannot be written down in the ledger: {0}")]
    Unrecorded(String),
    /// The former configuration stayed.
    #[error("{0}")]
    Failed(String),
    #[error("the site stops")]
    Stopping,
}

fn mistakes(count: usize) -> String {
    if count == 1 { "a mistake".into() } else { format!("{count} mistakes") }
}

/// Has the running site take over its changed configuration file. Feeds and sinks that are the same keep their
/// connections; what needs a restart is named and left as it is.
#[utoipa::path(path = "/api/reload", tag = "site", request_body = AskReload,
    responses((status = 200, body = Reloaded), (status = 403, body = ApiError), (status = 409, body = ApiError),
        (status = 422, body = ApiError), (status = 503, body = ApiError)))]
#[post("/reload")]
pub async fn reload(
    reloader: web::Data<dyn Reload>,
    who: Identity,
    body: web::Json<AskReload>,
) -> Result<web::Json<Reloaded>, ApiError> {
    who.must_administer()?;
    reloader.reload(body.into_inner(), who.name()).await.map(web::Json).map_err(refused)
}

fn refused(error: ReloadError) -> ApiError {
    let (status, code) = match &error {
        ReloadError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "config-invalid"),
        ReloadError::OtherFile(_) => (StatusCode::CONFLICT, "other-file"),
        ReloadError::Failed(_) => (StatusCode::CONFLICT, "reload-failed"),
        ReloadError::Unrecorded(_) | ReloadError::Stopping => {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        }
    };
    let mut refused = ApiError::new(status, code, error.to_string());
    if let ReloadError::Invalid(findings) = error {
        refused.findings = findings;
    }
    refused
}
