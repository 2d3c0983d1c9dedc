//! `manifest.txt`: one fact a line, the last line the hash of those before it.
//!
//! ```text
//! medulla export v1
//! origin medulla-0123456789abcdef/group/1
//! group 1
//! size 3
//! root <64 hex digits>
//! batches 2
//! file <sha256> <bytes> entries/00000000
//! file <sha256> <bytes> checkpoint
//! file <sha256> <bytes> keys.txt
//! end <sha256 of the lines above>
//! ```

use std::fmt::Write;

use crate::record::{Hash, sha256};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) origin: String,
    pub(crate) group_id: u32,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) batches: u64,
    pub(crate) files: Vec<FileLine>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileLine {
    pub(crate) sha256: Hash,
    pub(crate) bytes: u64,
    pub(crate) name: String,
}

impl Manifest {
    pub(crate) fn encode(&self) -> String {
        let mut text = format!(
            "medulla export v1\norigin {}\ngroup {}\nsize {}\nroot {}\nbatches {}\n",
            self.origin,
            self.group_id,
            self.size,
            hex::encode(self.root),
            self.batches
        );
        for file in &self.files {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "file {} {} {}", hex::encode(file.sha256), file.bytes, file.name);
        }
        let end = sha256(&[text.as_bytes()]);
        text + &format!("end {}\n", hex::encode(end))
    }

    /// `None` unless the text is exactly what `encode` writes, its own hash included.
    pub(crate) fn decode(text: &str) -> Option<Manifest> {
        let mut lines = text.lines();
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        field("medulla").filter(|version| *version == "export v1")?;
        let mut manifest = Manifest {
            origin: field("origin")?.to_owned(),
            group_id: field("group")?.parse().ok()?,
            size: field("size")?.parse().ok()?,
            root: hash(field("root")?)?,
            batches: field("batches")?.parse().ok()?,
            files: Vec::new(),
        };
        for line in lines {
            if line.starts_with("end ") {
                break;
            }
            let mut parts = line.strip_prefix("file ")?.splitn(3, ' ');
            let (sha256, bytes, name) =
                (hash(parts.next()?)?, parts.next()?.parse().ok()?, parts.next()?.to_owned());
            manifest.files.push(FileLine { sha256, bytes, name });
        }
        (manifest.encode() == text).then_some(manifest)
    }
}

fn hash(digits: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash).ok()?;
    Some(hash)
}
