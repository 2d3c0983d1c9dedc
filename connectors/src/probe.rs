//! Whether a receiver of HTTP can be reached, and is whom its certificate says. No request is sent.

use std::path::Path;
use std::sync::Arc;

use reqwest::Url;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{ConnectorError, Secret, tls};

/// What was found, in words; the URL may hold a token and is in none of them.
///
/// # Errors
/// No address, nobody there, a certificate that is not trusted.
pub async fn greet_url(url: &Secret, tls_ca: Option<&Path>) -> Result<String, ConnectorError> {
    let wrong = || ConnectorError::config("url", "is no http:// or https:// address");
    let url = Url::parse(url.expose()).map_err(|_| wrong())?;
    let (host, port) = (url.host_str().ok_or_else(wrong)?, url.port_or_known_default().ok_or_else(wrong)?);
    let host = host.trim_matches(['[', ']']);
    let address = format!("{host}:{port}");
    let unreachable = |source| ConnectorError::Connect { address: address.clone(), source };
    let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    if url.scheme() != "https" {
        return Ok(format!("{address} answers, without TLS"));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
    TlsConnector::from(client(tls_ca)?).connect(name, stream).await.map_err(unreachable)?;
    Ok(format!("{address} answers, its certificate is trusted"))
}

/// Trusts whom the webhook's client trusts: the system's authorities, and those of `ca`.
fn client(ca: Option<&Path>) -> Result<Arc<ClientConfig>, ConnectorError> {
    let extra = ca.map(tls::certificates).transpose()?.unwrap_or_default();
    let unusable = |error: rustls::Error| ConnectorError::config("tls_ca", error.to_string());
    let verifier = Verifier::new_with_extra_roots(extra, tls::provider()).map_err(unusable)?;
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}
