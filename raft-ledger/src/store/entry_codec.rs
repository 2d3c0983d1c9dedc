//! Log entries as bytes, the same on disk and on the wire, each with a checksum of its own.
//!
//! `crc32c(4) version(1) term(8) index(8) kind(1) body`, integers big-endian, the checksum over all after it.

use bytes::{Buf, Bytes};

use crate::raft::{Entry, Payload, Proposal, log_id};

const VERSION: u8 = 1;
const HEADER: usize = 4 + 1 + 8 + 8 + 1;

/// Behind what `out` holds already.
pub(crate) fn encode_into(entry: &Entry, out: &mut Vec<u8>) -> Result<(), String> {
    let start = out.len();
    out.reserve(len_hint(entry));
    out.extend_from_slice(&[0; 4]);
    out.push(VERSION);
    out.extend_from_slice(&entry.log_id.leader_id.term.to_be_bytes());
    out.extend_from_slice(&entry.log_id.index.to_be_bytes());
    match &entry.payload {
        Payload::Blank => out.push(0),
        Payload::Normal(proposal) => {
            out.push(1);
            out.extend_from_slice(&proposal.0);
        }
        Payload::Membership(membership) => {
            out.push(2);
            let body = rmp_serde::to_vec_named(membership).map_err(|e| e.to_string())?;
            out.extend_from_slice(&body);
        }
    }
    let crc = crc32c::crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_be_bytes());
    Ok(())
}

/// Bytes that the entry takes; those that carry no proposal are few and small.
pub(crate) fn len_hint(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Normal(proposal) => HEADER + proposal.0.len(),
        _ => HEADER,
    }
}

/// The body shares `bytes`; nothing is copied.
pub(crate) fn decode(mut bytes: Bytes) -> Result<Entry, String> {
    if bytes.len() < HEADER {
        return Err(format!("log entry of {} bytes is shorter than its header", bytes.len()));
    }
    let expected = bytes.get_u32();
    let found = crc32c::crc32c(&bytes);
    if expected != found {
        return Err(format!("log entry checksum is {found:08x}, expected {expected:08x}"));
    }
    let version = bytes.get_u8();
    if version != VERSION {
        return Err(format!("log entry of version {version}; this build reads {VERSION}"));
    }
    let term = bytes.get_u64();
    let index = bytes.get_u64();
    let payload = match bytes.get_u8() {
        0 => Payload::Blank,
        1 => Payload::Normal(Proposal(bytes)),
        2 => {
            Payload::Membership(rmp_serde::from_slice(&bytes).map_err(|e| format!("membership entry: {e}"))?)
        }
        kind => return Err(format!("log entry of unknown kind {kind}")),
    };
    Ok(Entry { log_id: log_id(term, index), payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(entry: &Entry) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        encode_into(entry, &mut out).map(|()| out)
    }

    #[test]
    fn golden() {
        let entry =
            Entry { log_id: log_id(3, 7), payload: Payload::Normal(Proposal(Bytes::from_static(b"ab"))) };
        let bytes = encode(&entry).unwrap();
        assert_eq!(hex::encode(&bytes[4..]), "01000000000000000300000000000000070161 62".replace(' ', ""));
        assert_eq!(decode(bytes.into()).unwrap(), entry);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let entry =
            Entry { log_id: log_id(1, 2), payload: Payload::Normal(Proposal(Bytes::from_static(b"body"))) };
        let bytes = encode(&entry).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(damaged.into()).is_err(), "bit {bit} flipped unnoticed");
        }
    }

    #[test]
    fn short_input_is_an_error() {
        for len in 0..HEADER {
            assert!(decode(vec![0; len].into()).is_err());
        }
    }
}
