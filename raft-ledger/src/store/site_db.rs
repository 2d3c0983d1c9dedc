//! `sitedb`: what is this site's own and no entry. WAL on.

use std::path::Path;

use rocksdb::{ColumnFamilyDescriptor, DBRecoveryMode, Options};

use super::db::{Db, DbError, Wal, WriteBatch};
use super::fatal::end_process;
use super::generation::key as grouped;
use crate::LedgerError;
use crate::raft::GROUP;

/// The family that every RocksDB has.
const FAMILY: &str = "default";

pub(crate) type KeyValue = (Vec<u8>, Vec<u8>);
/// In the order of the keys.
pub(crate) type KeyValues = Vec<KeyValue>;

pub(crate) struct SiteDb {
    db: Db,
}

impl SiteDb {
    pub(crate) fn open(path: &Path) -> Result<SiteDb, LedgerError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_keep_log_file_num(4);
        let family = ColumnFamilyDescriptor::new(FAMILY, Options::default());
        let opened = Db::open(&options, path, [family]);
        let db = opened.map_err(|error| match error.reading(&path.display().to_string()) {
            LedgerError::Damaged(what) => LedgerError::Damaged(format!(
                "{what}: keep a copy of the directory, move it away and start again: what is derived from the ledger is \
                 made anew, alerts that were delivered last are sent again; of messages that waited in the outbox the \
                 senders must be asked again"
            )),
            error => error,
        })?;
        Ok(SiteDb { db })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        self.db.get(FAMILY, &grouped(key)).map_err(reading)
    }

    /// With `sync` it is on the disk when this returns; without, after the next synced write or in a moment.
    pub(crate) fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Result<(), LedgerError> {
        let mut batch = WriteBatch::default();
        self.db.put(&mut batch, FAMILY, &grouped(key), value).map_err(reading)?;
        self.commit(batch, if sync { Wal::Synced } else { Wal::On })
    }

    /// All of it or nothing, on the disk when this returns; `None` removes.
    pub(crate) fn write(
        &self,
        writes: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), LedgerError> {
        let mut batch = WriteBatch::default();
        for (key, value) in writes {
            match value {
                Some(value) => self.db.put(&mut batch, FAMILY, &grouped(&key), &value),
                None => self.db.delete(&mut batch, FAMILY, &grouped(&key)),
            }
            .map_err(reading)?;
        }
        self.commit(batch, Wal::Synced)
    }

    fn commit(&self, batch: WriteBatch, wal: Wal) -> Result<(), LedgerError> {
        match self.db.write(batch, wal) {
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
        let end = (GROUP + 1).to_be_bytes();
        for item in self.db.iter(FAMILY, &grouped(from), &end).map_err(reading)? {
            let (key, value) = item.map_err(reading)?;
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
        let last = self.db.last(FAMILY, &start).map_err(reading)?;
        Ok(last.and_then(|(key, value)| Some((key.get(group..)?.to_vec(), value.to_vec()))))
    }

    /// Gives back the room of removed values under the keys from `from` to `to`. Blocks for as long as that takes.
    pub(crate) fn compact(&self, from: &[u8], to: &[u8]) {
        self.db.compact(FAMILY, &grouped(from), &grouped(to));
    }

    pub(crate) fn sync(&self) -> Result<(), LedgerError> {
        self.db.sync_wal().map_err(reading)
    }
}

fn reading(error: DbError) -> LedgerError {
    LedgerError::Storage(format!("sitedb: {error}"))
}
