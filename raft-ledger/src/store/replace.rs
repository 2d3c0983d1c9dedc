//! Another database in the place of a damaged one, while nobody has it open.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::content::is_immutable;
use super::damage::unmark;
use super::files;
use super::ledger_store::{CURRENT, number_of, write_current};
use super::set_aside::{set_aside, set_aside_before};
use crate::LedgerError;

/// A site's folder with a `ledgerdb` that is not open.
#[derive(Clone)]
pub(crate) struct Room {
    data: PathBuf,
    next_number: Arc<AtomicU64>,
}

impl Room {
    pub(crate) fn open(data: &Path) -> Result<Room, LedgerError> {
        let room = Room { data: data.to_owned(), next_number: Arc::default() };
        let numbers =
            room.entries()?.into_iter().filter_map(|path| number_of(&path).map(|(_, number)| number));
        room.next_number.store(numbers.max().unwrap_or(0) + 1, Ordering::Relaxed);
        Ok(room)
    }

    pub(crate) fn ledgerdb(&self) -> PathBuf {
        self.data.join("ledgerdb")
    }

    fn entries(&self) -> Result<Vec<PathBuf>, LedgerError> {
        let dir = self.ledgerdb();
        files::make_dir(&dir).and_then(|()| files::entries(&dir)).map_err(|e| io(&dir, e))
    }

    pub(crate) fn new_path(&self, prefix: &str) -> PathBuf {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        self.ledgerdb().join(format!("{prefix}{number:08}"))
    }

    /// The newest first.
    pub(crate) fn snapshots(&self) -> Result<Vec<PathBuf>, LedgerError> {
        let is_snapshot = |path: &PathBuf| number_of(path).is_some_and(|(kind, _)| kind == "s");
        let mut found: Vec<PathBuf> = self.entries()?.into_iter().filter(is_snapshot).collect();
        found.sort();
        found.reverse();
        Ok(found)
    }

    /// Everything that may hold tables of use.
    pub(crate) fn databases(&self) -> Vec<PathBuf> {
        let aside = set_aside_before(&self.data).unwrap_or_default().into_iter().map(|(_, path)| path);
        let here = self.entries().unwrap_or_default().into_iter().filter(|path| number_of(path).is_some());
        here.chain(aside).filter(|path| files::is_dir(path)).collect()
    }

    pub(crate) fn remove(&self, path: &Path) -> Result<(), LedgerError> {
        files::remove_dir(path).map_err(|e| io(path, e))
    }

    /// A database of its own from a snapshot's files.
    pub(crate) fn copy(&self, snapshot: &Path) -> Result<PathBuf, LedgerError> {
        let path = self.new_path("i");
        files::make_dir(&path).map_err(|e| io(&path, e))?;
        for (name, _) in files::sizes(snapshot).map_err(|e| io(snapshot, e))? {
            let (from, to) = (snapshot.join(&name), path.join(&name));
            let made = if is_immutable(&name) { files::link(&from, &to) } else { files::copy(&from, &to) };
            made.map_err(|e| io(&to, e))?;
        }
        files::sync_dir(&path).map_err(|e| io(&path, e))?;
        Ok(path)
    }
}

/// Sets the ledger's database aside, if there is one, and makes the checked one in `path` the ledger. Where the
/// damaged one went. A crash at any point leaves a ledger that is found damaged again.
pub(crate) fn replace(room: &Room, path: &Path) -> Result<Option<PathBuf>, LedgerError> {
    let (ledgerdb, generation) = (room.ledgerdb(), room.new_path("g"));
    files::rename(path, &generation).map_err(|e| io(&generation, e))?;
    let current = files::read_text(&ledgerdb.join(CURRENT)).ok().map(|name| ledgerdb.join(name.trim()));
    let damaged = current.filter(|damaged| files::is_dir(damaged));
    let aside = damaged.map(|damaged| set_aside(&room.data, &damaged)).transpose()?;
    let name = generation.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    write_current(&ledgerdb, &name)?;
    unmark(&ledgerdb)?;
    Ok(aside)
}

fn io(path: &Path, source: std::io::Error) -> LedgerError {
    LedgerError::Io { path: path.display().to_string(), source }
}
