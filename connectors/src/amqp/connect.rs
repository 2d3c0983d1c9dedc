//! Connecting and signing in.

use std::path::Path;
use std::time::Duration;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::{Connection, ConnectionProperties};

use super::Broker;
use super::broker::ByCertificate;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Files are read anew.
pub(super) async fn connect(broker: &Broker) -> Result<Connection, String> {
    let mut properties = ConnectionProperties::default().with_connection_name("medulla".into());
    if broker.signs_in_by_certificate() {
        properties = properties.with_auth_provider(ByCertificate);
    }
    let tls = tls(broker).await?;
    let runtime = lapin::runtime::default_runtime().map_err(|error| error.to_string())?;
    let connecting = Connection::connect_with_config(broker.url.expose(), properties, tls, runtime);
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(format!("cannot connect{}: {error}", broker.shown())),
        Err(_) => Err(format!("cannot connect: no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    }
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
