//! rustls configurations from PEM files; the provider is named, so none needs to be installed.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::ConnectorError;

pub(crate) type Provider = Arc<rustls::crypto::CryptoProvider>;

pub(crate) fn provider() -> Provider {
    Arc::new(rustls::crypto::ring::default_provider())
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

pub(crate) fn roots(path: &Path) -> Result<RootCertStore, ConnectorError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|e| ConnectorError::file(path, e))?;
    }
    Ok(roots)
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectorError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(|pems| pems.collect())
        .map_err(|e| ConnectorError::file(path, e))?;
    if certificates.is_empty() {
        return Err(ConnectorError::file(path, "holds no certificate; give a PEM file"));
    }
    Ok(certificates)
}

pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConnectorError> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| ConnectorError::file(path, e))
}
