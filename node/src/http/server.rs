//! Starts and stops the listeners.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, HttpServer, web};
use anyhow::Context;
use connectors::ServerTls;
use tokio::sync::watch;

use super::auth::Auth;
use super::closing::Closing;
use super::guard::{Access, guard};
use super::{login, socket, tls};
use crate::api::{self, Site, Works};
use crate::config::Http;
use crate::web as pages;

/// Routes of others: pages, `/fhir`, `/hl7`, `/log`. They pass the same guard.
pub type Extra = Arc<dyn Fn(&mut web::ServiceConfig) + Send + Sync>;

/// Two threads serve pages and API; message traffic has threads of its own.
const WORKERS: usize = 2;
/// How long open requests may go on after a stop.
const SHUTDOWN_S: u64 = 5;

const CONTENT_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                              frame-ancestors 'none'; form-action 'self'; base-uri 'none'";

// A macro, because the type of an `HttpServer` with its wrapped app cannot be written down.
macro_rules! app {
    ($common:expr, $closing:expr, $access:expr) => {{
        let (site, extra, works) = $common;
        let (site, closing) = (web::Data::from(site), web::Data::new($closing));
        let works = web::Data::new(works);
        let access: web::Data<Access> = web::Data::new($access);
        HttpServer::new(move || {
            App::new()
                .wrap(from_fn(guard))
                .wrap(headers())
                .app_data(site.clone())
                .app_data(closing.clone())
                .app_data(works.clone())
                .app_data(access.clone())
                .configure(api::open_routes)
                .configure(login::routes)
                .configure(api::routes)
                .configure(pages::routes)
                .configure(|config| extra(config))
        })
        .workers(WORKERS)
        .shutdown_timeout(SHUTDOWN_S)
        .disable_signals()
    }};
}
/// The running listeners of a site.
pub struct Server {
    pub address: SocketAddr,
    pub tls: Option<ServerTls>,
    pub auth: Arc<Auth>,
    socket: PathBuf,
    closing: watch::Sender<bool>,
    handles: Vec<ServerHandle>,
}

impl Server {
    /// Listens on the configured address and on the unix socket in `data`. Needs a running actix system.
    pub async fn start(
        http: &Http,
        data: &Path,
        site: Arc<dyn Site>,
        extra: Extra,
    ) -> anyhow::Result<Server> {
        let (closing, stop) = watch::channel(false);
        let tcp =
            TcpListener::bind(http.listen).with_context(|| format!("cannot listen on {}", http.listen))?;
        let address = tcp.local_addr()?;
        let socket = socket::path(data);
        let unix = socket::listen(&socket)?;

        let common = (site, extra, Works::default());
        let auth = Arc::new(Auth::new(&http.users, &http.tokens));
        let signed_in = Closing::new(stop.clone(), Some(auth.replaced()));
        let on_tcp = app!(common.clone(), signed_in, Access::Tcp(auth.clone()));
        let tls = http.tls.as_ref().map(tls::open).transpose()?;
        let on_tcp = match &tls {
            Some(tls) => on_tcp.listen_rustls_0_23(tcp, tls.following()?)?,
            None => on_tcp.listen(tcp)?,
        };
        let on_unix = app!(common, Closing::new(stop, None), Access::Socket).workers(1).listen_uds(unix)?;
        let handles = [on_tcp.run(), on_unix.run()].map(|server| {
            let handle = server.handle();
            actix_web::rt::spawn(server);
            handle
        });
        Ok(Server { address, tls, auth, socket, closing, handles: handles.into() })
    }

    /// Takes no more requests, ends the streams, and waits for what is under way.
    pub async fn stop(self) {
        let _ = self.closing.send(true);
        futures_util::future::join_all(self.handles.iter().map(|handle| handle.stop(true))).await;
        // Gone with a crash as well: the next start finds it dead and replaces it.
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add(("Content-Security-Policy", CONTENT_POLICY))
        .add(("X-Content-Type-Options", "nosniff"))
        .add(("Referrer-Policy", "same-origin"))
}
