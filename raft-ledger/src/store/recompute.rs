//! The root again, from the leaves alone, and whether everything beside them can be read.

use std::path::Path;

use super::applied::{Applied, load_applied};
use super::generation::{ALL, Family, Generation, index_key, index_of_key};
use crate::LedgerError;
use crate::export::Progress;
use crate::merkle::{Tree, leaf_hash};
use crate::record::{Leaf, sha256};

/// Whether the leaves of the database in `dir` give the root that it says was applied.
pub(crate) fn check_root(dir: &Path) -> Result<(), LedgerError> {
    let db = Generation::open_read_only(dir)?;
    Recomputed::new(load_applied(&db)?, false).upto(&db, u64::MAX).map(drop)
}

/// Whether the database in `dir` is whole: root, every sealed payload, every block of every family.
pub(crate) fn check_whole(dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Applied, LedgerError> {
    const STEP: u64 = 10_000;
    let db = Generation::open_read_only(dir)?;
    let applied = load_applied(&db)?;
    let mut recomputed = Recomputed::new(applied.clone(), true);
    let mut done = 0;
    while recomputed.upto(&db, done + STEP)? {
        done += STEP;
        progress(Progress { done, total: applied.size });
    }
    ALL.into_iter()
        .filter(|family| !Recomputed::READS.contains(family))
        .try_for_each(|f| db.read_through(f))?;
    progress(Progress { done: applied.size, total: applied.size });
    Ok(applied)
}

/// Leaves in order, so far.
pub(crate) struct Recomputed {
    applied: Applied,
    tree: Tree,
    payloads: bool,
}

impl Recomputed {
    /// Families that it reads itself.
    pub(crate) const READS: [Family; 2] = [Family::Events, Family::Blobs];

    /// `payloads`: that each is what its leaf says, too.
    pub(crate) fn new(applied: Applied, payloads: bool) -> Recomputed {
        Recomputed { applied, tree: Tree::default(), payloads }
    }

    /// Goes on up to the leaf `end`; false once all are read and give the root.
    pub(crate) fn upto(&mut self, db: &Generation, end: u64) -> Result<bool, LedgerError> {
        let end = end.min(self.applied.size);
        db.scan(Family::Events, &index_key(self.tree.size()), &index_key(end), |key, leaf| {
            let index = self.tree.size();
            if index_of_key(key)? != index {
                return Err(LedgerError::Damaged(format!("leaf {index} is missing")));
            }
            if self.payloads {
                check_payload(db, index, leaf)?;
            }
            self.tree.append(leaf_hash(leaf));
            // What the edge keeps for writing is not needed here.
            if self.tree.size().is_multiple_of(1 << 16) {
                drop(self.tree.take_writes());
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
        Ok(false)
    }
}

fn check_payload(db: &Generation, index: u64, leaf: &[u8]) -> Result<(), LedgerError> {
    let damaged = |what: &str| LedgerError::Damaged(format!("entry {index}: {what}"));
    let leaf = Leaf::decode(bytes::Bytes::copy_from_slice(leaf)).map_err(|e| damaged(&e.to_string()))?;
    let payload =
        db.get(Family::Blobs, &index_key(index))?.ok_or_else(|| damaged("its payload is missing"))?;
    if sha256(&[&payload]) != leaf.ciphertext_hash {
        return Err(damaged("its sealed payload does not match the hash in its leaf"));
    }
    Ok(())
}
