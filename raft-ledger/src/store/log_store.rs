//! `raftdb`: the raft log and the vote. WAL on; an append is acknowledged only after its fsync.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use rocksdb::{ColumnFamilyDescriptor, DBRecoveryMode, Options};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::db::{Db, DbError, Wal, WriteBatch};
use super::entry_codec;
use super::fatal::end_process;
use super::reached::HighWater;
use super::sync::{SyncThread, Waiter};
use crate::LedgerError;
use crate::raft::{Entry, GROUP, LeaderId, LogId, Types, Vote};

pub(super) const LOG: &str = "log";
pub(super) const META: &str = "meta";
/// Entries kept in memory for apply and replication, so that neither reads the disk in normal running.
const TAIL_BYTES_MAX: usize = 32 << 20;
/// One replication message carries at most about this much.
const READ_BYTES_MAX: usize = 4 << 20;

#[derive(Clone)]
pub(crate) struct LogStore {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    // Before `db`: its thread must be gone before the database closes.
    sync: SyncThread,
    pub(super) db: Arc<Db>,
    pub(super) high_water: HighWater,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// Index of the first entry that is there.
    first: Option<u64>,
    pub(super) last: Option<LogId>,
    tail: BTreeMap<u64, (Entry, usize)>,
    tail_bytes: usize,
    /// Since the store was opened; housekeeping decides by it when to take a snapshot.
    appended_bytes: u64,
    /// How often an end was cut off since the store was opened.
    pub(super) cuts: u64,
}

impl LogStore {
    /// Opens or creates the store in `path`.
    ///
    /// # Errors
    /// A torn last record is cut off; damage before it is `LedgerError::Damaged`.
    pub(crate) fn open(path: &Path) -> Result<LogStore, LedgerError> {
        let db = Arc::new(open_db(path)?);
        let state = load_state(&db).map_err(|error| match error {
            LedgerError::Damaged(text) => damaged(path, &text),
            other => other,
        })?;
        let sync = SyncThread::start(db.clone())
            .map_err(|source| LedgerError::Io { path: path.display().to_string(), source })?;
        let high_water = HighWater::open(path);
        let (path, state) = (path.to_owned(), Mutex::new(state));
        Ok(LogStore { inner: Arc::new(Inner { sync, db, high_water, path, state }) })
    }

    /// What the log no longer has once openraft has started on a ledger that has applied up to `applied`. A ledger
    /// that was flushed or installed before the power went may be ahead of the log's last sync; then openraft goes
    /// on behind it.
    pub(crate) fn gone(&self, applied: Option<&LogId>) -> Option<LogId> {
        let state = self.inner.state();
        if state.last.as_ref() < applied { applied.copied() } else { state.purged }
    }

    /// The last entry before the log's beginning.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.inner.state().purged
    }

    /// Drops the end that contradicts what a ledger from elsewhere has applied: written under an older leader at the
    /// place of a committed entry, it was never committed. Before consensus starts, which refuses such a log.
    pub(crate) fn cut_before(&self, applied: &LogId) -> Result<(), LedgerError> {
        let contradicts = |last: &LogId| last < applied && last.index >= applied.index;
        if !self.inner.state().last.as_ref().is_some_and(contradicts) {
            return Ok(());
        }
        tracing::warn!(
            "the end of the raft log contradicts the ledger that this site was given; it is dropped"
        );
        let (db, mut batch) = (&self.inner.db, WriteBatch::default());
        db.delete_range(&mut batch, LOG, &log_key(applied.index), &log_key(u64::MAX)).map_err(storage)?;
        db.write(batch, Wal::On).map_err(storage)?;
        db.sync_wal().map_err(storage)?;
        let kept = load_state(db)?;
        *self.inner.state() = kept;
        Ok(())
    }

    /// Every entry that there ever was is in it, and there is one.
    pub(crate) fn is_complete(&self) -> bool {
        let state = self.inner.state();
        state.purged.is_none() && state.first == Some(0)
    }

    /// Whom this site has voted for last; while it leads, itself. Known before the log changes under a later leader.
    pub(crate) fn leads(&self) -> Option<LeaderId> {
        self.inner.state().vote.map(|vote| vote.leader_id)
    }

    pub(crate) fn appended_bytes(&self) -> u64 {
        self.inner.state().appended_bytes
    }

    pub(crate) fn first_and_last_index(&self) -> (u64, u64) {
        let state = self.inner.state();
        let first = state.purged.as_ref().map_or(0, |id| id.index + 1);
        (first, state.last.as_ref().map_or(first, |id| id.index))
    }
}

