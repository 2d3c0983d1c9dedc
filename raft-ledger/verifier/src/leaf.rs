//! The canonical record of one entry (`raft-ledger/src/record/mod.rs`, "Leaf").

use serde::Serialize;

use crate::Refusal;

/// What a leaf says; nothing of it names a patient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leaf {
    pub group_id: u32,
    pub kind: u16,
    /// Site that the entry comes from.
    pub site: String,
    pub epoch: u64,
    pub site_seq: u64,
    /// Milliseconds since the Unix epoch, all three.
    pub event_time_ms: i64,
    pub message_time_ms: i64,
    pub received_time_ms: i64,
    pub ciphertext_len: u32,
    /// SHA-256 of the sealed payload, lowercase hex.
    pub ciphertext_sha256: String,
}

/// Big-endian fields from the front of a slice.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(part)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*part)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// u8 length and a site name.
    pub(crate) fn site(&mut self) -> Option<&'a str> {
        let len = usize::from(self.u8()?);
        let name = self.take(len)?;
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-' || *b == b'.';
        let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-' && *b != b'.');
        let valid = len <= 63 && name.iter().all(inner) && edge(name.first()) && edge(name.last());
        std::str::from_utf8(name).ok().filter(|_| valid)
    }
}

/// The fields of a leaf that its batch must agree with, and the payload's hash: borrowed, for speed.
pub(crate) struct LeafFields<'a> {
    pub(crate) group_id: u32,
    pub(crate) kind: u16,
    pub(crate) site: &'a str,
    pub(crate) epoch: u64,
    pub(crate) site_seq: u64,
    pub(crate) times_ms: [i64; 3],
    pub(crate) ciphertext_len: u32,
    pub(crate) ciphertext_hash: [u8; 32],
}

impl<'a> LeafFields<'a> {
    pub(crate) fn read(record: &'a [u8]) -> Option<LeafFields<'a>> {
        let mut fields = Fields(record);
        if fields.u8()? != 1 {
            return None;
        }
        let (group_id, kind, site) = (fields.u32()?, fields.u16()?, fields.site()?);
        let (epoch, site_seq) = (fields.u64()?, fields.u64()?);
        let times_ms = [fields.i64()?, fields.i64()?, fields.i64()?];
        let _masked_key_reference: [u8; 16] = fields.array()?;
        let _subject_commitment: [u8; 32] = fields.array()?;
        let (ciphertext_len, ciphertext_hash) = (fields.u32()?, fields.array()?);
        let leaf =
            LeafFields { group_id, kind, site, epoch, site_seq, times_ms, ciphertext_len, ciphertext_hash };
        fields.0.is_empty().then_some(leaf)
    }
}

impl Leaf {
    pub(crate) fn decode(record: &[u8]) -> Result<Leaf, Refusal> {
        let what = "the extra line is not a leaf record of a known version";
        let fields = LeafFields::read(record).ok_or(Refusal::Form { what })?;
        let [event_time_ms, message_time_ms, received_time_ms] = fields.times_ms;
        Ok(Leaf {
            group_id: fields.group_id,
            kind: fields.kind,
            site: fields.site.to_owned(),
            epoch: fields.epoch,
            site_seq: fields.site_seq,
            event_time_ms,
            message_time_ms,
            received_time_ms,
            ciphertext_len: fields.ciphertext_len,
            ciphertext_sha256: hex::encode(fields.ciphertext_hash),
        })
    }
}
