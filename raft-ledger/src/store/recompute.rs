//! The root again, from the leaves alone.

use std::path::Path;

use super::applied::load_applied;
use super::generation::{Family, Generation, index_key, index_of_key};
use crate::LedgerError;
use crate::merkle::{Tree, leaf_hash};

/// Whether the leaves of the database in `dir` give the root that it says was applied.
pub(crate) fn check_root(dir: &Path) -> Result<(), LedgerError> {
    let db = Generation::open_read_only(dir)?;
    let applied = load_applied(&db)?;
    let mut tree = Tree::default();
    db.scan(Family::Events, &index_key(0), &index_key(u64::MAX), |key, leaf| {
        if index_of_key(key)? != tree.size() {
            return Err(LedgerError::Damaged(format!("leaf {} is missing", tree.size())));
        }
        tree.append(leaf_hash(leaf));
        // What the edge keeps for writing is not needed here.
        if tree.size().is_multiple_of(1 << 16) {
            drop(tree.take_writes());
        }
        Ok(true)
    })?;
    if tree.size() != applied.size || tree.root() != applied.root {
        return Err(LedgerError::Damaged(format!(
            "{} leaves give another root than the one applied at size {}",
            tree.size(),
            applied.size
        )));
    }
    Ok(())
}