fn open_db(path: &Path) -> Result<Db, LedgerError> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_max_total_wal_size(256 << 20);
    options.set_keep_log_file_num(4);
    let mut log = Options::default();
    log.set_write_buffer_size(64 << 20);
    // Sealed payloads do not compress.
    log.set_compression_type(rocksdb::DBCompressionType::None);
    let families =
        [ColumnFamilyDescriptor::new(LOG, log), ColumnFamilyDescriptor::new(META, Options::default())];
    Db::open(&options, path, families).map_err(|error| match error.is_damage() {
        true => damaged(path, &error),
        false => LedgerError::Storage(format!("{}: {error}", path.display())),
    })
}

/// Votes and acknowledged entries may be lost: nothing brings them back, so nothing heals it.
fn damaged(path: &Path, error: &dyn std::fmt::Display) -> LedgerError {
    LedgerError::Damaged(format!(
        "raft log in {}: {error}; move the directory away and start again: the site is then a new node that can be added",
        path.display()
    ))
}

fn load_state(db: &Db) -> Result<State, LedgerError> {
    let mut state = State {
        vote: read_meta(db, "vote")?,
        committed: read_meta(db, "committed")?,
        purged: read_meta(db, "purged")?,
        ..State::default()
    };
    state.last = state.purged;
    let oldest = db.iter(LOG, &log_key(0), &log_key(u64::MAX)).map_err(storage)?.next();
    if let Some((key, value)) = oldest.transpose().map_err(storage)? {
        let entry =
            decode(&key, Bytes::from(value.into_vec())).map_err(|e| LedgerError::Damaged(e.to_string()))?;
        state.first = Some(entry.log_id.index);
        if state.purged.is_some_and(|purged| entry.log_id.index != purged.index + 1) {
            return Err(LedgerError::Damaged("raft log: entries after the purged ones are missing".into()));
        }
    }
    if let Some((key, value)) = db.last(LOG, &log_key(u64::MAX)).map_err(storage)?
        && key.starts_with(&GROUP.to_be_bytes())
    {
        let entry =
            decode(&key, Bytes::from(value.into_vec())).map_err(|e| LedgerError::Damaged(e.to_string()))?;
        state.last = Some(entry.log_id);
    }
    Ok(state)
}

fn read_meta<T: DeserializeOwned>(db: &Db, name: &str) -> Result<Option<T>, LedgerError> {
    let Some(value) = db.get(META, &meta_key(name)).map_err(storage)? else { return Ok(None) };
    let value =
        rmp_serde::from_slice(&value).map_err(|e| LedgerError::Damaged(format!("raftdb {name}: {e}")))?;
    Ok(Some(value))
}

impl Inner {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; a poisoned lock means a bug, and its state is still whole.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn put_meta<T: Serialize>(&self, batch: &mut WriteBatch, name: &str, value: &T) -> io::Result<()> {
        let value = rmp_serde::to_vec(value).map_err(io::Error::other)?;
        self.db.put(batch, META, &meta_key(name), &value).map_err(io::Error::other)
    }

    fn put(&self, batch: &mut WriteBatch, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.db.put(batch, LOG, key, value).map_err(io::Error::other)
    }

    /// Entries of `first` to `end`, without `end`.
    fn delete_range(&self, batch: &mut WriteBatch, first: u64, end: u64) -> io::Result<()> {
        self.db.delete_range(batch, LOG, &log_key(first), &log_key(end)).map_err(io::Error::other)
    }

    /// Into the WAL, not yet synced.
    fn write(&self, batch: WriteBatch) {
        if let Err(error) = self.db.write(batch, Wal::On) {
            end_process("raft log write", &error);
        }
    }

    pub(super) async fn synced(&self) -> io::Result<()> {
        let (sender, done) = tokio::sync::oneshot::channel();
        self.sync.submit(Waiter::Write(sender));
        done.await.map_err(|_| io::Error::other("raft log sync thread is gone"))
    }

    fn read(&self, first: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let (first, end) = {
            let state = self.state();
            let from = state.first.unwrap_or(u64::MAX).max(first);
            let to = state.last.as_ref().map_or(0, |id| id.index + 1).min(end);
            if from >= to {
                return Ok(Vec::new());
            }
            if let Some(found) = state.read_tail(from, to, bytes_max) {
                return Ok(found);
            }
            (from, to)
        };
        self.read_disk(first, end, bytes_max)
    }

