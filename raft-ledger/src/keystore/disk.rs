//! The key store's file on the disk, locked while it is open.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::file::header;
use crate::keys::Secret;
use crate::types::LedgerError;

/// What one write of zeros covers.
const WIPE_BYTES: usize = 1 << 20;

pub(super) enum KeyFile {
    Disk {
        file: File,
        end: u64,
    },
    #[cfg(any(test, feature = "sim"))]
    Simulated(PathBuf),
}

impl KeyFile {
    /// Opens or makes the file; with what is in it.
    pub(super) fn open(path: &Path, master: &Secret) -> Result<(KeyFile, Vec<u8>), LedgerError> {
        let io = |source| LedgerError::Io { path: path.display().to_string(), source };
        #[cfg(any(test, feature = "sim"))]
        if crate::sim::disk::holds(path) {
            use crate::sim::disk;
            if disk::read(path).is_none() {
                disk::append(path, &header(master));
            }
            return Ok((KeyFile::Simulated(path.to_owned()), disk::read(path).unwrap_or_default()));
        }
        if !path.exists() {
            write_beside(path, &header(master)).and_then(|_| put_in_place(path)).map_err(io)?;
            sync_dir(path).map_err(io)?;
        }
        let mut file = File::options().read(true).write(true).open(path).map_err(io)?;
        lock(&file, path)?;
        // What an interrupted rewriting left: a file that nobody has used, or the former one.
        wipe_if_there(&beside(path)).map_err(io)?;
        wipe_former(path).map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        Ok((KeyFile::Disk { file, end: bytes.len() as u64 }, bytes))
    }

    /// What the file holds, if it is there, whoever has it open.
    pub(super) fn peek(path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// On the disk when it returns.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            KeyFile::Disk { file, end } => {
                file.write_all_at(bytes, *end)?;
                file.sync_data()?;
                *end += bytes.len() as u64;
                Ok(())
            }
            #[cfg(any(test, feature = "sim"))]
            KeyFile::Simulated(path) => {
                crate::sim::disk::append(path, bytes);
                Ok(())
            }
        }
    }

    /// Sets aside what follows `len` of the file's `bytes`: a torn frame.
    pub(super) fn cut(&mut self, path: &Path, len: usize, bytes: &[u8]) -> io::Result<()> {
        match self {
            KeyFile::Disk { file, end } if len < bytes.len() => {
                tracing::warn!(file = %path.display(), offset = len, "the key store ends in a torn frame, never used; set aside");
                let aside = with_suffix(path, &format!("{TORN}{len}"));
                let mut kept =
                    File::options().write(true).create(true).truncate(true).mode(0o600).open(aside)?;
                kept.write_all(bytes.get(len..).unwrap_or_default())?;
                kept.sync_all()?;
                *end = len as u64;
                file.set_len(*end)?;
                file.sync_all()
            }
            _ => Ok(()),
        }
    }
}

const TORN: &str = ".torn-";

/// The whole of the next file, on the disk and locked, not yet under its name.
pub(super) fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<KeyFile> {
    let fresh = beside(path);
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.try_lock().map_err(io::Error::other)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(KeyFile::Disk { file, end: bytes.len() as u64 })
}

/// All of it or nothing: a reader finds the former file or this one. Durable once the folder is synced.
pub(super) fn put_in_place(path: &Path) -> io::Result<()> {
    fs::rename(beside(path), path)
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// So that the former file can be found, and wiped, once another one has its name.
pub(super) fn name_former(path: &Path) -> io::Result<()> {
    wipe_former(path)?;
    fs::hard_link(path, former(path))
}

/// Overwrites what the former file held, if it is there. The file system may have kept copies: only one that encrypts
/// forgets for certain.
pub(super) fn wipe_former(path: &Path) -> io::Result<()> {
    let former = former(path);
    let is_still_it = match fs::metadata(&former) {
        // The new file was never put in its place.
        Ok(found) => fs::metadata(path).is_ok_and(|it| (it.dev(), it.ino()) == (found.dev(), found.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if is_still_it { fs::remove_file(&former) } else { wipe_if_there(&former) }
}

/// The set-asides of torn frames: they, too, hold keys.
pub(super) fn wipe_torn(path: &Path) -> io::Result<()> {
    let prefix = with_suffix(path, TORN);
    let prefix = prefix.file_name().unwrap_or_default().as_encoded_bytes();
    for entry in fs::read_dir(folder(path))? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(prefix) {
            wipe_if_there(&entry.path())?;
        }
    }
    Ok(())
}

pub(super) fn wipe_if_there(path: &Path) -> io::Result<()> {
    let file = match File::options().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    wipe_file(&file)?;
    fs::remove_file(path)
}

fn wipe_file(file: &File) -> io::Result<()> {
    let (len, zeros) = (file.metadata()?.len(), vec![0; WIPE_BYTES]);
    let mut at = 0;
    while at < len {
        let piece = (len - at).min(WIPE_BYTES as u64);
        file.write_all_at(zeros.get(..piece as usize).unwrap_or_default(), at)?;
        at += piece;
    }
    file.sync_all()
}

/// As of [`KeyFile::open`], until it is dropped; `None` where there is no file yet.
pub(super) fn lock_if_there(path: &Path) -> Result<Option<File>, LedgerError> {
    match File::options().read(true).write(true).open(path) {
        Ok(file) => lock(&file, path).map(|()| Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LedgerError::Io { path: path.display().to_string(), source }),
    }
}

fn lock(file: &File, path: &Path) -> Result<(), LedgerError> {
    let taken = || LedgerError::Keys(format!("{} is in use by another process", path.display()));
    file.try_lock().map_err(|_| taken())
}

pub(super) fn beside(path: &Path) -> PathBuf {
    with_suffix(path, ".new")
}

fn former(path: &Path) -> PathBuf {
    with_suffix(path, ".former")
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
