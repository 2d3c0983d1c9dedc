//! One RocksDB of the ledger: its column families and keys. A snapshot install replaces the whole of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rocksdb::{ColumnFamilyDescriptor, Options};

use super::damage::Damage;
use super::db::{Db, DbError, KeyValue, Wal, WriteBatch};
use super::files;
use crate::LedgerError;
use crate::merkle::{TileKey, TileReader};
use crate::raft::GROUP;
use crate::record::Hash;

/// Column families. Every key begins with the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// index → canonical leaf record
    Events,
    /// index → sealed payload
    Blobs,
    /// tile key → hashes of the RFC 6962 tree
    Tiles,
    /// tag, index → nothing; the newest are in lists in `Meta` (tags.rs)
    ByTag,
    /// event time, index → nothing
    ByTime,
    /// dedupe key → index
    Dedupe,
    /// batch number → provenance
    Batches,
    /// batch hash → batch number
    ByBatch,
    /// site, offset → sealed bytes of a message that has not ended yet
    Chunks,
    /// what apply knows beside the leaves
    Meta,
}

pub(crate) const ALL: [Family; 10] = [
    Family::Events,
    Family::Blobs,
    Family::Tiles,
    Family::ByTag,
    Family::ByTime,
    Family::Dedupe,
    Family::Batches,
    Family::ByBatch,
    Family::Chunks,
    Family::Meta,
];

impl Family {
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn names() -> [&'static str; ALL.len()] {
        ALL.map(Family::name)
    }

    fn name(self) -> &'static str {
        match self {
            Family::Events => "events",
            Family::Blobs => "blobs",
            Family::Tiles => "tiles",
            Family::ByTag => "by_tag",
            Family::ByTime => "by_time",
            Family::Dedupe => "dedupe",
            Family::Batches => "batches",
            Family::ByBatch => "by_batch",
            Family::Chunks => "chunks",
            Family::Meta => "meta",
        }
    }
}

pub(crate) struct Generation {
    // An Option only so that Drop can close it before it removes the directory.
    db: Option<Db>,
    path: PathBuf,
    obsolete: AtomicBool,
    /// Dedupe keys of lower indices are out of the window: compaction drops them.
    dedupe_floor: Arc<AtomicU64>,
    /// Told when what is read is not what was written.
    damage: Option<Damage>,
}

impl Generation {
    pub(crate) fn open(path: &Path) -> Result<Generation, LedgerError> {
        let dedupe_floor = Arc::new(AtomicU64::new(0));
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        // Without a WAL only an atomic flush keeps the families of one moment together.
        options.set_atomic_flush(true);
        options.set_keep_log_file_num(4);
        // Of all families together. The less is in memory, the more of it is in the processor's caches where tags and
        // dedupe keys find their places among the others.
        options.set_db_write_buffer_size(64 << 20);
        options.set_max_background_jobs(2);
        let families = ALL
            .map(|family| ColumnFamilyDescriptor::new(family.name(), family_options(family, &dedupe_floor)));
        let db = Db::open(&options, path, families).map_err(|e| opening(path, &e))?;
        #[cfg(any(test, feature = "sim"))]
        if let Db::Memory(db) = &db {
            db.compact_by(Family::Dedupe.name(), dedupe_floor.clone());
        }
        Ok(Generation::new(db, path, dedupe_floor))
    }

    fn new(db: Db, path: &Path, dedupe_floor: Arc<AtomicU64>) -> Generation {
        let obsolete = AtomicBool::new(false);
        Generation { db: Some(db), path: path.to_owned(), obsolete, dedupe_floor, damage: None }
    }

    pub(crate) fn telling(mut self, damage: Damage) -> Generation {
        self.damage = Some(damage);
        self
    }

