//! C2SP `tlog-tiles`: 256 hashes of one tree level side by side, levels 0, 8, 16 …

use crate::record::Hash;
use crate::types::LedgerError;

use super::node_hash;

/// Tree levels that one tile spans.
pub(super) const TILE_HEIGHT: u32 = 8;
/// Hashes in a full tile.
pub(super) const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;

/// Where a tile is: its level (0 holds leaf hashes, 1 the roots of full level-0 tiles …) and place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileKey {
    pub level: u8,
    pub index: u64,
}

impl TileKey {
    /// Key in the store: sorts by level, then index.
    pub fn encode(self) -> [u8; 9] {
        let mut key = [self.level; 9];
        key[1..].copy_from_slice(&self.index.to_be_bytes());
        key
    }

    pub fn decode(key: &[u8]) -> Option<TileKey> {
        let (level, index) = key.split_first()?;
        Some(TileKey { level: *level, index: u64::from_be_bytes(index.try_into().ok()?) })
    }

    /// `tile/<level>/<index>` with `.p/<width>` if `width` < 256 (C2SP tlog-tiles, "Merkle tree").
    pub fn path(self, width: u64) -> String {
        let mut path = format!("tile/{}/{}", self.level, index_path(self.index));
        if width < TILE_WIDTH {
            path.push_str(&format!(".p/{width}"));
        }
        path
    }

    /// Hashes that this tile has in a tree of `size` leaves: 0 to 256.
    pub fn width(self, size: u64) -> u64 {
        let at_level = size.checked_shr(u32::from(self.level) * TILE_HEIGHT).unwrap_or(0);
        at_level.saturating_sub(self.index.saturating_mul(TILE_WIDTH)).min(TILE_WIDTH)
    }
}

/// 1234067 → `x001/x234/067`.
fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// Where tiles are kept: the concatenated hashes of a tile, full or partial.
pub trait TileReader {
    fn tile(&self, key: TileKey) -> Result<Option<Vec<u8>>, LedgerError>;
}

/// The first `width` hashes of a tile.
pub(super) fn read_hashes<R: TileReader + ?Sized>(
    reader: &R,
    key: TileKey,
    width: u64,
) -> Result<Vec<Hash>, LedgerError> {
    let damaged = || LedgerError::Damaged(format!("tile {}: missing or too short", key.path(width)));
    let bytes = reader.tile(key)?.ok_or_else(damaged)?;
    let (hashes, _) = bytes.as_chunks::<32>();
    hashes.get(..width as usize).map(<[Hash]>::to_vec).ok_or_else(damaged)
}

/// The node `index` of a tree level: root of the 2^level leaves from index · 2^level.
pub(super) fn read_node<R: TileReader + ?Sized>(
    reader: &R,
    level: u32,
    index: u64,
) -> Result<Hash, LedgerError> {
    let (tile_level, within) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
    let first = index << within;
    let key = TileKey { level: tile_level as u8, index: first / TILE_WIDTH };
    let offset = (first % TILE_WIDTH) as usize;
    let width = 1 << within;
    let mut hashes = read_hashes(reader, key, (offset + width) as u64)?.split_off(offset);
    while hashes.len() > 1 {
        hashes = hashes.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    hashes.pop().ok_or_else(|| LedgerError::Damaged(format!("tile {}: empty", key.path(1))))
}
