//! Writing the key store anew, without the keys that were destroyed. A crash at any step leaves the former file or
//! the new one under its name, each whole; whoever opens the former one destroys the same keys again. The former one
//! keeps a second name until it is wiped, so that the next start finds it and ends that.

use std::path::Path;

use super::disk::{self, KeyFile};
use super::file::{Record, frame, header_of_whole};
use crate::keys::Secret;
use crate::types::LedgerError;

/// Records that one frame holds here: 7 MB.
const FRAME_RECORDS: usize = 1 << 16;

/// The bytes of a file with these records.
pub(super) fn whole(master: &Secret, records: &[Vec<Record>]) -> Result<Vec<u8>, LedgerError> {
    let mut frames = Vec::new();
    for part in records.iter().flat_map(|of_one_site| of_one_site.chunks(FRAME_RECORDS)) {
        frames.extend(frame(master, part)?);
    }
    Ok([header_of_whole(master, &frames), frames].concat())
}

/// Afterwards `file` is the new one, and the former one waits for [`wipe`]. It stays the former one where the new one could not be put in its place.
pub(super) fn rewrite(
    path: &Path,
    file: &mut Option<KeyFile>,
    master: &Secret,
    records: &[Vec<Record>],
) -> Result<(), LedgerError> {
    let io = |source| LedgerError::Io { path: path.display().to_string(), source };
    let bytes = whole(master, records)?;
    #[cfg(any(test, feature = "sim"))]
    if crate::sim::disk::holds(path) {
        crate::sim::disk::replace(path, &bytes);
        return Ok(());
    }
    let fresh = disk::write_beside(path, &bytes).map_err(io)?;
    disk::name_former(path).map_err(io)?;
    disk::put_in_place(path).map_err(io)?;
    // Unless the folder is synced, a crash brings the former file back, and keys that are appended now were lost:
    // then nothing may be appended.
    drop(file.take());
    disk::sync_dir(path).map_err(io)?;
    *file = Some(fresh);
    Ok(())
}

/// What is left of former files.
pub(super) fn wipe(path: &Path) -> Result<(), LedgerError> {
    #[cfg(any(test, feature = "sim"))]
    if crate::sim::disk::holds(path) {
        return Ok(());
    }
    let wiped = disk::wipe_former(path).and_then(|()| disk::wipe_torn(path));
    wiped.map_err(|source| LedgerError::Io { path: path.display().to_string(), source })
}
