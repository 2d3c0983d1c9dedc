//! A file of entries, big-endian:
//!
//! ```text
//! "MEDEXPT" ‖ u8 version = 1 ‖ u64 number of its first batch ‖ u64 index of the next leaf before it
//! per batch: u32 body length, u32 CRC-32C of the body, body
//!   body: u32 length, Provenance (record/mod.rs); per leaf that the batch made:
//!     u16 length, Leaf, u8 0 = payload kept elsewhere | 1: u32 length, sealed payload
//! ```
//! The checksum names the damaged batch; what proves is the hashes and signatures within.

use bytes::Bytes;

use crate::record::{MAX_BATCH_BYTES, MAX_CIPHERTEXT_BYTES, Provenance, Reader, RecordError};

const MAGIC: &[u8; 8] = b"MEDEXPT\x01";
pub(crate) const BUNDLE_HEADER_LEN: usize = 24;
/// Body length and checksum.
pub(crate) const RECORD_HEADER_LEN: usize = 8;
/// One batch, the chunks of its first message put together.
pub(crate) const MAX_RECORD_BYTES: usize = MAX_BATCH_BYTES + MAX_CIPHERTEXT_BYTES;
const MAX_PROVENANCE_BYTES: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BundleHeader {
    pub(crate) first_batch: u64,
    pub(crate) first_index: u64,
}

/// One committed batch as it is exported and audited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExportBatch {
    pub(crate) provenance: Provenance,
    /// The leaves that the batch made, in order.
    pub(crate) leaves: Vec<ExportLeaf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExportLeaf {
    /// The canonical record.
    pub(crate) leaf: Bytes,
    /// The whole sealed payload; `None` if it is kept elsewhere.
    pub(crate) ciphertext: Option<Bytes>,
}

/// Where a leaf and its payload begin in a record's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeafPlace {
    pub(crate) leaf: usize,
    pub(crate) ciphertext: usize,
}

impl BundleHeader {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.first_batch.to_be_bytes());
        out.extend_from_slice(&self.first_index.to_be_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8; BUNDLE_HEADER_LEN]) -> Option<BundleHeader> {
        let (first_batch, first_index) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let first_index = u64::from_be_bytes(first_index.try_into().ok()?);
        Some(BundleHeader { first_batch: u64::from_be_bytes(*first_batch), first_index })
    }
}

impl ExportBatch {
    /// With length and checksum.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let provenance = self.provenance.encode();
        let payloads: usize =
            self.leaves.iter().map(|l| 256 + l.ciphertext.as_ref().map_or(0, Bytes::len)).sum();
        let mut out = Vec::with_capacity(64 + provenance.len() + payloads);
        out.extend_from_slice(&[0; RECORD_HEADER_LEN]);
        out.extend_from_slice(&(provenance.len() as u32).to_be_bytes());
        out.extend_from_slice(&provenance);
        for leaf in &self.leaves {
            out.extend_from_slice(&(leaf.leaf.len() as u16).to_be_bytes());
            out.extend_from_slice(&leaf.leaf);
            match &leaf.ciphertext {
                None => out.push(0),
                Some(ciphertext) => {
                    out.push(1);
                    out.extend_from_slice(&(ciphertext.len() as u32).to_be_bytes());
                    out.extend_from_slice(ciphertext);
                }
            }
        }
        let (header, body) = out.split_at_mut(RECORD_HEADER_LEN);
        header[..4].copy_from_slice(&(body.len() as u32).to_be_bytes());
        header[4..].copy_from_slice(&crc32c::crc32c(body).to_be_bytes());
        out
    }

    /// Reads a body, and where in it each leaf is.
    pub(crate) fn decode(body: Bytes) -> Result<(ExportBatch, Vec<LeafPlace>), RecordError> {
        let mut reader = Reader::new("exported batch", body);
        let provenance = Provenance::decode(reader.bytes32(MAX_PROVENANCE_BYTES)?)?;
        let (mut leaves, mut places) = (Vec::new(), Vec::new());
        for _ in 0..provenance.leaf_count() {
            let mut place = LeafPlace { leaf: reader.position(), ciphertext: 0 };
            let len = usize::from(reader.u16()?);
            let leaf = reader.take(len)?;
            place.ciphertext = reader.position();
            let ciphertext = match reader.u8()? {
                0 => None,
                1 => Some(reader.bytes32(MAX_CIPHERTEXT_BYTES)?),
                _ => return Err(reader.error("a flag that is neither 0 nor 1")),
            };
            leaves.push(ExportLeaf { leaf, ciphertext });
            places.push(place);
        }
        reader.end()?;
        Ok((ExportBatch { provenance, leaves }, places))
    }
}
