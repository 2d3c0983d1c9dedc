//! The growing edge of the tree, in memory: O(log n) hashes and one tile a level.

use crate::record::Hash;
use crate::types::LedgerError;

use super::tile::{TILE_HEIGHT, TILE_WIDTH, TileKey, TileReader, read_hashes};
use super::{empty_root, node_hash};

#[derive(Clone, Debug, Default)]
pub struct Tree {
    size: u64,
    /// Roots of the perfect subtrees that make up the tree, largest first (a compact range from 0).
    peaks: Vec<Hash>,
    /// Per tile level the hashes of its last tile; at most 256 each.
    edges: Vec<Edge>,
    /// Tiles filled since the last `take_writes`.
    filled: Vec<(TileKey, Vec<u8>)>,
}

#[derive(Clone, Debug, Default)]
struct Edge {
    hashes: Vec<Hash>,
    changed: bool,
}

impl Tree {
    /// Reads the right edge of the tree of `size` leaves. Compare `root()` with the one that was kept.
    pub fn load<R: TileReader + ?Sized>(size: u64, reader: &R) -> Result<Tree, LedgerError> {
        let mut tree = Tree { size, ..Tree::default() };
        let mut at_level = size;
        while at_level > 0 {
            let key = TileKey { level: tree.edges.len() as u8, index: (at_level - 1) / TILE_WIDTH };
            let hashes = read_hashes(reader, key, key.width(size))?;
            tree.edges.push(Edge { hashes, changed: false });
            at_level /= TILE_WIDTH;
        }
        for edge in tree.edges.iter().rev() {
            // The low bits of a level's count are the perfect subtrees that end in its partial tile.
            let mut rest = edge.hashes.as_slice();
            while !rest.is_empty() && rest.len() < TILE_WIDTH as usize {
                let (subtree, after) = rest.split_at(1 << rest.len().ilog2());
                tree.peaks.push(perfect_root(subtree));
                rest = after;
            }
        }
        Ok(tree)
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf hash; returns its index.
    pub fn append(&mut self, leaf_hash: Hash) -> u64 {
        let index = self.size;
        let (mut hash, mut level, mut count) = (leaf_hash, 0, index);
        self.push_edge(0, index, hash);
        while count & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = node_hash(&left, &hash);
            level += 1;
            count >>= 1;
            if level % TILE_HEIGHT == 0 {
                self.push_edge((level / TILE_HEIGHT) as usize, count, hash);
            }
        }
        self.peaks.push(hash);
        self.size = index + 1;
        index
    }

    /// RFC 6962 §2.1 root over all leaves.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }

    /// Every tile changed since the last call, once, in its present width: full ones are final.
    pub fn take_writes(&mut self) -> Vec<(TileKey, Vec<u8>)> {
        let mut writes = std::mem::take(&mut self.filled);
        for (level, edge) in self.edges.iter_mut().enumerate() {
            if std::mem::take(&mut edge.changed) {
                let at_level = self.size >> (TILE_HEIGHT as usize * level);
                let key = TileKey { level: level as u8, index: at_level.saturating_sub(1) / TILE_WIDTH };
                writes.push((key, edge.hashes.concat()));
            }
        }
        writes
    }

    /// `position`: number of `hash` in its tile level.
    fn push_edge(&mut self, tile_level: usize, position: u64, hash: Hash) {
        if self.edges.len() <= tile_level {
            self.edges.resize_with(tile_level + 1, Edge::default);
        }
        let edge = &mut self.edges[tile_level];
        if edge.hashes.len() as u64 == TILE_WIDTH {
            edge.hashes.clear();
        }
        edge.hashes.push(hash);
        edge.changed = true;
        if edge.hashes.len() as u64 == TILE_WIDTH {
            let key = TileKey { level: tile_level as u8, index: position / TILE_WIDTH };
            self.filled.push((key, edge.hashes.concat()));
            edge.changed = false;
        }
    }
}

fn perfect_root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty_root(),
        [one] => *one,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&perfect_root(left), &perfect_root(right))
        }
    }
}
