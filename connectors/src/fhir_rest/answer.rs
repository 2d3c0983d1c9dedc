//! HTTP answers: the pipeline's replies, and those that the transport gives itself.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse};

use crate::{Format, Reply, Verdict};

pub(super) const FHIR_JSON: &str = "application/fhir+json";

/// The pipeline's reply as it is; `Location` relative to `/fhir/` becomes absolute.
pub(super) fn reply(request: &HttpRequest, reply: Reply) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let mut response = HttpResponse::build(status);
    if !reply.content_type.is_empty() {
        response.insert_header((CONTENT_TYPE, reply.content_type));
    }
    if let Some(location) = reply.location {
        response.insert_header((LOCATION, absolute(request, &location)));
    }
    response.body(reply.body)
}

pub(super) fn verdict(
    request: &HttpRequest,
    format: Format,
    retry_after_s: u64,
    verdict: Verdict,
) -> HttpResponse {
    match verdict {
        Verdict::Stored(body) | Verdict::Committed(body) => reply(request, body),
        Verdict::Rejected(_, body) if body.status >= 400 => reply(request, body),
        // A refusal never looks like a success, whatever status came with it.
        Verdict::Rejected(_, body) => reply(request, Reply { status: 422, ..body }),
        Verdict::Retry(reason) => unavailable(format, retry_after_s, &reason),
    }
}

/// 503: nothing was kept, or not yet.
pub(super) fn unavailable(format: Format, retry_after_s: u64, reason: &str) -> HttpResponse {
    let mut response = refuse(format, StatusCode::SERVICE_UNAVAILABLE, "transient", reason);
    if let Ok(seconds) = retry_after_s.to_string().parse() {
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

/// An OperationOutcome (FHIR R4, 2.36) with one issue of this `code`; plain text where HL7 v2 is spoken.
pub(super) fn refuse(format: Format, status: StatusCode, code: &str, text: &str) -> HttpResponse {
    match format {
        Format::Hl7v2 => {
            HttpResponse::build(status).content_type("text/plain; charset=utf-8").body(text.to_owned())
        }
        Format::FhirJson => {
            let issue = serde_json::json!({ "severity": "error", "code": code, "diagnostics": text });
            let outcome = serde_json::json!({ "resourceType": "OperationOutcome", "issue": [issue] });
            HttpResponse::build(status).content_type(FHIR_JSON).body(outcome.to_string())
        }
    }
}

pub(super) fn absolute(request: &HttpRequest, location: &str) -> String {
    if location.starts_with("http://") || location.starts_with("https://") {
        return location.to_owned();
    }
    let connection = request.connection_info();
    let path = match location.starts_with('/') {
        true => location.to_owned(),
        false => format!("/fhir/{location}"),
    };
    format!("{}://{}{path}", connection.scheme(), connection.host())
}
