//! The keys of subjects: made at first use, on disk before their first use, encrypted under the site's master
//! key, in a file of their own outside raft log, snapshots and backups (`file.rs` specifies it). Beside them the keys
//! that this site holds for others (`partner/`).
//!
//! A key is in use, or retired: it opens what it sealed and seals nothing any more. To destroy one is to write the
//! file anew without it and to wipe the old one: a note that a key is dead would leave the key on the disk.

mod backup;
mod disk;
mod file;
mod keys;
mod rewrite;
mod ring;
mod rotate;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rand::RngCore;

use self::disk::KeyFile;
use self::file::{Record, Role};
use self::keys::Keys;
pub(crate) use self::ring::Digest;
use self::ring::Ring;
use crate::keys::Secret;
use crate::random;
use crate::record::SiteName;
use crate::types::{LedgerError, Subject};

/// Its name in a ledger's data folder.
pub(crate) const STORE_FILE: &str = "subjects.keys";

pub(crate) type KeyId = [u8; 16];
/// Keys that entries may be sealed with.
pub(crate) type ReadyKeys = HashMap<Subject, (KeyId, Secret)>;
/// Whose keys: another site's that are held for it, or with `None` this site's own.
pub(crate) type Home<'a> = Option<&'a SiteName>;

/// One key of one subject.
#[derive(Clone)]
pub(crate) struct SubjectKey {
    pub(crate) subject: Subject,
    pub(crate) id: KeyId,
    pub(crate) key: Secret,
}

pub(crate) struct KeyStore {
    path: PathBuf,
    keys: RwLock<Keys>,
    pen: Mutex<Pen>,
}

