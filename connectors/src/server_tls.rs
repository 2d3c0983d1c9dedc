//! A listener's side of TLS. Its files are read again when they change: the next connection sees the new ones, open
//! connections go on.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::{ConnectorError, tls};

/// Two looks that agree are needed, so that a file is not read while it is written.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Only clients with a certificate of this authority are let in.
    pub client_ca: Option<PathBuf>,
}

#[derive(Clone)]
pub struct ServerTls {
    inner: Arc<Inner>,
}

struct Inner {
    files: TlsFiles,
    current: RwLock<Loaded>,
    looks: Mutex<Looks>,
    failed: AtomicU64,
}

#[derive(Clone)]
struct Loaded {
    config: Arc<ServerConfig>,
    certified: Arc<CertifiedKey>,
    valid_from_s: i64,
    expires_at_s: i64,
}

/// What tells one version of the files from another: change time, inode, length. The change time, because mended
/// permissions leave the time of modification as it was.
type Stamp = [Option<([i64; 2], u64, u64)>; 3];

struct Looks {
    last: Stamp,
    read: Stamp,
    /// What could not be used, and why. It is tried again at each look, because reasons pass (permissions, a date to
    /// come), and told once.
    refused: Option<(Stamp, String)>,
}

impl ServerTls {
    /// Reads the files, and looks after them as long as this or a clone of it lives. Needs a tokio runtime.
    pub fn open(files: TlsFiles) -> Result<ServerTls, ConnectorError> {
        let opened = ServerTls::read(files)?;
        tokio::spawn(look_after(Arc::downgrade(&opened.inner)));
        Ok(opened)
    }

    fn read(files: TlsFiles) -> Result<ServerTls, ConnectorError> {
        // Taken first: what changes meanwhile is then read again.
        let stamp = stamp(&files);
        let current = RwLock::new(load(&files)?);
        let looks = Mutex::new(Looks { last: stamp, read: stamp, refused: None });
        Ok(ServerTls { inner: Arc::new(Inner { files, current, looks, failed: AtomicU64::new(0) }) })
    }

    /// For the next connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.inner.current().config
    }

    /// For a server that is given one configuration for good: its certificate follows the files. Asks for no client
    /// certificates.
    pub fn following(&self) -> Result<ServerConfig, ConnectorError> {
        let builder = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| ConnectorError::config("tls_cert", error.to_string()))?;
        Ok(builder.with_no_client_auth().with_cert_resolver(self.inner.clone()))
    }

    /// When the certificate in use expires, in seconds of Unix time.
    pub fn expires_at_s(&self) -> i64 {
        self.inner.current().expires_at_s
    }

    /// How often changed files could not be used.
    pub fn failed_reloads(&self) -> u64 {
        self.inner.failed.load(Ordering::Relaxed)
    }
}

async fn look_after(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        // A disk that hangs must hold up nobody else.
        if tokio::task::spawn_blocking(move || inner.look(now_s())).await.is_err() {
            return;
        }
    }
}

impl Inner {
    fn current(&self) -> Loaded {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look(&self, now_s: i64) {
        let now = stamp(&self.files);
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let is_still_written = std::mem::replace(&mut looks.last, now) != now;
        if is_still_written || looks.read == now {
            return;
        }
        let cert = self.files.cert.display();
        match load(&self.files).and_then(|loaded| refuse_invalid(loaded, now_s, &self.files.cert)) {
            Ok(loaded) => {
                tracing::info!(%cert, expires_at_s = loaded.expires_at_s, "certificate read again; new connections use it");
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
                (looks.read, looks.refused) = (now, None);
            }
            Err(error) => {
                let refused = Some((now, error.to_string()));
                if looks.refused == refused {
                    return;
                }
                looks.refused = refused;
                self.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    %error, listener_certificate = %cert,
                    "changed TLS files cannot be used, the former ones stay in use; put right ones in their place, they \
                     are read without a restart"
                );
            }
        }
    }
}

