//! Retention: sealed payloads of old entries move out of `ledgerdb` into immutable files that may lie on a cheaper
//! disk. Leaves, tiles, tags and signatures stay, so roots, receipts and `/log/` are as before; a payload is read
//! through to its file and counts only if it is what its leaf says.
//!
//! Local to a site: apply knows nothing of it. But where a file begins and ends follows from the ledger alone, so two
//! sites that have moved the same entries hold the same bytes.
//!
//! ```text
//! written, synced → read back and compared → its name, synced → one write batch: catalogued, removed from the database
//! ```
//! A crash in between leaves the payloads where they were, and at most a file that is written again the same.

mod archive;
pub(crate) mod catalogue;
mod file;
mod mend;
#[cfg(test)]
mod sample;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;

pub use self::archive::Archived;
pub(crate) use self::archive::{Archivist, run as archive_old};
pub(crate) use self::mend::run as mend;

use self::catalogue::Row;
use crate::LedgerError;
use crate::record::Leaf;
use crate::store::content::Content;
use crate::store::files;
use crate::store::generation::{Family, Generation, index_key};

/// Ends the name of a file that is not whole yet.
const PART: &str = ".part";

/// What lies in cold files, in `Status`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ColdStatus {
    pub files: u64,
    /// The first so many entries of the ledger have their payloads there.
    pub entries: u64,
    pub bytes: u64,
    /// Files that are missing or damaged, and how; they come back from a peer that has those entries.
    pub lost: Vec<String>,
}

/// This site's folder of cold files.
pub(crate) struct Cold {
    dir: PathBuf,
    /// Only a folder of our own is made; another one may be a disk that is not mounted.
    is_own: bool,
    lost: Mutex<BTreeMap<u64, Lost>>,
    told: Notify,
    /// Of who writes files.
    pen: Mutex<()>,
}

#[derive(Clone)]
struct Lost {
    row: Row,
    why: String,
}

impl Cold {
    /// In `dir`, which the operator has made, or else beside the databases in `data`.
    pub(crate) fn open(dir: Option<&Path>, data: &Path) -> Arc<Cold> {
        Arc::new(Cold {
            dir: dir.map_or_else(|| data.join("cold"), Path::to_owned),
            is_own: dir.is_none(),
            lost: Mutex::default(),
            told: Notify::new(),
            pen: Mutex::default(),
        })
    }

    pub(crate) fn path(&self, row: &Row) -> PathBuf {
        self.dir.join(row.name())
    }

    /// The sealed payload of the entry, wherever it lies; from a cold file only if it is what its leaf says. Blocks.
    pub(crate) fn payload(&self, db: &Generation, index: u64, leaf: &Leaf) -> Result<Vec<u8>, LedgerError> {
        if let Some(found) = db.get(Family::Blobs, &index_key(index))? {
            return Ok(found);
        }
        let row = catalogue::row_of(db, index)?;
        let row = row.ok_or_else(|| LedgerError::Damaged(format!("payload {index} is missing")))?;
        let read = file::read(&self.path(&row), &row, index, leaf);
        read.map_err(|why| self.lose(row, why))
    }

    pub(crate) fn status(&self, db: &Generation) -> ColdStatus {
        // Where it cannot be read, reads say so themselves.
        let last = catalogue::last(db).ok().flatten();
        let lost = self.lock().values().map(|lost| lost.text()).collect();
        let totals = last.map(|row| (row.number + 1, row.end, row.bytes_before + row.bytes));
        let (files, entries, bytes) = totals.unwrap_or_default();
        ColdStatus { files, entries, bytes, lost }
    }

    /// Looks for every file that the database names; those that are not there are missed from now on.
    fn survey(&self, db: &Generation) -> Result<(), LedgerError> {
        self.lock().clear();
        for row in catalogue::rows(db)? {
            match files::len(&self.path(&row)) {
                Some(bytes) if bytes == row.bytes => {}
                Some(_) => drop(self.lose(row, "has another length".into())),
                None => drop(self.lose(row, "is missing".into())),
            }
        }
        Ok(())
    }

    /// Another database has come; it may name other files.
    pub(crate) fn look_again(&self) {
        self.told.notify_one();
    }

    /// Whether every file that the database names is there.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn is_complete(&self, db: &Generation) -> bool {
        let is_here = |row: &Row| files::len(&self.path(row)) == Some(row.bytes);
        catalogue::rows(db).is_ok_and(|rows| rows.iter().all(is_here))
    }

    fn lose(&self, row: Row, why: String) -> LedgerError {
        let lost = Lost { row, why };
        let text = lost.text();
        if self.lock().insert(lost.row.first, lost).is_none() {
            tracing::error!(file = text, dir = %self.dir.display(), "a cold file is lost");
            self.told.notify_one();
        }
        LedgerError::Cold(text)
    }

    fn found(&self, row: &Row) {
        if self.lock().remove(&row.first).is_some() {
            tracing::info!(file = row.name(), "a cold file that was lost is whole again");
        }
    }

    fn lost(&self) -> Vec<Lost> {
        self.lock().values().cloned().collect()
    }

    fn part(&self, first: u64) -> PathBuf {
        self.dir.join(format!("{first:012}{PART}"))
    }

    fn make_dir(&self) -> Result<(), LedgerError> {
        match self.is_own {
            true => files::make_dir(&self.dir).map_err(|e| io(&self.dir, e)),
            false => Ok(()),
        }
    }

    /// Gives the file in `part` its name; it is on the disk under it when this returns.
    fn put_in_place(&self, part: &Path, row: &Row) -> Result<(), LedgerError> {
        let path = self.path(row);
        files::rename(part, &path).map_err(|e| io(&path, e))?;
        files::sync_dir(&self.dir).map_err(|e| io(&self.dir, e))
    }

    /// Has a file put here by `copy`, whole or not at all, unless it is here already. Blocks.
    pub(crate) fn bring(
        &self,
        name: &str,
        file: &Content,
        copy: impl FnOnce(&Path) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        self.make_dir()?;
        let path = self.dir.join(name);
        let is_here = files::len(&path) == Some(file.bytes)
            && files::sha256(&path).map_err(|e| io(&path, e))? == file.sha256;
        if !is_here {
            copy(&path)?;
        }
        files::sync_dir(&self.dir).map_err(|e| io(&self.dir, e))
    }

    /// Removes what a crash has left half written. Only for who has the ledger's database open: another process may be
    /// writing just now.
    pub(crate) fn tidy(&self) {
        for path in files::entries(&self.dir).unwrap_or_default() {
            if path.to_string_lossy().ends_with(PART)
                && let Err(error) = files::remove_file(&path)
            {
                tracing::warn!(path = %path.display(), %error, "a file that is no longer needed could not be removed");
            }
        }
    }

    fn pen(&self) -> MutexGuard<'_, ()> {
        self.pen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Lost>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lost {
    fn text(&self) -> String {
        format!("{} {}", self.row.name(), self.why)
    }
}

fn io(path: &Path, source: std::io::Error) -> LedgerError {
    LedgerError::Io { path: path.display().to_string(), source }
}
