//! Making the keys of a site that nobody thought of when the consortium was founded. They are a request: the authority has
//! yet to admit them (`admission.rs`).

use std::path::{Path, PathBuf};

use rcgen::{Issuer, KeyPair};
use zeroize::Zeroizing;

use super::init::{KeyDir, NewKeys, check_name, random_hex, site_certificate, sync};
use super::load::{Files, certificate_names};
use super::public::Consortium;
use super::ring::NO_AUTHORITY;
use crate::types::LedgerError;

/// Public keys of a site that is not in `public.json`: verifier keys, one a line. What it asks to be admitted with.
pub(super) const SITE_KEYS: &str = "site-keys.txt";
const CERTIFICATE: &str = "tls-cert.pem";

/// Makes `dir/<site>` for a further site of the consortium whose authority is `dir/consortium`. `index_key`: the file that
/// all sites share, from any site's folder. Returns the new folder, and the file in it that the authority must sign.
///
/// # Errors
/// An existing folder, a name that is taken, files that are missing.
pub fn join(dir: &Path, site: &str, host: &str, index_key: &Path) -> Result<(PathBuf, PathBuf), LedgerError> {
    let authority_dir = dir.join("consortium");
    let authority = Files(&authority_dir);
    let consortium: Consortium = authority.json("public.json")?;
    if consortium.authority_key.is_none() {
        return Err(LedgerError::Keys(NO_AUTHORITY.into()));
    }
    let name = check_name(site, host)?;
    let taken =
        |what: String| Err(LedgerError::Keys(format!("{what}; a name is given once: choose another")));
    if consortium.sites.iter().any(|known| known.name == site || known.host == site) {
        return taken(format!("{site} is among the founding sites"));
    }
    if consortium.sites.iter().any(|known| known.name == host) {
        return taken(format!("host {host} is the name of another site"));
    }
    for names in names_given(dir)? {
        // A certificate that named two sites could speak for both.
        if names.iter().any(|name| name == site) {
            return taken(format!("{site} is a name in another site's certificate"));
        }
        if names.first().is_some_and(|known| known == host) {
            return taken(format!("host {host} is the name of another site"));
        }
    }
    if dir.join(site).exists() {
        return taken(format!("{} exists", dir.join(site).display()));
    }
    let bad = |e: &dyn std::fmt::Display| LedgerError::Keys(format!("{}: {e}", authority_dir.display()));
    let (ca_cert, ca_key) = (authority.text("ca-cert.pem")?, authority.text("ca-key.pem")?);
    let signer = KeyPair::from_pem(&ca_key).map_err(|e| bad(&e))?;
    let issuer = Issuer::from_ca_cert_pem(&ca_cert, signer).map_err(|e| bad(&e))?;
    let io = |source| LedgerError::Io { path: index_key.display().to_string(), source };
    let index_key = std::fs::read_to_string(index_key).map(Zeroizing::new).map_err(io)?;
    let public_json = authority.text("public.json")?;

    let keys = NewKeys::generate(consortium.name(), &consortium.origin, &name);
    let (cert, key) = site_certificate(&name, host, &issuer).map_err(|e| bad(&e))?;
    let made = KeyDir::create(dir.join(site))?;
    made.write("ca-cert.pem", ca_cert.as_bytes(), false)?;
    made.write(CERTIFICATE, cert.as_bytes(), false)?;
    made.write("tls-key.pem", key.as_bytes(), true)?;
    keys.write(&made)?;
    made.write("index-key.hex", index_key.as_bytes(), true)?;
    made.write("master-key.hex", random_hex().as_bytes(), true)?;
    made.write("public.json", public_json.as_bytes(), false)?;
    let public = keys.public(&name, host, consortium.name());
    made.write(SITE_KEYS, public.verifier_keys().as_bytes(), false)?;
    made.write("site.json", format!("{{\"version\":1,\"site\":\"{name}\"}}\n").as_bytes(), false)?;
    sync(&made.0)?;
    sync(dir)?;
    let file = made.0.join(SITE_KEYS);
    Ok((made.0, file))
}

/// Of every site whose folder lies in `dir`, founder or not: its name, then what else its certificate names.
fn names_given(dir: &Path) -> Result<Vec<Vec<String>>, LedgerError> {
    let io = |source| LedgerError::Io { path: dir.display().to_string(), source };
    let mut given = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let folder = entry.map_err(io)?;
        if !folder.path().join(CERTIFICATE).exists() {
            continue;
        }
        let certificate = Files(&folder.path()).certificate(CERTIFICATE)?;
        let bad = || {
            let path = folder.path().join(CERTIFICATE);
            LedgerError::Keys(format!("{} is no certificate that can be read; put it back", path.display()))
        };
        let mut names = vec![folder.file_name().to_string_lossy().into_owned()];
        names.extend(certificate_names(&certificate).ok_or_else(bad)?);
        given.push(names);
    }
    Ok(given)
}
