//! The routes. Sign-in and TLS are the web server's.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::header::CONTENT_LENGTH;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;

use super::answer;
use super::door::Door;
use super::endpoint::{Endpoint, Request, Room};
use super::pending::Answer;
use crate::{Format, Reply, Verdict};

/// A client that sends its body slower than this is cut off.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// `POST /fhir`, `POST /fhir/{Type}`, `PUT` and `GET /fhir/{Type}/{id}`, `GET /fhir/metadata`,
/// `GET /fhir/{Type}/{id}/_history/{version}`, `GET /fhir/$async/{id}`, `POST /hl7`. Needs `app_data(web::Data::new(door))`.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/hl7", web::post().to(hl7))
        .route("/fhir", web::post().to(transaction))
        .route("/fhir/", web::post().to(transaction))
        .route("/fhir/metadata", web::get().to(metadata))
        .route("/fhir/$async/{id}", web::get().to(poll))
        .route("/fhir/{type}", web::post().to(create))
        .route("/fhir/{type}/{id}", web::put().to(update))
        .route("/fhir/{type}/{id}", web::get().to(read))
        .route("/fhir/{type}/{id}/_history/{version}", web::get().to(read_version))
        .route("/fhir", web::route().to(not_done))
        .route("/fhir/{rest:.*}", web::route().to(not_done));
}

async fn hl7(endpoint: Endpoint, request: HttpRequest, body: web::Payload) -> HttpResponse {
    take(&endpoint, &request, body, Format::Hl7v2).await
}

async fn transaction(endpoint: Endpoint, request: HttpRequest, body: web::Payload) -> HttpResponse {
    take(&endpoint, &request, body, Format::FhirJson).await
}

async fn create(
    endpoint: Endpoint,
    request: HttpRequest,
    resource_type: web::Path<String>,
    body: web::Payload,
) -> HttpResponse {
    match is_type(&resource_type) {
        true => take(&endpoint, &request, body, Format::FhirJson).await,
        false => not_found("no such resource type"),
    }
}

async fn update(
    endpoint: Endpoint,
    request: HttpRequest,
    name: web::Path<(String, String)>,
    body: web::Payload,
) -> HttpResponse {
    match is_type(&name.0) && is_id(&name.1) {
        true => take(&endpoint, &request, body, Format::FhirJson).await,
        false => not_found("no such resource type, or no valid id"),
    }
}

async fn metadata(endpoint: Endpoint, request: HttpRequest) -> HttpResponse {
    answer::reply(&request, endpoint.lookup().metadata().await)
}

async fn read(endpoint: Endpoint, request: HttpRequest, name: web::Path<(String, String)>) -> HttpResponse {
    match is_type(&name.0) && is_id(&name.1) {
        true => answer::reply(&request, endpoint.lookup().read(&name.0, &name.1, None).await),
        false => not_found("no such resource type, or no valid id"),
    }
}

async fn read_version(
    endpoint: Endpoint,
    request: HttpRequest,
    name: web::Path<(String, String, String)>,
) -> HttpResponse {
    let (type_, id, version) = &*name;
    match is_type(type_) && is_id(id) && is_id(version) {
        true => answer::reply(&request, endpoint.lookup().read(type_, id, Some(version)).await),
        false => not_found("no such resource type, or no valid id"),
    }
}

/// Searches, deletions, patches, histories, operations.
async fn not_done(_: Endpoint, request: HttpRequest) -> HttpResponse {
    let text = match *request.method() {
        Method::GET | Method::HEAD => {
            "this interaction is not offered: resources are read by the address that their create or update answered"
        }
        _ => {
            "this interaction is not offered: resources are created with POST and updated with PUT; see /fhir/metadata"
        }
    };
    answer::refuse(Format::FhirJson, StatusCode::METHOD_NOT_ALLOWED, "not-supported", text)
}

/// The status URL of a `Prefer: respond-async` request: 202 until its answer is there, then the answer.
async fn poll(door: web::Data<Door>, request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    match door.answer(&id) {
        Answer::Unknown => not_found("no such request, or its answer was given up; send it again"),
        Answer::Unfinished => HttpResponse::Accepted().insert_header(("X-Progress", "waiting")).finish(),
        Answer::Finished(reply) => answer::reply(&request, reply),
    }
}

