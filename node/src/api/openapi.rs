//! `/api/openapi.json`.

use actix_web::HttpResponse;
use utoipa::OpenApi;

use super::{
    alerts, errors, feeds, keys, ledger, messages, models, patients, reload, replay, sinks, sites, status,
    stream, tap, trace, work,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Medulla",
        description = "One site's API. Names and codes are stable; refusals are {code, text}."
    ),
    paths(
        status::status,
        feeds::feeds,
        tap::tap,
        patients::patients,
        patients::patient,
        patients::shred,
        alerts::alerts,
        alerts::acknowledge,
        alerts::explain,
        models::models,
        models::register,
        models::retire,
        models::promote,
        models::shadow,
        models::drift,
        models::model,
        errors::errors,
        errors::show,
        errors::retry,
        errors::release,
        errors::discard,
        sinks::release,
        replay::replay,
        reload::reload,
        messages::messages,
        messages::message,
        trace::trace,
        ledger::ledger,
        ledger::checkpoint,
        ledger::proof,
        ledger::consistency,
        ledger::verify,
        work::look,
        ledger::export,
        sites::sites,
        sites::add,
        sites::promote,
        sites::remove,
        sites::lead,
        ledger::backup,
        ledger::upgrade,
        ledger::archive,
        keys::rotate,
        keys::backup,
        ledger::keys,
        stream::stream,
    )
)]
pub struct Document;

pub async fn document() -> HttpResponse {
    HttpResponse::Ok().json(Document::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_every_path() {
        let document = serde_json::to_value(Document::openapi()).expect("json");
        let mut paths: Vec<&str> =
            document["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [
                "/api/alerts",
                "/api/alerts/{id}/acknowledge",
                "/api/alerts/{id}/explain",
                "/api/errors",
                "/api/errors/{index}",
                "/api/errors/{index}/discard",
                "/api/errors/{index}/release",
                "/api/errors/{index}/retry",
                "/api/feeds",
                "/api/feeds/{feed}/tap",
                "/api/keys/backup",
                "/api/keys/rotate",
                "/api/ledger",
                "/api/ledger/archive",
                "/api/ledger/backup",
                "/api/ledger/checkpoint",
                "/api/ledger/consistency",
                "/api/ledger/export",
                "/api/ledger/keys",
                "/api/ledger/proof/{index}",
                "/api/ledger/upgrade",
                "/api/ledger/verify",
                "/api/ledger/work",
                "/api/messages",
                "/api/messages/{index}",
                "/api/messages/{index}/trace",
                "/api/models",
                "/api/models/{hash}",
                "/api/models/{hash}/drift",
                "/api/models/{hash}/promote",
                "/api/models/{hash}/retire",
                "/api/models/{hash}/shadow",
                "/api/patients",
                "/api/patients/shred",
                "/api/patients/{key}",
                "/api/reload",
                "/api/replay",
                "/api/sinks/{name}/release",
                "/api/sites",
                "/api/sites/{site}/lead",
                "/api/sites/{site}/promote",
                "/api/sites/{site}/remove",
                "/api/status",
                "/api/stream"
            ]
        );
    }
}
