//! `sitedb`: what is this site's own and no entry. WAL on.

use std::path::Path;

use rocksdb::{DBRecoveryMode, Direction, IteratorMode, Options, WriteBatch, WriteOptions};

use super::fatal::end_process;
use super::generation::key as grouped;
use crate::LedgerError;

pub(crate) type KeyValue = (Vec<u8>, Vec<u8>);
/// In the order of the keys.
pub(crate) type KeyValues = Vec<KeyValue>;

pub(crate) struct SiteDb {
    db: rocksdb::DB,
}

impl SiteDb {
    pub(crate) fn open(path: &Path) -> Result<SiteDb, LedgerError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_keep_log_file_num(4);
        let db = rocksdb::DB::open(&options, path).map_err(|error| match error.kind() {
            rocksdb::ErrorKind::Corruption => LedgerError::Damaged(format!("{}: {error}", path.display())),
            _ => LedgerError::Storage(format!("{}: {error}", path.display())),
        })?;
        Ok(SiteDb { db })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        self.db.get(grouped(key)).map_err(|e| LedgerError::Storage(format!("sitedb: {e}")))
    }

    /// With `sync` it is on the disk when this returns; without, after the next synced write or in a moment.
    pub(crate) fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Result<(), LedgerError> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        match self.db.put_opt(grouped(key), value, &options) {
            Ok(()) => Ok(()),
            Err(error) => end_process("sitedb write", &error),
        }
    }

    /// All of it or nothing, on the disk when this returns; `None` removes.
    pub(crate) fn write(
        &self,
        writes: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), LedgerError> {
        let mut batch = WriteBatch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.put(grouped(&key), value),
                None => batch.delete(grouped(&key)),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        match self.db.write_opt(batch, &options) {
            Ok(()) => Ok(()),
            Err(error) => end_process("sitedb write", &error),
        }
    }

    /// What stands under keys that begin with `prefix`, keys as they were put.
    pub(crate) fn scan(&self, prefix: &[u8]) -> Result<KeyValues, LedgerError> {
        let mut found = Vec::new();
        self.visit(prefix, prefix, |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(true)
        })?;
        Ok(found)
    }

    /// Shows what stands under keys that begin with `prefix`, from the key `from` on, until `see` says false.
    pub(crate) fn visit(
        &self,
        prefix: &[u8],
        from: &[u8],
        mut see: impl FnMut(&[u8], &[u8]) -> Result<bool, LedgerError>,
    ) -> Result<(), LedgerError> {
        let (prefix_len, prefix) = (prefix.len(), grouped(prefix));
        let group = prefix.len() - prefix_len;
        for item in self.db.iterator(IteratorMode::From(&grouped(from), Direction::Forward)) {
            let (key, value) = item.map_err(|e| LedgerError::Storage(format!("sitedb: {e}")))?;
            if !key.starts_with(&prefix) || !see(&key[group..], &value)? {
                break;
            }
        }
        Ok(())
    }

    /// The last key that is not after `key`, with its value.
    pub(crate) fn last_upto(&self, key: &[u8]) -> Result<Option<KeyValue>, LedgerError> {
        let start = grouped(key);
        let group = start.len() - key.len();
        let last = self.db.iterator(IteratorMode::From(&start, Direction::Reverse)).next();
        let last = last.transpose().map_err(|e| LedgerError::Storage(format!("sitedb: {e}")))?;
        Ok(last.and_then(|(key, value)| Some((key.get(group..)?.to_vec(), value.to_vec()))))
    }

    /// Gives back the room of removed values under the keys from `from` to `to`. Blocks for as long as that takes.
    pub(crate) fn compact(&self, from: &[u8], to: &[u8]) {
        self.db.compact_range(Some(grouped(from)), Some(grouped(to)));
    }

    pub(crate) fn sync(&self) -> Result<(), LedgerError> {
        self.db.flush_wal(true).map_err(|e| LedgerError::Storage(format!("sitedb: {e}")))
    }
}
