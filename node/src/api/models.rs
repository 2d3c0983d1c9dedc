//! The registry of models.

use actix_web::http::StatusCode;
use actix_web::{get, post, web};
use actors::entry::{Replaced, ReplacedThen};
use actors::{DriftReport, ModelDecision, ModelDetail, ModelsListed, Promotion, RegistryError, ShadowReport};
use raft_ledger::LedgerError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ApiError, SiteData, schemas};
use crate::http::Identity;

/// Kept in the ledger: long enough for a paragraph, short enough for a leaf.
const WHY_CHARS_MAX: usize = 2_000;
/// Cards in use have below 100 kB.
const CARD_BYTES_MAX: usize = 1 << 20;
const HASH_DIGITS: usize = 64;

/// The models that the ledger knows: who registered and retired them, which sites load them, what they do here.
#[utoipa::path(path = "/api/models", tag = "models",
    responses((status = 200, body = schemas::ModelsListed), (status = 403, body = ApiError)))]
#[get("/models")]
pub async fn models(site: SiteData, who: Identity) -> Result<web::Json<ModelsListed>, ApiError> {
    who.must_see_operations()?;
    let listed = web::block(move || site.models()).await.map_err(ApiError::internal)?;
    listed.map(web::Json).map_err(ApiError::reading)
}

/// One model, by its hash: every entry about it, and its card.
#[utoipa::path(path = "/api/models/{hash}", tag = "models", params(("hash" = String, Path)),
    responses((status = 200, body = schemas::ModelDetail), (status = 403, body = ApiError),
        (status = 404, body = ApiError)))]
#[get("/models/{hash}")]
pub async fn model(
    site: SiteData,
    who: Identity,
    hash: web::Path<String>,
) -> Result<web::Json<ModelDetail>, ApiError> {
    who.must_see_operations()?;
    let found = web::block(move || site.model(&hash)).await.map_err(ApiError::internal)?;
    let found = found.map_err(ApiError::reading)?;
    found.map(web::Json).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, "not-found", "the ledger knows no model with this hash")
    })
}

/// What a model in shadow would have done at this site: alerts through the site's policy, beside what alerts for the same
/// task, and what other thresholds would have come to.
#[utoipa::path(path = "/api/models/{hash}/shadow", tag = "models", params(("hash" = String, Path)),
    responses((status = 200, body = schemas::ShadowReport), (status = 403, body = ApiError),
        (status = 404, body = ApiError)))]
#[get("/models/{hash}/shadow")]
pub async fn shadow(
    site: SiteData,
    who: Identity,
    hash: web::Path<String>,
) -> Result<web::Json<ShadowReport>, ApiError> {
    who.must_see_operations()?;
    site.shadow(&hash).map(web::Json).ok_or_else(|| {
        let text = "no model with this hash is in shadow at this site; shadow_models of [scoring] names those that are";
        ApiError::new(StatusCode::NOT_FOUND, "not-in-shadow", text)
    })
}

/// What this site has brought in, beside what a model that scores here was trained on: population stability index a column,
/// of its values and of how often it is measured, over the last stays. 0.1 warns, 0.25 alarms; too few stays say nothing.
#[utoipa::path(path = "/api/models/{hash}/drift", tag = "models", params(("hash" = String, Path)),
    responses((status = 200, body = schemas::DriftReport), (status = 403, body = ApiError),
        (status = 404, body = ApiError)))]
#[get("/models/{hash}/drift")]
pub async fn drift(
    site: SiteData,
    who: Identity,
    hash: web::Path<String>,
) -> Result<web::Json<DriftReport>, ApiError> {
    who.must_see_operations()?;
    site.drift(&hash).map(web::Json).ok_or_else(|| {
        let text = "no model with this hash scores at this site";
        ApiError::new(StatusCode::NOT_FOUND, "not-scoring", text)
    })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Promoting {
    /// Risk from which a patient belongs on the watch list, chosen on this site's own data.
    threshold: f64,
    /// The card's unless given, or `threshold` where that is higher.
    interruptive_threshold: Option<f64>,
    /// Hash of the model whose place it takes.
    replaces: Option<String>,
    /// What becomes of that one: `shadow` (unless given) or `off`.
    #[serde(default)]
    replaced: BecomesOf,
    /// Why, in the person's own words.
    why: String,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BecomesOf {
    /// It scores on and alerts nobody.
    #[default]
    Shadow,
    /// It scores no longer at this site.
    Off,
}

/// Has a model alert at this site, from thresholds of the site's own. 200 means that the ledger has it; what is scored
/// after that entry goes by it.
#[utoipa::path(path = "/api/models/{hash}/promote", tag = "models", params(("hash" = String, Path)),
    request_body = Promoting,
    responses((status = 200, body = ModelDecided), (status = 400, body = ApiError), (status = 403, body = ApiError),
        (status = 409, body = ApiError), (status = 503, body = ApiError)))]
