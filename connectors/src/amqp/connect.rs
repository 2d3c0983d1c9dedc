//! Connecting and signing in. A connection that was opened with a token is given the next one before that has ended.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::{Connection, ConnectionProperties};
use tokio_util::task::AbortOnDropHandle;

use super::Broker;
use super::broker::ByCertificate;
use crate::TokenSource;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// However near the end is: a source of tokens that has no next one yet is not asked all the time.
const RENEW_AFTER_MIN: Duration = Duration::from_secs(5);

/// A connection, and whoever renews its token while it lives.
pub(super) struct Link {
    connection: Arc<Connection>,
    _renewal: Option<AbortOnDropHandle<()>>,
}

impl Deref for Link {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Files and token are read anew.
pub(super) async fn connect(broker: &Broker) -> Result<Link, String> {
    let mut properties = ConnectionProperties::default().with_connection_name("medulla".into());
    let mut renewed = None;
    if broker.signs_in_by_certificate() {
        properties = properties.with_auth_provider(ByCertificate);
    } else if let Some(source) = &broker.token {
        let token = source.fetch().await.map_err(|error| error.to_string())?;
        renewed = Some((source.clone(), token.ends_at));
        properties = properties.with_auth_provider(broker.by_token(token.text));
    }
    let tls = tls(broker).await?;
    let runtime = lapin::runtime::default_runtime().map_err(|error| error.to_string())?;
    let connecting = Connection::connect_with_config(broker.url.expose(), properties, tls, runtime);
    let connection = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => Arc::new(connection),
        Ok(Err(error)) => return Err(format!("cannot connect{}: {error}", broker.shown())),
        Err(_) => return Err(format!("cannot connect: no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    };
    let renewal = renewed.map(|(source, ends_at)| tokio::spawn(renew(connection.clone(), source, ends_at)));
    Ok(Link { connection, _renewal: renewal.map(AbortOnDropHandle::new) })
}

async fn tls(broker: &Broker) -> Result<OwnedTLSConfig, String> {
    let cert_chain = match &broker.tls_ca {
        None => None,
        Some(path) => {
            let text = String::from_utf8(read(path).await?);
            Some(text.map_err(|_| format!("{} is no PEM file", path.display()))?)
        }
    };
    let identity = match (&broker.tls_cert, &broker.tls_key) {
        (Some(cert), Some(key)) => {
            Some(OwnedIdentity::PKCS8 { pem: read(cert).await?, key: read(key).await? })
        }
        _ => None,
    };
    Ok(OwnedTLSConfig { identity, cert_chain })
}

async fn read(path: &Path) -> Result<Vec<u8>, String> {
    tokio::fs::read(path).await.map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// At four fifths of what a token has left. Without a next one in time the broker ends the connection.
async fn renew(connection: Arc<Connection>, source: TokenSource, mut ends_at: SystemTime) {
    loop {
        let left = ends_at.duration_since(SystemTime::now()).unwrap_or_default();
        tokio::time::sleep((left * 4 / 5).max(RENEW_AFTER_MIN)).await;
        if !connection.status().connected() {
            return;
        }
        let token = match source.fetch().await {
            Ok(token) => token,
            Err(error) => {
                tracing::warn!(%error, "amqp: there is no next token");
                continue;
            }
        };
        ends_at = token.ends_at;
        if let Err(error) = connection.update_secret(token.text.expose().into(), "renewed".into()).await {
            tracing::warn!(%error, "amqp: the broker does not take the next token of {source}");
        }
    }
}
