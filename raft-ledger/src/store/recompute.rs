//! The root again, from the leaves alone, and whether everything beside them can be read.

use std::path::Path;
use std::sync::Arc;

use super::applied::{Applied, load_applied};
use super::generation::{ALL, Family, Generation, index_key, index_of_key};
use crate::LedgerError;
use crate::cold::{Cold, catalogue};
use crate::export::Progress;
use crate::merkle::{TileReader, Tree, leaf_hash};
use crate::record::{Leaf, sha256};
use crate::types::OWN_KINDS;

/// Whether the leaves of the database in `dir` give the root that it says was applied, and all but the payloads, which
/// their leaves vouch for, can be read: damage must not travel to those who could mend it.
pub(crate) fn check_root(dir: &Path) -> Result<(), LedgerError> {
    let db = Generation::open_read_only(dir)?;
    Recomputed::new(load_applied(&db)?, Payloads::Unread).upto(&db, u64::MAX)?;
    read_others(&db)
}

/// Every block of what [`Recomputed`] does not read.
fn read_others(db: &Generation) -> Result<(), LedgerError> {
    let mut others = ALL.into_iter().filter(|family| !Recomputed::READS.contains(family));
    others.try_for_each(|family| db.read_through(family))
}

/// Whether the database in `dir` is whole: root, the sealed payloads, every block of every family.
pub(crate) fn check_whole(
    dir: &Path,
    payloads: Payloads,
    progress: &mut dyn FnMut(Progress),
) -> Result<Applied, LedgerError> {
    const STEP: u64 = 10_000;
    let db = Generation::open_read_only(dir)?;
    let applied = load_applied(&db)?;
    let mut recomputed = Recomputed::new(applied.clone(), payloads);
    let mut done = 0;
    while recomputed.upto(&db, done + STEP)? {
        done += STEP;
        progress(Progress { done, total: applied.size });
    }
    read_others(&db)?;
    progress(Progress { done: applied.size, total: applied.size });
    recomputed.cold_fault()?;
    Ok(applied)
}

/// Which of them must be what their leaves say, too.
#[derive(Clone)]
pub(crate) enum Payloads {
    Unread,
    /// Those in the database. What is in cold files is mended on its own.
    InDatabase,
    All(Arc<Cold>),
}

/// Leaves in order, so far.
pub(crate) struct Recomputed {
    applied: Applied,
    tree: Tree,
    payloads: Payloads,
    /// The first payload that could not be read from its file: nothing is wrong with the database.
    cold_fault: Option<String>,
}

impl Recomputed {
    /// Families that it reads itself.
    pub(crate) const READS: [Family; 2] = [Family::Events, Family::Blobs];

    pub(crate) fn new(applied: Applied, payloads: Payloads) -> Recomputed {
        Recomputed { applied, tree: Tree::default(), payloads, cold_fault: None }
    }

    /// Whether every cold file that was read through is whole.
    pub(crate) fn cold_fault(self) -> Result<(), LedgerError> {
        self.cold_fault.map_or(Ok(()), |text| Err(LedgerError::Cold(text)))
    }

    /// Goes on up to the leaf `end`; false once all are read and give the root.
    pub(crate) fn upto(&mut self, db: &Generation, end: u64) -> Result<bool, LedgerError> {
        let end = end.min(self.applied.size);
        db.scan(Family::Events, &index_key(self.tree.size()), &index_key(end), |key, leaf| {
            let index = self.tree.size();
            if index_of_key(key)? != index {
                return Err(LedgerError::Damaged(format!("leaf {index} is missing")));
            }
            match check_payload(db, &self.payloads, index, leaf) {
                Err(LedgerError::Cold(text)) => {
                    self.cold_fault.get_or_insert(text);
                }
                checked => checked?,
            }
            self.tree.append(leaf_hash(leaf));
            if self.tree.size().is_multiple_of(1 << 16) {
                self.check_tiles(db)?;
            }
            Ok(true)
        })?;
        if self.tree.size() < end {
            return Err(LedgerError::Damaged(format!("leaf {} is missing", self.tree.size())));
        }
        if end < self.applied.size {
            return Ok(true);
        }
        if self.tree.root() != self.applied.root {
            return Err(LedgerError::Damaged(format!(
                "{} leaves give another root than the one applied at this size",
                self.applied.size
            )));
        }
        self.check_tiles(db)?;
        Ok(false)
    }