#[post("/models/{hash}/promote")]
pub async fn promote(
    site: SiteData,
    who: Identity,
    hash: web::Path<String>,
    body: web::Json<Promoting>,
) -> Result<web::Json<ModelDecided>, ApiError> {
    let Promoting { threshold, interruptive_threshold, replaces, replaced, why } = body.into_inner();
    let then = match replaced {
        BecomesOf::Shadow => ReplacedThen::Shadow,
        BecomesOf::Off => ReplacedThen::Off,
    };
    let replaces = replaces.map(|hash| Replaced { hash, then });
    let promotion = Promotion { hash: hash.into_inner(), threshold, interruptive_threshold, replaces };
    decide(&site, &who, ModelDecision::Promote(promotion), &why).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// SHA-256 of what `sha256sum card.json golden.json model.ubj` prints in the model's folder, lowercase hex.
    hash: String,
    /// The text of its `card.json`.
    card: String,
    /// Why, in the person's own words.
    why: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retirement {
    /// Why, in the person's own words.
    why: String,
}

#[derive(Serialize, ToSchema)]
pub struct ModelDecided {
    /// Ledger index of the decision.
    index: u64,
    /// The signed-in name that it carries.
    by: String,
}

/// Registers a model, or takes back that it was retired. 200 means that the ledger has it.
#[utoipa::path(path = "/api/models", tag = "models", request_body = Registration,
    responses((status = 200, body = ModelDecided), (status = 400, body = ApiError), (status = 403, body = ApiError),
        (status = 409, body = ApiError), (status = 503, body = ApiError)))]
#[post("/models")]
pub async fn register(
    site: SiteData,
    who: Identity,
    body: web::Json<Registration>,
) -> Result<web::Json<ModelDecided>, ApiError> {
    let Registration { hash, card, why } = body.into_inner();
    if hash.len() != HASH_DIGITS || !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(invalid("hash-invalid", "the hash is a SHA-256 in lowercase hexadecimal digits"));
    }
    if card.len() > CARD_BYTES_MAX {
        return Err(invalid("card-too-large", "card.json has more than 1 MiB"));
    }
    decide(&site, &who, ModelDecision::Register { hash, card }, &why).await
}

/// Retires a model: it scores at no site from this entry on, whatever their configurations name. 200 means that the
/// ledger has it.
#[utoipa::path(path = "/api/models/{hash}/retire", tag = "models", params(("hash" = String, Path)),
    request_body = Retirement,
    responses((status = 200, body = ModelDecided), (status = 400, body = ApiError), (status = 403, body = ApiError),
        (status = 404, body = ApiError), (status = 409, body = ApiError), (status = 503, body = ApiError)))]
#[post("/models/{hash}/retire")]
pub async fn retire(
    site: SiteData,
    who: Identity,
    hash: web::Path<String>,
    body: web::Json<Retirement>,
) -> Result<web::Json<ModelDecided>, ApiError> {
    decide(&site, &who, ModelDecision::Retire { hash: hash.into_inner() }, &body.why).await
}

async fn decide(
    site: &SiteData,
    who: &Identity,
    decision: ModelDecision,
    why: &str,
) -> Result<web::Json<ModelDecided>, ApiError> {
    who.must_administer()?;
    let why = why.trim();
    if why.is_empty() || why.chars().count() > WHY_CHARS_MAX {
        let text = format!("say why, in 1 to {WHY_CHARS_MAX} characters");
        return Err(invalid("why-invalid", &text));
    }
    let index = site.decide_model(decision, who.name(), why).await.map_err(|error| {
        let told = |status, code| ApiError::new(status, code, error.to_string());
        match error {
            RegistryError::Unknown(_) => told(StatusCode::NOT_FOUND, "not-found"),
            RegistryError::Refused(_) => told(StatusCode::CONFLICT, "refused"),
            RegistryError::Unconfirmed(_) | RegistryError::Unread { .. } => {
                told(StatusCode::SERVICE_UNAVAILABLE, "unconfirmed")
            }
            RegistryError::Unavailable(_) | RegistryError::Ledger(LedgerError::Unavailable(_)) => {
                told(StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
            RegistryError::Ledger(error) => ApiError::reading(error),
        }
    })?;
    tracing::info!(by = who.name(), index, "a decision about a model is in the ledger");
    Ok(web::Json(ModelDecided { index, by: who.name().to_owned() }))
}

fn invalid(code: &'static str, text: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, code, text)
}
