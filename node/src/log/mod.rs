//! `/log/`: this site's ledger for any C2SP client (tlog-tiles): checkpoint, tree tiles, entry bundles.
//!
//! Entries are canonical leaf records: hashes, times and opaque references, nothing about a patient. The newest
//! cosigned checkpoint is the end of what is served.

mod path;
mod public;

use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER};
use actix_web::middleware::Compress;
use actix_web::{HttpResponse, web};
use raft_ledger::{Ledger, LedgerError};

use crate::api::ApiError;

pub use self::path::Part;
pub use self::public::PublicLog;

/// Tiles and bundles never change: what is proven stays.
const IMMUTABLE: &str = "max-age=31536000, immutable";

pub fn routes(config: &mut web::ServiceConfig, ledger: &Ledger) {
    let entries = web::resource("/tile/entries/{part:.*}").wrap(Compress::default()).get(entries);
    let log = web::scope("/log")
        .app_data(web::Data::new(ledger.clone()))
        .service(web::resource("/checkpoint").get(checkpoint))
        .service(entries)
        .service(web::resource("/tile/{level}/{part:.*}").get(tile));
    config.service(log);
}

async fn checkpoint(ledger: web::Data<Ledger>) -> Result<HttpResponse, ApiError> {
    let newest = ledger.checkpoint().ok_or_else(|| ApiError::not_found("checkpoint yet"))?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(newest.note))
}

async fn tile(
    ledger: web::Data<Ledger>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (level, part) = path.into_inner();
    let (Some(level), Some(part)) = (path::level(&level), Part::parse(&part)) else {
        return Err(ApiError::not_found("tile"));
    };
    serve(web::block(move || ledger.tile(level, part.index, part.width)).await, "tile")
}

async fn entries(ledger: web::Data<Ledger>, path: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let Some(part) = Part::parse(&path) else { return Err(ApiError::not_found("entry bundle")) };
    serve(web::block(move || ledger.entry_bundle(part.index, part.width)).await, "entry bundle")
}

fn serve(
    read: Result<Result<Option<Vec<u8>>, LedgerError>, actix_web::error::BlockingError>,
    what: &str,
) -> Result<HttpResponse, ApiError> {
    match read.map_err(ApiError::internal)? {
        Ok(Some(bytes)) => Ok(HttpResponse::Ok()
            .content_type("application/octet-stream")
            .insert_header((CACHE_CONTROL, IMMUTABLE))
            .body(bytes)),
        Ok(None) => Err(ApiError::not_found(what)),
        // The log is applied again after a crash: what was served before comes back.
        Err(LedgerError::NotProven(text)) => {
            Ok(HttpResponse::ServiceUnavailable().insert_header((RETRY_AFTER, "1")).body(text))
        }
        Err(error) => Err(ApiError::internal(error)),
    }
}

#[cfg(test)]
mod tests;
