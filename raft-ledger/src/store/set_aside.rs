//! What is damaged is kept: somebody may want to look into it.

use std::path::{Path, PathBuf};

use super::files;
use crate::LedgerError;

/// The name of the first database in `ledgerdb`.
pub(crate) const FIRST_GENERATION: &str = "g00000001";

const PREFIX: &str = "ledgerdb.damaged-";

/// Moves a database to `ledgerdb.damaged-<n>` in `data`. Those that were set aside before are removed: another
/// database took their place and lived.
pub(crate) fn set_aside(data: &Path, path: &Path) -> Result<PathBuf, LedgerError> {
    let io = |path: &Path, source| LedgerError::Io { path: path.display().to_string(), source };
    let former = set_aside_before(data)?;
    let last = former.iter().map(|(number, _)| *number).max().unwrap_or(0);
    let to = data.join(format!("{PREFIX}{}", last + 1));
    files::rename(path, &to).map_err(|e| io(&to, e))?;
    files::sync_dir(data).map_err(|e| io(data, e))?;
    for (_, path) in former {
        files::remove_dir(&path).map_err(|e| io(&path, e))?;
    }
    Ok(to)
}

/// Numbers and paths.
pub(crate) fn set_aside_before(data: &Path) -> Result<Vec<(u64, PathBuf)>, LedgerError> {
    let entries = files::entries(data);
    let entries = entries.map_err(|source| LedgerError::Io { path: data.display().to_string(), source })?;
    let number = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix(PREFIX)?.parse().ok();
    Ok(entries.into_iter().filter_map(|path| Some((number(&path)?, path))).collect())
}
