//! What a leaf of kind [`SHRED`](crate::types) says: which keys its site has destroyed, and whose they were.

use bytes::Bytes;

use super::reader::{Reader, RecordError};
use crate::types::Subject;

/// Version 1 did not say who ordered it.
const VERSION: u8 = 2;
/// Bytes of that name.
pub const MAX_ORDERED_BY_BYTES: usize = 128;
/// Of one leaf: each subject has a key, and one more for each time that it was shredded or rotated.
pub const MAX_SHRED_KEYS: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shred {
    /// Subject and key id, masked by the leaf's position as it stands in the ledger.
    pub keys: Vec<(Subject, [u8; 16])>,
    /// Who ordered it: UTF-8, masked as well.
    pub by: Vec<u8>,
}

impl Shred {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        // At most MAX_SHRED_KEYS: checked where one is made.
        out.extend_from_slice(&(self.keys.len() as u16).to_be_bytes());
        for (subject, id) in &self.keys {
            out.extend_from_slice(&subject.0);
            out.extend_from_slice(id);
        }
        // At most MAX_ORDERED_BY_BYTES, too.
        out.push(self.by.len() as u8);
        out.extend_from_slice(&self.by);
        out
    }

    pub fn decode(bytes: Bytes) -> Result<Shred, RecordError> {
        let mut reader = Reader::new("shred", bytes);
        let version = reader.u8()?;
        if !(1..=VERSION).contains(&version) {
            return Err(reader.error("of another version than this release reads"));
        }
        let count = usize::from(reader.u16()?);
        if count == 0 || count > MAX_SHRED_KEYS {
            return Err(reader.error("no keys, or more than one leaf may name"));
        }
        let mut keys = Vec::with_capacity(count);
        for _ in 0..count {
            keys.push((Subject(reader.hash()?), reader.array()?));
        }
        let len = if version == 1 { 0 } else { usize::from(reader.u8()?) };
        if len > MAX_ORDERED_BY_BYTES {
            return Err(reader.error("a name is longer than it may be"));
        }
        let by = reader.take(len)?.to_vec();
        reader.end()?;
        Ok(Shred { keys, by })
    }

    /// Masks and unmasks. `mask`: of the n-th key, 32 bytes for its subject and 16 for its id.
    pub fn masked(mut self, mask: impl Fn(u16) -> ([u8; 32], [u8; 16])) -> Shred {
        for ((subject, id), n) in self.keys.iter_mut().zip(0..) {
            let (subject_mask, id_mask) = mask(n);
            subject.0.iter_mut().zip(subject_mask).for_each(|(byte, mask)| *byte ^= mask);
            id.iter_mut().zip(id_mask).for_each(|(byte, mask)| *byte ^= mask);
        }
        // Behind the last key that there may be.
        for (part, n) in self.by.chunks_mut(32).zip(MAX_SHRED_KEYS as u16..) {
            part.iter_mut().zip(mask(n).0).for_each(|(byte, mask)| *byte ^= mask);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_layout_is_stable() {
        let keys = vec![(Subject([1; 32]), [2; 16]), (Subject([3; 32]), [4; 16])];
        let shred = Shred { keys, by: b"ada".to_vec() };
        let golden =
            format!("0002{}{}{}{}", "01".repeat(32), "02".repeat(16), "03".repeat(32), "04".repeat(16));
        assert_eq!(hex::encode(shred.encode()), format!("02{golden}03616461"));
        let former = Shred::decode(hex::decode(format!("01{golden}")).unwrap().into()).unwrap();
        assert_eq!(former, Shred { by: Vec::new(), ..shred.clone() });
        assert_eq!(Shred::decode(shred.encode().into()).unwrap(), shred);
        let mask = |n: u16| match n {
            0..1024 => ([n as u8; 32], [n as u8 + 1; 16]),
            _ => ([7; 32], [0; 16]),
        };
        let masked = shred.clone().masked(mask);
        assert_eq!(masked.by, [b'a' ^ 7, b'd' ^ 7, b'a' ^ 7]);
        assert_eq!(masked.keys, [(Subject([1; 32]), [3; 16]), (Subject([2; 32]), [6; 16])]);
        assert_eq!(masked.masked(mask), shred);
        for cut in 0..shred.encode().len() {
            assert!(Shred::decode(shred.encode()[..cut].to_vec().into()).is_err());
        }
        assert!(Shred::decode(Shred { keys: vec![], by: vec![] }.encode().into()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Shred::decode(bytes.into());
        }
    }
}
