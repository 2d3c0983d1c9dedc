//! A backup of `ledgerdb` in a folder, verified before it is called good; and a ledger made from one.
//!
//! ```text
//! manifest.txt     what belongs to it, written last; see manifest.rs
//! files/<sha256>   the database's files, and the cold files, by what they hold: the next backup adds what is new and removes what is not
//!                  needed any more, so the one before stays whole until its manifest is replaced
//! ```
//! Neither the key store nor any key is ever in it: who has the backup alone can prove everything and read nothing.

mod files;
mod manifest;
mod restore;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use self::files::{Store, copy_in};
use self::manifest::{MANIFEST, Manifest};
use crate::LedgerError;
use crate::clock::now_ms;
use crate::cold::{Cold, catalogue};
use crate::export::Progress;
use crate::keys::SiteKeys;
use crate::ledger::Ledger;
use crate::merkle::root_at;
use crate::store::applied::Applied;
use crate::store::content::Content;
use crate::store::generation::Generation;
use crate::store::ledger_store::{LedgerStore, SnapshotDir};
use crate::store::recompute::{Payloads, check_whole};

pub use self::restore::{Restored, restore};

#[cfg(test)]
pub(crate) use self::restore::restore_as;

/// What a backup holds, and what it took.
#[derive(Clone, Debug, Serialize)]
pub struct Backup {
    /// Leaves.
    pub size: u64,
    /// RFC 6962 root over them, lowercase hex.
    pub root: String,
    pub files: usize,
    pub bytes: u64,
    pub files_copied: usize,
    pub bytes_copied: u64,
    /// Of an earlier backup, or of one that was interrupted: read again and found unchanged.
    pub files_reused: usize,
    pub bytes_reused: u64,
}

/// Hears what is being done and how far it is: "leaves checked", "bytes copied".
pub type Watch<'a> = &'a mut dyn FnMut(&'static str, Progress);

impl Ledger {
    /// Writes what is applied here into `folder`, which is new, empty or holds an earlier backup. Blocks; the ledger
    /// goes on meanwhile.
    ///
    /// # Errors
    /// `Damaged` if this site's ledger or the earlier backup is not whole; then the earlier one is left as it was.
    pub fn backup(&self, folder: &Path, watch: Watch<'_>) -> Result<Backup, LedgerError> {
        let target = Target::open(folder)?;
        let store = &self.inner.store;
        let snapshot = store.checkpoint()?;
        let applied = store.damage().hear(check(&snapshot, store.cold(), watch))?;
        target.write(&Source { snapshot, cold: store.cold().clone() }, &applied, &self.inner.keys, watch)
    }
}

/// As [`Ledger::backup`] for a site that does not run: `data`, `keys` and `cold_dir` as in its configuration. What is only in the
/// raft log is not in it; a site that was closed has flushed everything. Blocks.
pub fn backup_stopped(
    data: &Path,
    keys: &Path,
    cold_dir: Option<&Path>,
    folder: &Path,
    watch: Watch<'_>,
) -> Result<Backup, LedgerError> {
    let keys = SiteKeys::load(keys)?;
    let ledgerdb = data.join("ledgerdb");
    if !ledgerdb.join("CURRENT").is_file() {
        return Err(LedgerError::Config(format!("{} holds no ledger; is --config right?", data.display())));
    }
    let cold = Cold::open(cold_dir, data);
    let store = LedgerStore::open(&ledgerdb, cold.clone()).map_err(|error| match error {
        LedgerError::Storage(text) => LedgerError::Storage(format!(
            "{text}; a site that runs is backed up through its socket: is another user running it?"
        )),
        other => other,
    })?;
    let target = Target::open(folder)?;
    let snapshot = store.checkpoint()?;
    let applied = check(&snapshot, &cold, watch)?;
    target.write(&Source { snapshot, cold }, &applied, &keys, watch)
}

fn check(snapshot: &SnapshotDir, cold: &Arc<Cold>, watch: Watch<'_>) -> Result<Applied, LedgerError> {
    let payloads = Payloads::All(cold.clone());
    check_whole(snapshot.path(), payloads, &mut |progress| watch("leaves checked", progress))
}

/// What is backed up: a database that nobody changes, and the cold files that it names.
struct Source {
    snapshot: Arc<SnapshotDir>,
    cold: Arc<Cold>,
}

impl Source {
    /// With where each file lies.
    fn files(&self) -> Result<Vec<(Content, PathBuf)>, LedgerError> {
        let database = self.snapshot.files()?.into_iter().map(|file| {
            let path = self.snapshot.path().join(&file.name);
            (file, path)
        });
        let rows = catalogue::rows(&Generation::open_read_only(self.snapshot.path())?)?;
        let moved = rows.into_iter().map(|row| (row.content(), self.cold.path(&row)));
        Ok(database.chain(moved).collect())
    }
}

/// The folder of a backup.
struct Target<'a> {
    folder: &'a Path,
    store: Store,
    /// What it holds already.
    former: Option<Manifest>,
}