    /// For a checkpoint: nothing is written to it.
    pub(crate) fn open_read_only(path: &Path) -> Result<Generation, LedgerError> {
        let db = Db::open_read_only(path, &ALL.map(Family::name)).map_err(|e| opening(path, &e))?;
        Ok(Generation::new(db, path, Arc::default()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its directory is removed once nobody reads it any more.
    pub(crate) fn retire(&self) {
        self.obsolete.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_dedupe_floor(&self, index: u64) {
        self.dedupe_floor.store(index, Ordering::Relaxed);
    }

    fn db(&self) -> Result<&Db, LedgerError> {
        self.db.as_ref().ok_or_else(|| LedgerError::Storage("the ledger database is closed".into()))
    }

    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        self.db()?.get(family.name(), key).map_err(|e| self.reading(e))
    }

    /// The values of `keys`, which are in order.
    pub(crate) fn get_many<K: AsRef<[u8]>>(
        &self,
        family: Family,
        keys: &[K],
    ) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        self.db()?.get_many(family.name(), keys).map_err(|e| self.reading(e))
    }

    /// The canonical record of an applied leaf.
    pub(crate) fn leaf(&self, index: u64) -> Result<Vec<u8>, LedgerError> {
        let leaf = self.get(Family::Events, &index_key(index))?;
        leaf.ok_or_else(|| LedgerError::Damaged(format!("leaf {index} is missing")))
    }

    pub(crate) fn put(
        &self,
        batch: &mut WriteBatch,
        family: Family,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), LedgerError> {
        self.db()?.put(batch, family.name(), key, value).map_err(writing)
    }

    /// Every key in `[from, to)`.
    pub(crate) fn delete_range(
        &self,
        batch: &mut WriteBatch,
        family: Family,
        from: &[u8],
        to: &[u8],
    ) -> Result<(), LedgerError> {
        self.db()?.delete_range(batch, family.name(), from, to).map_err(writing)
    }

    /// Gives back the room of what was removed there. Blocks for as long as that takes.
    pub(crate) fn compact(&self, family: Family, from: &[u8], to: &[u8]) -> Result<(), LedgerError> {
        self.db()?.compact(family.name(), from, to);
        Ok(())
    }

    /// The last of the keys up to `upto`, with its value.
    pub(crate) fn last(&self, family: Family, upto: &[u8]) -> Result<Option<KeyValue>, LedgerError> {
        self.db()?.last(family.name(), upto).map_err(|e| self.reading(e))
    }

    pub(crate) fn delete(
        &self,
        batch: &mut WriteBatch,
        family: Family,
        key: &[u8],
    ) -> Result<(), LedgerError> {
        self.db()?.delete(batch, family.name(), key).map_err(writing)
    }

    pub(crate) fn delete_prefix(
        &self,
        batch: &mut WriteBatch,
        family: Family,
        prefix: &[u8],
    ) -> Result<(), LedgerError> {
        self.delete_range(batch, family, prefix, &[prefix, &[0xff; 9]].concat())
    }

    /// Into memory; durable with the next flush, and until then in the raft log.
    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), LedgerError> {
        self.db()?.write(batch, Wal::Off).map_err(|e| self.doing("write", e))
    }

    pub(crate) fn flush(&self) -> Result<(), LedgerError> {
        self.db()?.flush(&ALL.map(Family::name)).map_err(|e| self.doing("flush", e))
    }

    fn reading(&self, error: DbError) -> LedgerError {
        self.doing("ledger database", error)
    }

    /// Also what writes meets damage: in a table that RocksDB reads to compact it.
    fn doing(&self, what: &str, error: DbError) -> LedgerError {
        let error = error.reading(what);
        if let (LedgerError::Damaged(text), Some(damage)) = (&error, &self.damage) {
            damage.tell(text);
        }
        error
    }

    /// Hard links of the flushed state into the new directory `path`.
    pub(crate) fn checkpoint(&self, path: &Path) -> Result<(), LedgerError> {
        let made = self.db()?.checkpoint(path);
        made.map_err(|e| self.doing(&format!("checkpoint {}", path.display()), e))
    }

    /// Reads everything of a family, so that RocksDB checks the checksum of every block.
    pub(crate) fn read_through(&self, family: Family) -> Result<(), LedgerError> {
        self.scan(family, &GROUP.to_be_bytes(), &(GROUP + 1).to_be_bytes(), |_, _| Ok(true))
    }

    /// Key and value of each key in `[from, to)`, in order, until `visit` says false.
    pub(crate) fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, LedgerError>,
    ) -> Result<(), LedgerError> {
        for item in self.db()?.iter(family.name(), from, to).map_err(|e| self.reading(e))? {
            let (key, value) = item.map_err(|e| self.reading(e))?;
            if !visit(&key, &value)? {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        drop(self.db.take());
        if self.obsolete.load(Ordering::Relaxed)
            && let Err(error) = files::remove_dir(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "an old ledger directory could not be removed");
        }
    }
}

impl TileReader for Generation {
    fn tile(&self, key: TileKey) -> Result<Option<Vec<u8>>, LedgerError> {
        self.get(Family::Tiles, &tile_key(key))
    }
}

fn family_options(family: Family, dedupe_floor: &Arc<AtomicU64>) -> Options {
    let mut options = Options::default();
    let mut table = rocksdb::BlockBasedOptions::default();
    match family {
        Family::ByTag => {
            // Each compaction of levels would write most of the next level again for keys that fall anywhere.
            options.set_compaction_style(rocksdb::DBCompactionStyle::Universal);
        }
        Family::Dedupe => {
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(0.01);
            table.set_bloom_filter(10.0, false);
            let floor = dedupe_floor.clone();
            options.set_compaction_filter("dedupe-window", move |_, _, value| {
                let index = value.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
                match index {
                    Some(index) if index < floor.load(Ordering::Relaxed) => {
                        rocksdb::compaction_filter::Decision::Remove
                    }
                    _ => rocksdb::compaction_filter::Decision::Keep,
                }
            });
        }
        Family::ByBatch => table.set_bloom_filter(10.0, false),
        _ => {}
    }
    // Ciphertext and hashes.
    if matches!(family, Family::Blobs | Family::Dedupe | Family::Tiles | Family::Batches | Family::ByBatch) {
        options.set_compression_type(rocksdb::DBCompressionType::None);
    }
    options.set_block_based_table_factory(&table);
    options
}

fn opening(path: &Path, error: &DbError) -> LedgerError {
    let text = format!("{}: {error}", path.display());
    if error.is_damage() { LedgerError::Damaged(text) } else { LedgerError::Storage(text) }
}

fn writing(error: DbError) -> LedgerError {
    LedgerError::Storage(format!("write: {error}"))
}

pub(crate) fn index_key(index: u64) -> [u8; 12] {
    fixed_key([&index.to_be_bytes()])
}

/// The last 8 bytes of a key that ends with an index.
pub(crate) fn index_of_key(key: &[u8]) -> Result<u64, LedgerError> {
    let bytes = key
        .last_chunk::<8>()
        .ok_or_else(|| LedgerError::Damaged("ledger database: a key is too short".into()))?;
    Ok(u64::from_be_bytes(*bytes))
}

/// Of a key that [`time_key`] made.
pub(crate) fn time_of_key(key: &[u8]) -> Result<i64, LedgerError> {
    let time = key.get(GROUP.to_be_bytes().len()..).and_then(|rest| rest.first_chunk::<8>());
    let time = time.ok_or_else(|| LedgerError::Damaged("ledger database: a key is too short".into()))?;
    Ok((u64::from_be_bytes(*time) ^ (1 << 63)) as i64)
}

pub(crate) fn key(part: &[u8]) -> Vec<u8> {
    [&GROUP.to_be_bytes()[..], part].concat()
}

/// Of a dedupe key or of a batch.
pub(crate) fn hash_key(hash: &Hash) -> [u8; 36] {
    fixed_key([hash])
}

pub(crate) fn tile_key(tile: TileKey) -> [u8; 13] {
    fixed_key([&tile.encode()])
}

pub(crate) fn tag_key(tag: &[u8; 16], index: u64) -> [u8; 28] {
    fixed_key([tag, &index.to_be_bytes()])
}

/// Negative times sort before positive ones.
pub(crate) fn time_key(time_ms: i64, index: u64) -> [u8; 20] {
    let ordered = (time_ms as u64) ^ (1 << 63);
    fixed_key([&ordered.to_be_bytes(), &index.to_be_bytes()])
}

/// Several are made for every event: they take no allocation. `LEN` is that of the group and all parts.
pub(super) fn fixed_key<const LEN: usize, const PARTS: usize>(parts: [&[u8]; PARTS]) -> [u8; LEN] {
    let mut key = [0; LEN];
    let (group, mut rest) = key.split_at_mut(GROUP.to_be_bytes().len());
    group.copy_from_slice(&GROUP.to_be_bytes());
    for part in parts {
        let (place, after) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = after;
    }
    key
}
