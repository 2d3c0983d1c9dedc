//! The files of a database by what they hold. Names are unique within one database only: the same name in another
//! one is another file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::files::{self, Identity};
use crate::record::Hash;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: Hash,
}

impl Content {
    /// Begins the names of cold files where they stand beside those of a database.
    pub(crate) const COLD: &str = "cold/";

    /// Its name in the folder of cold files; `None`: it is a file of a database.
    pub(crate) fn cold_name(&self) -> Option<&str> {
        self.name.strip_prefix(Content::COLD)
    }

    /// A name for it where files of several databases lie side by side.
    pub(crate) fn hash_name(&self) -> String {
        hex::encode(self.sha256)
    }
}

/// RocksDB never changes a table once it is whole.
pub(crate) fn is_immutable(name: &str) -> bool {
    name.ends_with(".sst")
}

/// Whether a database can have a file of this name: no path, nothing hidden.
pub(crate) fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() < 100 && !name.starts_with('.') && name.bytes().all(plain)
}

/// Beyond this many remembered hashes they are computed anew.
const REMEMBERED_MAX: usize = 200_000;

/// Hashes of tables, while this process runs.
static KNOWN: Mutex<BTreeMap<Identity, Hash>> = Mutex::new(BTreeMap::new());

/// What a directory that nobody writes to holds, without what a read-only opening left there. Blocks.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<Content>> {
    let mut found = Vec::new();
    for (name, bytes) in files::sizes(dir)? {
        if name != "LOCK" && !name.starts_with("LOG") {
            let sha256 = hash(&dir.join(&name))?;
            found.push(Content { name, bytes, sha256 });
        }
    }
    Ok(found)
}

fn hash(path: &Path) -> io::Result<Hash> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let identity = files::identity(path).filter(|_| is_immutable(&name));
    let Some(identity) = identity else { return files::sha256(path) };
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(hash) = known().get(&identity) {
        return Ok(*hash);
    }
    let hash = files::sha256(path)?;
    let mut known = known();
    if known.len() >= REMEMBERED_MAX {
        known.clear();
    }
    known.insert(identity, hash);
    Ok(hash)
}

/// A file that its database may delete at any moment, but never changes.
pub(crate) struct Table {
    path: PathBuf,
    bytes: u64,
}

/// One of the tables that holds what is sought. Blocks.
pub(crate) fn find(tables: &[Table], sought: &Content) -> Option<PathBuf> {
    let alike = tables.iter().filter(|table| is_immutable(&sought.name) && table.bytes == sought.bytes);
    let mut paths = alike.map(|table| &table.path);
    paths.find(|path| hash(path).is_ok_and(|hash| hash == sought.sha256)).cloned()
}

/// Those of the databases in `dirs`.
pub(crate) fn tables(dirs: &[PathBuf]) -> Vec<Table> {
    let paths = dirs.iter().flat_map(|dir| files::entries(dir).unwrap_or_default());
    let tables = paths.filter(|path| path.extension().is_some_and(|extension| extension == "sst"));
    tables.filter_map(|path| Some(Table { bytes: files::len(&path)?, path })).collect()
}
