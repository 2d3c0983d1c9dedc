//! What apply knows beside the leaves; written with each apply, read at start.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::generation::{Family, Generation, key};
use crate::LedgerError;
use crate::merkle::Tree;
use crate::raft::{LogId, StoredMembership};
use crate::record::{Hash, SiteName};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub(crate) last: Option<LogId>,
    pub(crate) membership: StoredMembership,
    /// Leaves.
    pub(crate) size: u64,
    /// RFC 6962 root over them.
    pub(crate) root: Hash,
    /// Batches that were applied.
    pub(crate) batches: u64,
    pub(crate) duplicates: u64,
    /// Entries that were refused: forged, out of order, of an old epoch, unreadable.
    pub(crate) refused: u64,
    pub(crate) apply_version: u32,
}

/// Where one site's batches stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SiteState {
    /// 0: none was granted yet.
    pub(crate) epoch: u64,
    pub(crate) next_site_seq: u64,
    /// Batch hash of its last applied batch; zeros if there is none.
    pub(crate) previous: Hash,
    /// Sealed bytes of its next message that have come in chunks.
    pub(crate) chunk_bytes: u64,
}

pub(crate) fn applied_key() -> Vec<u8> {
    key(b"applied")
}

pub(crate) fn site_key(site: &SiteName) -> Vec<u8> {
    key(format!("site/{site}").as_bytes())
}

pub(crate) fn load_applied(db: &Generation) -> Result<Applied, LedgerError> {
    let found = load(db, &applied_key(), "applied state")?;
    Ok(found.unwrap_or_else(|| Applied { root: crate::merkle::empty_root(), ..Applied::default() }))
}

/// The tree up to what was applied; `Damaged` if the tiles give another root.
pub(crate) fn load_tree(db: &Generation, applied: &Applied) -> Result<Tree, LedgerError> {
    let tree = Tree::load(applied.size, db)?;
    if tree.root() == applied.root {
        return Ok(tree);
    }
    Err(LedgerError::Damaged(format!(
        "{}: the tiles give another root than was applied at size {}",
        db.path().display(),
        applied.size
    )))
}

pub(crate) fn load_site(db: &Generation, site: &SiteName) -> Result<SiteState, LedgerError> {
    Ok(load(db, &site_key(site), "site state")?.unwrap_or_default())
}

fn load<T: DeserializeOwned>(db: &Generation, key: &[u8], what: &str) -> Result<Option<T>, LedgerError> {
    let Some(bytes) = db.get(Family::Meta, key)? else { return Ok(None) };
    rmp_serde::from_slice(&bytes).map(Some).map_err(|e| LedgerError::Damaged(format!("{what}: {e}")))
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, LedgerError> {
    rmp_serde::to_vec_named(value).map_err(|e| LedgerError::Storage(format!("encode: {e}")))
}
