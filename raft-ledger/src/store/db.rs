//! A database of column families: RocksDB, or under simulation one in memory that loses what was not synced.

use std::path::Path;

use rocksdb::{ColumnFamilyDescriptor, Options, ReadOptions, WriteOptions};

use crate::LedgerError;

pub(crate) type KeyValue = (Box<[u8]>, Box<[u8]>);

pub(super) enum Db {
    Rocks(rocksdb::DB),
    #[cfg(any(test, feature = "sim"))]
    Memory(crate::sim::disk::Database),
}

/// Changes that are made together or not at all.
#[derive(Default)]
pub(crate) struct WriteBatch {
    rocks: rocksdb::WriteBatch,
    #[cfg(any(test, feature = "sim"))]
    memory: Vec<crate::sim::disk::Change>,
}

impl WriteBatch {
    /// One that need not grow, and copy what it holds, until it holds so many bytes.
    pub(crate) fn with_room(bytes: usize) -> WriteBatch {
        WriteBatch {
            rocks: rocksdb::WriteBatch::with_capacity_bytes(bytes),
            #[cfg(any(test, feature = "sim"))]
            memory: Vec::new(),
        }
    }
}

/// What became of a write when the process dies, and when the machine does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wal {
    /// In the log: survives the process at once, the machine after `sync_wal`.
    On,
    /// In the log and on the disk when the write returns.
    Synced,
    /// Lost unless `flush` came after it.
    Off,
}

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct DbError {
    damaged: bool,
    text: String,
}

impl Db {
    pub(super) fn open(
        options: &Options,
        path: &Path,
        families: impl IntoIterator<Item = ColumnFamilyDescriptor>,
    ) -> Result<Db, DbError> {
        #[cfg(any(test, feature = "sim"))]
        if crate::sim::disk::holds(path) {
            return crate::sim::disk::Database::open(path).map(Db::Memory).map_err(DbError::memory);
        }
        Ok(Db::Rocks(rocksdb::DB::open_cf_descriptors(options, path, families)?))
    }

