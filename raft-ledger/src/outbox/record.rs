//! The bytes of one draft that waits in the outbox. Everything is big-endian.
//!
//! ```text
//! key:    "outbox/" ‖ u64 number; numbers have no gap, the lowest is forwarded first
//! value:  u8 version = 1 ‖ u64 offset ‖ i64 put at (ms since the Unix epoch) ‖ [16] key id ‖ sealed (seal.rs)
//!         offset: bytes of all values before this one, so that two of them tell what lies between
//! sealed, bound to "outbox" ‖ number ‖ version ‖ offset ‖ put at:
//!         u16 kind ‖ u8 count, [16] each: tags ‖ [32] dedupe key ‖ i64 event, message, received ‖ payload
//! index:  "outbox-key/" ‖ first 16 bytes of the dedupe key → u64 number
//! ```

use bytes::Bytes;

use crate::record::{MAX_TAGS, Reader, RecordError};
use crate::seal::{ASIDE_OVERHEAD_BYTES, Sealer};
use crate::{Draft, LedgerError, Tag};

const VERSION: u8 = 1;
const CLEAR_LEN: usize = 1 + 8 + 8;
const PLAIN_LEN: usize = 2 + 1 + 32 + 3 * 8;

pub(super) const PREFIX: &[u8] = b"outbox/";
pub(super) const INDEX_PREFIX: &[u8] = b"outbox-key/";

/// What stands in the clear before a sealed draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) put_at_ms: i64,
}

pub(super) fn record_key(number: u64) -> Vec<u8> {
    [PREFIX, &number.to_be_bytes()].concat()
}

/// `dedupe`: the whole key, or its first 16 bytes.
pub(super) fn index_key(dedupe: &[u8]) -> Vec<u8> {
    [INDEX_PREFIX, dedupe.get(..16).unwrap_or(dedupe)].concat()
}

pub(super) fn number_of(key: &[u8]) -> Option<u64> {
    key.strip_prefix(PREFIX)?.try_into().ok().map(u64::from_be_bytes)
}

/// Bytes of the value that the draft will be.
pub(super) fn value_len(draft: &Draft) -> u64 {
    (CLEAR_LEN + ASIDE_OVERHEAD_BYTES + PLAIN_LEN + 16 * draft.tags.len() + draft.payload.len()) as u64
}

pub(super) fn seal(
    sealer: &Sealer,
    place: &Place,
    draft: &Draft,
    dedupe: &[u8; 32],
) -> Result<Vec<u8>, LedgerError> {
    let clear = place.encode();
    let plain = encode(draft, dedupe);
    let sealed =
        sealer.seal_aside(&draft.subject, &bound(place.number, &clear), &plain, &mut crate::random::rng())?;
    Ok([clear.as_slice(), &sealed].concat())
}

/// `None` if the value is damaged, or its subject's key is gone.
pub(super) fn open(sealer: &Sealer, number: u64, value: &[u8]) -> Option<(Place, Draft)> {
    let place = Place::decode(number, value)?;
    let (clear, sealed) = value.split_at_checked(CLEAR_LEN)?;
    let (subject, plain) = sealer.open_aside(&bound(number, clear), sealed)?;
    let mut draft = decode(plain.into()).ok()?;
    draft.subject = subject;
    Some((place, draft))
}

/// Whether nobody can open the value any more.
pub(super) fn is_shredded(sealer: &Sealer, value: &[u8]) -> bool {
    value.split_at_checked(CLEAR_LEN).is_some_and(|(_, sealed)| sealer.is_shredded_aside(sealed))
}

impl Place {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.put_at_ms.to_be_bytes());
        out
    }

    pub(super) fn decode(number: u64, value: &[u8]) -> Option<Place> {
        let (offset, rest) = value.strip_prefix(&[VERSION])?.split_first_chunk::<8>()?;
        let put_at_ms = i64::from_be_bytes(*rest.first_chunk::<8>()?);
        Some(Place { number, offset: u64::from_be_bytes(*offset), put_at_ms })
    }
}

fn bound(number: u64, clear: &[u8]) -> Vec<u8> {
    [b"outbox".as_slice(), &number.to_be_bytes(), clear].concat()
}

fn encode(draft: &Draft, dedupe: &[u8; 32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PLAIN_LEN + 16 * draft.tags.len() + draft.payload.len());
    out.extend_from_slice(&draft.kind.to_be_bytes());
    // At most MAX_TAGS: checked when it was put.
    out.push(draft.tags.len() as u8);
    draft.tags.iter().for_each(|tag| out.extend_from_slice(&tag.0));
    out.extend_from_slice(dedupe);
    for time in [draft.event_time_ms, draft.message_time_ms, draft.received_time_ms] {
        out.extend_from_slice(&time.to_be_bytes());
    }
    out.extend_from_slice(&draft.payload);
    out
}

/// All but the subject, which the key says.
fn decode(plain: Bytes) -> Result<Draft, RecordError> {
    let mut reader = Reader::new("outbox draft", plain);
    let kind = reader.u16()?;
    let count = usize::from(reader.u8()?);
    if count > MAX_TAGS {
        return Err(reader.error("more tags than an entry may have"));
    }
    let tags = (0..count).map(|_| reader.array().map(Tag)).collect::<Result<_, _>>()?;
    let dedupe = Some(reader.array()?);
    let (event_time_ms, message_time_ms, received_time_ms) = (reader.i64()?, reader.i64()?, reader.i64()?);
    let payload = reader.take(reader.remaining())?;
    let subject = crate::Subject([0; 32]);
    Ok(Draft { kind, subject, tags, dedupe, event_time_ms, message_time_ms, received_time_ms, payload })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Subject;

    fn draft() -> Draft {
        Draft {
            kind: 0x0102,
            subject: Subject([7; 32]),
            tags: vec![Tag([3; 16])],
            dedupe: Some([4; 32]),
            event_time_ms: 5,
            message_time_ms: -1,
            received_time_ms: 6,
            payload: Bytes::from_static(b"payload"),
        }
    }

    #[test]
    fn the_layout_is_stable() {
        let golden = format!(
            "010201{}{}0000000000000005ffffffffffffffff00000000000000067061796c6f6164",
            "03".repeat(16),
            "04".repeat(32)
        );
        assert_eq!(hex::encode(encode(&draft(), &[4; 32])), golden);
        let place = Place { number: 9, offset: 258, put_at_ms: 3 };
        assert_eq!(hex::encode(place.encode()), "0100000000000001020000000000000003");
        assert_eq!(Place::decode(9, &place.encode()), Some(place));
        assert_eq!(hex::encode(record_key(258)), hex::encode("outbox/") + "0000000000000102");
        assert_eq!(index_key(&[4; 32]), index_key(&[4; 16]));
        assert_eq!(number_of(&record_key(258)), Some(258));
        let read = decode(encode(&draft(), &[4; 32]).into()).unwrap();
        assert_eq!((read.kind, read.tags, read.dedupe), (0x0102, draft().tags, draft().dedupe));
        assert_eq!((read.event_time_ms, read.message_time_ms, read.received_time_ms), (5, -1, 6));
        assert_eq!(read.payload, draft().payload);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Place::decode(0, &bytes);
            let _ = decode(bytes.into());
        }
    }
}
