//! `ledgerdb`: the directory that holds the ledger's database, its snapshot, and one that is coming in.
//!
//! `CURRENT` names the generation in use; a snapshot install makes a new one and then moves the name.
//!
//! ```text
//! g00000001   a generation          s00000002   a snapshot          incoming    see arrival.rs
//! i00000003   a snapshot that came in   p00000004   a file of it    b00000005   a checkpoint for a backup
//! DAMAGED     see damage.rs
//! ```

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::applied::load_applied;
use super::arrival::{Arrival, INCOMING};
use super::content::{self, Content};
use super::damage::Damage;
use super::files;
use super::generation::Generation;
use super::set_aside::FIRST_GENERATION;
use crate::LedgerError;
use crate::apply::dedupe_floor;
use crate::cold::Cold;
use crate::raft::{LogId, SnapshotMeta};

pub(super) const CURRENT: &str = "CURRENT";

pub(crate) struct LedgerStore {
    dir: PathBuf,
    current: RwLock<Arc<Generation>>,
    snapshot: RwLock<Option<Arc<SnapshotDir>>>,
    next_number: AtomicU64,
    damage: Damage,
    cold: Arc<Cold>,
    /// Held by each snapshot that is on its way in.
    arriving: Mutex<Arc<()>>,
}

/// A whole ledger at one applied entry, as files. Removed from disk once it is replaced and nobody sends it.
#[derive(Debug)]
pub(crate) struct SnapshotDir {
    path: PathBuf,
    pub(crate) meta: SnapshotMeta,
    /// Leaves.
    size: u64,
    keep: std::sync::atomic::AtomicBool,
}

