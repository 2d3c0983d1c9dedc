//! Another master key, new keys for subjects, and backups.
//!
//! A master key in a file is changed in three steps, each whole: the new one is put beside it, the key store is written
//! anew under it, it gets the old one's name. A start that finds it beside takes whichever the key store is under.

use std::path::Path;

use super::backup::{self, Head};
use super::disk::{self, KeyFile};
use super::file::{Record, Role, belongs_to};
use super::rewrite::{self, rewrite, whole};
use super::{KeyStore, Pen};
use crate::keys::{MasterKey, Secret};
use crate::random;
use crate::record::SiteName;
use crate::types::LedgerError;

/// Of one frame: 7 MB.
const FRAME_RECORDS: usize = 1 << 16;

impl KeyStore {
    /// As [`KeyStore::open`]; ends a change of the master key that was interrupted.
    pub(crate) fn open_from(path: &Path, source: &MasterKey) -> Result<KeyStore, LedgerError> {
        if let MasterKey::File(file) = source {
            // Who has the store open may be changing the key just now, and needs what lies beside.
            let _alone = disk::lock_if_there(path)?;
            finish_change(path, file)?;
        }
        KeyStore::open(path, source.read()?)
    }

    /// How many keys are now encrypted under `master`. All of them, or none if this fails before the new file is whole.
    pub(crate) fn change_master(&self, master: Secret) -> Result<u64, LedgerError> {
        self.change_under(&mut self.lock_pen(), master)
    }

    fn change_under(&self, pen: &mut Pen, master: Secret) -> Result<u64, LedgerError> {
        if pen.master.expose() == master.expose() {
            let text = "the new master key is the present one; change it where it comes from first";
            return Err(LedgerError::Refused(text.into()));
        }
        let records = self.read().records();
        rewrite(&self.path, &mut pen.file, &master, &records)?;
        pen.master = master;
        // The former file is under the former master key, and that may have become known.
        pen.stale = true;
        rewrite::wipe(&self.path)?;
        pen.stale = false;
        Ok(records.iter().map(|of_one_site| of_one_site.len() as u64).sum())
    }

    /// The same with a new one for the file at `path`.
    pub(crate) fn change_master_in(&self, path: &Path) -> Result<u64, LedgerError> {
        let io = |source| LedgerError::Io { path: path.display().to_string(), source };
        let mut pen = self.lock_pen();
        // What an earlier change left beside may be the only copy of the key that the store is under.
        finish_change(&self.path, path)?;
        let master = Secret::random(&mut random::os_rng());
        let text = hex::encode(master.expose()) + "\n";
        disk::write_beside(path, text.as_bytes()).map_err(io)?;
        disk::sync_dir(path).map_err(io)?;
        let keys = self.change_under(&mut pen, master)?;
        put_in_place(path).map_err(io)?;
        Ok(keys)
    }

    /// Retires every key in use. How many there were.
    pub(crate) fn retire_all(&self) -> Result<u64, LedgerError> {
        let mut pen = self.lock_pen();
        let mut used: Vec<Record> = self.read().records().into_iter().flatten().collect();
        used.retain(|record| record.role == Role::InUse);
        let count = used.len() as u64;
        while !used.is_empty() {
            let part = used.drain(..used.len().min(FRAME_RECORDS));
            let retired = part.map(|record| Record { role: Role::Retired, ..record }).collect();
            self.add(&mut pen, retired)?;
        }
        Ok(count)
    }

    /// Writes a backup, whole or not at all. How many keys are in it.
    pub(crate) fn backup(
        &self,
        to: &Path,
        site: &SiteName,
        (made_ms, expires_ms): (i64, i64),
    ) -> Result<u64, LedgerError> {
        let io = |source| LedgerError::Io { path: to.display().to_string(), source };
        let pen = self.lock_pen();
        let records = self.read().records();
        let head = Head { made_ms, expires_ms, site: site.clone() };
        let bytes = backup::seal(&head, &pen.master, &whole(&pen.master, &records)?)?;
        disk::write_beside(to, &bytes).and_then(|_| disk::put_in_place(to)).map_err(io)?;
        disk::sync_dir(to).map_err(io)?;
        Ok(records.iter().map(|of_one_site| of_one_site.len() as u64).sum())
    }

    /// Takes from a backup what is not here. How many keys that were.
    pub(crate) fn restore(
        &self,
        from: &Path,
        bytes: &[u8],
        site: &SiteName,
        now_ms: i64,
    ) -> Result<usize, LedgerError> {
        let mut pen = self.lock_pen();
        let records = backup::open(from, bytes, site, &pen.master, now_ms)?;
        let known = |record: &Record| self.has_id(record.role.home(), &record.key.id);
        let missing: Vec<Record> = records.into_iter().filter(|record| !known(record)).collect();
        let count = missing.len();
        let (own, held): (Vec<Record>, Vec<Record>) =
            missing.into_iter().partition(|record| record.role.home().is_none());
        // Own ones may be older than what was sealed since: they open, and nothing more is sealed with them.
        self.add(&mut pen, own.into_iter().map(|record| Record { role: Role::Retired, ..record }).collect())?;
        for of_one_site in held.chunk_by(|one, other| one.role == other.role) {
            self.add(&mut pen, of_one_site.to_vec())?;
        }
        Ok(count)
    }
}

/// Where a crash left a new master key beside the old one: it counts if the key store is under it.
fn finish_change(store: &Path, file: &Path) -> Result<(), LedgerError> {
    let io = |source| LedgerError::Io { path: file.display().to_string(), source };
    disk::wipe_former(file).map_err(io)?;
    let next = disk::beside(file);
    if !next.exists() {
        return Ok(());
    }
    let bytes = KeyFile::peek(store).map_err(io)?;
    // Torn: the key store is as it was.
    let is_under = |master: Secret| bytes.is_some_and(|bytes| belongs_to(&bytes, &master));
    if MasterKey::File(next.clone()).read().is_ok_and(is_under) {
        tracing::warn!(file = %file.display(), "a change of the master key was interrupted; it is finished now");
        return put_in_place(file).map_err(io);
    }
    disk::wipe_if_there(&next).map_err(io)
}

/// The new file under its name, and the former one wiped.
fn put_in_place(file: &Path) -> std::io::Result<()> {
    disk::name_former(file)?;
    disk::put_in_place(file)?;
    disk::sync_dir(file)?;
    disk::wipe_former(file)
}
