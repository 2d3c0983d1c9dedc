//! `[log] listen`: `/log/` alone, for everybody, on a listener of its own.

use std::net::{SocketAddr, TcpListener};

use actix_web::dev::ServerHandle;
use actix_web::middleware::DefaultHeaders;
use actix_web::{App, HttpServer};
use anyhow::Context;
use connectors::ServerTls;
use raft_ledger::Ledger;

use crate::config::Log;
use crate::http::tls;

/// Strangers must not take the site's file handles.
const CONNECTIONS_MAX: usize = 256;
const SHUTDOWN_S: u64 = 1;

pub struct PublicLog {
    pub address: SocketAddr,
    pub tls: Option<ServerTls>,
    handle: ServerHandle,
}

impl PublicLog {
    /// Needs a running actix system.
    pub fn start(log: &Log, ledger: Ledger) -> anyhow::Result<PublicLog> {
        let tcp =
            TcpListener::bind(log.listen).with_context(|| format!("cannot listen on {}", log.listen))?;
        let address = tcp.local_addr()?;
        let server = HttpServer::new(move || {
            App::new()
                .wrap(DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff")))
                .configure(|config| super::routes(config, &ledger))
        })
        .workers(1)
        .max_connections(CONNECTIONS_MAX)
        .shutdown_timeout(SHUTDOWN_S)
        .disable_signals();
        let tls = log.tls.as_ref().map(tls::open).transpose()?;
        let server = match &tls {
            Some(tls) => server.listen_rustls_0_23(tcp, tls.following()?)?,
            None => server.listen(tcp)?,
        };
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Ok(PublicLog { address, tls, handle })
    }

    pub async fn stop(self) {
        self.handle.stop(true).await;
    }
}
