//! The files of a backup.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::MANIFEST;
use crate::LedgerError;
use crate::store::content::Content;
use crate::store::files;

const FILES: &str = "files";
const PIECE_BYTES: usize = 1 << 20;

/// `files/` of a backup.
pub(super) struct Store {
    dir: PathBuf,
    /// Of who writes: two at once would remove each other's files.
    _locked: Option<File>,
}

impl Store {
    /// Makes it in a folder that is new, empty, or a backup's.
    pub(super) fn open(folder: &Path) -> Result<Store, LedgerError> {
        fs::create_dir_all(folder).map_err(|e| io(folder, e))?;
        let ours = [FILES.to_owned(), MANIFEST.to_owned(), format!("{MANIFEST}.new")];
        for entry in fs::read_dir(folder).map_err(|e| io(folder, e))? {
            let name = entry.map_err(|e| io(folder, e))?.file_name().to_string_lossy().into_owned();
            if !ours.contains(&name) {
                return Err(LedgerError::Config(format!(
                    "{} holds {name}, which belongs to no backup; back up into a folder of its own",
                    folder.display()
                )));
            }
        }
        let dir = folder.join(FILES);
        fs::create_dir_all(&dir).map_err(|e| io(&dir, e))?;
        files::sync_dir(folder).map_err(|e| io(folder, e))?;
        let locked = File::open(&dir).map_err(|e| io(&dir, e))?;
        if locked.try_lock().is_err() {
            let text = format!("another backup into {} is under way; wait for its end", folder.display());
            return Err(LedgerError::Config(text));
        }
        Ok(Store { dir, _locked: Some(locked) })
    }

    pub(super) fn of(folder: &Path) -> Store {
        Store { dir: folder.join(FILES), _locked: None }
    }

    pub(super) fn path(&self, file: &Content) -> PathBuf {
        self.dir.join(file.hash_name())
    }

    /// Whether it is there and holds what it should. Reads it.
    pub(super) fn holds(&self, file: &Content) -> Result<bool, LedgerError> {
        let path = self.path(file);
        if files::len(&path) != Some(file.bytes) {
            return Ok(false);
        }
        Ok(files::sha256(&path).map_err(|e| io(&path, e))? == file.sha256)
    }

    pub(super) fn sync(&self) -> Result<(), LedgerError> {
        files::sync_dir(&self.dir).map_err(|e| io(&self.dir, e))
    }

    pub(super) fn remove_others(&self, needed: &[Content]) -> Result<(), LedgerError> {
        let needed: std::collections::BTreeSet<PathBuf> = needed.iter().map(|file| self.path(file)).collect();
        for path in files::entries(&self.dir).map_err(|e| io(&self.dir, e))? {
            if !needed.contains(&path) {
                files::remove_file(&path).map_err(|e| io(&path, e))?;
            }
        }
        Ok(())
    }
}

/// Copies a file that must hold `file`: whole and on the disk, or not there at all.
pub(super) fn copy_in(from: &Path, to: &Path, file: &Content) -> Result<(), LedgerError> {
    let part = to.with_extension("part");
    let mut source = File::open(from).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            LedgerError::Damaged(format!("{} ({}) is missing", from.display(), file.name))
        }
        _ => io(from, error),
    })?;
    let mut target = File::create(&part).map_err(|e| io(&part, e))?;
    let (mut hasher, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        let read = source.read(&mut piece).map_err(|e| io(from, e))?;
        if read == 0 {
            break;
        }
        hasher.update(&piece[..read]);
        bytes += read as u64;
        target.write_all(&piece[..read]).map_err(|e| io(&part, e))?;
    }
    target.sync_all().map_err(|e| io(&part, e))?;
    if bytes != file.bytes || hasher.finalize() != file.sha256.into() {
        files::remove_file(&part).map_err(|e| io(&part, e))?;
        return Err(LedgerError::Damaged(format!(
            "{} ({}) is not what its manifest says",
            from.display(),
            file.name
        )));
    }
    fs::rename(&part, to).map_err(|e| io(to, e))
}

pub(super) fn io(path: &Path, source: io::Error) -> LedgerError {
    LedgerError::Io { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_backup_at_a_time_is_written_into_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = Store::open(dir.path()).unwrap();
        let second = Store::open(dir.path()).err().unwrap().to_string();
        assert!(second.contains("another backup"), "{second}");
        drop(first);
        Store::open(dir.path()).unwrap();
    }
}