/// Reads the body, hands it on, waits for the verdict.
async fn take(
    endpoint: &Endpoint,
    request: &HttpRequest,
    body: web::Payload,
    format: Format,
) -> HttpResponse {
    let config = endpoint.config();
    let limit = config.max_message_bytes;
    let declared =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|bytes: usize| bytes > limit) {
        return too_large(endpoint, format);
    }
    let Some(room) = endpoint.room(declared.unwrap_or(limit)) else {
        return answer::unavailable(
            format,
            config.retry_after_s,
            "too much is in flight; send it again later",
        );
    };
    let body = match tokio::time::timeout(BODY_TIMEOUT, body.to_bytes_limited(limit)).await {
        Ok(Ok(Ok(body))) => body,
        Ok(Ok(Err(error))) => return error.into(),
        Ok(Err(_)) => return too_large(endpoint, format),
        Err(_) => {
            return answer::refuse(
                format,
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "the body came too slowly",
            );
        }
    };
    let inbound = inbound(request, body, format);
    if request.headers().get_all("prefer").any(|value| prefers_async(value.to_str().unwrap_or_default())) {
        return later(endpoint, request, inbound, room);
    }
    let waited =
        tokio::time::timeout(Duration::from_secs(config.answer_timeout_s), endpoint.submit(inbound, room));
    match waited.await {
        Ok(Ok(verdict)) => answer::verdict(request, format, config.retry_after_s, verdict),
        Ok(Err(_)) => answer::unavailable(format, config.retry_after_s, "the pipeline is gone"),
        Err(_) => answer::unavailable(format, config.retry_after_s, "not kept in time; send it again"),
    }
}

/// 202 says that it was received, not that it is kept: only the status URL's answer says that.
fn later(endpoint: &Endpoint, request: &HttpRequest, inbound: Request, room: Room) -> HttpResponse {
    let (format, retry_after_s) = (inbound.format, endpoint.config().retry_after_s);
    let Some(id) = endpoint.pending().begin() else {
        return answer::unavailable(format, retry_after_s, "too many requests await their answers");
    };
    let url = answer::absolute(request, &format!("/fhir/$async/{id}"));
    let (verdict, shared) = (endpoint.submit(inbound, room), endpoint.clone());
    endpoint.spawn(async move {
        let reply = match verdict.await {
            Ok(Verdict::Stored(reply) | Verdict::Committed(reply) | Verdict::Rejected(_, reply)) => reply,
            _ => Reply { status: 503, body: "not kept; send it again".into(), ..Reply::default() },
        };
        shared.pending().finish(id, reply);
    });
    HttpResponse::Accepted().insert_header(("Content-Location", url)).finish()
}

fn inbound(request: &HttpRequest, body: Bytes, format: Format) -> Request {
    let mut headers = BTreeMap::from([
        ("method".to_owned(), request.method().to_string()),
        ("path".to_owned(), request.path().to_owned()),
    ]);
    for name in ["content-type", "if-none-exist", "if-match", "if-none-match", "x-request-id"] {
        if let Some(Ok(value)) = request.headers().get(name).map(|value| value.to_str()) {
            headers.insert(name.to_owned(), value.to_owned());
        }
    }
    let peer = request.peer_addr().map_or_else(|| "http".to_owned(), |peer| peer.to_string());
    Request { peer, format, headers, body }
}

fn too_large(endpoint: &Endpoint, format: Format) -> HttpResponse {
    endpoint.status().fault("a request body was larger than max_message_bytes");
    answer::refuse(format, StatusCode::PAYLOAD_TOO_LARGE, "too-costly", crate::fault::TOO_LARGE_REASON)
}

fn not_found(text: &str) -> HttpResponse {
    answer::refuse(Format::FhirJson, StatusCode::NOT_FOUND, "not-found", text)
}

fn prefers_async(value: &str) -> bool {
    value.split([',', ';']).any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"))
}

/// A resource type is a name in CamelCase (FHIR R4, 2.1); which ones there are, the reader knows.
fn is_type(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_alphabetic())
}

/// FHIR R4, 2.24.0.1 `id`.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
}
