//! The JSON API of one site: what its pages, its command line and other programs ask of the running pipeline.

mod alerts;
mod error;
mod errors;
mod feeds;
mod filter;
mod health;
mod keys;
mod ledger;
mod messages;
mod models;
mod openapi;
mod patients;
mod pipeline;
mod reload;
mod replay;
mod schemas;
mod sinks;
mod site;
mod sites;
mod status;
mod stream;
mod tap;
mod trace;
mod work;

use actix_web::web;

pub use error::ApiError;
pub use reload::{AskReload, Outcome, Reload, ReloadError, Reloaded};
pub use site::{AcknowledgeError, Site};
#[cfg(test)]
pub use site::{BoardEvent, BoardStream, Lagged};
pub use work::Works;

/// The site behind every handler.
pub type SiteData = web::Data<dyn Site>;

/// `/healthz`, `/readyz`: open to anybody, they tell nothing but yes or no.
pub fn open_routes(config: &mut web::ServiceConfig) {
    config.route("/healthz", web::get().to(health::healthz)).route("/readyz", web::get().to(health::readyz));
}

/// Everything that needs a sign-in.
pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/metrics", web::get().to(health::metrics)).service(
        web::scope("/api")
            .route("/openapi.json", web::get().to(openapi::document))
            .service(status::status)
            .service(feeds::feeds)
            .service(tap::tap)
            .service(patients::patients)
            .service(patients::shred)
            .service(patients::patient)
            .service(alerts::alerts)
            .service(alerts::acknowledge)
            .service(alerts::explain)
            .service(models::models)
            .service(models::register)
            .service(models::retire)
            .service(models::promote)
            .service(models::shadow)
            .service(models::drift)
            .service(models::model)
            .service(errors::errors)
            .service(errors::show)
            .service(
                web::resource("/errors/{index}/retry")
                    .app_data(errors::with_message())
                    .route(web::post().to(errors::retry)),
            )
            .service(
                web::resource("/errors/{index}/release")
                    .app_data(errors::with_message())
                    .route(web::post().to(errors::release)),
            )
            .service(errors::discard)
            .service(sinks::release)
            .service(replay::replay)
            .service(reload::reload)
            .service(messages::messages)
            .service(messages::message)
            .service(trace::trace)
            .service(ledger::ledger)
            .service(ledger::checkpoint)
            .service(ledger::proof)
            .service(ledger::consistency)
            .service(ledger::verify)
            .service(work::look)
            .service(ledger::export)
            .service(sites::sites)
            .service(sites::add)
            .service(sites::promote)
            .service(sites::remove)
            .service(sites::lead)
            .service(ledger::backup)
            .service(ledger::upgrade)
            .service(ledger::archive)
            .service(keys::rotate)
            .service(keys::backup)
            .service(ledger::keys)
            .service(stream::stream),
    );
}