struct Pen {
    master: Secret,
    /// `None` after a failed write or sync: what is on disk is then unknown.
    file: Option<KeyFile>,
    /// The file still holds keys that were destroyed.
    stale: bool,
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
        let pen = Mutex::new(Pen { master, file: Some(file), stale: false });
        Ok(KeyStore { path: path.to_owned(), keys: RwLock::new(keys), pen })
    }

    /// Makes keys for the subjects that have none in use. When it returns they are on disk: one sync for all.
    /// Blocks. An error leaves no further writing possible: the process should end.
    pub(crate) fn ensure(&self, subjects: &[Subject]) -> Result<(), LedgerError> {
        if self.all_known(subjects) {
            return Ok(());
        }
        let mut pen = self.lock_pen();
        let mut fresh: HashMap<Subject, Record> = HashMap::new();
        {
            let keys = self.read();
            for subject in subjects.iter().filter(|subject| !keys.has_in_use(subject)) {
                fresh.entry(*subject).or_insert_with(|| Record::fresh(*subject));
            }
        }
        self.add(&mut pen, fresh.into_values().collect())
    }

    /// From when this returns nothing is sealed any more with the keys that these subjects have, not after a crash
    /// either; they still open. All of them, also those retired earlier. Blocks on a sync; errors as of `ensure`.
    pub(crate) fn retire(&self, subjects: &[Subject]) -> Result<Vec<(Subject, KeyId)>, LedgerError> {
        let mut pen = self.lock_pen();
        let retired: HashMap<KeyId, Record> = {
            let keys = self.read();
            let used = subjects.iter().filter_map(|subject| keys.used(subject));
            used.map(|key| (key.id, Record { key, role: Role::Retired })).collect()
        };
        self.add(&mut pen, retired.into_values().collect())?;
        Ok(self.keys_of(subjects))
    }

    /// Puts keys that another site asks this one to hold onto the disk; those that are here already cost nothing.
    /// Blocks on a sync; errors as of `ensure`.
    pub(crate) fn hold(&self, home: &SiteName, keys: Vec<SubjectKey>) -> Result<(), LedgerError> {
        self.take(Some(home), &Role::Held(home.clone()), keys)
    }

    /// Takes own keys back that another site held: they open what they sealed. Blocks; errors as of `ensure`.
    pub(crate) fn adopt(&self, keys: Vec<SubjectKey>) -> Result<(), LedgerError> {
        self.take(None, &Role::Retired, keys)
    }

    fn take(&self, home: Home, role: &Role, keys: Vec<SubjectKey>) -> Result<(), LedgerError> {
        let mut pen = self.lock_pen();
        let known = |id: &KeyId| self.read().ring(home).is_some_and(|ring| ring.get(id).is_some());
        let fresh = keys.into_iter().filter(|key| !known(&key.id));
        let records = fresh.map(|key| Record { key, role: role.clone() }).collect();
        self.add(&mut pen, records)
    }

    /// Every own key of these subjects, in use or retired.
    pub(crate) fn keys_of(&self, subjects: &[Subject]) -> Vec<(Subject, KeyId)> {
        let wanted: HashSet<&Subject> = subjects.iter().collect();
        let keys = self.read();
        let own = keys.ring(None).into_iter().flat_map(|ring| ring.iter());
        let mut found: Vec<(Subject, KeyId)> = own
            .filter(|(_, (subject, _))| wanted.contains(subject))
            .map(|(id, (subject, _))| (*subject, *id))
            .collect();
        found.sort_unstable_by_key(|(subject, id)| (subject.0, *id));
        found
    }

    /// Makes these keys be gone, here and on the disk; how many there were. At once they open nothing any more, also
    /// where the disk fails: the next call then makes up for it. Blocks.
    pub(crate) fn destroy(&self, home: Home, ids: &[KeyId]) -> Result<usize, LedgerError> {
        let mut pen = self.lock_pen();
        let gone = {
            let mut keys = self.write();
            ids.iter().filter(|id| keys.remove(home, id)).count()
        };
        pen.stale |= gone > 0;
        if pen.stale {
            let records = self.read().records();
            let Pen { master, file, .. } = &mut *pen;
            rewrite::rewrite(&self.path, file, master, &records)?;
            rewrite::wipe(&self.path)?;
            pen.stale = false;
        }
        Ok(gone)
    }

    /// The key in use for a subject.
    pub(crate) fn key_of(&self, subject: &Subject) -> Option<(KeyId, Secret)> {
        self.read().used(subject).map(|key| (key.id, key.key))
    }

    pub(crate) fn key_by_id(&self, home: Home, id: &KeyId) -> Option<(Subject, Secret)> {
        self.read().ring(home)?.get(id).cloned()
    }

    pub(crate) fn has_id(&self, home: Home, id: &KeyId) -> bool {
        self.read().ring(home).is_some_and(|ring| ring.get(id).is_some())
    }

    /// As of `Keys::ready`.
    pub(crate) fn ready(&self, subjects: &[Subject]) -> Option<ReadyKeys> {
        self.read().ready(subjects)
    }

    pub(crate) fn unkept(&self, subjects: &[Subject]) -> Vec<SubjectKey> {
        self.read().unkept(subjects)
    }

    pub(crate) fn pending(&self) -> Vec<KeyId> {
        self.read().pending().copied().collect()
    }

    pub(crate) fn count_pending(&self) -> usize {
        self.read().pending().count()
    }

    pub(crate) fn is_pending(&self, id: &KeyId) -> bool {
        self.read().is_pending(id)
    }

    pub(crate) fn kept(&self, ids: &[KeyId], everywhere: bool) {
        self.write().kept(ids, everywhere);
    }

    pub(crate) fn astray(&self, ids: &[KeyId]) {
        self.write().astray(ids);
    }

    /// As of `Keys::doubt`.
    pub(crate) fn doubt(&self) {
        self.write().doubt();
    }

    pub(crate) fn digest(&self, home: Home) -> Digest {
        self.read().ring(home).map(Ring::digest).unwrap_or_default()
    }

    /// How many keys are held for which sites.
    pub(crate) fn held(&self) -> BTreeMap<SiteName, u64> {
        let keys = self.read();
        let counts = keys.held().map(|(home, ring)| (home.clone(), ring.digest().count));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// As of `Ring::ids_between`, at most `limit`.
    pub(crate) fn ids_between(
        &self,
        home: Home,
        (after, upto): (Option<KeyId>, Option<KeyId>),
        limit: usize,
    ) -> Vec<KeyId> {
        let keys = self.read();
        let found = keys.ring(home).map(|ring| ring.ids_between(after, upto).take(limit).copied().collect());
        found.unwrap_or_default()
    }

    /// Those of them that are here.
    pub(crate) fn give(&self, home: Home, ids: &[KeyId]) -> Vec<SubjectKey> {
        let keys = self.read();
        ids.iter().filter_map(|id| keys.ring(home)?.key(id)).collect()
    }

    fn all_known(&self, subjects: &[Subject]) -> bool {
        let keys = self.read();
        subjects.iter().all(|subject| keys.has_in_use(subject))
    }

    /// Onto the disk first.
    fn add(&self, pen: &mut Pen, records: Vec<Record>) -> Result<(), LedgerError> {
        if records.is_empty() {
            return Ok(());
        }
        let frame = file::frame(&pen.master, &records)?;
        let io = |source| LedgerError::Io { path: self.path.display().to_string(), source };
        let lost = || io(std::io::Error::other("an earlier write failed; restart the site"));
        let mut file = pen.file.take().ok_or_else(lost)?;
        file.append(&frame).map_err(io)?;
        pen.file = Some(file);
        let mut keys = self.write();
        records.into_iter().for_each(|record| keys.insert(record));
        Ok(())
    }

    fn lock_pen(&self) -> MutexGuard<'_, Pen> {
        self.pen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn fresh(subject: Subject) -> Record {
        let mut id = [0; 16];
        random::os_rng().fill_bytes(&mut id);
        let key = SubjectKey { subject, id, key: Secret::random(&mut random::os_rng()) };
        Record { key, role: Role::InUse }
    }
}
