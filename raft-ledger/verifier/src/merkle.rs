//! RFC 6962 trees: roots from leaves, and proofs checked from hashes alone.

use sha2::{Digest, Sha256};

pub(crate) type Hash = [u8; 32];

pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// §2.1: MTH of one record.
pub(crate) fn leaf_hash(record: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(record).finalize().into()
}

pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    sha256(&bytes)
}

/// Roots of the complete subtrees, largest first: enough to add leaves and to tell the root.
#[derive(Default)]
pub(crate) struct Tree {
    size: u64,
    /// One for each 1 in the binary form of `size`.
    complete: Vec<Hash>,
}

impl Tree {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Each trailing 1 of the size is a complete subtree that the new leaf completes to the next larger.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.complete.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.complete.push(hash);
        self.size += 1;
    }

    pub(crate) fn root(&self) -> Hash {
        let joined = self.complete.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
        joined.unwrap_or_else(|| sha256(b""))
    }
}

/// The root that a path from `leaf` leads to; `None` if the path has not the length that index and size ask for.
pub(crate) fn root_from_path(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    // Levels at which the subtree of the leaf has a sibling within the tree: below the point where the ways to the
    // leaf and to the last leaf part there always is one, above it only to the left.
    let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
    let above = index.checked_shr(inner).unwrap_or(0).count_ones();
    if path.len() as u64 != u64::from(inner) + u64::from(above) {
        return None;
    }
    let (below, border) = path.split_at(inner as usize);
    let hash = below.iter().enumerate().fold(leaf, |hash, (level, sibling)| {
        if index >> level & 1 == 0 { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) }
    });
    Some(border.iter().fold(hash, |hash, left| node_hash(left, &hash)))
}

/// §2.1.2: whether the tree of `old` leaves with `old_root` is the beginning of that of `new` leaves.
pub(crate) fn is_consistent(old: u64, new: u64, proof: &[Hash], old_root: &Hash, new_root: &Hash) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == sha256(b"");
    }
    // The largest complete subtree at the end of the old tree: the proof starts from its root.
    let level = old.trailing_zeros();
    let (seed, rest) = if old.is_power_of_two() {
        (*old_root, proof)
    } else {
        match proof.split_first() {
            Some((seed, rest)) => (*seed, rest),
            None => return false,
        }
    };
    let node = (old - 1) >> level;
    let last = (new - 1) >> level;
    let inner = (u64::BITS - (node ^ last).leading_zeros()) as usize;
    let above = node.checked_shr(inner as u32).unwrap_or(0).count_ones() as usize;
    if rest.len() != inner + above {
        return false;
    }
    let (below, border) = rest.split_at(inner);
    let (mut old_hash, mut new_hash) = (seed, seed);
    for (at, sibling) in below.iter().enumerate() {
        if node >> at & 1 == 1 {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
    }
    for left in border {
        old_hash = node_hash(left, &old_hash);
        new_hash = node_hash(left, &new_hash);
    }
    old_hash == *old_root && new_hash == *new_root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// §2.1 as it is written.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(b""),
            [one] => *one,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&mth(left), &mth(right))
            }
        }
    }

    /// §2.1.1 as it is written.
    fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() <= 1 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        let (mut inner, sibling) = if index < left.len() {
            (path(index, left), mth(right))
        } else {
            (path(index - left.len(), right), mth(left))
        };
        inner.push(sibling);
        inner
    }

    /// §2.1.2, SUBPROOF, as it is written.
    fn subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if whole { Vec::new() } else { vec![mth(leaves)] };
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        if old <= left.len() {
            let mut inner = subproof(old, left, whole);
            inner.push(mth(right));
            inner
        } else {
            let mut inner = subproof(old - left.len(), right, false);
            inner.push(mth(left));
            inner
        }
    }

    fn leaves(size: usize) -> Vec<Hash> {
        (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    #[test]
    fn every_small_tree_proves_itself_as_the_rfc_says() {
        let all = leaves(70);
        let mut tree = Tree::default();
        for size in 1..=all.len() {
            let some = &all[..size];
            tree.push(all[size - 1]);
            let root = mth(some);
            assert_eq!((tree.root(), tree.size()), (root, size as u64));
            for index in 0..size {
                let path = path(index, some);
                assert_eq!(root_from_path(some[index], index as u64, size as u64, &path), Some(root));
                let old = index + 1;
                let proof = subproof(old, some, true);
                let holds = |proof: &[Hash], old_root: &Hash| {
                    is_consistent(old as u64, size as u64, proof, old_root, &root)
                };
                assert!(holds(&proof, &mth(&some[..old])), "{old} in {size}");
                assert!(!holds(&proof, &[7; 32]), "{old} in {size}");
                if !proof.is_empty() {
                    assert!(!holds(&proof[1..], &mth(&some[..old])), "{old} in {size}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_else_is_believed_and_nothing_panics(
            index in any::<u64>(), size in any::<u64>(), new in any::<u64>(),
            proof in prop::collection::vec(any::<[u8; 32]>(), 0..70),
        ) {
            prop_assert_ne!(root_from_path([1; 32], index, size, &proof), Some([2; 32]));
            prop_assert!(!is_consistent(size, new, &proof, &[1; 32], &[2; 32]));
        }

        #[test]
        fn a_changed_path_leads_elsewhere(size in 2usize..300, at in any::<prop::sample::Index>(), bit in 0usize..256) {
            let all = leaves(size);
            let index = at.index(size);
            let mut path = path(index, &all);
            let n = at.index(path.len());
            path[n][bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(root_from_path(all[index], index as u64, size as u64, &path), Some(mth(&all)));
        }
    }
}
