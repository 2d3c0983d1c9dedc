//! What became of a batch, from what is kept of it.

use super::generation::{Family, Generation, hash_key, index_key, index_of_key};
use crate::record::{Hash, Provenance, ProvenanceItem};
use crate::{LedgerError, Outcome};

/// One outcome per message of the batch; `None` if it was not applied.
pub(crate) fn outcomes_of(db: &Generation, batch_hash: &Hash) -> Result<Option<Vec<Outcome>>, LedgerError> {
    let Some(number) = db.get(Family::ByBatch, &hash_key(batch_hash))? else { return Ok(None) };
    let number = index_of_key(&number)?;
    let kept = db
        .get(Family::Batches, &index_key(number))?
        .ok_or_else(|| LedgerError::Damaged(format!("ledger database: batch {number} is missing")))?;
    let provenance = Provenance::decode(kept.into())
        .map_err(|e| LedgerError::Damaged(format!("ledger database: batch {number}: {e}")))?;
    let mut next = provenance.first_index;
    let outcomes = provenance.items.iter().filter_map(|item| match item {
        ProvenanceItem::Leaf { .. } => {
            next += 1;
            Some(Outcome { index: next - 1, duplicate: false })
        }
        ProvenanceItem::Duplicate { first_index, .. } => {
            Some(Outcome { index: *first_index, duplicate: true })
        }
        ProvenanceItem::Chunk { .. } => None,
    });
    Ok(Some(outcomes.collect()))
}
