//! Making the keys of a consortium, once.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use rand::RngCore;
use rand::rngs::OsRng;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use zeroize::Zeroizing;

use super::authority::{AUTHORITY_KEY, Authority};
use super::former::Former;
use super::public::{Consortium, SitePublic, batch_vkey};
use crate::checkpoint::{COSIGNATURE, ED25519, NoteKey};
use crate::record::SiteName;
use crate::types::LedgerError;

pub(super) const GROUP_ID: u32 = 1;
const CONSORTIUM_DIR: &str = "consortium";
/// In every site's certificate, so no site may have it as its name.
const LOCALHOST: &str = "localhost";

/// Makes `dir/<site>` for each (site name, host) and `dir/consortium` with what admits them and others: the certificate
/// authority, and the key that signs further sites' keys. It belongs offline.
/// Overwrites nothing: an existing directory is an error. Returns the sites' directories in order.
pub fn init<S: AsRef<str>>(dir: &Path, sites: &[(S, S)]) -> Result<Vec<PathBuf>, LedgerError> {
    make(dir, sites, &Former::default())
}

/// As [`init`] for a consortium that goes on with the ledger of another one, whose folder of keys `former` is: under an
/// origin and with keys of its own, but so that it finds and reads what is there. The index key is kept, and so is the
/// master key of each site of the same name; the old batch keys go on judging old batches.
pub fn init_continuing<S: AsRef<str>>(
    dir: &Path,
    sites: &[(S, S)],
    former: &Path,
) -> Result<Vec<PathBuf>, LedgerError> {
    make(dir, sites, &Former::read(former)?)
}

fn make<S: AsRef<str>>(dir: &Path, sites: &[(S, S)], former: &Former) -> Result<Vec<PathBuf>, LedgerError> {
    let names = checked_names(dir, sites)?;
    let mut id = [0; 8];
    OsRng.fill_bytes(&mut id);
    let consortium = format!("medulla-{}", hex::encode(id));
    let origin = format!("{consortium}/group/{GROUP_ID}");

    let admitting = Authority::generate(&consortium);
    let mut public = Consortium {
        version: 1,
        origin,
        group_id: GROUP_ID,
        sites: Vec::new(),
        former_batch_keys: former.batch_keys.clone(),
        authority_key: Some(admitting.verifier_key()),
        former_authority_keys: former.authority_keys.clone(),
    };
    let mut made = Vec::new();
    for (name, (_, host)) in names.iter().zip(sites) {
        let keys = NewKeys::generate(&consortium, &public.origin, name);
        public.sites.push(keys.public(name, host.as_ref(), &consortium));
        made.push(keys);
    }
    let authority = authority(&consortium).map_err(certificate_error)?;
    let public_json = serde_json::to_string_pretty(&public)
        .map(|json| json + "\n")
        .map_err(|e| LedgerError::Keys(e.to_string()))?;
    let index_key = former.index_key.clone().unwrap_or_else(random_hex);

    let consortium_dir = KeyDir::create(dir.join(CONSORTIUM_DIR))?;
    consortium_dir.write("ca-cert.pem", authority.pem().as_bytes(), false)?;
    consortium_dir.write("ca-key.pem", Zeroizing::new(authority.key().serialize_pem()).as_bytes(), true)?;
    consortium_dir.write(AUTHORITY_KEY, admitting.encode().as_bytes(), true)?;
    consortium_dir.write("public.json", public_json.as_bytes(), false)?;
    let mut dirs = vec![consortium_dir];
    for ((name, (_, host)), keys) in names.iter().zip(sites).zip(&made) {
        let site = KeyDir::create(dir.join(name.as_str()))?;
        let (cert, key) = site_certificate(name, host.as_ref(), &authority).map_err(certificate_error)?;
        site.write("ca-cert.pem", authority.pem().as_bytes(), false)?;
        site.write("tls-cert.pem", cert.as_bytes(), false)?;
        site.write("tls-key.pem", key.as_bytes(), true)?;
        keys.write(&site)?;
        site.write("index-key.hex", index_key.as_bytes(), true)?;
        let master_key = former.master_keys.get(name).cloned().unwrap_or_else(random_hex);
        site.write("master-key.hex", master_key.as_bytes(), true)?;
        site.write("public.json", public_json.as_bytes(), false)?;
        site.write("site.json", format!("{{\"version\":1,\"site\":\"{name}\"}}\n").as_bytes(), false)?;
        dirs.push(site);
    }
    dirs.iter().try_for_each(|made| sync(&made.0))?;
    sync(dir)?;
    Ok(dirs.into_iter().skip(1).map(|made| made.0).collect())
}

