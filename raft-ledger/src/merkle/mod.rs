//! The RFC 6962 Merkle tree over leaf records, kept as C2SP `tlog-tiles` of height 8.
//!
//! In apply: [`Tree::append`] for each new leaf, then [`Tree::take_writes`] once: every tile that changed, whole
//! or partial, keyed by [`TileKey`] (a fuller tile replaces its partial form under the same key). Put these into
//! the same write batch as the leaves; [`Tree::root`] costs O(log n). At start: [`Tree::load`] reads the tiles at
//! the right edge, one a level. Proofs and older roots come from any [`TileReader`].

mod proof;
mod tile;
mod tree;

pub use self::proof::{consistency_proof, inclusion_proof, root_at, verify_consistency, verify_inclusion};
pub use self::tile::{TileKey, TileReader};
pub use self::tree::Tree;

use crate::record::{Hash, sha256};

/// RFC 6962 §2.1: SHA-256(0x00 ‖ record).
pub fn leaf_hash(record: &[u8]) -> Hash {
    sha256(&[&[0], record])
}

/// RFC 6962 §2.1: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// RFC 6962 §2.1: root of the tree without leaves.
pub fn empty_root() -> Hash {
    sha256(&[])
}

#[cfg(test)]
mod tests;
