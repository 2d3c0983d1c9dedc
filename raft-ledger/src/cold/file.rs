//! The bytes of a cold file, big-endian:
//!
//! ```text
//! "MEDCOLD" ‖ u8 version = 1 ‖ u32 group ‖ u64 index of its first entry ‖ u32 entries
//! u64 × (entries + 1): where each entry begins in the file, and where the last one ends
//! per entry: u16 length, Leaf (record/mod.rs) ‖ the sealed payload
//! ```
//! With its leaves a file proves itself, also where nothing else is left: they are those of the tree, and each holds the
//! hash of its payload.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::io;
use crate::LedgerError;
use crate::cold::catalogue::Row;
use crate::raft::GROUP;
use crate::record::{Hash, Leaf, sha256};
use crate::store::files;

const MAGIC: &[u8; 8] = b"MEDCOLD\x01";
const HEADER_LEN: u64 = 24;
/// Written at once.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes of an entry in the file.
pub(super) fn entry_len(leaf_len: usize, payload_len: u32) -> u64 {
    2 + leaf_len as u64 + u64::from(payload_len)
}

/// A file that is being written. The same entries always make the same file.
pub(super) struct Writer {
    path: PathBuf,
    hasher: Sha256,
    pending: Vec<u8>,
    bytes: u64,
}

impl Writer {
    /// `entries`: their lengths, as of [`entry_len`].
    pub(super) fn begin(path: PathBuf, first: u64, entries: &[u64]) -> Result<Writer, LedgerError> {
        files::remove_file(&path).map_err(|e| io(&path, e))?;
        let mut writer = Writer { path, hasher: Sha256::new(), pending: Vec::new(), bytes: 0 };
        writer.put(MAGIC)?;
        writer.put(&GROUP.to_be_bytes())?;
        writer.put(&first.to_be_bytes())?;
        writer.put(&(entries.len() as u32).to_be_bytes())?;
        let mut at = HEADER_LEN + 8 * (entries.len() as u64 + 1);
        writer.put(&at.to_be_bytes())?;
        for len in entries {
            at += len;
            writer.put(&at.to_be_bytes())?;
        }
        Ok(writer)
    }

    pub(super) fn entry(&mut self, leaf: &[u8], payload: &[u8]) -> Result<(), LedgerError> {
        self.put(&(leaf.len() as u16).to_be_bytes())?;
        self.put(leaf)?;
        self.put(payload)
    }

    /// Its hash and length; on the disk when this returns.
    pub(super) fn finish(mut self) -> Result<(Hash, u64), LedgerError> {
        self.write(true)?;
        Ok((self.hasher.finalize().into(), self.bytes))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), LedgerError> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PIECE_BYTES { self.write(false) } else { Ok(()) }
    }

    fn write(&mut self, sync: bool) -> Result<(), LedgerError> {
        files::append(&self.path, &self.pending, sync).map_err(|e| io(&self.path, e))?;
        self.pending.clear();
        Ok(())
    }
}

/// The sealed payload of one entry, if it is what the leaf says; else what is wrong with the file.
pub(super) fn read(path: &Path, row: &Row, index: u64, leaf: &Leaf) -> Result<Vec<u8>, String> {
    let piece = |offset: u64, len: usize| match files::read_piece(path, offset, len) {
        Ok(bytes) if bytes.len() == len => Ok(bytes),
        Ok(_) => Err("is too short".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("is missing".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    let damaged = || format!("is damaged at entry {index}");
    let place = piece(HEADER_LEN + 8 * (index - row.first), 16)?;
    let (places, _) = place.as_chunks::<8>();
    let [begin, end] = [0, 1].map(|n| places.get(n).map_or(0, |place| u64::from_be_bytes(*place)));
    let record = leaf.encode();
    let expected = entry_len(record.len(), leaf.ciphertext_len);
    if end.checked_sub(begin) != Some(expected) {
        return Err(damaged());
    }
    let mut entry = piece(begin, expected as usize)?;
    let payload = entry.split_off(2 + record.len());
    let begins_with = [&(record.len() as u16).to_be_bytes()[..], &record].concat();
    let same = entry == begins_with && sha256(&[&payload]) == leaf.ciphertext_hash;
    if same { Ok(payload) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cold::sample;

    const PAYLOADS: [&[u8]; 2] = [b"sealed", b"too"];

    fn leaf(site_seq: u64) -> Leaf {
        sample::leaf(1, site_seq, PAYLOADS[site_seq as usize])
    }

    fn written(path: PathBuf) -> Row {
        let records = [0, 1].map(|n| leaf(n).encode());
        let lens = [0, 1].map(|n| entry_len(records[n].len(), PAYLOADS[n].len() as u32));
        let mut writer = Writer::begin(path, 256, &lens).unwrap();
        records.iter().zip(PAYLOADS).for_each(|(leaf, payload)| writer.entry(leaf, payload).unwrap());
        let (sha256, bytes) = writer.finish().unwrap();
        Row { first: 256, end: 258, bytes, sha256, number: 1, bytes_before: 0 }
    }

    #[test]
    fn the_layout_is_stable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        // Left by a crash.
        std::fs::write(&path, "half").unwrap();
        let row = written(path.clone());
        let bytes = std::fs::read(&path).unwrap();
        let [first, second] = [0, 1].map(|n| hex::encode(leaf(n).encode()));
        let len = first.len() / 2;
        let begins = [48, 48 + 2 + len + 6, 48 + 2 + len + 6 + 2 + len + 3].map(|at| format!("{at:016x}"));
        let golden = format!(
            "4d4544434f4c440100000001000000000000010000000002{}{len:04x}{first}7365616c6564{len:04x}{second}746f6f",
            begins.concat()
        );
        assert_eq!(hex::encode(&bytes), golden);
        assert_eq!((row.bytes, row.sha256), (bytes.len() as u64, sha256(&[&bytes])));
        let hash = hex::encode(row.sha256);
        assert_eq!(row.name(), format!("000000000256-000000000258-{hash}"));
    }

    #[test]
    fn what_was_changed_is_never_given_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let row = written(path.clone());
        let read_both = || [0, 1].map(|n| read(&path, &row, 256 + n, &leaf(n)));
        assert_eq!(read_both(), PAYLOADS.map(|payload| Ok(payload.to_vec())));
        let whole = std::fs::read(&path).unwrap();
        for at in HEADER_LEN as usize..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).unwrap();
            let found = read_both();
            assert!(found.iter().any(Result::is_err), "byte {at}");
            for (found, payload) in found.iter().zip(PAYLOADS) {
                assert!(found.as_ref().is_err() || found.as_deref() == Ok(payload), "byte {at}");
            }
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(read_both()[1], Err("is too short".to_owned()));
        assert!(read(&path, &row, 256, &leaf(1)).is_err(), "the place of another entry");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read_both()[0], Err("is missing".to_owned()));
    }
}
