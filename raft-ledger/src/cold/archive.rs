//! Moving: which entries go into the next file, and each step of it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;

use super::catalogue::{self, Row};
use super::file::{Writer, entry_len};
use super::{Cold, ColdStatus, io};
use crate::clock::now_ms;
use crate::cosign::Newest;
use crate::ledger::Ledger;
use crate::record::{Leaf, sha256};
use crate::store::db::WriteBatch;
use crate::store::files;
use crate::store::generation::{Family, Generation, index_key, index_of_key};
use crate::store::ledger_store::LedgerStore;
use crate::tasks::Tasks;
use crate::types::OWN_KINDS;
use crate::{LedgerError, Progress, housekeeping};

/// A file is closed at so many entries, if not by its bytes before; at a multiple of it in any case.
const ENTRIES_MAX: u64 = 65_536;
/// A file begins and ends where a full tile does.
const ALIGNMENT: u64 = 256;
/// The automatic move rests so many times as long as it has worked.
const REST: u32 = 4;
const PERIODS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// What [`Ledger::archive`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Archived {
    /// Files, entries and bytes that were moved.
    pub files: u64,
    pub entries: u64,
    pub bytes: u64,
    /// The first so many entries of the ledger are in cold files now.
    pub cold_entries: u64,
}

impl Ledger {
    /// Moves the payloads of entries that came in before so long into cold files, as far as they fill whole files and
    /// a cosigned checkpoint covers them. Blocks; the ledger goes on meanwhile.
    ///
    /// # Errors
    /// What was moved until then stays moved.
    pub fn archive(
        &self,
        older_than: Duration,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Archived, LedgerError> {
        let mut done = Archived::default();
        while let Some(row) = self.inner.archivist.step(older_than)? {
            done.files += 1;
            done.entries += row.end - row.first;
            done.bytes += row.bytes;
            progress(Progress { done: row.end, total: self.size() });
        }
        done.cold_entries = self.cold_status().entries;
        Ok(done)
    }

    pub(crate) fn cold_status(&self) -> ColdStatus {
        let store = &self.inner.store;
        store.cold().status(&store.generation())
    }
}

#[derive(Clone)]
pub(crate) struct Archivist {
    pub(crate) store: Arc<LedgerStore>,
    pub(crate) newest: Arc<Newest>,
    /// A file is closed at so many bytes of payloads.
    pub(crate) file_bytes: u64,
    /// What must stay free on the disk of the cold files.
    pub(crate) reserve_bytes: u64,
}

/// Moves by itself what gets older than `age`.
pub(crate) async fn run(archivist: Archivist, age: Duration, tasks: Tasks) {
    let period = age.clamp(PERIODS.0, PERIODS.1);
    loop {
        let (begun, step) = (Instant::now(), archivist.clone());
        match tasks.blocking(move || step.step(age)).await {
            None => return,
            Some(Ok(Some(row))) => {
                tracing::info!(
                    file = row.name(),
                    bytes = row.bytes,
                    "sealed history was moved to a cold file"
                );
                tokio::time::sleep(begun.elapsed() * REST).await;
            }
            Some(Ok(None)) => tokio::time::sleep(period).await,
            Some(Err(error)) => {
                tracing::error!(%error, "sealed history could not be moved to a cold file; it stays where it is");
                tokio::time::sleep(PERIODS.1).await;
            }
        }
    }
}

/// The entries of the next file.
struct Span {
    first: u64,
    end: u64,
    /// Of each entry in the file.
    lens: Vec<u64>,
}

impl Archivist {
    /// Writes the next file if one is due. Blocks.
    pub(crate) fn step(&self, older_than: Duration) -> Result<Option<Row>, LedgerError> {
        let (cold, db) = (self.store.cold(), self.store.generation());
        let _alone = cold.pen();
        let before_ms = now_ms().saturating_sub(i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX));
        let last = catalogue::last(&db)?;
        let first = last.as_ref().map_or(0, |row| row.end);
        let Some(span) = next_span(&db, first, self.newest.size(), before_ms, self.file_bytes)? else {
            return Ok(None);
        };
        cold.make_dir()?;
        self.check_room(cold, span.lens.iter().sum())?;
        let part = cold.part(first);
        let written = self.write(&db, &part, &span);
        let moved = written.and_then(|(row, kept)| {
            let before = last.map_or((0, 0), |last| (last.number + 1, last.bytes_before + last.bytes));
            let row = Row { number: before.0, bytes_before: before.1, ..row };
            cold.put_in_place(&part, &row)?;
            forget(&db, &row, kept)?;
            Ok(row)
        });
        if moved.is_err() {
            // It may be in its place already; then there is none.
            let _ = files::remove_file(&part);
        }
        self.store.damage().hear(moved).map(Some)
    }

    fn check_room(&self, cold: &Cold, bytes: u64) -> Result<(), LedgerError> {
        if self.reserve_bytes == 0 {
            return Ok(());
        }
        let free = housekeeping::free_bytes(&cold.dir).map_err(|e| io(&cold.dir, e))?;
        if free >= bytes.saturating_add(self.reserve_bytes) {
            return Ok(());
        }
        Err(LedgerError::Storage(format!(
            "{} has {free} bytes free; the next cold file needs {bytes} and {} must stay free",
            cold.dir.display(),
            self.reserve_bytes
        )))
    }

