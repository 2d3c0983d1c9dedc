//! TLS of the listeners that ask for no client certificate.

use connectors::{ConnectorError, ServerTls, TlsFiles};

use crate::config::Tls;

/// # Errors
/// Names the file; never quotes it.
pub fn open(files: &Tls) -> Result<ServerTls, ConnectorError> {
    ServerTls::open(TlsFiles { cert: files.cert.clone(), key: files.key.clone(), client_ca: None })
}