    fn read_disk(&self, first: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut bytes = 0;
        // What an opening does not read: whoever meets it is told as there.
        let lost = |error: &dyn std::fmt::Display| io::Error::other(damaged(&self.path, error));
        let unread = |error: DbError| match error.is_damage() {
            true => lost(&error),
            false => io::Error::other(error),
        };
        let items = self.db.iter(LOG, &log_key(first), &log_key(end)).map_err(unread)?;
        for (item, index) in items.zip(first..end) {
            let (key, value) = item.map_err(unread)?;
            if key.as_ref() != log_key(index) {
                return Err(lost(&format!("no entry {index} although it has later ones")));
            }
            bytes += value.len();
            found.push(decode(&key, Bytes::from(value.into_vec())).map_err(|error| lost(&error))?);
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(found)
    }
}

impl State {
    /// `None` where the memory does not reach back to `first`.
    fn read_tail(&self, first: u64, end: u64, bytes_max: usize) -> Option<Vec<Entry>> {
        if self.tail.keys().next().is_none_or(|oldest| *oldest > first) {
            return None;
        }
        let mut bytes = 0;
        let mut found = Vec::new();
        for (entry, size) in self.tail.range(first..end).map(|(_, kept)| kept) {
            bytes += size;
            found.push(entry.clone());
            if bytes >= bytes_max {
                break;
            }
        }
        Some(found)
    }

    fn remember(&mut self, entry: Entry, bytes: usize) {
        self.first.get_or_insert(entry.log_id.index);
        self.last = Some(entry.log_id);
        self.appended_bytes += bytes as u64;
        self.tail_bytes += bytes;
        self.tail.insert(entry.log_id.index, (entry, bytes));
        while self.tail_bytes > TAIL_BYTES_MAX && self.tail.len() > 1 {
            if let Some((_, (_, size))) = self.tail.pop_first() {
                self.tail_bytes -= size;
            }
        }
    }

    fn forget_after(&mut self, last: Option<LogId>) {
        if last.as_ref().map(|id| id.index) >= self.last.as_ref().map(|id| id.index) {
            return;
        }
        let removed = self.tail.split_off(&last.as_ref().map_or(0, |id| id.index + 1));
        self.tail_bytes -= removed.values().map(|(_, size)| size).sum::<usize>();
        self.first = self.first.filter(|first| last.as_ref().is_some_and(|last| last.index >= *first));
        self.last = last.or(self.purged);
    }

    fn forget_until(&mut self, upto: LogId) {
        let kept = self.tail.split_off(&(upto.index + 1));
        self.tail = kept;
        self.tail_bytes = self.tail.values().map(|(_, size)| size).sum();
        self.purged = Some(upto);
        self.first =
            Some(upto.index + 1).filter(|first| self.last.as_ref().is_some_and(|last| last.index >= *first));
        if self.last < self.purged {
            self.last = self.purged;
        }
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let first = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.inner.read(first, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.inner.read(start, end, READ_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.inner.state().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.inner.state();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let mut batch = WriteBatch::default();
        self.inner.put_meta(&mut batch, "vote", vote)?;
        self.inner.write(batch);
        #[cfg(any(test, feature = "sim"))]
        if crate::sim::planted(crate::sim::Plant::DoubleVote) {
            self.inner.state().vote = Some(*vote);
            return Ok(());
        }
        self.inner.synced().await?;
        self.inner.state().vote = Some(*vote);
        Ok(())
    }

    // Not synced: it only lets a restart apply sooner what is known to be committed.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let mut batch = WriteBatch::default();
        self.inner.put_meta(&mut batch, "committed", &committed)?;
        self.inner.write(batch);
        self.inner.state().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let state = self.inner.state();
        // A torn tail may have taken entries that were committed elsewhere: they come again from the leader.
        Ok(state.committed.min(state.last))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut batch = WriteBatch::default();
        let (mut appended, mut bytes) = (Vec::new(), Vec::new());
        for entry in entries {
            bytes.clear();
            entry_codec::encode_into(&entry, &mut bytes).map_err(io::Error::other)?;
            self.inner.put(&mut batch, &log_key(entry.index()), &bytes)?;
            appended.push((entry, bytes.len()));
        }
        self.inner.write(batch);
        {
            let mut state = self.inner.state();
            appended.into_iter().for_each(|(entry, bytes)| state.remember(entry, bytes));
        }
        #[cfg(any(test, feature = "sim"))]
        if crate::sim::planted(crate::sim::Plant::AckBeforeFsync) {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        self.inner.sync.submit(Waiter::Append(callback));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        {
            let mut state = self.inner.state();
            state.forget_after(last);
            state.cuts += 1;
        }
        let log = self.inner.clone();
        let lowered = crate::blocking::run(move || log.high_water.lower(last)).await;
        if let Err(error) = lowered.map_err(io::Error::other)? {
            end_process("the file of what the raft log has reached", &error);
        }
        let mut batch = WriteBatch::default();
        let first = last.as_ref().map_or(0, |id| id.index + 1);
        self.inner.delete_range(&mut batch, first, u64::MAX)?;
        self.inner.write(batch);
        self.inner.synced().await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let mut batch = WriteBatch::default();
        self.inner.put_meta(&mut batch, "purged", &Some(upto))?;
        self.inner.delete_range(&mut batch, 0, upto.index + 1)?;
        self.inner.write(batch);
        self.inner.state().forget_until(upto);
        Ok(())
    }
}

pub(super) fn log_key(index: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&GROUP.to_be_bytes());
    key[4..].copy_from_slice(&index.to_be_bytes());
    key
}

pub(super) fn meta_key(name: &str) -> Vec<u8> {
    [&GROUP.to_be_bytes(), name.as_bytes()].concat()
}

/// Checks that what was read is the entry that belongs there.
fn decode(key: &[u8], value: Bytes) -> io::Result<Entry> {
    let entry = entry_codec::decode(value).map_err(|e| {
        io::Error::new(io::ErrorKind::InvalidData, format!("raft log key {}: {e}", hex::encode(key)))
    })?;
    if key != log_key(entry.log_id.index) {
        let found = entry.log_id.index;
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("raft log key {} holds entry {found}", hex::encode(key)),
        ));
    }
    Ok(entry)
}

