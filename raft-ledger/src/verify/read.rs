//! Reading a file of entries, hashing every byte of it on the way, damaged or not.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Auditor, Report};
use crate::export::{
    BUNDLE_HEADER_LEN, BundleHeader, ExportBatch, LeafPlace, MAX_RECORD_BYTES, Progress, RECORD_HEADER_LEN,
};
use crate::record::Hash;
use crate::types::LedgerError;

/// Gives every batch of the file to `auditor`; returns the file's hash and length.
pub(super) fn bundle(
    dir: &Path,
    name: &str,
    auditor: &mut Auditor,
    report: &mut Report,
    total: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Hash, u64), LedgerError> {
    let path = dir.join(name);
    let io = |source| LedgerError::Io { path: path.display().to_string(), source };
    let file = File::open(&path).map_err(io)?;
    let mut input = Input { file: BufReader::with_capacity(1 << 20, file), hasher: Sha256::new(), at: 0 };

    let header = input.take(BUNDLE_HEADER_LEN).map_err(io)?;
    let expected = BundleHeader { first_batch: auditor.batches(), first_index: auditor.size() };
    match header.first_chunk().and_then(BundleHeader::decode) {
        Some(header) if header == expected || !auditor.complete() => {}
        Some(_) => report.add(name, Some(0), None, "does not continue where the file before it ended"),
        None => report.add(name, Some(0), None, "is not a file of entries of this release"),
    }
    loop {
        let start = input.at;
        let header = input.take(RECORD_HEADER_LEN).map_err(io)?;
        if header.is_empty() {
            break;
        }
        let Some((len, crc)) = record_header(&header).filter(|(len, _)| *len <= MAX_RECORD_BYTES) else {
            lost(name, start, "is cut off or has a wrong length here", auditor, report);
            break;
        };
        let body = input.take(len).map_err(io)?;
        if body.len() < len {
            lost(name, start, "is cut off or has a wrong length here", auditor, report);
            break;
        }
        record(name, start, crc, body.into(), auditor, report);
        progress(Progress { done: auditor.size(), total });
    }
    input.drain().map_err(io)?;
    Ok((input.hasher.finalize().into(), input.at))
}

fn record(name: &str, start: u64, crc: u32, body: Bytes, auditor: &mut Auditor, report: &mut Report) {
    let sound = crc32c::crc32c(&body) == crc;
    if !sound {
        report.add(name, Some(start), None, "the batch that begins here was changed: wrong checksum");
    }
    let (batch, places) = match ExportBatch::decode(body) {
        Ok(decoded) => decoded,
        Err(error) => return lost(name, start, &error.to_string(), auditor, report),
    };
    for flaw in auditor.batch(&batch) {
        let place = flaw.leaf.and_then(|n| places.get(n)).map(|place: &LeafPlace| {
            RECORD_HEADER_LEN + if flaw.in_payload { place.ciphertext } else { place.leaf }
        });
        report.add(name, Some(start + place.unwrap_or(0) as u64), flaw.index, flaw.text);
    }
}

fn lost(name: &str, start: u64, text: &str, auditor: &mut Auditor, report: &mut Report) {
    report.add(name, Some(start), Some(auditor.size()), text);
    auditor.skip();
}

fn record_header(bytes: &[u8]) -> Option<(usize, u32)> {
    let (len, crc) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*len) as usize, u32::from_be_bytes(*crc.first_chunk()?)))
}

struct Input {
    file: BufReader<File>,
    hasher: Sha256,
    at: u64,
}

impl Input {
    /// The next `len` bytes, fewer only at the end. Reserves no more than is there.
    fn take(&mut self, len: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self.file).take(len as u64).read_to_end(&mut bytes)?;
        self.hasher.update(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes)
    }

    fn drain(&mut self) -> std::io::Result<()> {
        while !self.take(1 << 20)?.is_empty() {}
        Ok(())
    }
}