impl SnapshotDir {
    /// Reads from the database in `path` what it holds; nothing else is trusted.
    pub(crate) fn open(path: PathBuf) -> Result<SnapshotDir, LedgerError> {
        let applied = load_applied(&Generation::open_read_only(&path)?)?;
        let meta = SnapshotMeta { last_log_id: applied.last, last_membership: applied.membership };
        let size = applied.size;
        Ok(SnapshotDir { path, meta, size, keep: std::sync::atomic::AtomicBool::new(false) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Blocks for as long as hashing them takes, the first time.
    pub(crate) fn files(&self) -> Result<Vec<Content>, LedgerError> {
        content::list(&self.path).map_err(|e| io(&self.path, e))
    }

    pub(crate) fn keep(&self, keep: bool) {
        self.keep.store(keep, Ordering::Relaxed);
    }
}

impl Drop for SnapshotDir {
    fn drop(&mut self) {
        if !self.keep.load(Ordering::Relaxed) && files::is_dir(&self.path) {
            remove(&self.path);
        }
    }
}

impl LedgerStore {
    pub(crate) fn open(dir: &Path, cold: Arc<Cold>) -> Result<LedgerStore, LedgerError> {
        files::make_dir(dir).map_err(|e| io(dir, e))?;
        let current = current_name(dir)?;
        let (snapshots, last_number) = tidy(dir, &current)?;
        let damage = Damage::open(dir)?;
        let generation = Generation::open(&dir.join(&current))?.telling(damage.clone());
        cold.tidy();
        write_current(dir, &current)?;
        let snapshot = newest_snapshot(snapshots);
        Ok(LedgerStore {
            dir: dir.to_owned(),
            current: RwLock::new(Arc::new(generation)),
            snapshot: RwLock::new(snapshot),
            next_number: AtomicU64::new(last_number + 1),
            damage,
            cold,
            arriving: Mutex::default(),
        })
    }

    pub(crate) fn generation(&self) -> Arc<Generation> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn snapshot(&self) -> Option<Arc<SnapshotDir>> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn damage(&self) -> &Damage {
        &self.damage
    }

    pub(crate) fn cold(&self) -> &Arc<Cold> {
        &self.cold
    }

    /// A database that comes in, see [`Arrival::begin`].
    pub(crate) fn arrival(&self, files: Vec<Content>) -> Result<Arrival, String> {
        let mut dirs = vec![self.generation().path().to_owned()];
        dirs.extend(self.snapshot().map(|snapshot| snapshot.path().to_owned()));
        let arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Arrival::begin(&self.dir, self.new_path("p"), files, &dirs).map(|arrival| arrival.counted(arriving))
    }

    /// What is left of a snapshot that did not come in: this site has learned the rest in another way by now.
    fn forget_arrived(&self) {
        let arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        let incoming = self.dir.join(INCOMING);
        if Arc::strong_count(&arriving) == 1 && files::is_dir(&incoming) {
            remove(&incoming);
        }
    }

    /// What is applied by now, as files that nobody changes; gone with the last handle.
    pub(crate) fn checkpoint(&self) -> Result<Arc<SnapshotDir>, LedgerError> {
        let path = self.new_path("b");
        self.generation().checkpoint(&path)?;
        SnapshotDir::open(path).map(Arc::new)
    }

    /// A path of this store that no other uses.
    pub(crate) fn new_path(&self, prefix: &str) -> PathBuf {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("{prefix}{number:08}"))
    }

    /// Flushes, and links the flushed files into a snapshot, which replaces the former one.
    pub(crate) fn take_snapshot(&self) -> Result<Arc<SnapshotDir>, LedgerError> {
        let (path, generation) = (self.new_path("s"), self.generation());
        generation.checkpoint(&path)?;
        let snapshot = Arc::new(SnapshotDir::open(path)?);
        // Only now: a crash takes the ledger back to what is flushed, and from there on it must find the same
        // duplicates again. What compaction has dropped by then does not come back.
        generation.set_dedupe_floor(dedupe_floor(snapshot.size));
        self.forget_arrived();
        Ok(self.hold(snapshot))
    }

    /// Keeps the snapshot in place of an older one; which is kept. One of a later moment may have come in while it was
    /// made.
    pub(crate) fn hold(&self, snapshot: Arc<SnapshotDir>) -> Arc<SnapshotDir> {
        let mut held = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(newer) = held.as_ref().filter(|held| held.meta.last_log_id > snapshot.meta.last_log_id) {
            return newer.clone();
        }
        snapshot.keep(true);
        if let Some(former) = held.replace(snapshot.clone()) {
            former.keep(false);
        }
        snapshot
    }

    /// A snapshot that reaches up to `gone`, where the log begins: a peer that got an older one could not go on from
    /// it, and openraft refuses to start with it.
    pub(crate) fn renew_snapshot(&self, gone: Option<&LogId>) -> Result<(), LedgerError> {
        match self.snapshot() {
            Some(snapshot) if snapshot.meta.last_log_id.as_ref() < gone => self.take_snapshot().map(drop),
            _ => Ok(()),
        }
    }

    /// Makes the files of `incoming` the ledger.
    pub(crate) fn install(&self, incoming: &SnapshotDir) -> Result<Arc<Generation>, LedgerError> {
        let path = self.new_path("g");
        files::rename(&incoming.path, &path).map_err(|e| io(&path, e))?;
        let generation = Arc::new(Generation::open(&path)?.telling(self.damage.clone()));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        write_current(&self.dir, &name)?;
        let mut held = self.current.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *held, generation.clone()).retire();
        self.cold.look_again();
        Ok(generation)
    }
}

fn current_name(dir: &Path) -> Result<String, LedgerError> {
    let path = dir.join(CURRENT);
    match files::read_text(&path) {
        Ok(name) if files::is_dir(&dir.join(name.trim())) => Ok(name.trim().to_owned()),
        Ok(name) => {
            Err(LedgerError::Damaged(format!("{} names {}, which is not there", path.display(), name.trim())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(FIRST_GENERATION.to_owned()),
        Err(error) => Err(io(&path, error)),
    }
}

pub(super) fn write_current(dir: &Path, name: &str) -> Result<(), LedgerError> {
    files::replace_text(dir, CURRENT, &format!("{name}\n")).map_err(|e| io(&dir.join(CURRENT), e))
}

/// Removes what a crash left over; returns the snapshots and the highest number in use.
fn tidy(dir: &Path, current: &str) -> Result<(Vec<PathBuf>, u64), LedgerError> {
    let mut snapshots = Vec::new();
    let mut last_number = 1;
    for path in files::entries(dir).map_err(|e| io(dir, e))? {
        let Some((kind, number)) = number_of(&path) else { continue };
        last_number = last_number.max(number);
        match kind.as_str() {
            "s" => snapshots.push(path),
            "g" | "i" | "b" if path != dir.join(current) => remove(&path),
            "p" => files::remove_file(&path).map_err(|e| io(&path, e))?,
            _ => {}
        }
    }
    snapshots.sort();
    Ok((snapshots, last_number))
}

/// Kind and number of what this store made.
pub(super) fn number_of(path: &Path) -> Option<(String, u64)> {
    let (kind, number) = path.file_name()?.to_str()?.split_at_checked(1)?;
    Some((kind.to_owned(), number.parse().ok()?))
}

/// Snapshots are made again when needed: an unreadable one is dropped.
fn newest_snapshot(mut paths: Vec<PathBuf>) -> Option<Arc<SnapshotDir>> {
    let mut found = None;
    while let Some(path) = paths.pop() {
        match SnapshotDir::open(path.clone()) {
            Ok(snapshot) if found.is_none() => {
                snapshot.keep(true);
                found = Some(Arc::new(snapshot));
            }
            _ => remove(&path),
        }
    }
    found
}

fn remove(path: &Path) {
    if let Err(error) = files::remove_dir(path) {
        tracing::warn!(path = %path.display(), %error, "a directory that is no longer needed could not be removed");
    }
}

fn io(path: &Path, source: std::io::Error) -> LedgerError {
    LedgerError::Io { path: path.display().to_string(), source }
}
