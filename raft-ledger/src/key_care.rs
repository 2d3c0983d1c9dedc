//! Looking after a site's key store: another master key, new keys for subjects, a backup of its own. Of a running site,
//! and of one that does not run.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::clock::now_ms;
use crate::config::Config;
use crate::keys::{MasterKey, SiteKeys};
use crate::keystore::{KeyStore, STORE_FILE};
use crate::ledger::Ledger;
use crate::record::SiteName;
use crate::types::LedgerError;

/// A key store was written anew, or new keys begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeysRotated {
    /// Keys that are now encrypted under the new master key, or subjects that get a new key with their next entry.
    pub keys: u64,
    /// Where the new master key is: the site's file, once it was put into its place.
    pub master: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyBackup {
    /// This site's, and those that it holds for others.
    pub keys: u64,
    /// Milliseconds since the Unix epoch.
    pub made_ms: i64,
    /// From then on it is refused.
    pub expires_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeysRestored {
    /// That were not there. Own ones open what they sealed; what comes in is sealed under new ones.
    pub keys: u64,
}

impl Ledger {
    /// Encrypts the key store under another master key: one that is made, where it is in a file; the one that the
    /// command prints by now. Blocks.
    ///
    /// # Errors
    /// `Refused`: it comes from the environment, which a running process keeps; or the command prints the present one.
    pub fn rotate_master(&self) -> Result<KeysRotated, LedgerError> {
        let store = self.inner.sealer.key_store();
        match self.inner.config.master_key() {
            MasterKey::File(path) => rotate_file(store, &path),
            source @ MasterKey::Command { .. } => rotate_to(store, &source),
            MasterKey::Env(name) => Err(LedgerError::Refused(format!(
                "a running process keeps its environment, and with it {name}: stop the site, rotate with --to-env, \
                 --to-file or --to-command, and start it with the new one"
            ))),
        }
    }

    /// From when this returns every subject's next entry is sealed under a new key; the old ones open what they sealed.
    /// Blocks.
    pub fn rotate_subjects(&self) -> Result<KeysRotated, LedgerError> {
        rotate_subjects(self.inner.sealer.key_store())
    }

    /// Writes a backup of the key store to `file`, which is refused once it is older than `valid`. Blocks.
    pub fn backup_keys(&self, file: &Path, valid: Duration) -> Result<KeyBackup, LedgerError> {
        backup(self.inner.sealer.key_store(), &self.inner.keys.site, file, valid)
    }
}

/// The key store of a site that does not run.
pub struct StoppedKeys {
    store: KeyStore,
    site: SiteName,
    source: MasterKey,
}

impl StoppedKeys {
    /// Blocks.
    ///
    /// # Errors
    /// It is in use, damaged, or of another master key.
    pub fn open(config: &Config) -> Result<StoppedKeys, LedgerError> {
        let io = |source| LedgerError::Io { path: config.data.display().to_string(), source };
        let (site, source) = (SiteKeys::load(&config.keys)?.site, config.master_key());
        std::fs::create_dir_all(&config.data).map_err(io)?;
        let store = KeyStore::open_from(&config.data.join(STORE_FILE), &source)?;
        Ok(StoppedKeys { store, site, source })
    }

    /// As [`Ledger::rotate_master`]; with `to` to that one, which the configuration must name before the site starts.
    pub fn rotate_master(&self, to: Option<&MasterKey>) -> Result<KeysRotated, LedgerError> {
        match (to, &self.source) {
            (Some(to), _) => rotate_to(&self.store, to),
            (None, MasterKey::File(path)) => rotate_file(&self.store, path),
            (None, MasterKey::Env(_) | MasterKey::Command { .. }) => Err(LedgerError::Refused(
                "say where the new master key is: --to-env, --to-file or --to-command".into(),
            )),
        }
    }

    pub fn rotate_subjects(&self) -> Result<KeysRotated, LedgerError> {
        rotate_subjects(&self.store)
    }

    pub fn backup(&self, file: &Path, valid: Duration) -> Result<KeyBackup, LedgerError> {
        backup(&self.store, &self.site, file, valid)
    }

    /// Takes what the key store lacks out of a backup. What the ledger says was shredded is destroyed again when the
    /// site starts.
    ///
    /// # Errors
    /// `Refused`: it has expired, or is another site's. `Keys`: damaged, or made under another master key.
    pub fn restore(&self, file: &Path) -> Result<KeysRestored, LedgerError> {
        let bytes = std::fs::read(file);
        let bytes = bytes.map_err(|source| LedgerError::Io { path: file.display().to_string(), source })?;
        let keys = self.store.restore(file, &bytes, &self.site, now_ms())? as u64;
        Ok(KeysRestored { keys })
    }
}

fn rotate_file(store: &KeyStore, path: &Path) -> Result<KeysRotated, LedgerError> {
    let keys = store.change_master_in(path)?;
    Ok(KeysRotated { keys, master: Some(path.display().to_string()) })
}

fn rotate_to(store: &KeyStore, to: &MasterKey) -> Result<KeysRotated, LedgerError> {
    let keys = store.change_master(to.read()?)?;
    Ok(KeysRotated { keys, master: None })
}

fn rotate_subjects(store: &KeyStore) -> Result<KeysRotated, LedgerError> {
    Ok(KeysRotated { keys: store.retire_all()?, master: None })
}

fn backup(store: &KeyStore, site: &SiteName, file: &Path, valid: Duration) -> Result<KeyBackup, LedgerError> {
    let made_ms = now_ms();
    let expires_ms = made_ms.saturating_add(i64::try_from(valid.as_millis()).unwrap_or(i64::MAX));
    let keys = store.backup(file, site, (made_ms, expires_ms))?;
    Ok(KeyBackup { keys, made_ms, expires_ms })
}
