//! The keys of subjects: made at first use, on disk before their first use, encrypted under the site's master
//! key, in a file of their own outside raft log, snapshots and backups (`file.rs` specifies it).
//!
//! A key is in use, or retired: it opens what it sealed and seals nothing any more. To destroy one is to write the
//! file anew without it and to wipe the old one: a note that a key is dead would leave the key on the disk.

mod disk;
mod file;
mod rewrite;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rand::RngCore;

use self::disk::KeyFile;
use self::file::Record;
use crate::keys::Secret;
use crate::random;
use crate::types::{LedgerError, Subject};

pub(crate) type KeyId = [u8; 16];

pub(crate) struct KeyStore {
    path: PathBuf,
    master: Secret,
    keys: RwLock<Keys>,
    pen: Mutex<Pen>,
}

struct Pen {
    /// `None` after a failed write or sync: what is on disk is then unknown.
    file: Option<KeyFile>,
    /// The file still holds keys that were destroyed.
    stale: bool,
}

#[derive(Default)]
struct Keys {
    in_use: HashMap<Subject, KeyId>,
    by_id: HashMap<KeyId, (Subject, Secret)>,
}

impl KeyStore {
    /// Opens or makes the file. An error if it is damaged, of another master key, or open elsewhere.
    pub(crate) fn open(path: &Path, master: Secret) -> Result<KeyStore, LedgerError> {
        let io = |source| LedgerError::Io { path: path.display().to_string(), source };
        let (mut file, bytes) = KeyFile::open(path, &master)?;
        let (records, end) = file::read(path, &bytes, &master)?;
        file.cut(path, end, &bytes).map_err(io)?;
        let mut keys = Keys::default();
        records.into_iter().for_each(|record| keys.insert(record));
        let pen = Mutex::new(Pen { file: Some(file), stale: false });
        Ok(KeyStore { path: path.to_owned(), master, keys: RwLock::new(keys), pen })
    }

    /// Makes keys for the subjects that have none in use. When it returns they are on disk: one sync for all.
    /// Blocks. An error leaves no further writing possible: the process should end.
    pub(crate) fn ensure(&self, subjects: &[Subject]) -> Result<(), LedgerError> {
        if self.all_known(subjects) {
            return Ok(());
        }
        let mut pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh: HashMap<Subject, Record> = HashMap::new();
        {
            let keys = self.read();
            for subject in subjects.iter().filter(|subject| !keys.in_use.contains_key(subject)) {
                fresh.entry(*subject).or_insert_with(|| Record::fresh(*subject));
            }
        }
        self.add(&mut pen, fresh.into_values().collect())
    }

    /// From when this returns nothing is sealed any more with the keys that these subjects have, not after a crash
    /// either; they still open. All of them, also those retired earlier. Blocks on a sync; errors as of `ensure`.
    pub(crate) fn retire(&self, subjects: &[Subject]) -> Result<Vec<(Subject, KeyId)>, LedgerError> {
        let mut pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        let retired: HashMap<KeyId, Record> = {
            let keys = self.read();
            let used = subjects.iter().filter_map(|subject| keys.in_use.get(subject));
            used.filter_map(|id| Some((*id, keys.record(id, false)?))).collect()
        };
        self.add(&mut pen, retired.into_values().collect())?;
        Ok(self.keys_of(subjects))
    }

    /// Every key of these subjects, in use or retired.
    pub(crate) fn keys_of(&self, subjects: &[Subject]) -> Vec<(Subject, KeyId)> {
        let wanted: HashSet<&Subject> = subjects.iter().collect();
        let keys = self.read();
        let mut found: Vec<(Subject, KeyId)> = keys
            .by_id
            .iter()
            .filter(|(_, (subject, _))| wanted.contains(subject))
            .map(|(id, (subject, _))| (*subject, *id))
            .collect();
        found.sort_unstable_by_key(|(subject, id)| (subject.0, *id));
        found
    }

    /// Makes these keys be gone, here and on the disk; how many there were. At once they open nothing any more, also
    /// where the disk fails: the next call then makes up for it. Blocks.
    pub(crate) fn destroy(&self, ids: &[KeyId]) -> Result<usize, LedgerError> {
        let mut pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = {
            let mut keys = self.write();
            ids.iter().filter(|id| keys.remove(id)).count()
        };
        pen.stale |= gone > 0;
        if pen.stale {
            let records = self.read().records();
            rewrite::rewrite(&self.path, &mut pen.file, &self.master, &records)?;
            pen.stale = false;
        }
        Ok(gone)
    }

    /// The key in use for a subject.
    pub(crate) fn key_of(&self, subject: &Subject) -> Option<(KeyId, Secret)> {
        let keys = self.read();
        let id = keys.in_use.get(subject)?;
        let (_, key) = keys.by_id.get(id)?;
        Some((*id, key.clone()))
    }

    pub(crate) fn key_by_id(&self, id: &KeyId) -> Option<(Subject, Secret)> {
        self.read().by_id.get(id).cloned()
    }

    pub(crate) fn has_id(&self, id: &KeyId) -> bool {
        self.read().by_id.contains_key(id)
    }

    fn all_known(&self, subjects: &[Subject]) -> bool {
        let keys = self.read();
        subjects.iter().all(|subject| keys.in_use.contains_key(subject))
    }

    /// Onto the disk first.
    fn add(&self, pen: &mut Pen, records: Vec<Record>) -> Result<(), LedgerError> {
        if records.is_empty() {
            return Ok(());
        }
        let frame = file::frame(&self.master, &records)?;
        let io = |source| LedgerError::Io { path: self.path.display().to_string(), source };
        let lost = || io(std::io::Error::other("an earlier write failed; restart the site"));
        let mut file = pen.file.take().ok_or_else(lost)?;
        file.append(&frame).map_err(io)?;
        pen.file = Some(file);
        let mut keys = self.write();
        records.into_iter().for_each(|record| keys.insert(record));
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn insert(&mut self, record: Record) {
        let Record { subject, id, key, in_use } = record;
        if in_use {
            self.in_use.insert(subject, id);
        } else if self.in_use.get(&subject) == Some(&id) {
            self.in_use.remove(&subject);
        }
        self.by_id.insert(id, (subject, key));
    }

    /// Whether it was there.
    fn remove(&mut self, id: &KeyId) -> bool {
        let Some((subject, _)) = self.by_id.remove(id) else { return false };
        if self.in_use.get(&subject) == Some(id) {
            self.in_use.remove(&subject);
        }
        true
    }

    fn record(&self, id: &KeyId, in_use: bool) -> Option<Record> {
        let (subject, key) = self.by_id.get(id)?;
        Some(Record { subject: *subject, id: *id, key: key.clone(), in_use })
    }

    fn records(&self) -> Vec<Record> {
        let used = |id: &KeyId| self.by_id.get(id).is_some_and(|(of, _)| self.in_use.get(of) == Some(id));
        self.by_id.keys().filter_map(|id| self.record(id, used(id))).collect()
    }
}

impl Record {
    fn fresh(subject: Subject) -> Record {
        let mut id = [0; 16];
        random::os_rng().fill_bytes(&mut id);
        Record { subject, id, key: Secret::random(&mut random::os_rng()), in_use: true }
    }
}