impl ResolvesServerCert for Inner {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().certified)
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerTls({:?})", self.files)
    }
}

fn load(files: &TlsFiles) -> Result<Loaded, ConnectorError> {
    let TlsFiles { cert, key, client_ca } = files;
    let provider: tls::Provider = tls::provider();
    let chain = tls::certificates(cert)?;
    let validity = chain.first().and_then(|leaf| validity(leaf));
    let (valid_from_s, expires_at_s) =
        validity.ok_or_else(|| ConnectorError::file(cert, "holds no readable X.509 certificate"))?;
    let certified = CertifiedKey::from_der(chain, tls::private_key(key)?, &provider).map_err(|error| {
        ConnectorError::file(key, format!("{error}; it must be the key of {}", cert.display()))
    })?;
    let certified = Arc::new(certified);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectorError::config("tls_cert", error.to_string()))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(tls::roots(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| ConnectorError::file(path, error))?)
        }
    };
    let config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone())));
    Ok(Loaded { config: Arc::new(config), certified, valid_from_s, expires_at_s })
}

/// A start goes on with an expired certificate, because there is no better one; a reload does not.
fn refuse_invalid(loaded: Loaded, now_s: i64, cert: &Path) -> Result<Loaded, ConnectorError> {
    if loaded.expires_at_s <= now_s {
        return Err(ConnectorError::file(cert, "the certificate has expired"));
    }
    if loaded.valid_from_s > now_s {
        return Err(ConnectorError::file(cert, "the certificate is not valid yet; it is taken once it is"));
    }
    Ok(loaded)
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(i64::MAX)
}

/// From when, and until when, in seconds of Unix time.
fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let validity = parsed.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

