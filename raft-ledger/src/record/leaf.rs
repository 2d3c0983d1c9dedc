//! The canonical record of one message: what the Merkle tree hashes.

use bytes::Bytes;

use super::reader::{Reader, RecordError};
use super::{Hash, MAX_CIPHERTEXT_BYTES, SiteName};

const VERSION: u8 = 1;

/// The part of a leaf that is known before sealing: the sealing's associated data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub group_id: u32,
    pub kind: u16,
    pub site: SiteName,
    pub epoch: u64,
    pub site_seq: u64,
    /// Milliseconds since the Unix epoch, all three.
    pub event_time_ms: i64,
    pub message_time_ms: i64,
    pub received_time_ms: i64,
    /// Id of the subject's key, masked by position: two leaves of one subject do not show it.
    pub key_ref: [u8; 16],
}

impl Head {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        self.encode_into(&mut out);
        out
    }

    fn encoded_len(&self) -> usize {
        1 + 4 + 2 + 1 + self.site.as_str().len() + 8 + 8 + 3 * 8 + 16
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.group_id.to_be_bytes());
        out.extend_from_slice(&self.kind.to_be_bytes());
        self.site.encode(out);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.site_seq.to_be_bytes());
        for time in [self.event_time_ms, self.message_time_ms, self.received_time_ms] {
            out.extend_from_slice(&time.to_be_bytes());
        }
        out.extend_from_slice(&self.key_ref);
    }

    fn decode(reader: &mut Reader) -> Result<Head, RecordError> {
        reader.version(VERSION)?;
        Ok(Head {
            group_id: reader.u32()?,
            kind: reader.u16()?,
            site: SiteName::decode(reader)?,
            epoch: reader.u64()?,
            site_seq: reader.u64()?,
            event_time_ms: reader.i64()?,
            message_time_ms: reader.i64()?,
            received_time_ms: reader.i64()?,
            key_ref: reader.array()?,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub head: Head,
    pub subject_commitment: Hash,
    pub ciphertext_len: u32,
    pub ciphertext_hash: Hash,
}

impl Leaf {
    pub fn encode(&self) -> Vec<u8> {
        // Exact: it is kept as it is, once an event.
        let mut out = Vec::with_capacity(self.head.encoded_len() + 32 + 4 + 32);
        self.head.encode_into(&mut out);
        out.extend_from_slice(&self.subject_commitment);
        out.extend_from_slice(&self.ciphertext_len.to_be_bytes());
        out.extend_from_slice(&self.ciphertext_hash);
        out
    }

    pub fn decode(bytes: Bytes) -> Result<Leaf, RecordError> {
        let mut reader = Reader::new("leaf", bytes);
        let leaf = Leaf {
            head: Head::decode(&mut reader)?,
            subject_commitment: reader.hash()?,
            ciphertext_len: reader.u32()?,
            ciphertext_hash: reader.hash()?,
        };
        if leaf.ciphertext_len as usize > MAX_CIPHERTEXT_BYTES {
            return Err(reader.error("a length is over its limit"));
        }
        reader.end()?;
        Ok(leaf)
    }
}
