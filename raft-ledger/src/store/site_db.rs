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

/// Keys with their values, in the order of the keys.
pub(crate) type KeyValues = Vec<(Vec<u8>, Vec<u8>)>;

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
        Ok(SiteDb { db: opened.map_err(|e| e.reading(&path.display().to_string()))? })
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
        let start = grouped(prefix);
        let group = start.len() - prefix.len();
        let end = (GROUP + 1).to_be_bytes();
        let mut found = Vec::new();
        for item in self.db.iter(FAMILY, &start, &end).map_err(reading)? {
            let (key, value) = item.map_err(reading)?;
            if !key.starts_with(&start) {
                break;
            }
            found.push((key[group..].to_vec(), value.to_vec()));
        }
        Ok(found)
    }

    pub(crate) fn sync(&self) -> Result<(), LedgerError> {
        self.db.sync_wal().map_err(reading)
    }
}

fn reading(error: DbError) -> LedgerError {
    LedgerError::Storage(format!("sitedb: {error}"))
}