fn stamp(files: &TlsFiles) -> Stamp {
    // Follows links: where a mounted secret is swapped, the link's target changes.
    let of = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some(([found.ctime(), found.ctime_nsec()], found.ino(), found.len()))
    };
    [of(&files.cert), of(&files.key), files.client_ca.as_deref().and_then(of)]
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn files(&self) -> TlsFiles {
            let path = |name: &str| self.0.path().join(name);
            TlsFiles { cert: path("cert.pem"), key: path("key.pem"), client_ca: None }
        }

        /// Whole files under another name, renamed into place: no two have the same stamp.
        fn put(&self, path: &Path, text: &str) {
            let beside = path.with_extension("new");
            std::fs::write(&beside, text).unwrap();
            std::fs::rename(beside, path).unwrap();
        }

        fn identity(&self, year: i32) -> (String, String) {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, 1, 1);
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        }
    }

    const YEAR_2085_S: i64 = 3_629_145_600;
    const YEAR_2090_S: i64 = 3_786_912_000;
    const YEAR_2095_S: i64 = 3_944_678_400;

    fn opened() -> (Folder, ServerTls) {
        let folder = Folder(tempfile::tempdir().unwrap());
        let (cert, key) = folder.identity(2090);
        let files = folder.files();
        folder.put(&files.cert, &cert);
        folder.put(&files.key, &key);
        let tls = ServerTls::read(files).unwrap();
        assert_eq!(tls.expires_at_s(), YEAR_2090_S);
        (folder, tls)
    }

    #[test]
    fn what_changed_is_used_once_it_is_whole() {
        let (folder, tls) = opened();
        let files = folder.files();
        let (cert, key) = folder.identity(2095);
        folder.put(&files.cert, &cert);
        tls.inner.look(now_s());
        folder.put(&files.key, &key);
        tls.inner.look(now_s());
        assert_eq!((tls.expires_at_s(), tls.failed_reloads()), (YEAR_2090_S, 0), "it may still be written");
        let before = tls.config();
        tls.inner.look(now_s());
        assert_eq!((tls.expires_at_s(), tls.failed_reloads()), (YEAR_2095_S, 0));
        assert!(!Arc::ptr_eq(&before, &tls.config()));
        let used = tls.config();
        tls.inner.look(now_s());
        assert!(Arc::ptr_eq(&used, &tls.config()), "nothing changed, nothing is read");
    }

    #[test]
    fn bad_files_are_counted_once_and_the_former_ones_stay() {
        let (folder, tls) = opened();
        let files = folder.files();
        let (other, _) = folder.identity(2095);
        let (expired, its_key) = folder.identity(2001);
        let bad: [&dyn Fn(); 4] = [
            &|| folder.put(&files.cert, "no certificate"),
            &|| folder.put(&files.cert, &other),
            &|| std::fs::remove_file(&files.key).unwrap(),
            &|| {
                folder.put(&files.cert, &expired);
                folder.put(&files.key, &its_key);
            },
        ];
        for (times, break_it) in (1..).zip(bad) {
            break_it();
            (0..4).for_each(|_| tls.inner.look(now_s()));
            assert_eq!((tls.expires_at_s(), tls.failed_reloads()), (YEAR_2090_S, times));
        }
        let (cert, key) = folder.identity(2095);
        folder.put(&files.cert, &cert);
        folder.put(&files.key, &key);
        (0..2).for_each(|_| tls.inner.look(now_s()));
        assert_eq!(tls.expires_at_s(), YEAR_2095_S);
    }

    #[test]
    fn a_certificate_of_tomorrow_is_taken_tomorrow() {
        let (folder, tls) = opened();
        let files = folder.files();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2085, 1, 1), date_time_ymd(2095, 1, 1));
        folder.put(&files.cert, &params.self_signed(&key).unwrap().pem());
        folder.put(&files.key, &key.serialize_pem());
        (0..4).for_each(|_| tls.inner.look(now_s()));
        assert_eq!((tls.expires_at_s(), tls.failed_reloads()), (YEAR_2090_S, 1));
        // Without a change of the files.
        tls.inner.look(YEAR_2085_S);
        assert_eq!((tls.expires_at_s(), tls.failed_reloads()), (YEAR_2095_S, 1));
    }

    #[test]
    fn what_could_not_be_read_for_a_time_is_read_then() {
        let (folder, tls) = opened();
        let files = folder.files();
        let (cert, key) = folder.identity(2095);
        folder.put(&files.cert, &cert);
        folder.put(&files.key, &key);
        // Whoever runs the tests may be root, whom permissions do not stop: a folder in the way does.
        let aside = files.key.with_extension("aside");
        std::fs::rename(&files.key, &aside).unwrap();
        std::fs::create_dir(&files.key).unwrap();
        (0..4).for_each(|_| tls.inner.look(now_s()));
        assert_eq!((tls.expires_at_s(), tls.failed_reloads()), (YEAR_2090_S, 1));
        std::fs::remove_dir(&files.key).unwrap();
        std::fs::rename(&aside, &files.key).unwrap();
        (0..2).for_each(|_| tls.inner.look(now_s()));
        assert_eq!((tls.expires_at_s(), tls.failed_reloads()), (YEAR_2095_S, 1));
    }

    #[test]
    fn mended_permissions_are_a_change() {
        let (folder, _) = opened();
        let files = folder.files();
        let before = stamp(&files);
        let mode = |bits| std::os::unix::fs::PermissionsExt::from_mode(bits);
        std::fs::set_permissions(&files.key, mode(0o600)).unwrap();
        // Change times are as coarse as the kernel's tick.
        while stamp(&files) == before {
            std::thread::sleep(Duration::from_millis(1));
            std::fs::set_permissions(&files.key, mode(0o640)).unwrap();
        }
    }

    #[test]
    fn errors_name_the_file() {
        let (folder, _) = opened();
        let mut files = folder.files();
        files.client_ca = Some(folder.0.path().join("ca.pem"));
        let error = load(&files).err().unwrap().to_string();
        assert!(error.contains("ca.pem"), "{error}");
        folder.put(&files.key, &folder.identity(2090).1);
        files.client_ca = None;
        let error = load(&files).err().unwrap().to_string();
        assert!(error.contains("key.pem") && error.contains("cert.pem"), "{error}");
    }
}