fn checked_names<S: AsRef<str>>(dir: &Path, sites: &[(S, S)]) -> Result<Vec<SiteName>, LedgerError> {
    if sites.is_empty() {
        return Err(LedgerError::Config("name at least one site to make keys for".into()));
    }
    let mut names = Vec::new();
    for (name, host) in sites {
        let (name, host) = (name.as_ref(), host.as_ref());
        let valid = check_name(name, host)?;
        // A certificate that named two sites could speak for both.
        if sites.iter().any(|(other, _)| other.as_ref() != name && other.as_ref() == host) {
            let text = format!("host {host:?} of site {name} is the name of another site; rename that one");
            return Err(LedgerError::Config(text));
        }
        if names.contains(&valid) {
            return Err(LedgerError::Config(format!("site {name} is named twice")));
        }
        names.push(valid);
    }
    for existing in names.iter().map(SiteName::as_str).chain([CONSORTIUM_DIR]) {
        let path = dir.join(existing);
        if path.exists() {
            let text =
                format!("{} exists; keys are never overwritten: choose another directory", path.display());
            return Err(LedgerError::Keys(text));
        }
    }
    Ok(names)
}

pub(super) fn check_name(name: &str, host: &str) -> Result<SiteName, LedgerError> {
    let valid = SiteName::new(name).filter(|name| ![CONSORTIUM_DIR, LOCALHOST].contains(&name.as_str()));
    let valid = valid.ok_or_else(|| {
        LedgerError::Config(format!(
            "site name {name:?}: use 1 to 63 of a-z, 0-9, '-', '.', other than \"{CONSORTIUM_DIR}\", \"{LOCALHOST}\""
        ))
    })?;
    let dns = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    if host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.bytes().all(dns)) {
        return Ok(valid);
    }
    let text = format!("host {host:?} of site {name}: give a host name or an address without a port");
    Err(LedgerError::Config(text))
}

/// The Ed25519 keys of one site: each for one use.
pub(super) struct NewKeys {
    batch: SigningKey,
    log: NoteKey,
    cosigner: NoteKey,
}

impl NewKeys {
    pub(super) fn generate(consortium: &str, origin: &str, name: &SiteName) -> NewKeys {
        let site = format!("{consortium}/site/{name}");
        NewKeys {
            batch: SigningKey::generate(&mut OsRng),
            log: NoteKey::new(origin, ED25519, SigningKey::generate(&mut OsRng)),
            cosigner: NoteKey::new(&site, COSIGNATURE, SigningKey::generate(&mut OsRng)),
        }
    }

    pub(super) fn public(&self, name: &SiteName, host: &str, consortium: &str) -> SitePublic {
        SitePublic {
            name: name.to_string(),
            host: host.to_owned(),
            batch_key: batch_vkey(&format!("{consortium}/site/{name}"), &self.batch.verifying_key()),
            log_key: self.log.verifier().vkey(),
            cosigner_key: self.cosigner.verifier().vkey(),
        }
    }

    pub(super) fn write(&self, dir: &KeyDir) -> Result<(), LedgerError> {
        let pem = self.batch.to_pkcs8_pem(LineEnding::LF).map_err(|e| LedgerError::Keys(e.to_string()))?;
        dir.write("batch-key.pem", pem.as_bytes(), true)?;
        dir.write("log-key.txt", self.log.encode().as_bytes(), true)?;
        dir.write("cosigner-key.txt", self.cosigner.encode().as_bytes(), true)
    }
}

fn authority(consortium: &str) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&format!("{consortium} authority"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

pub(super) fn site_certificate(
    name: &SiteName,
    host: &str,
    authority: &Issuer<'_, KeyPair>,
) -> Result<(String, Zeroizing<String>), rcgen::Error> {
    let mut params = CertificateParams::new(vec![name.to_string(), LOCALHOST.to_owned()])?;
    for address in ["127.0.0.1", "::1", host] {
        let alternative = match address.parse() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(address.try_into()?),
        };
        if !params.subject_alt_names.contains(&alternative) {
            params.subject_alt_names.push(alternative);
        }
    }
    params.distinguished_name = common_name(name.as_str());
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let cert = params.signed_by(&key, authority)?;
    Ok((cert.pem(), Zeroizing::new(key.serialize_pem())))
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn certificate_error(error: rcgen::Error) -> LedgerError {
    LedgerError::Keys(format!("could not make a certificate: {error}"))
}

pub(super) fn random_hex() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut *bytes);
    Zeroizing::new(hex::encode(*bytes))
}

pub(super) struct KeyDir(pub(super) PathBuf);

impl KeyDir {
    pub(super) fn create(path: PathBuf) -> Result<KeyDir, LedgerError> {
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        created.map_err(|source| LedgerError::Io { path: path.display().to_string(), source })?;
        Ok(KeyDir(path))
    }

    pub(super) fn write(&self, name: &str, content: &[u8], secret: bool) -> Result<(), LedgerError> {
        let path = self.0.join(name);
        let mode = if secret { 0o600 } else { 0o644 };
        let opened = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        opened
            .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
            .map_err(|source| LedgerError::Io { path: path.display().to_string(), source })
    }
}

pub(super) fn sync(dir: &Path) -> Result<(), LedgerError> {
    let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| LedgerError::Io { path: dir.display().to_string(), source })
}