pub(super) fn storage(error: DbError) -> LedgerError {
    error.reading("raftdb")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Payload, log_id};

    impl LogStore {
        /// Empty entries, seen once the store is opened again.
        pub(crate) fn put_for_test(&self, term: u64, indices: std::ops::Range<u64>) {
            let mut batch = WriteBatch::default();
            for index in indices {
                let entry = Entry { log_id: log_id(term, index), payload: Payload::Blank };
                let mut bytes = Vec::new();
                entry_codec::encode_into(&entry, &mut bytes).unwrap();
                self.inner.db.put(&mut batch, LOG, &log_key(index), &bytes).unwrap();
            }
            self.inner.db.write(batch, Wal::On).unwrap();
        }

        pub(crate) async fn cut_for_test(&self, last: Option<LogId>) {
            self.clone().truncate_after(last).await.unwrap();
        }
    }

    /// A log of entries 0 to 3 under term 5.
    fn log(dir: &Path) -> LogStore {
        let log = LogStore::open(dir).unwrap();
        log.put_for_test(5, 0..4);
        drop(log);
        LogStore::open(dir).unwrap()
    }

    #[test]
    fn damage_that_is_met_after_the_start_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("raftdb");
        LogStore::open(&path).unwrap().put_for_test(5, 0..4_000);
        // An opening moves what the WAL holds into a table.
        let log = LogStore::open(&path).unwrap();
        assert_eq!(log.inner.read_disk(0, 4_000, usize::MAX).unwrap().len(), 4_000);
        drop(log);
        let mut tables = 0;
        for entry in std::fs::read_dir(&path).unwrap() {
            let table = entry.unwrap().path();
            let mut bytes = std::fs::read(&table).unwrap();
            // The store's id has a small one.
            if table.extension().is_some_and(|extension| extension == "sst") && bytes.len() > 10_000 {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x40;
                std::fs::write(&table, bytes).unwrap();
                tables += 1;
            }
        }
        assert_eq!(tables, 1);
        let log = LogStore::open(&path).unwrap();
        let told = log.inner.read_disk(0, 4_000, usize::MAX).unwrap_err().to_string();
        assert!(told.contains(&format!("raft log in {}: ", path.display())), "{told}");
        assert!(told.contains("move the directory away and start again"), "{told}");
    }

    #[test]
    fn only_an_end_that_contradicts_the_ledger_is_dropped() {
        let cut = |applied: LogId| {
            let dir = tempfile::tempdir().unwrap();
            let log = log(dir.path());
            log.cut_before(&applied).unwrap();
            let last = log.inner.state().last;
            drop(log);
            assert_eq!(LogStore::open(dir.path()).unwrap().inner.state().last, last, "also after a restart");
            last
        };
        for whole in [log_id(5, 2), log_id(5, 3), log_id(4, 1), log_id(6, 9)] {
            assert_eq!(cut(whole), Some(log_id(5, 3)));
        }
        assert_eq!(cut(log_id(6, 3)), Some(log_id(5, 2)));
        assert_eq!(cut(log_id(6, 2)), Some(log_id(5, 1)));
        assert_eq!(cut(log_id(6, 0)), None);
    }
}
