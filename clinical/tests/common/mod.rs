//! The shared folder: corpora and judges that are no part of the repository.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

/// A file or folder of it. `None`, with a message, where it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MEDULLA_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = root.join(path);
    if !path.exists() {
        println!("skipped: {} is absent; set MEDULLA_SHARED", path.display());
    }
    path.exists().then_some(path)
}

/// A judge of it and the corpora, where it was asked for.
pub fn judge(path: &str) -> Option<(PathBuf, PathBuf)> {
    if std::env::var_os("MEDULLA_JUDGES").is_none() {
        println!("skipped: needs Java, and time; set MEDULLA_JUDGES=1");
        return None;
    }
    Some((shared(path)?, shared("corpora")?))
}

/// Every file below the folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
