//! Reading a site's keys, saying plainly which file is at fault and what to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use super::join::SITE_KEYS;
use super::public::{Consortium, SitePublic, batch_vkey};
use super::{IndexKey, KeyRing, Secret, VerifierKeys};
use crate::checkpoint::NoteKey;
use crate::record::SiteName;
use crate::types::LedgerError;

/// Everything that one site signs, proves itself and encrypts with.
pub struct SiteKeys {
    pub(crate) site: SiteName,
    /// Public keys of all sites.
    pub(crate) ring: Arc<KeyRing>,
    /// Signs batches and epoch requests.
    pub(crate) batch: SigningKey,
    /// Signs checkpoints, under the group's origin.
    pub(crate) log: NoteKey,
    pub(crate) cosigner: NoteKey,
    pub(crate) index: IndexKey,
    /// Whom raft ports trust.
    pub(crate) ca_cert: CertificateDer<'static>,
    pub(crate) tls_cert: CertificateDer<'static>,
    pub(crate) tls_key: PrivateKeyDer<'static>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteFile {
    version: u32,
    site: String,
}

impl SiteKeys {
    pub fn load(dir: &Path) -> Result<SiteKeys, LedgerError> {
        let files = Files(dir);
        let site: SiteFile = files.json("site.json")?;
        let consortium: Consortium = files.json("public.json")?;
        if site.version != 1 || consortium.version != 1 {
            return Err(files.bad("site.json", "is of a later release; run that release"));
        }
        let ring = KeyRing::new(consortium).map_err(|e| files.bad("public.json", &e.to_string()))?;
        let name = SiteName::new(&site.site).ok_or_else(|| files.bad("site.json", "names no valid site"))?;
        let keys = SiteKeys {
            batch: SigningKey::from_pkcs8_pem(&files.text("batch-key.pem")?)
                .map_err(|_| files.bad("batch-key.pem", "is no Ed25519 key in PKCS#8"))?,
            log: files.note_key("log-key.txt")?,
            cosigner: files.note_key("cosigner-key.txt")?,
            index: IndexKey::new(&files.secret("index-key.hex")?),
            ca_cert: files.certificate("ca-cert.pem")?,
            tls_cert: files.certificate("tls-cert.pem")?,
            tls_key: PrivateKeyDer::from_pem_slice(files.text("tls-key.pem")?.as_bytes())
                .map_err(|_| files.bad("tls-key.pem", "is no private key in PEM"))?,
            site: name,
            ring,
        };
        keys.check(&files)?;
        Ok(keys)
    }

    pub(crate) fn group_id(&self) -> u32 {
        self.ring.genesis().group_id
    }

    /// This site's name.
    pub fn site(&self) -> &str {
        self.site.as_str()
    }

    /// C2SP origin of the group's checkpoints.
    pub fn origin(&self) -> &str {
        &self.ring.genesis().origin
    }

    /// Public keys of all sites that are known: those of sites that joined later come from the ledger, once it is open.
    pub fn verifiers(&self) -> Arc<VerifierKeys> {
        self.ring.verifiers()
    }

    /// The same as text, one C2SP verifier key a line: `medulla ledger keys`.
    pub fn verifier_keys(&self) -> String {
        self.ring.verifier_keys()
    }

    /// By what the authority has admitted the sites that the ledger has brought, one a line.
    pub(crate) fn admissions(&self) -> String {
        self.ring.admissions()
    }

    /// Its verifier keys, one a line, if it is not one of the founding sites.
    pub(crate) fn of_joining(&self) -> Option<String> {
        self.ring.genesis().site(self.site.as_str()).is_none().then(|| self.public().verifier_keys())
    }

    /// What the others must know of this site.
    pub(super) fn public(&self) -> SitePublic {
        let named = format!("{}/site/{}", self.ring.genesis().name(), self.site);
        SitePublic {
            name: self.site.to_string(),
            host: String::new(),
            batch_key: batch_vkey(&named, &self.batch.verifying_key()),
            log_key: self.log.verifier().vkey(),
            cosigner_key: self.cosigner.verifier().vkey(),
        }
    }

    /// The private keys must be those that the others know as this site's.
    fn check(&self, files: &Files) -> Result<(), LedgerError> {
        let Some(public) = self.ring.genesis().site(self.site.as_str()) else {
            return self.check_joining(files);
        };
        let batch_name = public.batch_key.split('+').next().unwrap_or_default();
        let pairs = [
            ("batch-key.pem", &public.batch_key, batch_vkey(batch_name, &self.batch.verifying_key())),
            ("log-key.txt", &public.log_key, self.log.verifier().vkey()),
            ("cosigner-key.txt", &public.cosigner_key, self.cosigner.verifier().vkey()),
        ];
        for (file, listed, own) in pairs {
            if *listed != own {
                return Err(files.bad(file, "is not this site's key in public.json; put the right file back"));
            }
        }
        self.check_names(files)
    }

