//! The listener: one task a connection, all handing their messages to the one `next`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Shared};
use super::stream::{BoxedStream, tune};
use crate::{ConnectorError, Inbound, ServerTls, SourceState, SourceStatus, TlsFiles};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `address:port`; port 0 takes a free one.
    pub listen: String,
    /// PEM files; both or none.
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// PEM file: only clients with a certificate of this authority are let in.
    pub tls_client_ca: Option<PathBuf>,
    #[serde(default = "default_message_bytes")]
    pub max_message_bytes: usize,
    /// Frames read ahead of the oldest unanswered one, per connection.
    #[serde(default = "default_read_ahead")]
    pub read_ahead: usize,
    #[serde(default = "default_connections")]
    pub max_connections: usize,
    /// Messages taken and not yet committed hold no more than this, all connections together.
    #[serde(default = "default_in_flight_bytes")]
    pub max_in_flight_bytes: usize,
    /// After a message that could not be kept, the connection stays open without an answer for so long.
    #[serde(default = "default_hold")]
    pub hold_s: u64,
}

/// Messages read and not yet taken by `next`, all connections together.
const HAND_OVER: usize = 64;

fn default_message_bytes() -> usize {
    16 * 1024 * 1024
}
fn default_read_ahead() -> usize {
    64
}
fn default_connections() -> usize {
    512
}
fn default_in_flight_bytes() -> usize {
    64 * 1024 * 1024
}
fn default_hold() -> u64 {
    30
}

impl Config {
    /// A plain listener with every limit at its default.
    pub fn new(listen: impl Into<String>) -> Config {
        Config {
            listen: listen.into(),
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            max_message_bytes: default_message_bytes(),
            read_ahead: default_read_ahead(),
            max_connections: default_connections(),
            max_in_flight_bytes: default_in_flight_bytes(),
            hold_s: default_hold(),
        }
    }

    fn tls(&self) -> Result<Option<ServerTls>, ConnectorError> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => {
                let (cert, key, client_ca) = (cert.clone(), key.clone(), self.tls_client_ca.clone());
                Ok(Some(ServerTls::open(TlsFiles { cert, key, client_ca })?))
            }
            (None, None) if self.tls_client_ca.is_none() => Ok(None),
            _ => Err(ConnectorError::config("tls_cert", "give tls_cert and tls_key together")),
        }
    }
}

pub struct Source {
    inbound: mpsc::Receiver<Inbound>,
    address: std::net::SocketAddr,
    tls: Option<ServerTls>,
    status: Arc<SourceStatus>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Source {
    pub async fn listen(config: Config) -> Result<Source, ConnectorError> {
        let tls = config.tls()?;
        let unusable = |source| ConnectorError::Listen { address: config.listen.clone(), source };
        let listener = TcpListener::bind(&config.listen).await.map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        // The window is each connection's read-ahead; this is only the hand-over, long enough that a busy sender's
        // frames pass without a wake-up each.
        let (sender, inbound) = mpsc::channel(HAND_OVER);
        let status = Arc::new(SourceStatus::default());
        status.set(SourceState::Running);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shared = Arc::new(Shared {
            intake: sender,
            status: status.clone(),
            stop: stop.clone(),
            bytes: Arc::new(Semaphore::new(config.max_in_flight_bytes.clamp(1, Semaphore::MAX_PERMITS))),
            config,
        });
        tasks.spawn(accept(listener, tls.clone(), shared, tasks.clone()));
        Ok(Source { inbound, address, tls, status, stop, tasks })
    }

    /// Where it listens: the port that was found, if the configuration said 0.
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// Its certificate, if it has one.
    pub fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }
}

/// One that never ran, or was given up: it listens no more.
impl Drop for Source {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl crate::Source for Source {
    async fn next(&mut self) -> Option<Inbound> {
        if self.stop.is_cancelled() {
            return None;
        }
        self.inbound.recv().await
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.status.set(SourceState::Stopped);
        // Handed over but never taken: no answer, the sender sends again.
        self.inbound.close();
        while self.inbound.try_recv().is_ok() {}
    }

    async fn finish(&mut self) {
        self.stop().await;
        self.tasks.close();
        if tokio::time::timeout(Duration::from_secs(30), self.tasks.wait()).await.is_err() {
            tracing::warn!(address = %self.address, "mllp: connections did not end within 30 s, leaving them");
        }
    }

    fn status(&self) -> Arc<SourceStatus> {
        self.status.clone()
    }
}

async fn accept(listener: TcpListener, tls: Option<ServerTls>, shared: Arc<Shared>, tasks: TaskTracker) {
    let slots = Arc::new(Semaphore::new(shared.config.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: waiting is all that helps.
                shared.status.fault(format!("cannot accept a connection: {error}"));
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            shared.status.fault("too many connections; raise max_connections");
            continue;
        };
        let tls = tls.as_ref().map(|tls| TlsAcceptor::from(tls.config()));
        let shared = shared.clone();
        tasks.spawn(async move {
            match open(stream, tls).await {
                Ok(stream) => connection::serve(stream, peer, shared).await,
                Err(error) => {
                    tracing::warn!(%peer, %error, "mllp: connection refused");
                    shared.status.fault(format!("connection refused: {error}"));
                }
            }
            drop(slot);
        });
    }
}

async fn open(stream: TcpStream, tls: Option<TlsAcceptor>) -> std::io::Result<BoxedStream> {
    tune(&stream)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let handshake = tokio::time::timeout(Duration::from_secs(10), tls.accept(stream)).await;
    Ok(Box::new(handshake.map_err(|_| std::io::Error::other("no TLS handshake within 10 s"))??))
}
