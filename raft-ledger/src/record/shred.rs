//! What a leaf of kind [`SHRED`](crate::types) says: which keys its site has destroyed, and whose they were.

use bytes::Bytes;

use super::reader::{Reader, RecordError};
use crate::types::Subject;

const VERSION: u8 = 1;
/// Of one leaf: each subject has a key, and one more for each time that it was shredded or rotated.
pub const MAX_SHRED_KEYS: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shred {
    /// Subject and key id, masked by the leaf's position as it stands in the ledger.
    pub keys: Vec<(Subject, [u8; 16])>,
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
        out
    }

    pub fn decode(bytes: Bytes) -> Result<Shred, RecordError> {
        let mut reader = Reader::new("shred", bytes);
        reader.version(VERSION)?;
        let count = usize::from(reader.u16()?);
        if count == 0 || count > MAX_SHRED_KEYS {
            return Err(reader.error("no keys, or more than one leaf may name"));
        }
        let mut keys = Vec::with_capacity(count);
        for _ in 0..count {
            keys.push((Subject(reader.hash()?), reader.array()?));
        }
        reader.end()?;
        Ok(Shred { keys })
    }

    /// Masks and unmasks. `mask`: of the n-th key, 32 bytes for its subject and 16 for its id.
    pub fn masked(mut self, mask: impl Fn(u16) -> ([u8; 32], [u8; 16])) -> Shred {
        for ((subject, id), n) in self.keys.iter_mut().zip(0..) {
            let (subject_mask, id_mask) = mask(n);
            subject.0.iter_mut().zip(subject_mask).for_each(|(byte, mask)| *byte ^= mask);
            id.iter_mut().zip(id_mask).for_each(|(byte, mask)| *byte ^= mask);
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
        let shred = Shred { keys: vec![(Subject([1; 32]), [2; 16]), (Subject([3; 32]), [4; 16])] };
        let golden =
            format!("010002{}{}{}{}", "01".repeat(32), "02".repeat(16), "03".repeat(32), "04".repeat(16));
        assert_eq!(hex::encode(shred.encode()), golden);
        assert_eq!(Shred::decode(shred.encode().into()).unwrap(), shred);
        let mask = |n: u16| ([n as u8; 32], [n as u8 + 1; 16]);
        let masked = shred.clone().masked(mask);
        assert_eq!(masked.keys, [(Subject([1; 32]), [3; 16]), (Subject([2; 32]), [6; 16])]);
        assert_eq!(masked.masked(mask), shred);
        for cut in 0..shred.encode().len() {
            assert!(Shred::decode(shred.encode()[..cut].to_vec().into()).is_err());
        }
        assert!(Shred::decode(Shred { keys: vec![] }.encode().into()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Shred::decode(bytes.into());
        }
    }
}
