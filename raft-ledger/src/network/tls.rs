//! mTLS: a site is whom the consortium's authority says it is, by the name in its certificate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::LedgerError;
use crate::keys::{SiteKeys, certificate_expiry, certificate_names};
use crate::types::CertificateStatus;

/// The site's certificate and whom it trusts; `tls_reload` exchanges them under way.
#[derive(Clone)]
pub(crate) struct Tls {
    shared: Arc<Shared>,
}

struct Shared {
    ends: RwLock<Ends>,
    failed_reloads: AtomicU64,
}

#[derive(Clone)]
pub(super) struct Ends {
    /// Judges the certificates of the peers as they judge this site's.
    verifier: Arc<dyn ClientCertVerifier>,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    pub(super) expires_at_s: i64,
}

impl Ends {
    pub(super) fn new(keys: &SiteKeys) -> Result<Ends, LedgerError> {
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
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(chain.clone(), keys.tls_key.clone_key())
            .map_err(|e| bad(&e))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| bad(&e))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, keys.tls_key.clone_key())
            .map_err(|e| bad(&e))?;
        let expires_at_s = certificate_expiry(&keys.tls_cert).unwrap_or_default();
        let (acceptor, connector) = (Arc::new(server).into(), Arc::new(client).into());
        Ok(Ends { verifier, acceptor, connector, expires_at_s })
    }

    /// Whether the site's own certificate is signed by the authority beside it, for a client of the peers, and valid
    /// `now` (since the Unix epoch).
    pub(super) fn check_own(&self, keys: &SiteKeys, now: Duration) -> Result<(), rustls::Error> {
        let now = UnixTime::since_unix_epoch(now);
        self.verifier.verify_client_cert(&keys.tls_cert, &[], now).map(drop)
    }
}

impl Tls {
    pub(crate) fn new(keys: &SiteKeys) -> Result<Tls, LedgerError> {
        let shared = Shared { ends: RwLock::new(Ends::new(keys)?), failed_reloads: AtomicU64::new(0) };
        Ok(Tls { shared: Arc::new(shared) })
    }

    fn ends(&self) -> Ends {
        self.shared.ends.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connections from here on are made with these; open ones go on.
    pub(super) fn exchange(&self, ends: Ends) {
        *self.shared.ends.write().unwrap_or_else(PoisonError::into_inner) = ends;
    }

    pub(super) fn count_failed_reload(&self) {
        self.shared.failed_reloads.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn status(&self) -> CertificateStatus {
        CertificateStatus {
            expires_at_s: self.ends().expires_at_s,
            failed_reloads: self.shared.failed_reloads.load(Ordering::Relaxed),
        }
    }

    /// Connects to `address`, which must show a certificate of the site `name`.
    pub(crate) async fn connect(
        &self,
        address: &str,
        name: &str,
    ) -> std::io::Result<client::TlsStream<TcpStream>> {
        let server_name = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        self.ends().connector.connect(server_name, stream).await
    }

    /// Accepts a client; returns the names its certificate bears.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<(server::TlsStream<TcpStream>, Vec<String>)> {
        stream.set_nodelay(true)?;
        let stream = self.ends().acceptor.accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let names = certificate.and_then(|certificate| certificate_names(certificate)).unwrap_or_default();
        Ok((stream, names))
    }
}
