//! The consortium's index key: what sites can search for and outsiders cannot guess.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::Secret;
use crate::types::{Subject, Tag};

/// HMAC-SHA256 key that all sites of a consortium share. Each use has a domain of its own.
///
/// Held as the state that the key makes: every message takes several MACs, and each would begin with it.
#[derive(Clone)]
pub struct IndexKey(Hmac<Sha256>);

const CALLER: u8 = 0;
const TAG: u8 = 1;
const SUBJECT: u8 = 2;
const KEY_REF: u8 = 3;
const SHRED: u8 = 4;
const OWN_TAG: u8 = 5;

impl IndexKey {
    pub(crate) fn new(secret: &Secret) -> IndexKey {
        let keyed = <Hmac<Sha256> as Mac>::new_from_slice(secret.expose());
        IndexKey(keyed.unwrap_or_else(|_| unreachable!("HMAC takes keys of every length")))
    }

    /// A hash that only holders of the index key can compute: dedupe keys and the like.
    pub fn keyed_hash(&self, domain: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.mac(CALLER, domain.as_bytes(), parts)
    }

    /// The search key for `value` of the field `name`.
    pub fn tag(&self, name: &str, value: &[u8]) -> Tag {
        Tag(first_16(self.mac(TAG, name.as_bytes(), &[value])))
    }

    /// The subject that `bytes` name.
    pub fn subject(&self, bytes: &[u8]) -> Subject {
        Subject(self.mac(SUBJECT, b"", &[bytes]))
    }

    /// What hides a key id in a leaf; another one at each position.
    pub(crate) fn key_ref_mask(&self, position: &[u8]) -> [u8; 16] {
        first_16(self.mac(KEY_REF, b"", &[position]))
    }

    /// What hides a subject and a key id, the `n`-th of those that the leaf at this position names.
    pub(crate) fn shred_mask(&self, position: &[u8], n: u16) -> ([u8; 32], [u8; 16]) {
        let mask = |what: &[u8]| self.mac(SHRED, what, &[position, &n.to_be_bytes()]);
        (mask(b"subject"), first_16(mask(b"key")))
    }

    /// A search key of the ledger's own: no caller's tag is ever the same.
    pub(crate) fn own_tag(&self, name: &str) -> Tag {
        Tag(first_16(self.mac(OWN_TAG, name.as_bytes(), &[])))
    }

    /// HMAC(use ‖ per part u64 length, bytes): no two lists of parts give the same input.
    fn mac(&self, use_of: u8, domain: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(&[use_of]);
        for part in std::iter::once(&domain).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexKey(redacted)")
    }
}

fn first_16(hash: [u8; 32]) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_change_and_never_meet() {
        let key = IndexKey::new(&Secret::new([1; 32]));
        assert_eq!(
            hex::encode(key.keyed_hash("dedupe", &[b"a", b"b"])),
            "9f41910ac4c8413182235e557ed8000c5df9cb2855652a0b9d3dcd60b808a1c1"
        );
        assert_eq!(hex::encode(key.tag("patient", b"x").0), "edf9836449455674fc1ffcd767b512a4");
        assert_eq!(
            hex::encode(key.subject(b"x").0),
            "a4172a51d18dce8812a01289d9562fe5a3d3325031a55ce616fcf0d7318ffba3"
        );
        let (subject, id) = key.shred_mask(b"x", 1);
        assert_eq!(hex::encode(key.own_tag("shred").0), "c29fc43acb1013c7bafd25efc3ae5549");
        assert_eq!(
            hex::encode([&subject[..], &id].concat()),
            "083ecd7b804d3fce6013fdb291e7f17871b31c3aac69d71d1edd65961ce25012df540c8849fa223e6fc8605a8b3d911c"
        );
        assert_ne!(key.shred_mask(b"x", 2), (subject, id));
        assert_ne!(key.keyed_hash("d", &[b"ab", b""]), key.keyed_hash("d", &[b"a", b"b"]));
        assert_ne!(key.keyed_hash("d", &[b"ab"]), key.keyed_hash("da", &[b"b"]));
        assert_ne!(key.keyed_hash("patient", &[b"x"])[..16], key.tag("patient", b"x").0);
        assert_eq!(format!("{key:?}"), "IndexKey(redacted)");
    }
}
