//! A site that signs two successors of one batch within one epoch: no crash makes an honest site do that. What it
//! signs it sends again as it was signed, and a process that starts opens an epoch of its own.

use super::{Applier, Batch, SiteState};
use crate::LedgerError;
use crate::cosign::Contradiction;
use crate::merkle::leaf_hash;
use crate::record::{Hash, Provenance};
use crate::store::generation::{Family, hash_key, index_key, index_of_key};

/// Batches of other sites between two of one site that are looked through.
const LOOKED_THROUGH_MAX: u64 = 10_000;

impl Applier {
    /// The refused `batch` beside the applied one whose place it claims, if its site signed both.
    pub(super) fn contradiction(
        &self,
        batch: &Batch,
        state: &SiteState,
    ) -> Result<Option<Contradiction>, LedgerError> {
        let head = &batch.head;
        if head.epoch != state.epoch || head.previous == state.previous {
            return Ok(None);
        }
        let Some(key_of_site) = self.key_of(&head.site) else {
            return Ok(None);
        };
        if batch.verify(key_of_site).is_err() {
            return Ok(None);
        }
        let Some(applied) = self.successor(batch)? else { return Ok(None) };
        if applied.head.epoch != head.epoch || applied.head.previous != head.previous {
            return Ok(None);
        }
        let Some(applied) = applied.as_signed(&self.leaf_hashes(&applied)?) else { return Ok(None) };
        let batches = [applied, batch.as_signed()];
        Ok(Some(Contradiction { site: head.site.clone(), epoch: head.epoch, batches }))
    }

    /// The first applied batch of the site after the one that `batch` claims to follow.
    fn successor(&self, batch: &Batch) -> Result<Option<Provenance>, LedgerError> {
        let first = if batch.head.previous == Hash::default() {
            0
        } else {
            match self.db.get(Family::ByBatch, &hash_key(&batch.head.previous))? {
                Some(number) => index_of_key(&number)? + 1,
                None => return Ok(None),
            }
        };
        for number in (first..self.applied.batches).take(LOOKED_THROUGH_MAX as usize) {
            let Some(kept) = self.db.get(Family::Batches, &index_key(number))? else { return Ok(None) };
            let provenance = Provenance::decode(kept.into());
            let provenance = provenance.map_err(|e| LedgerError::Damaged(format!("batch {number}: {e}")))?;
            if provenance.head.site == batch.head.site {
                return Ok(Some(provenance));
            }
        }
        Ok(None)
    }

    fn leaf_hashes(&self, provenance: &Provenance) -> Result<Vec<Hash>, LedgerError> {
        let indices = (provenance.first_index..).take(provenance.leaf_count());
        indices.map(|index| Ok(leaf_hash(&self.db.leaf(index)?))).collect()
    }
}