impl Target<'_> {
    fn open(folder: &Path) -> Result<Target<'_>, LedgerError> {
        Ok(Target { folder, store: Store::open(folder)?, former: Manifest::read(folder)? })
    }

    fn write(
        self,
        source: &Source,
        applied: &Applied,
        keys: &SiteKeys,
        watch: Watch<'_>,
    ) -> Result<Backup, LedgerError> {
        self.must_continue(source.snapshot.path(), applied, keys)?;
        let files = source.files()?;
        let made = self.copy(&files, applied, watch)?;
        let manifest = Manifest {
            origin: keys.origin().to_owned(),
            group_id: keys.group_id(),
            site: keys.site.to_string(),
            size: applied.size,
            root: applied.root,
            applied: applied.last.map(|last| (last.leader_id.term, last.index)).unwrap_or_default(),
            apply_version: applied.apply_version,
            made_ms: now_ms().unsigned_abs(),
            files: files.into_iter().map(|(file, _)| file).collect(),
        };
        let written = crate::store::files::replace_text(self.folder, MANIFEST, &manifest.encode());
        written.map_err(|e| files::io(&self.folder.join(MANIFEST), e))?;
        self.store.remove_others(&manifest.files)?;
        Ok(made)
    }

    fn copy(
        &self,
        files: &[(Content, PathBuf)],
        applied: &Applied,
        watch: Watch<'_>,
    ) -> Result<Backup, LedgerError> {
        let mut made = Backup {
            size: applied.size,
            root: hex::encode(applied.root),
            files: files.len(),
            bytes: files.iter().map(|(file, _)| file.bytes).sum(),
            files_copied: 0,
            bytes_copied: 0,
            files_reused: 0,
            bytes_reused: 0,
        };
        for (file, path) in files {
            if self.store.holds(file)? {
                made.files_reused += 1;
                made.bytes_reused += file.bytes;
            } else {
                copy_in(path, &self.store.path(file), file)?;
                made.files_copied += 1;
                made.bytes_copied += file.bytes;
            }
            watch("bytes", Progress { done: made.bytes_copied + made.bytes_reused, total: made.bytes });
        }
        self.store.sync()?;
        Ok(made)
    }

    /// A backup that would replace one of another or of a later ledger may be the last that there is of that.
    fn must_continue(&self, database: &Path, applied: &Applied, keys: &SiteKeys) -> Result<(), LedgerError> {
        let Some(former) = &self.former else { return Ok(()) };
        let refuse = |what: String| {
            let folder = self.folder.display();
            LedgerError::Config(format!("{folder} holds a backup {what}; back up into another folder"))
        };
        if former.origin != keys.origin() || former.group_id != keys.group_id() {
            return Err(refuse(format!("of another ledger ({})", former.origin)));
        }
        if former.size > applied.size {
            return Err(refuse(format!("of {} leaves, and this site has {}", former.size, applied.size)));
        }
        if root_at(&Generation::open_read_only(database)?, former.size)? != former.root {
            return Err(refuse(format!(
                "of {} leaves that are not the beginning of this ledger",
                former.size
            )));
        }
        Ok(())
    }
}
