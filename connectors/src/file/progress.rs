//! The durable cursor: which file, and how many of its messages are settled in a row.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Counts only for the very file it was written for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) crc32c: u32,
    /// Messages settled from the start, without a gap.
    pub(super) settled: u64,
}

impl Progress {
    pub(super) fn of(file: &str, content: &[u8]) -> Progress {
        let (bytes, crc32c) = (content.len() as u64, crc32c::crc32c(content));
        Progress { file: file.to_owned(), bytes, crc32c, settled: 0 }
    }

    /// What was settled of this file by an earlier run; a cursor that cannot be read counts as none, because
    /// reading twice is harmless and skipping is not.
    pub(super) fn resume(mut self, path: &Path) -> Progress {
        let earlier =
            std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Progress>(&bytes).ok());
        self.settled = match earlier {
            Some(Progress { settled, .. }) if earlier == Some(Progress { settled, ..self.clone() }) => {
                settled
            }
            _ => 0,
        };
        self
    }

    /// Whole or not at all, also across a crash.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let temporary = PathBuf::from(format!("{}.new", path.display()));
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resumes_the_same_file_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".medulla-progress");
        let saved = Progress { settled: 7, ..Progress::of("a.hl7", b"content") };
        saved.save(&path).unwrap();
        assert_eq!(Progress::of("a.hl7", b"content").resume(&path), saved);
        assert_eq!(Progress::of("a.hl7", b"Content").resume(&path).settled, 0);
        assert_eq!(Progress::of("b.hl7", b"content").resume(&path).settled, 0);
        std::fs::write(&path, "torn").unwrap();
        assert_eq!(Progress::of("a.hl7", b"content").resume(&path).settled, 0);
    }
}