    /// The file, read back from the disk, and those payloads that the database keeps as well.
    fn write(&self, db: &Generation, part: &Path, span: &Span) -> Result<(Row, Kept), LedgerError> {
        let mut writer = Writer::begin(part.to_owned(), span.first, &span.lens)?;
        let mut kept = Kept::new();
        let mut next = span.first;
        db.scan(Family::Events, &index_key(span.first), &index_key(span.end), |key, record| {
            let damaged = |what: &str| LedgerError::Damaged(format!("entry {next}: {what}"));
            let leaf = Leaf::decode(Bytes::copy_from_slice(record)).map_err(|e| damaged(&e.to_string()))?;
            let payload = db.get(Family::Blobs, &index_key(next))?;
            let payload = payload.ok_or_else(|| damaged("its payload is missing"))?;
            if index_of_key(key)? != next || sha256(&[&payload]) != leaf.ciphertext_hash {
                return Err(damaged("it or its payload is not what was applied"));
            }
            writer.entry(record, &payload)?;
            if leaf.head.kind >= OWN_KINDS {
                kept.push((next, payload));
            }
            next += 1;
            Ok(true)
        })?;
        let (sha256, bytes) = writer.finish()?;
        files::drop_cached(part);
        if files::sha256(part).map_err(|e| io(part, e))? != sha256 {
            let text = format!("{}: what was read back is not what was written", part.display());
            return Err(LedgerError::Storage(text));
        }
        let Span { first, end, .. } = *span;
        Ok((Row { first, end, bytes, sha256, number: 0, bytes_before: 0 }, kept))
    }
}

/// The ledger's own entries: they are obeyed at each start, also when the disk of the cold files is not there.
type Kept = Vec<(u64, Vec<u8>)>;

/// The payloads are in the file: from now on that is where they are read.
fn forget(db: &Generation, row: &Row, kept: Kept) -> Result<(), LedgerError> {
    let (from, to) = (index_key(row.first), index_key(row.end));
    let mut batch = WriteBatch::default();
    db.delete_range(&mut batch, Family::Blobs, &from, &to)?;
    for (index, payload) in kept {
        db.put(&mut batch, Family::Blobs, &index_key(index), &payload)?;
    }
    db.put(&mut batch, Family::Meta, &row.key(), &row.encode()?)?;
    db.write(batch)?;
    db.flush()?;
    db.compact(Family::Blobs, &from, &to)
}

/// `None`: no file is full with entries that are old enough and covered by a cosigned checkpoint.
fn next_span(
    db: &Generation,
    first: u64,
    covered: u64,
    before_ms: i64,
    file_bytes: u64,
) -> Result<Option<Span>, LedgerError> {
    let (mut lens, mut bytes, mut times, mut closed) = (Vec::new(), 0, Vec::new(), false);
    let mut next = first;
    db.scan(Family::Events, &index_key(first), &index_key(covered), |_, record| {
        let leaf = Leaf::decode(Bytes::copy_from_slice(record));
        let leaf = leaf.map_err(|e| LedgerError::Damaged(format!("entry {next}: {e}")))?;
        next += 1;
        lens.push(entry_len(record.len(), leaf.ciphertext_len));
        bytes += u64::from(leaf.ciphertext_len);
        times.push(leaf.head.received_time_ms);
        if !next.is_multiple_of(alignment()) {
            return Ok(true);
        }
        if !is_old(&mut times, before_ms) {
            return Ok(false);
        }
        times.clear();
        closed = bytes >= file_bytes || next.is_multiple_of(ENTRIES_MAX);
        Ok(!closed)
    })?;
    Ok(closed.then_some(Span { first, end: next, lens }))
}

/// By the middle one: a clock that was wrong for a moment does not hold up what comes after it.
fn is_old(times: &mut [i64], before_ms: i64) -> bool {
    let middle = times.len() / 2;
    middle < times.len() && *times.select_nth_unstable(middle).1 <= before_ms
}

fn alignment() -> u64 {
    // A simulated ledger is a few hundred entries long.
    #[cfg(any(test, feature = "sim"))]
    if crate::sim::is_running() {
        return 8;
    }
    ALIGNMENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cold::sample;
    use crate::merkle::{Tree, leaf_hash};
    use crate::store::applied::{Applied, applied_key, encode};
    use crate::store::generation::tile_key;
    use crate::store::recompute::{Payloads, Recomputed};

    const PAYLOAD: &[u8] = b"sealed";

    /// The file would answer for an own entry, too; but a start obeys it without the disk of the cold files.
    #[test]
    fn an_own_entry_that_only_its_cold_file_holds_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let db = Generation::open(dir.path()).unwrap();
        let (mut batch, mut tree) = (WriteBatch::default(), Tree::default());
        for (index, kind) in [1, OWN_KINDS].into_iter().enumerate() {
            let record = &sample::leaf(kind, index as u64, PAYLOAD).encode();
            tree.append(leaf_hash(record));
            db.put(&mut batch, Family::Events, &index_key(index as u64), record).unwrap();
            db.put(&mut batch, Family::Blobs, &index_key(index as u64), PAYLOAD).unwrap();
        }
        let applied = Applied { size: 2, root: tree.root(), ..Applied::default() };
        db.put(&mut batch, Family::Meta, &applied_key(), &encode(&applied).unwrap()).unwrap();
        for (tile, hashes) in tree.take_writes() {
            db.put(&mut batch, Family::Tiles, &tile_key(tile), &hashes).unwrap();
        }
        db.write(batch).unwrap();
        let check = || Recomputed::new(applied.clone(), Payloads::InDatabase).upto(&db, u64::MAX);
        let row = Row { first: 0, end: 2, bytes: 1, sha256: [7; 32], number: 0, bytes_before: 0 };

        forget(&db, &row, vec![(1, PAYLOAD.to_vec())]).unwrap();
        assert!(db.get(Family::Blobs, &index_key(0)).unwrap().is_none());
        check().unwrap();
        forget(&db, &row, Kept::new()).unwrap();
        let error = check().unwrap_err();
        assert!(
            matches!(&error, LedgerError::Damaged(why) if why.contains("entry 1: its payload is missing")),
            "{error}"
        );
    }
}
