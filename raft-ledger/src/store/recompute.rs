//! The root again, from the leaves alone, and whether everything beside them can be read.

use std::path::Path;
use std::sync::Arc;

use super::applied::{Applied, load_applied};
use super::generation::{ALL, Family, Generation, index_key, index_of_key};
use crate::LedgerError;
use crate::cold::{Cold, catalogue};
use crate::export::Progress;
use crate::merkle::{Tree, leaf_hash};
use crate::record::{Leaf, sha256};

/// Whether the leaves of the database in `dir` give the root that it says was applied.
pub(crate) fn check_root(dir: &Path) -> Result<(), LedgerError> {
    let db = Generation::open_read_only(dir)?;
    Recomputed::new(load_applied(&db)?, Payloads::Unread).upto(&db, u64::MAX).map(drop)
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
    ALL.into_iter()
        .filter(|family| !Recomputed::READS.contains(family))
        .try_for_each(|f| db.read_through(f))?;
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

fn check_payload(db: &Generation, payloads: &Payloads, index: u64, leaf: &[u8]) -> Result<(), LedgerError> {
    let damaged = |what: &str| LedgerError::Damaged(format!("entry {index}: {what}"));
    let decode = || Leaf::decode(bytes::Bytes::copy_from_slice(leaf)).map_err(|e| damaged(&e.to_string()));
    let (leaf, payload) = match payloads {
        Payloads::Unread => return Ok(()),
        Payloads::InDatabase => match db.get(Family::Blobs, &index_key(index))? {
            Some(payload) => (decode()?, payload),
            None if catalogue::row_of(db, index)?.is_some() => return Ok(()),
            None => return Err(damaged("its payload is missing")),
        },
        Payloads::All(cold) => {
            let leaf = decode()?;
            let payload = cold.payload(db, index, &leaf)?;
            (leaf, payload)
        }
    };
    if sha256(&[&payload]) != leaf.ciphertext_hash {
        return Err(damaged("its sealed payload does not match the hash in its leaf"));
    }
    Ok(())
}
