//! What every request passes before it reaches a handler: is it ours, and who sends it.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError, web};

use super::Identity;
use super::auth::Auth;
use super::login;
use crate::api::ApiError;

/// How the server at hand knows people.
pub enum Access {
    /// The unix socket: file permissions have checked already.
    Socket,
    Tcp(Arc<Auth>),
}

/// Paths that answer without a sign-in; they show nothing of patients or the site.
const OPEN_PATHS: [&str; 4] = ["/healthz", "/readyz", "/login", "/logout"];
const ASSETS: &str = "/assets/";

pub async fn guard<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let Some(access) = request.app_data::<web::Data<Access>>().cloned() else {
        return Ok(refuse(request, ApiError::internal("no access rules")));
    };
    let identity = match &**access {
        Access::Socket => Some(Identity::local()),
        Access::Tcp(auth) => {
            if let Err(error) = same_origin(&request, auth.is_open()) {
                return Ok(refuse(request, error));
            }
            identify(&request, auth).await
        }
    };
    let path = request.path();
    let open = OPEN_PATHS.contains(&path) || path.starts_with(ASSETS);
    match identity {
        Some(identity) => {
            if is_feed(path)
                && let Err(error) = identity.must_feed()
            {
                return Ok(refuse(request, error));
            }
            request.extensions_mut().insert(identity);
        }
        None if open => {}
        None if wants_page(&request) => {
            let response = login::redirect(request.uri());
            return Ok(request.into_response(response).map_into_right_body());
        }
        None => {
            let text = "sign in at /login or send a bearer token";
            return Ok(refuse(request, ApiError::new(StatusCode::UNAUTHORIZED, "sign-in-required", text)));
        }
    }
    next.call(request).await.map(ServiceResponse::map_into_left_body)
}

/// What is posted there becomes entries; what is read there are patients' resources.
fn is_feed(path: &str) -> bool {
    path == "/hl7" || path == "/fhir" || path.starts_with("/fhir/")
}

fn refuse<B>(request: ServiceRequest, error: ApiError) -> ServiceResponse<EitherBody<B>> {
    let response: HttpResponse = error.error_response();
    request.into_response(response).map_into_right_body()
}

async fn identify(request: &ServiceRequest, auth: &Auth) -> Option<Identity> {
    if auth.is_open() {
        return Some(Identity::local());
    }
    let bearer = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if let Some(token) = bearer {
        return auth.token(token.trim()).await;
    }
    auth.session(request.cookie(login::COOKIE)?.value())
}

fn wants_page(request: &ServiceRequest) -> bool {
    let accepts =
        request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    request.method() == Method::GET && accepts.contains("text/html") && !request.path().starts_with("/api/")
}

/// A page from elsewhere must not act with a browser's standing here: neither by a form (Origin) nor, where no
/// sign-in is asked, by a name that it made resolve to loopback (Host).
fn same_origin(request: &ServiceRequest, open: bool) -> Result<(), ApiError> {
    let host = request.connection_info().host().to_owned();
    if open && !is_loopback(&host) {
        let text = "without [[http.user]] this site answers only to localhost and loopback addresses";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "host-refused", text));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(()) };
    let same = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .is_some_and(|(_, from)| from == host);
    if same {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::FORBIDDEN, "origin-refused", "the request comes from another site's page"))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn knows_loopback() {
        for (host, loopback) in [
            ("localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("127.0.0.1", true),
            ("[::1]:8080", true),
            ("localhost.evil.example:8080", false),
            ("10.0.0.1:8080", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), loopback, "{host}");
        }
    }
}
