//! Log entries as bytes, the same on disk and on the wire, each with a checksum of its own.
//!
//! `crc32c(4) version(1) term(8) index(8) kind(1) body`, integers big-endian, the checksum over all after it.

use std::borrow::Cow;

use bytes::{Buf, Bytes};

use crate::raft::{Entry, Payload, Proposal, log_id};
use crate::record::{Hash, sha256};

const VERSION: u8 = 1;
const CHECKSUM: usize = 4;
const HEADER: usize = CHECKSUM + 1 + 8 + 8 + 1;

/// Behind what `out` holds already.
pub(crate) fn encode_into(entry: &Entry, out: &mut Vec<u8>) -> Result<(), String> {
    let start = out.len();
    out.reserve(len_hint(entry));
    out.extend_from_slice(&[0; CHECKSUM]);
    out.extend_from_slice(&head(entry));
    out.extend_from_slice(&body(entry)?);
    let crc = crc32c::crc32c(&out[start + CHECKSUM..]);
    out[start..start + CHECKSUM].copy_from_slice(&crc.to_be_bytes());
    Ok(())
}

/// All before the body, without the checksum.
fn head(entry: &Entry) -> [u8; HEADER - CHECKSUM] {
    let mut head = [VERSION; HEADER - CHECKSUM];
    head[1..9].copy_from_slice(&entry.log_id.leader_id.term.to_be_bytes());
    head[9..17].copy_from_slice(&entry.log_id.index.to_be_bytes());
    head[17] = match &entry.payload {
        Payload::Blank => 0,
        Payload::Normal(_) => 1,
        Payload::Membership(_) => 2,
    };
    head
}

fn body(entry: &Entry) -> Result<Cow<'_, [u8]>, String> {
    match &entry.payload {
        Payload::Blank => Ok(Cow::Borrowed(&[])),
        Payload::Normal(proposal) => Ok(Cow::Borrowed(&proposal.0)),
        Payload::Membership(membership) => {
            Ok(Cow::Owned(rmp_serde::to_vec_named(membership).map_err(|e| e.to_string())?))
        }
    }
}

/// What a leader signs of an entry that it sends: SHA-256 of all behind the checksum, so also of its term and index.
pub(crate) fn hash(entry: &Entry) -> Result<Hash, String> {
    Ok(sha256(&[&head(entry), &body(entry)?]))
}

/// The same of the bytes as they came. What was read of them may be less, where a later release sent it.
pub(crate) fn hash_of_encoded(bytes: &[u8]) -> Hash {
    sha256(&[bytes.get(CHECKSUM..).unwrap_or_default()])
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
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::raft::Member;

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

    /// What leaders have signed names entries by this: it may never change.
    #[test]
    fn golden_hashes() {
        let members = BTreeMap::from([(0, Member::founder("a")), (3, Member::founder("d"))]);
        let membership = openraft::Membership::new(vec![BTreeSet::from([0])], members).unwrap();
        let command = Proposal(Bytes::from_static(b"ab"));
        for (payload, golden) in [
            (Payload::Blank, "d15bbe62950704057d2f989a78f6e4bc11b913421911277de57a44dcca077eb6"),
            (Payload::Normal(command), "111bb3c97724f9efc765cf10eaa5de283de8d13b5d56efec459a4e5dbb88c935"),
            (
                Payload::Membership(membership),
                "6850957ea4040f5b6c0488e07faed4dae419c0abf1f163f812f64d18339b451b",
            ),
        ] {
            let entry = Entry { log_id: log_id(3, 7), payload };
            let of_sender = hash(&entry).unwrap();
            assert_eq!(hex::encode(of_sender), golden, "{entry:?}");
            assert_eq!(hash_of_encoded(&encode(&entry).unwrap()), of_sender);
        }
    }

    /// A member of tomorrow has a field that this release passes over, and loses where it writes the entry itself.
    #[test]
    fn what_a_later_release_adds_is_hashed_as_it_came() {
        let members = BTreeMap::from([(0, Member::founder("a"))]);
        let membership = openraft::Membership::new(vec![BTreeSet::from([0])], members).unwrap();
        let entry = Entry { log_id: log_id(3, 7), payload: Payload::Membership(membership) };
        let mut later = encode(&entry).unwrap();
        let name = later.windows(5).position(|at| at == b"\xa4name").unwrap();
        assert_eq!(later[name - 1], 0x81, "a map of one field");
        later[name - 1] = 0x82;
        later.splice(name..name, *b"\xa3new\xc3");
        let crc = crc32c::crc32c(&later[CHECKSUM..]);
        later[..CHECKSUM].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(decode(later.clone().into()).unwrap(), entry);
        assert_eq!(hash_of_encoded(&later), sha256(&[&later[CHECKSUM..]]));
        assert_ne!(hash_of_encoded(&later), hash(&entry).unwrap());
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
