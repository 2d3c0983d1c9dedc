//! What a site answers while its ledger heals: that it does, and nothing else.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context;
use serde_json::json;

use crate::config::{Http, Site};
use crate::http::{socket_listen, socket_path, tls};

/// What is told of it.
#[derive(Clone)]
struct State {
    site: String,
    damage: String,
    /// Why it does not get on, and what to do.
    notice: Arc<RwLock<Option<String>>>,
}

pub struct Healing {
    socket: PathBuf,
    notice: Arc<RwLock<Option<String>>>,
    handles: [ServerHandle; 2],
}

impl Healing {
    /// Listens where the site will. Needs a running actix system.
    pub fn start(http: &Http, site: &Site, damage: &str) -> anyhow::Result<Healing> {
        let notice: Arc<RwLock<Option<String>>> = Arc::default();
        let state = State { site: site.name.clone(), damage: damage.to_owned(), notice: notice.clone() };
        let tcp =
            TcpListener::bind(http.listen).with_context(|| format!("cannot listen on {}", http.listen))?;
        let socket = socket_path(&site.data);
        let unix = socket_listen(&socket)?;
        let open = HttpServer::new(|| App::new().configure(open_routes)).workers(1).disable_signals();
        let open = match &http.tls {
            Some(files) => open.listen_rustls_0_23(tcp, tls::open(files)?.following()?)?,
            None => open.listen(tcp)?,
        };
        let inside = HttpServer::new(move || {
            let state = web::Data::new(state.clone());
            App::new().app_data(state).route("/api/ledger", web::get().to(ledger)).configure(open_routes)
        });
        let inside = inside.workers(1).disable_signals().listen_uds(unix)?;
        let handles = [open.run(), inside.run()].map(|server| {
            let handle = server.handle();
            actix_web::rt::spawn(server);
            handle
        });
        Ok(Healing { socket, notice, handles })
    }

    pub fn tell(&self, notice: Option<&str>) {
        *self.notice.write().unwrap_or_else(PoisonError::into_inner) = notice.map(str::to_owned);
    }

    pub async fn stop(self) {
        futures_util::future::join_all(self.handles.iter().map(|handle| handle.stop(false))).await;
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Open to anybody: they tell nothing of what is stored.
fn open_routes(config: &mut web::ServiceConfig) {
    config
        .route("/healthz", web::get().to(async || HttpResponse::Ok().content_type("text/plain").body("ok\n")))
        .route("/readyz", web::get().to(not_ready))
        .route("/metrics", web::get().to(metrics))
        .default_service(web::to(not_ready));
}

async fn not_ready() -> HttpResponse {
    HttpResponse::ServiceUnavailable()
        .insert_header(("Retry-After", "5"))
        .content_type("text/plain")
        .body("healing: the ledger database was damaged and is made again\n")
}

async fn metrics() -> HttpResponse {
    let text = "# HELP medulla_ledger_healing 1 while the ledger database of this site is made again\n\
                # TYPE medulla_ledger_healing gauge\nmedulla_ledger_healing 1\n";
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
}

async fn ledger(state: web::Data<State>) -> HttpResponse {
    let State { site, damage, notice } = &**state;
    let notice = notice.read().unwrap_or_else(PoisonError::into_inner).clone();
    HttpResponse::Ok().json(json!({ "site": site, "role": "healing", "damage": damage, "notice": notice }))
}
