//! mTLS: a site is whom the consortium's authority says it is, by the name in its certificate.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::LedgerError;
use crate::keys::{SiteKeys, certificate_names};

#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Tls {
    pub(crate) fn new(keys: &SiteKeys) -> Result<Tls, LedgerError> {
        let bad = |e: &dyn std::fmt::Display| LedgerError::Keys(format!("tls: {e}"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(keys.ca_cert.clone()).map_err(|e| bad(&e))?;
        let roots = Arc::new(roots);
        let chain = vec![keys.tls_cert.clone()];
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|e| bad(&e))?;
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| bad(&e))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), keys.tls_key.clone_key())
            .map_err(|e| bad(&e))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| bad(&e))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, keys.tls_key.clone_key())
            .map_err(|e| bad(&e))?;
        Ok(Tls { acceptor: Arc::new(server).into(), connector: Arc::new(client).into() })
    }

    /// Connects to `address`, which must show a certificate of the site `name`.
    pub(super) async fn connect(
        &self,
        address: &str,
        name: &str,
    ) -> std::io::Result<client::TlsStream<TcpStream>> {
        let server_name = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        self.connector.connect(server_name, stream).await
    }

    /// Accepts a client; returns the names its certificate bears.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<(server::TlsStream<TcpStream>, Vec<String>)> {
        stream.set_nodelay(true)?;
        let stream = self.acceptor.accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let names = certificate.and_then(|certificate| certificate_names(certificate)).unwrap_or_default();
        Ok((stream, names))
    }
}
