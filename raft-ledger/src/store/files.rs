//! What the stores need of a file system; under simulation of the simulated disk.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::record::Hash;

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
pub(crate) fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(dir) {
        return Ok(disk::entries(dir));
    }
    fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

pub(crate) fn is_dir(dir: &Path) -> bool {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(dir) {
        return disk::is_dir(dir);
    }
    dir.is_dir()
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(from) {
        disk::rename(from, to);
        return Ok(());
    }
    fs::rename(from, to)
}

pub(crate) fn remove_dir(dir: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(dir) {
        disk::remove_dir(dir);
        return Ok(());
    }
    fs::remove_dir_all(dir)
}

pub(crate) fn read_text(path: &Path) -> io::Result<String> {
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

/// Its length; `None` if it is not there.
pub(crate) fn len(path: &Path) -> Option<u64> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(path) {
        return disk::read(path).map(|bytes| bytes.len() as u64);
    }
    let found = fs::metadata(path).ok()?;
    found.is_file().then_some(found.len())
}

/// A second name for a file that nobody changes any more.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(from) {
        return disk::copy(from, to);
    }
    fs::hard_link(from, to)
}

/// On the disk when it returns.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(from) {
        return disk::copy(from, to);
    }
    fs::copy(from, to)?;
    File::open(to)?.sync_all()
}

/// It is no error if it is not there.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(path) {
        disk::remove_dir(path);
        return Ok(());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Names in it are on the disk when this returns.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(dir) {
        return Ok(());
    }
    File::open(dir)?.sync_all()
}

const READ_BYTES: usize = 1 << 20;

/// Has the next reading come from the disk, as far as the system follows.
pub(crate) fn drop_cached(path: &Path) {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(path) {
        return;
    }
    if let Ok(file) = File::open(path) {
        // Advice only; what is read is compared in any case.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// SHA-256 of a whole file.
pub(crate) fn sha256(path: &Path) -> io::Result<Hash> {
    let mut hasher = Sha256::new();
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(path) {
        hasher.update(disk::read(path).ok_or(io::ErrorKind::NotFound)?);
        return Ok(hasher.finalize().into());
    }
    let mut file = File::open(path)?;
    let mut piece = vec![0; READ_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finalize().into()),
            read => hasher.update(&piece[..read]),
        }
    }
}

/// The same for two names of one file, and another once it was written to or replaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    changed_s: i64,
    changed_ns: i64,
}

/// `None` where files have none.
pub(super) fn identity(path: &Path) -> Option<Identity> {
    #[cfg(any(test, feature = "sim"))]
    if disk::holds(path) {
        return None;
    }
    let found = fs::metadata(path).ok()?;
    Some(Identity {
        device: found.dev(),
        inode: found.ino(),
        bytes: found.len(),
        changed_s: found.mtime(),
        changed_ns: found.mtime_nsec(),
    })
}
