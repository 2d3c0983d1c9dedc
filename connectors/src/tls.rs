//! rustls configurations from PEM files; the provider is named, so none needs to be installed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::ConnectorError;

type Provider = Arc<rustls::crypto::CryptoProvider>;

fn provider() -> Provider {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A server's side. With `client_ca`, only clients with a certificate of that authority are let in.
pub(crate) fn server(
    cert: &Path,
    key: &Path,
    client_ca: Option<&PathBuf>,
) -> Result<Arc<ServerConfig>, ConnectorError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| ConnectorError::config("tls_cert", e.to_string()))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider())
                .build()
                .map_err(|e| ConnectorError::file(path, e))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder
        .with_single_cert(certificates(cert)?, private_key(key)?)
        .map_err(|e| ConnectorError::file(cert, e))?;
    Ok(Arc::new(config))
}

/// A client's side: trusts `ca` alone, shows `identity` (certificate, key) if given.
pub(crate) fn client(
    ca: &Path,
    identity: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, ConnectorError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| ConnectorError::config("tls_ca", e.to_string()))?
        .with_root_certificates(roots(ca)?);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|e| ConnectorError::file(cert, e))?,
    };
    Ok(Arc::new(config))
}

fn roots(path: &Path) -> Result<RootCertStore, ConnectorError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|e| ConnectorError::file(path, e))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectorError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(|pems| pems.collect())
        .map_err(|e| ConnectorError::file(path, e))?;
    if certificates.is_empty() {
        return Err(ConnectorError::file(path, "holds no certificate; give a PEM file"));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConnectorError> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| ConnectorError::file(path, e))
}