    fn check_joining(&self, files: &Files) -> Result<(), LedgerError> {
        if !files.path(SITE_KEYS).exists() {
            let text = format!(
                "does not list this site, and there is no {SITE_KEYS}; take the consortium's present one"
            );
            return Err(files.bad("public.json", &text));
        }
        let own = self.public();
        if *files.text(SITE_KEYS)? != own.verifier_keys() {
            return Err(files.bad(SITE_KEYS, "lists other keys than this site's; put the right files back"));
        }
        self.ring.learn([own])?;
        self.check_names(files)
    }

    fn check_names(&self, files: &Files) -> Result<(), LedgerError> {
        if self.log.verifier().name() != self.origin() {
            return Err(files.bad("log-key.txt", "is not under the origin in public.json"));
        }
        if !certificate_names(&self.tls_cert)
            .is_some_and(|names| names.iter().any(|n| n == self.site.as_str()))
        {
            return Err(files.bad("tls-cert.pem", "does not name this site as a subject alternative name"));
        }
        Ok(())
    }
}

/// The DNS names in a certificate: one of them is a site's name. `None` if it cannot be read.
pub(crate) fn certificate_names(certificate: &[u8]) -> Option<Vec<String>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let alternatives = parsed.subject_alternative_name().ok()??;
    let names = alternatives.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(dns) => Some((*dns).to_owned()),
        _ => None,
    });
    Some(names.collect())
}

/// In seconds of Unix time. `None` if it cannot be read.
pub(crate) fn certificate_expiry(certificate: &[u8]) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

pub(super) struct Files<'a>(pub(super) &'a Path);

impl Files<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn bad(&self, name: &str, what: &str) -> LedgerError {
        LedgerError::Keys(format!("{} {what}", self.path(name).display()))
    }

    pub(super) fn text(&self, name: &str) -> Result<Zeroizing<String>, LedgerError> {
        match std::fs::read_to_string(self.path(name)) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(self.bad(name, "is missing; make keys with `medulla keys init`, or put the file back"))
            }
            Err(e) => Err(self.bad(name, &format!("cannot be read: {e}"))),
        }
    }

    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, LedgerError> {
        serde_json::from_str(&self.text(name)?)
            .map_err(|e| self.bad(name, &format!("is not as expected: {e}")))
    }

    fn secret(&self, name: &str) -> Result<Secret, LedgerError> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(self.text(name)?.trim_end(), &mut *bytes)
            .map_err(|_| self.bad(name, "is not 64 hexadecimal digits"))?;
        Ok(Secret::new(*bytes))
    }

    fn note_key(&self, name: &str) -> Result<NoteKey, LedgerError> {
        NoteKey::parse(self.text(name)?.trim_end())
            .ok_or_else(|| self.bad(name, "is no C2SP note signer key"))
    }

    pub(super) fn certificate(&self, name: &str) -> Result<CertificateDer<'static>, LedgerError> {
        CertificateDer::from_pem_slice(self.text(name)?.as_bytes())
            .map_err(|_| self.bad(name, "is no certificate in PEM"))
    }
}

