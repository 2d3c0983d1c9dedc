//! `/login` and `/logout`: a form, a cookie, nothing that needs a script.

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::{StatusCode, Uri, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::guard::Access;

pub const COOKIE: &str = "medulla_session";
const PAGE: &str = include_str!("login.html");

#[derive(Deserialize)]
pub struct Form {
    name: String,
    password: String,
}

#[derive(Deserialize)]
pub struct Next {
    next: Option<String>,
}

impl Next {
    /// A path of this site; anything else would send people elsewhere.
    fn path(&self) -> &str {
        let own = |path: &&str| {
            path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n'])
        };
        self.next.as_deref().filter(own).unwrap_or("/")
    }
}

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/login", web::get().to(page))
        .route("/login", web::post().to(sign_in))
        .route("/logout", web::post().to(sign_out));
}

/// Sends a browser to the form, and afterwards back to where it wanted to go.
pub fn redirect(uri: &Uri) -> HttpResponse {
    let next = uri.path_and_query().map_or("/", |next| next.as_str());
    let mut encoded = String::new();
    for byte in next.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    see_other(&format!("/login?next={encoded}"))
}

async fn page() -> HttpResponse {
    show(StatusCode::OK, "")
}

async fn sign_in(
    request: HttpRequest,
    access: web::Data<Access>,
    next: web::Query<Next>,
    form: web::Form<Form>,
) -> HttpResponse {
    let Access::Tcp(auth) = &**access else { return see_other("/") };
    if auth.is_open() {
        return see_other(next.path());
    }
    let Some(session) = auth.sign_in(&form.name, &form.password).await else {
        tracing::warn!(peer = ?request.peer_addr(), "sign-in refused");
        return show(StatusCode::UNAUTHORIZED, "Name or password is wrong.");
    };
    let cookie = Cookie::build(COOKIE, session)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(request.app_config().secure())
        .finish();
    let mut response = see_other(next.path());
    if let Err(error) = response.add_cookie(&cookie) {
        tracing::error!(%error, "session cookie");
    }
    response
}

async fn sign_out(request: HttpRequest, access: web::Data<Access>) -> HttpResponse {
    if let (Access::Tcp(auth), Some(cookie)) = (&**access, request.cookie(COOKIE)) {
        auth.sign_out(cookie.value());
    }
    let mut response = see_other("/login");
    let mut removal = Cookie::build(COOKIE, "").path("/").finish();
    removal.make_removal();
    if let Err(error) = response.add_cookie(&removal) {
        tracing::error!(%error, "session cookie");
    }
    response
}

fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, location)).finish()
}

fn show(status: StatusCode, message: &str) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(PAGE.replace("{{message}}", message))
}