    /// Nothing is written to it, also no log of its own.
    pub(super) fn open_read_only(path: &Path, families: &[&'static str]) -> Result<Db, DbError> {
        #[cfg(any(test, feature = "sim"))]
        if crate::sim::disk::holds(path) {
            return crate::sim::disk::Database::open_read_only(path).map(Db::Memory).map_err(DbError::memory);
        }
        Ok(Db::Rocks(rocksdb::DB::open_cf_for_read_only(&Options::default(), path, families, false)?))
    }

    pub(super) fn get(&self, family: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        match self {
            Db::Rocks(db) => Ok(db.get_cf(handle(db, family)?, key)?),
            #[cfg(any(test, feature = "sim"))]
            Db::Memory(db) => db.get(family, key).map_err(DbError::checksum),
        }
    }

    /// The values of `keys`, which are in order.
    pub(super) fn get_many<K: AsRef<[u8]>>(
        &self,
        family: &'static str,
        keys: &[K],
    ) -> Result<Vec<Option<Vec<u8>>>, DbError> {
        match self {
            Db::Rocks(db) => {
                let found = db.batched_multi_get_cf(handle(db, family)?, keys, true);
                found.into_iter().map(|value| Ok(value?.map(|value| value.to_vec()))).collect()
            }
            #[cfg(any(test, feature = "sim"))]
            Db::Memory(db) => {
                keys.iter().map(|key| db.get(family, key.as_ref()).map_err(DbError::checksum)).collect()
            }
        }
    }

    pub(super) fn put(
        &self,
        batch: &mut WriteBatch,
        family: &'static str,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), DbError> {
        match self {
            Db::Rocks(db) => batch.rocks.put_cf(handle(db, family)?, key, value),
            #[cfg(any(test, feature = "sim"))]
            Db::Memory(_) => batch.memory.push(crate::sim::disk::Change::put(family, key, value)),
        }
        Ok(())
    }

    pub(super) fn delete(
        &self,
        batch: &mut WriteBatch,
        family: &'static str,
        key: &[u8],
    ) -> Result<(), DbError> {
        match self {
            Db::Rocks(db) => batch.rocks.delete_cf(handle(db, family)?, key),
            #[cfg(any(test, feature = "sim"))]
            Db::Memory(_) => {
                let next = [key, &[0]].concat();
                batch.memory.push(crate::sim::disk::Change::delete(family, key, &next));
            }
        }
        Ok(())
    }

    /// Every key in `[from, to)`.
    pub(super) fn delete_range(
        &self,
        batch: &mut WriteBatch,
        family: &'static str,
        from: &[u8],
        to: &[u8],
    ) -> Result<(), DbError> {
        match self {
            Db::Rocks(db) => batch.rocks.delete_range_cf(handle(db, family)?, from, to),
            #[cfg(any(test, feature = "sim"))]
            Db::Memory(_) => batch.memory.push(crate::sim::disk::Change::delete(family, from, to)),
        }
        Ok(())
    }

    pub(super) fn write(&self, batch: WriteBatch, wal: Wal) -> Result<(), DbError> {
        match self {
            Db::Rocks(db) => {
                let mut options = WriteOptions::default();
                options.disable_wal(wal == Wal::Off);
                options.set_sync(wal == Wal::Synced);
                db.write_opt(batch.rocks, &options)?;
            }
            #[cfg(any(test, feature = "sim"))]
            Db::Memory(db) => {
                db.write(batch.memory);
                if wal == Wal::Synced {
                    db.sync();
                }
            }
        }
        Ok(())
    }

    /// Everything that was written with `Wal::On` is on the disk when this returns.
    pub(super) fn sync_wal(&self) -> Result<(), DbError> {
        match self {
            Db::Rocks(db) => db.flush_wal(true)?,
            #[cfg(any(test, feature = "sim"))]
            Db::Memory(db) => db.sync(),
        }
        Ok(())
    }

    /// Everything that was written is on the disk when this returns.
    pub(super) fn flush(&self, families: &[&'static str]) -> Result<(), DbError> {
        match self {
            Db::Rocks(db) => {
                let handles = families.iter().map(|family| handle(db, family));
                let handles = handles.collect::<Result<Vec<_>, _>>()?;
                let mut options = rocksdb::FlushOptions::default();
                options.set_wait(true);
                db.flush_cfs_opt(&handles, &options)?;
            }
            #[cfg(any(test, feature = "sim"))]
            Db::Memory(db) => db.sync(),
        }
        Ok(())
    }

    /// Hard links of the flushed state into the new directory `path`.
    pub(super) fn checkpoint(&self, path: &Path) -> Result<(), DbError> {
        match self {
            Db::Rocks(db) => rocksdb::checkpoint::Checkpoint::new(db)?.create_checkpoint(path)?,
            #[cfg(any(test, feature = "sim"))]
            Db::Memory(db) => db.checkpoint(path),
        }
        Ok(())
    }

    /// Keys in `[from, to)` with their values, in order.
    pub(super) fn iter(
        &self,
        family: &'static str,
        from: &[u8],
        to: &[u8],
    ) -> Result<impl Iterator<Item = Result<KeyValue, DbError>> + '_, DbError> {
        match self {
            Db::Rocks(db) => {
                let mut options = ReadOptions::default();
                options.set_iterate_upper_bound(to);
                let start = rocksdb::IteratorMode::From(from, rocksdb::Direction::Forward);
                let found = db.iterator_cf_opt(handle(db, family)?, options, start);
                Ok(Items::Rocks(found))
            }
            #[cfg(any(test, feature = "sim"))]
            Db::Memory(db) => Ok(Items::Memory(db.range(family, from, to).into_iter())),
        }
    }

    /// Gives back the room of what was removed there.
    pub(super) fn compact(&self, family: &'static str, from: &[u8], to: &[u8]) {
        match self {
            Db::Rocks(db) => {
                if let Ok(handle) = handle(db, family) {
                    db.compact_range_cf(handle, Some(from), Some(to));
                }
            }
            // Nothing is left of it.
            #[cfg(any(test, feature = "sim"))]
            Db::Memory(_) => {}
        }
    }

    /// The last of the keys up to `upto`.
    pub(super) fn last(&self, family: &'static str, upto: &[u8]) -> Result<Option<KeyValue>, DbError> {
        match self {
            Db::Rocks(db) => {
                let start = rocksdb::IteratorMode::From(upto, rocksdb::Direction::Reverse);
                Ok(db.iterator_cf(handle(db, family)?, start).next().transpose()?)
            }
            #[cfg(any(test, feature = "sim"))]
            Db::Memory(db) => db.last(family, upto).map_err(DbError::checksum),
        }
    }
}

fn handle<'a>(db: &'a rocksdb::DB, family: &str) -> Result<&'a rocksdb::ColumnFamily, DbError> {
    db.cf_handle(family)
        .ok_or_else(|| DbError { damaged: true, text: format!("there is no family {family}") })
}

enum Items<'a> {
    Rocks(rocksdb::DBIterator<'a>),
    #[cfg(any(test, feature = "sim"))]
    Memory(std::vec::IntoIter<Result<KeyValue, String>>),
}

impl Iterator for Items<'_> {
    type Item = Result<KeyValue, DbError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Items::Rocks(items) => items.next().map(|item| item.map_err(DbError::from)),
            #[cfg(any(test, feature = "sim"))]
            Items::Memory(items) => items.next().map(|item| item.map_err(DbError::checksum)),
        }
    }
}

impl DbError {
    /// What is stored is not what was written.
    pub(super) fn is_damage(&self) -> bool {
        self.damaged
    }

    /// For readers: `what` names the database.
    pub(super) fn reading(self, what: &str) -> LedgerError {
        match self.damaged {
            true => LedgerError::Damaged(format!("{what}: {self}")),
            false => LedgerError::Storage(format!("{what}: {self}")),
        }
    }

    #[cfg(any(test, feature = "sim"))]
    fn memory(text: String) -> DbError {
        DbError { damaged: false, text }
    }

    #[cfg(any(test, feature = "sim"))]
    fn checksum(text: String) -> DbError {
        DbError { damaged: true, text }
    }
}

impl From<rocksdb::Error> for DbError {
    fn from(error: rocksdb::Error) -> DbError {
        let text = error.to_string();
        // A file that its database names and nobody finds.
        let missing = error.kind() == rocksdb::ErrorKind::IOError && text.contains("No such file");
        DbError { damaged: missing || error.kind() == rocksdb::ErrorKind::Corruption, text }
    }
}
