//! What the stores need of a file system; under simulation of the simulated disk.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

#[cfg(any(test, feature = "sim"))]
use crate::sim::disk;

pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(dir) {
        return Ok(());
    }
    fs::create_dir_all(dir)
}

/// What is in a directory, in no particular order.
pub(super) fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(dir) {
        return Ok(disk::entries(dir));
    }
    fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

pub(super) fn is_dir(dir: &Path) -> bool {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(dir) {
        return disk::is_dir(dir);
    }
    dir.is_dir()
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(from) {
        disk::rename(from, to);
        return Ok(());
    }
    fs::rename(from, to)
}

pub(super) fn remove_dir(dir: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(dir) {
        disk::remove_dir(dir);
        return Ok(());
    }
    fs::remove_dir_all(dir)
}

pub(super) fn read_text(path: &Path) -> io::Result<String> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(path) {
        return disk::read_text(path);
    }
    fs::read_to_string(path)
}

/// Durable before it counts: written beside, synced, moved, and the directory synced.
pub(crate) fn replace_text(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let (path, beside) = (dir.join(name), dir.join(format!("{name}.new")));
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(&path) {
        disk::replace(&path, text.as_bytes());
        return Ok(());
    }
    fs::write(&beside, text)?;
    File::open(&beside)?.sync_all()?;
    fs::rename(&beside, &path)?;
    File::open(dir)?.sync_all()
}

/// Names and sizes of the plain files in a directory, sorted by name.
pub(crate) fn sizes(dir: &Path) -> io::Result<Vec<(String, u64)>> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(dir) {
        return Ok(disk::sizes(dir));
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()));
        }
    }
    files.sort();
    Ok(files)
}

/// At most `limit` bytes from `offset` on.
pub(crate) fn read_piece(path: &Path, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(path) {
        return disk::read_piece(path, offset, limit);
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(limit);
    file.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Appends to a file, which is made if it is not there; with `sync` it is on the disk when this returns.
pub(crate) fn append(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(path) {
        disk::append(path, bytes);
        return Ok(());
    }
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(bytes)?;
    if sync { file.sync_all() } else { Ok(()) }
}
