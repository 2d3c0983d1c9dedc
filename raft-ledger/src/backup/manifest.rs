//! `manifest.txt` of a backup: one fact a line, the last line the hash of those before it.
//!
//! ```text
//! medulla backup v1
//! origin medulla-0123456789abcdef/group/1
//! group 1
//! site a
//! size 3
//! root <64 hex digits>
//! applied 2 17
//! apply-version 0
//! made-ms 1790000000000
//! file <sha256> <bytes> <name in the database, or cold/<name of a cold file>>
//! end <sha256 of the lines above>
//! ```

use std::fmt::Write;
use std::path::Path;

use crate::LedgerError;
use crate::record::{Hash, sha256};
use crate::store::content::{Content, is_plain};
use crate::store::files;

pub(super) const MANIFEST: &str = "manifest.txt";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Of the consortium's checkpoints.
    pub(super) origin: String,
    pub(super) group_id: u32,
    /// That made it.
    pub(super) site: String,
    /// Leaves.
    pub(super) size: u64,
    pub(super) root: Hash,
    /// Term and index of the last raft entry in it.
    pub(super) applied: (u64, u64),
    pub(super) apply_version: u32,
    /// Unix time.
    pub(super) made_ms: u64,
    pub(super) files: Vec<Content>,
}

impl Manifest {
    pub(super) fn encode(&self) -> String {
        let (term, index) = self.applied;
        let mut text = format!(
            "medulla backup v1\norigin {}\ngroup {}\nsite {}\nsize {}\nroot {}\napplied {term} {index}\n\
             apply-version {}\nmade-ms {}\n",
            self.origin,
            self.group_id,
            self.site,
            self.size,
            hex::encode(self.root),
            self.apply_version,
            self.made_ms,
        );
        for file in &self.files {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "file {} {} {}", hex::encode(file.sha256), file.bytes, file.name);
        }
        let end = sha256(&[text.as_bytes()]);
        text + &format!("end {}\n", hex::encode(end))
    }

    /// `None` unless the text is exactly what `encode` writes, its own hash included.
    pub(super) fn decode(text: &str) -> Option<Manifest> {
        let mut lines = text.lines();
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        field("medulla").filter(|version| *version == "backup v1")?;
        let mut manifest = Manifest {
            origin: field("origin")?.to_owned(),
            group_id: field("group")?.parse().ok()?,
            site: field("site")?.to_owned(),
            size: field("size")?.parse().ok()?,
            root: hash(field("root")?)?,
            applied: applied(field("applied")?)?,
            apply_version: field("apply-version")?.parse().ok()?,
            made_ms: field("made-ms")?.parse().ok()?,
            files: Vec::new(),
        };
        for line in lines.take_while(|line| !line.starts_with("end ")) {
            let mut parts = line.strip_prefix("file ")?.splitn(3, ' ');
            let (sha256, bytes) = (hash(parts.next()?)?, parts.next()?.parse().ok()?);
            let file = Content { name: parts.next()?.to_owned(), bytes, sha256 };
            if !is_plain(file.cold_name().unwrap_or(&file.name)) {
                return None;
            }
            manifest.files.push(file);
        }
        (manifest.encode() == text).then_some(manifest)
    }

    /// `None` if the folder holds none.
    pub(super) fn read(folder: &Path) -> Result<Option<Manifest>, LedgerError> {
        let path = folder.join(MANIFEST);
        let text = match files::read_text(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LedgerError::Io { path: path.display().to_string(), source }),
        };
        let manifest = Manifest::decode(&text).ok_or_else(|| {
            LedgerError::Damaged(format!(
                "{} is cut, changed, or of a later release; take another copy of this backup, or back up into a \
                 new folder",
                path.display()
            ))
        });
        manifest.map(Some)
    }
}

fn hash(digits: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash).ok()?;
    Some(hash)
}

fn applied(text: &str) -> Option<(u64, u64)> {
    let (term, index) = text.split_once(' ')?;
    Some((term.parse().ok()?, index.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_again_and_none_that_was_cut_or_changed() {
        let file = |name: &str| Content { name: name.into(), bytes: 7, sha256: sha256(&[name.as_bytes()]) };
        let manifest = Manifest {
            origin: "medulla-0/group/1".into(),
            group_id: 1,
            site: "a".into(),
            size: 3,
            root: [7; 32],
            applied: (2, 17),
            apply_version: 0,
            made_ms: 1,
            files: vec![file("000012.sst"), file("CURRENT"), file("cold/000000000000-1")],
        };
        for name in ["../up", "cold/../up", "cold/", "/etc/passwd", "cold/cold/x"] {
            let sly = Manifest { files: vec![file(name)], ..manifest.clone() };
            assert_eq!(Manifest::decode(&sly.encode()), None, "{name}");
        }
        let text = manifest.encode();
        assert_eq!(Manifest::decode(&text), Some(manifest));
        for at in 0..text.len() {
            assert_eq!(Manifest::decode(&text[..at]), None, "cut at {at}");
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            if let Ok(changed) = String::from_utf8(changed) {
                assert_eq!(Manifest::decode(&changed), None, "changed at {at}");
            }
        }
    }
}