    /// What is proven and signed is made of the tiles: they must be those of the leaves, not of the root alone.
    fn check_tiles(&mut self, db: &Generation) -> Result<(), LedgerError> {
        for (tile, hashes) in self.tree.take_writes() {
            let stored = db.tile(tile)?;
            // The last one of a level may have grown since.
            if !stored.is_some_and(|stored| stored.starts_with(&hashes)) {
                let path = tile.path(hashes.len() as u64 / 32);
                return Err(LedgerError::Damaged(format!("{path} is not what the leaves give")));
            }
        }
        Ok(())
    }
}

fn check_payload(db: &Generation, payloads: &Payloads, index: u64, leaf: &[u8]) -> Result<(), LedgerError> {
    let damaged = |what: &str| LedgerError::Damaged(format!("entry {index}: {what}"));
    if matches!(payloads, Payloads::Unread) {
        return Ok(());
    }
    let leaf = Leaf::decode(bytes::Bytes::copy_from_slice(leaf)).map_err(|e| damaged(&e.to_string()))?;
    let payload = match (db.get(Family::Blobs, &index_key(index))?, payloads) {
        (Some(payload), _) => payload,
        // The ledger's own entries stay in the database, whatever file holds them, too.
        (None, _) if leaf.head.kind >= OWN_KINDS => return Err(damaged("its payload is missing")),
        (None, Payloads::All(cold)) => cold.payload(db, index, &leaf)?,
        (None, _) if catalogue::row_of(db, index)?.is_some() => return Ok(()),
        (None, _) => return Err(damaged("its payload is missing")),
    };
    if sha256(&[&payload]) != leaf.ciphertext_hash {
        return Err(damaged("its sealed payload does not match the hash in its leaf"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::applied::{applied_key, encode};
    use crate::store::db::WriteBatch;
    use crate::store::generation::tile_key;

    /// As a snapshot of a peer may come in: nothing else would look at the tiles left of the tree's edge.
    #[test]
    fn tiles_that_are_not_those_of_the_leaves_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let db = Generation::open(dir.path()).unwrap();
        let (mut batch, mut tree) = (WriteBatch::default(), Tree::default());
        for index in 0..300u64 {
            let leaf = index.to_be_bytes();
            tree.append(leaf_hash(&leaf));
            db.put(&mut batch, Family::Events, &index_key(index), &leaf).unwrap();
        }
        let applied = Applied { size: 300, root: tree.root(), ..Applied::default() };
        db.put(&mut batch, Family::Meta, &applied_key(), &encode(&applied).unwrap()).unwrap();
        let tiles = tree.take_writes();
        for (tile, hashes) in &tiles {
            db.put(&mut batch, Family::Tiles, &tile_key(*tile), hashes).unwrap();
        }
        db.write(batch).unwrap();
        let check = || Recomputed::new(applied.clone(), Payloads::Unread).upto(&db, u64::MAX);
        check().unwrap();
        assert_eq!(tiles.len(), 3, "two of leaves, one above");
        for (tile, hashes) in &tiles {
            for wrong in [[&[hashes[0] ^ 1], &hashes[1..]].concat(), hashes[..hashes.len() - 32].to_vec()] {
                let put = |value: &[u8]| {
                    let mut batch = WriteBatch::default();
                    db.put(&mut batch, Family::Tiles, &tile_key(*tile), value).unwrap();
                    db.write(batch).unwrap();
                };
                put(&wrong);
                let error = check().unwrap_err();
                assert!(matches!(&error, LedgerError::Damaged(why) if why.contains("tile")), "{error}");
                put(hashes);
            }
        }
        check().unwrap();
    }
}