impl fmt::Debug for SiteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteKeys(site {}, origin {}, secrets redacted)", self.site, self.origin())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn made() -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let dirs = crate::keys::init(dir.path(), &[("a", "127.0.0.1"), ("b", "b.example")]).unwrap();
        (dir, dirs)
    }

    #[test]
    fn two_sites_know_each_other_and_share_only_what_they_should() {
        let (_dir, dirs) = made();
        let (a, b) = (SiteKeys::load(&dirs[0]).unwrap(), SiteKeys::load(&dirs[1]).unwrap());
        assert_eq!(a.ring.genesis(), b.ring.genesis());
        assert_eq!(a.verifiers().batches.get(&b.site), Some(&b.batch.verifying_key()));
        assert_eq!(a.index.subject(b"x"), b.index.subject(b"x"));
        let master = |dir: &Path| crate::keys::MasterKey::File(dir.join("master-key.hex")).read().unwrap();
        assert_ne!(master(&dirs[0]).expose(), master(&dirs[1]).expose());
        assert_eq!(certificate_names(&b.tls_cert).unwrap(), ["b", "localhost", "b.example"]);
        assert_eq!(a.verifier_keys().lines().count(), 6 + 1);
        assert_eq!(VerifierKeys::parse(&a.verifier_keys()).unwrap(), *b.verifiers());
        let shown = format!("{a:?} {:?} {:?}", a.log, a.index);
        let index_key = std::fs::read_to_string(dirs[0].join("index-key.hex")).unwrap();
        assert!(!shown.contains(index_key.trim_end()) && shown.contains("redacted"));
    }

    #[test]
    fn secrets_are_for_their_owner_alone_and_never_overwritten() {
        let (dir, dirs) = made();
        for entry in std::fs::read_dir(&dirs[0]).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode == 0o600, name.contains("key"), "{name} {mode:o}");
        }
        let again = crate::keys::init(dir.path(), &[("b", "b.example")]).unwrap_err();
        assert!(again.to_string().contains("never overwritten"), "{again}");
    }

    #[test]
    fn a_missing_wrong_or_damaged_file_is_named() {
        for name in [
            "site.json",
            "public.json",
            "batch-key.pem",
            "log-key.txt",
            "cosigner-key.txt",
            "index-key.hex",
            "ca-cert.pem",
            "tls-cert.pem",
            "tls-key.pem",
        ] {
            let (_dir, dirs) = made();
            let path = dirs[0].join(name);
            std::fs::write(&path, "nonsense").unwrap();
            let error = SiteKeys::load(&dirs[0]).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
            std::fs::remove_file(&path).unwrap();
            let error = SiteKeys::load(&dirs[0]).unwrap_err().to_string();
            assert!(error.contains("is missing"), "{error}");
        }
        for name in ["batch-key.pem", "log-key.txt", "cosigner-key.txt", "tls-cert.pem"] {
            let (_dir, dirs) = made();
            std::fs::copy(dirs[1].join(name), dirs[0].join(name)).unwrap();
            let error = SiteKeys::load(&dirs[0]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |sites: &[(&str, &str)]| crate::keys::init(dir.path(), sites).unwrap_err().to_string();
        assert!(refused(&[]).contains("at least one"));
        assert!(refused(&[("A b", "h")]).contains("site name"));
        assert!(refused(&[("consortium", "h")]).contains("site name"));
        assert!(refused(&[("localhost", "h")]).contains("site name"));
        assert!(refused(&[("a", "b"), ("b", "h")]).contains("name of another site"));
        assert!(refused(&[("a", "h:7001")]).contains("without a port"));
        assert!(refused(&[("a", "h"), ("a", "i")]).contains("twice"));
    }

    #[test]
    fn a_site_that_joins_later_has_keys_of_the_same_consortium() {
        let (dir, dirs) = made();
        let index_key = dirs[0].join("index-key.hex");
        let join = |site: &str, host: &str| crate::keys::join(dir.path(), site, host, &index_key);
        let (folder, file) = join("d", "d.example").unwrap();
        let (a, d) = (SiteKeys::load(&dirs[0]).unwrap(), SiteKeys::load(&folder).unwrap());
        assert_eq!(
            (d.ring.genesis(), d.of_joining()),
            (a.ring.genesis(), std::fs::read_to_string(file).ok())
        );
        assert!(a.of_joining().is_none());
        assert_eq!(a.index.subject(b"x"), d.index.subject(b"x"));
        assert_eq!(certificate_names(&d.tls_cert).unwrap(), ["d", "localhost", "d.example"]);
        assert!(!a.ring.knows("d") && d.ring.knows("d"));
        a.ring.learn([d.public()]).unwrap();
        assert_eq!(*a.verifiers(), *d.verifiers());
        assert_eq!(a.verifier_keys().lines().count(), 9 + 1);
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode == 0o600, name.contains("key") && name != SITE_KEYS, "{name} {mode:o}");
        }
        for taken in ["a", "b.example", "d", "d.example"] {
            assert!(join(taken, "h").unwrap_err().to_string().contains("choose another"), "{taken}");
        }
        for host in ["b", "d"] {
            assert!(join("e", host).unwrap_err().to_string().contains("choose another"), "{host}");
        }
        assert!(join("consortium", "h").is_err() && join("e", "h:7").is_err());
        std::fs::copy(dirs[1].join("batch-key.pem"), folder.join("batch-key.pem")).unwrap();
        let error = SiteKeys::load(&folder).unwrap_err().to_string();
        assert!(error.contains("site-keys.txt lists other keys"), "{error}");
    }
}
