//! Proofs: made from tiles, checked from hashes alone.

use crate::record::Hash;
use crate::types::LedgerError;

use super::tile::{TileReader, read_node};
use super::{empty_root, node_hash};

/// Root of the first `size` leaves.
pub fn root_at<R: TileReader + ?Sized>(reader: &R, size: u64) -> Result<Hash, LedgerError> {
    if size == 0 { Ok(empty_root()) } else { range_root(reader, 0, size) }
}

/// RFC 6962 §2.1.1: PATH(index, D[size]), from the leaf upwards. An error if `index` ≥ `size`.
pub fn inclusion_proof<R: TileReader + ?Sized>(
    reader: &R,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, LedgerError> {
    if index >= size {
        return Err(LedgerError::Config(format!("no entry {index} in a ledger of {size}")));
    }
    let (mut lo, mut hi) = (0, size);
    let mut path = Vec::new();
    while hi - lo > 1 {
        let middle = lo + split(hi - lo);
        if index < middle {
            path.push(range_root(reader, middle, hi)?);
            hi = middle;
        } else {
            path.push(range_root(reader, lo, middle)?);
            lo = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// RFC 6962 §2.1.2: PROOF(old, D[new]); empty if `old` is 0 or `new`. An error if `old` > `new`.
pub fn consistency_proof<R: TileReader + ?Sized>(
    reader: &R,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, LedgerError> {
    if old > new {
        return Err(LedgerError::Config(format!("size {old} is beyond the ledger's {new}")));
    }
    let mut path = Vec::new();
    if old == 0 || old == new {
        return Ok(path);
    }
    let (mut lo, mut hi) = (0, new);
    while old != hi {
        let middle = lo + split(hi - lo);
        if old <= middle {
            path.push(range_root(reader, middle, hi)?);
            hi = middle;
        } else {
            path.push(range_root(reader, lo, middle)?);
            lo = middle;
        }
    }
    if lo > 0 {
        path.push(range_root(reader, lo, hi)?);
    }
    path.reverse();
    Ok(path)
}

/// RFC 9162 §2.1.3.2.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for step in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(step, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// RFC 9162 §2.1.4.2; size 0 is consistent with everything if its root is the empty one.
pub fn verify_consistency(old: u64, new: u64, proof: &[Hash], old_root: &Hash, new_root: &Hash) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    // An old size that is a power of two leaves out its own root, which the verifier has.
    let (first, steps) = if old.is_power_of_two() {
        (*old_root, proof)
    } else {
        match proof.split_first() {
            Some((first, steps)) => (*first, steps),
            None => return false,
        }
    };
    let (mut old_hash, mut new_hash) = (first, first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(step, &old_hash);
            new_hash = node_hash(step, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// MTH(D[lo:hi]), `lo` a multiple of the least power of two that is at least hi - lo.
fn range_root<R: TileReader + ?Sized>(reader: &R, lo: u64, hi: u64) -> Result<Hash, LedgerError> {
    let count = hi - lo;
    if count.is_power_of_two() {
        let level = count.ilog2();
        return read_node(reader, level, lo >> level);
    }
    let middle = lo + split(count);
    Ok(node_hash(&range_root(reader, lo, middle)?, &range_root(reader, middle, hi)?))
}

/// The largest power of two below `count` (`count` > 1).
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}
