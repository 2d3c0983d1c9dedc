//! The files of an export.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::Refusal;
use crate::merkle::Hash;

/// Manifest, checkpoint and keys; a larger one is not read.
const SMALL_MAX: u64 = 64 << 20;

/// Every file, as the manifest names them.
pub(super) fn list(dir: &Path) -> Result<BTreeSet<String>, Refusal> {
    let mut names = BTreeSet::new();
    for (folder, prefix) in [(dir.to_owned(), ""), (dir.join("entries"), "entries/")] {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound && !prefix.is_empty() => continue,
            Err(error) => return Err(io(&folder, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| io(&folder, error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if prefix.is_empty() && name == "entries" {
                continue;
            }
            names.insert(format!("{prefix}{name}"));
        }
    }
    Ok(names)
}

/// `None` if it is not there.
pub(super) fn read(dir: &Path, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let path = dir.join(name);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(&path, error)),
    };
    let mut bytes = Vec::new();
    file.take(SMALL_MAX).read_to_end(&mut bytes).map_err(|error| io(&path, error))?;
    Ok(Some(bytes))
}

/// SHA-256 and length.
pub(super) fn hash(dir: &Path, name: &str) -> Result<(Hash, u64), Refusal> {
    let path = dir.join(name);
    let mut file = File::open(&path).map_err(|error| io(&path, error))?;
    let (mut hasher, mut length, mut piece) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut piece).map_err(|error| io(&path, error))?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        length += read as u64;
    }
    Ok((hasher.finalize().into(), length))
}

pub(super) fn io(path: &Path, source: std::io::Error) -> Refusal {
    Refusal::Io { path: path.display().to_string(), source }
}
