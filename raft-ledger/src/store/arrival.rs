//! A database on its way in from another site: its files by their hashes, so that those that are here already, or
//! came before a transfer broke off, do not travel again.
//!
//! They gather in `ledgerdb/incoming`, each under its hash once it is whole and on the disk.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::content::{Content, find, is_plain, tables};
use super::files;
use super::ledger_store::SnapshotDir;

const FILES_MAX: usize = 100_000;

/// In `ledgerdb`.
pub(super) const INCOMING: &str = "incoming";

pub(crate) struct Arrival {
    files: Vec<Content>,
    incoming: PathBuf,
    /// The file that is not whole yet. Outside `incoming`: the next transfer tidies there, and this one may not have
    /// noticed that it was given up.
    part: PathBuf,
    coming: Option<Coming>,
    /// Numbers of the files that were here.
    held: BTreeSet<u32>,
    /// While this lives, nobody tidies `incoming`.
    _counted: Option<Arc<()>>,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        // What came whole stays for the next try.
        if let Err(error) = files::remove_file(&self.part) {
            tracing::warn!(path = %self.part.display(), %error, "a file that is no longer needed could not be removed");
        }
    }
}

/// The file whose pieces come now.
struct Coming {
    number: u32,
    bytes: u64,
    hasher: Sha256,
}

impl Arrival {
    /// Finds what is here already: in `incoming`, or among the tables of the databases `dirs`. `part`: a path that
    /// nobody else uses. Blocks for as long as hashing those tables takes.
    pub(crate) fn begin(
        ledgerdb: &Path,
        part: PathBuf,
        files: Vec<Content>,
        dirs: &[PathBuf],
    ) -> Result<Arrival, String> {
        if files.len() > FILES_MAX || !files.iter().all(|file| is_plain(&file.name)) {
            return Err("the snapshot names files that no database has".into());
        }
        let incoming = ledgerdb.join(INCOMING);
        files::make_dir(&incoming).map_err(|e| at(&incoming, &e))?;
        let names: BTreeSet<String> = files.iter().map(Content::hash_name).collect();
        for path in files::entries(&incoming).map_err(|e| at(&incoming, &e))? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if !names.contains(&name) {
                files::remove_file(&path).map_err(|e| at(&path, &e))?;
            }
        }
        let tables = tables(dirs);
        let mut held = BTreeSet::new();
        for (file, number) in files.iter().zip(0..) {
            let path = incoming.join(file.hash_name());
            let here = files::len(&path) == Some(file.bytes)
                || find(&tables, file).is_some_and(|table| files::link(&table, &path).is_ok());
            if here {
                held.insert(number);
            }
        }
        Ok(Arrival { files, incoming, part, coming: None, held, _counted: None })
    }

    /// Whoever holds the other handles on `counted` sees that this is under way.
    pub(super) fn counted(mut self, counted: Arc<()>) -> Arrival {
        self._counted = Some(counted);
        self
    }

    /// Numbers of the announced files that need not be sent.
    pub(crate) fn held(&self) -> &BTreeSet<u32> {
        &self.held
    }

    pub(crate) fn piece(&mut self, number: u32, offset: u64, bytes: &[u8]) -> Result<(), String> {
        let file = self.files.get(number as usize).ok_or("a piece of a file that was not announced")?;
        if offset == 0 {
            files::remove_file(&self.part).map_err(|e| at(&self.part, &e))?;
            self.coming = Some(Coming { number, bytes: 0, hasher: Sha256::new() });
        }
        let coming = self.coming.as_mut().filter(|c| c.number == number && c.bytes == offset);
        let coming =
            coming.ok_or_else(|| format!("a piece of {} does not follow the one before", file.name))?;
        if bytes.is_empty() || offset + bytes.len() as u64 > file.bytes {
            return Err(format!("a piece of {} is empty or goes beyond its end", file.name));
        }
        coming.bytes += bytes.len() as u64;
        coming.hasher.update(bytes);
        let whole = coming.bytes == file.bytes;
        files::append(&self.part, bytes, whole).map_err(|e| at(&self.part, &e))?;
        if whole && let Some(coming) = self.coming.take() {
            if coming.hasher.finalize() != file.sha256.into() {
                return Err(format!("{} of the snapshot came in otherwise than it was announced", file.name));
            }
            let path = self.incoming.join(file.hash_name());
            files::rename(&self.part, &path).map_err(|e| at(&path, &e))?;
        }
        Ok(())
    }

    /// The database in the new directory `path`, once it is whole and `check` finds nothing wrong with it. What was
    /// refused is not kept. Blocks.
    pub(crate) fn finish(
        self,
        path: PathBuf,
        check: impl FnOnce(&Path) -> Result<(), crate::LedgerError>,
    ) -> Result<Arc<SnapshotDir>, String> {
        let came = |file: &&Content| files::len(&self.incoming.join(file.hash_name())) == Some(file.bytes);
        if let Some(file) = self.files.iter().find(|file| file.bytes > 0 && !came(file)) {
            return Err(format!("{} of the snapshot is not whole", file.name));
        }
        files::make_dir(&path).map_err(|e| at(&path, &e))?;
        for file in &self.files {
            let (from, to) = (self.incoming.join(file.hash_name()), path.join(&file.name));
            let made = if file.bytes == 0 { files::append(&to, &[], true) } else { files::link(&from, &to) };
            made.map_err(|e| at(&to, &e))?;
        }
        files::sync_dir(&path).map_err(|e| at(&path, &e))?;
        let opened = SnapshotDir::open(path).map_err(|e| e.to_string());
        let checked = opened.and_then(|snapshot| {
            check(snapshot.path()).map_err(|e| format!("the snapshot was refused: {e}"))?;
            Ok(Arc::new(snapshot))
        });
        files::remove_dir(&self.incoming).map_err(|e| at(&self.incoming, &e))?;
        checked
    }
}

fn at(path: &Path, error: &dyn Display) -> String {
    format!("{}: {error}", path.display())
}
