//! What sites ask one another about keys, inside a frame of kind `Keys`. The keys are always those of the site that
//! asks, as its certificate names it.
//!
//! ```text
//! 1 hold    keys, [32] subject ‖ [16] id ‖ [32] key each → once they are on the disk, the ids of those refused because
//!           they were shredded
//! 2 digest  → u64 count ‖ [16] XOR of the ids that are held
//! 3 list    nothing, or an id → the ids behind it, in their order, at most 4096; fewer: there are no more
//! 4 give    ids → those keys that are held
//! 5 drop    ids → once none of them is on the disk
//! ```

use super::{Digest, KEYS_MAX, KeyId, SubjectKey};
use crate::keys::Secret;
use crate::types::Subject;

const ID_LEN: usize = 16;
const KEY_LEN: usize = 32 + ID_LEN + 32;

pub(super) enum Request {
    Hold(Vec<SubjectKey>),
    Digest,
    List(Option<KeyId>),
    Give(Vec<KeyId>),
    Drop(Vec<KeyId>),
}

impl Request {
    pub(super) fn encode(&self) -> bytes::Bytes {
        let (op, content) = match self {
            Request::Hold(keys) => (1, encode_keys(keys)),
            Request::Digest => (2, Vec::new()),
            Request::List(after) => (3, after.map(Vec::from).unwrap_or_default()),
            Request::Give(ids) => (4, ids.concat()),
            Request::Drop(ids) => (5, ids.concat()),
        };
        [&[op], content.as_slice()].concat().into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Request> {
        let (op, content) = bytes.split_first()?;
        match op {
            1 => decode_keys(content).map(Request::Hold),
            2 => content.is_empty().then_some(Request::Digest),
            3 if content.is_empty() => Some(Request::List(None)),
            3 => content.try_into().ok().map(|after| Request::List(Some(after))),
            4 => decode_ids(content).map(Request::Give),
            5 => decode_ids(content).map(Request::Drop),
            _ => None,
        }
    }
}

pub(super) fn encode_keys(keys: &[SubjectKey]) -> Vec<u8> {
    let mut out = Vec::with_capacity(keys.len() * KEY_LEN);
    for SubjectKey { subject, id, key } in keys {
        out.extend_from_slice(&subject.0);
        out.extend_from_slice(id);
        out.extend_from_slice(key.expose());
    }
    out
}

pub(super) fn decode_keys(bytes: &[u8]) -> Option<Vec<SubjectKey>> {
    parts::<KEY_LEN>(bytes)?
        .map(|part| {
            let (subject, rest) = part.split_first_chunk::<32>()?;
            let (id, key) = rest.split_first_chunk::<ID_LEN>()?;
            Some(SubjectKey { subject: Subject(*subject), id: *id, key: Secret::new(key.try_into().ok()?) })
        })
        .collect()
}

pub(super) fn decode_ids(bytes: &[u8]) -> Option<Vec<KeyId>> {
    parts::<ID_LEN>(bytes)?.map(|part| part.try_into().ok()).collect()
}

fn parts<const LEN: usize>(bytes: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let whole = bytes.len().is_multiple_of(LEN) && bytes.len() <= KEYS_MAX * LEN;
    whole.then(|| bytes.chunks(LEN))
}

pub(super) fn encode_digest(digest: &Digest) -> Vec<u8> {
    [digest.count.to_be_bytes().as_slice(), &digest.fold].concat()
}

pub(super) fn decode_digest(bytes: &[u8]) -> Option<Digest> {
    let (count, fold) = bytes.split_first_chunk::<8>()?;
    Some(Digest { count: u64::from_be_bytes(*count), fold: fold.try_into().ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> SubjectKey {
        SubjectKey { subject: Subject([n; 32]), id: [n + 1; 16], key: Secret::new([n + 2; 32]) }
    }

    #[test]
    fn the_bytes_are_stable_and_read_again() {
        let of = |n: u8| {
            format!(
                "{}{}{}",
                format!("{n:02x}").repeat(32),
                format!("{:02x}", n + 1).repeat(16),
                format!("{:02x}", n + 2).repeat(32)
            )
        };
        let id = |n: u8| format!("{n:02x}").repeat(16);
        for (request, golden) in [
            (Request::Hold(vec![key(1), key(5)]), format!("01{}{}", of(1), of(5))),
            (Request::Digest, "02".into()),
            (Request::List(None), "03".into()),
            (Request::List(Some([7; 16])), format!("03{}", id(7))),
            (Request::Give(vec![[8; 16]]), format!("04{}", id(8))),
            (Request::Drop(vec![[8; 16], [9; 16]]), format!("05{}{}", id(8), id(9))),
        ] {
            let bytes = request.encode();
            assert_eq!(hex::encode(&bytes), golden);
            assert_eq!(Request::decode(&bytes).unwrap().encode(), bytes);
        }
        let digest = Digest { count: 258, fold: [3; 16] };
        assert_eq!(hex::encode(encode_digest(&digest)), format!("0000000000000102{}", id(3)));
        assert_eq!(decode_digest(&encode_digest(&digest)), Some(digest));
    }

    #[test]
    fn a_part_of_a_key_and_too_many_are_refused() {
        let whole = Request::Hold(vec![key(1)]).encode();
        for len in 2..whole.len() {
            assert!(Request::decode(&whole[..len]).is_none(), "{len} bytes");
        }
        assert!(Request::decode(&Request::Give(vec![[0; 16]; KEYS_MAX]).encode()).is_some());
        assert!(Request::decode(&Request::Give(vec![[0; 16]; KEYS_MAX + 1]).encode()).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::decode(&bytes);
            let _ = decode_digest(&bytes);
        }
    }
}
