//! What this site proves to others: the newest cosigned checkpoint, receipts under it, tiles and entries below it.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::ledger::Ledger;
use crate::merkle::{TileKey, TileReader, consistency_proof, inclusion_proof, leaf_hash, verify_inclusion};
use crate::record::Hash;
use crate::store::applied::load_applied;
use crate::store::generation::Generation;
use crate::{CosignedCheckpoint, LedgerError};

/// Entries in a full bundle, hashes in a full tile.
const FULL: u64 = 256;

impl Ledger {
    /// The newest checkpoint that a majority of the sites has cosigned; `None` until there is one.
    pub fn checkpoint(&self) -> Option<CosignedCheckpoint> {
        self.inner.newest.get()
    }

    /// Sites of whom this site holds evidence (`evidence` in its data folder): they contradicted themselves or the
    /// majority.
    pub fn blamed_sites(&self) -> BTreeSet<String> {
        self.inner.cosigner.blame.sites()
    }

    /// A receipt for the entry `index` (C2SP tlog-proof): its canonical leaf record in the extra line, its
    /// inclusion proof, the newest cosigned checkpoint. Blocks.
    ///
    /// # Errors
    /// `NotProven` if no cosigned checkpoint covers the entry yet.
    pub fn prove(&self, index: u64) -> Result<String, LedgerError> {
        let (checkpoint, db) = self.proven()?;
        self.inner.store.damage().hear(receipt(&db, &checkpoint, index))
    }

    /// That the first `old` entries are the beginning of the first `new` ones, in the form of a request to a C2SP
    /// tlog-witness: old size, proof, checkpoint. The checkpoint is the cosigned one if `new` is its size, else one
    /// that this site signs alone. Blocks.
    ///
    /// # Errors
    /// `NotProven` if `new` is beyond the newest cosigned checkpoint, or `old` beyond `new`.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<String, LedgerError> {
        let (checkpoint, db) = self.proven()?;
        if old > new || new > checkpoint.size {
            return Err(LedgerError::NotProven(format!(
                "give two sizes in ascending order, up to {} of the newest cosigned checkpoint",
                checkpoint.size
            )));
        }
        let note = if new == checkpoint.size {
            checkpoint.note
        } else {
            let signed = self.inner.cosigner.sign_as_log(new);
            signed.map_err(|refusal| LedgerError::NotProven(refusal.to_string()))?
        };
        let proof = consistency_proof(db.as_ref(), old, new)?;
        Ok(format!("old {old}\n{}\n{note}", hash_lines(&proof)))
    }

    /// The first `width` hashes of a tile (C2SP tlog-tiles); `None` unless the newest cosigned checkpoint covers
    /// them. Blocks.
    pub fn tile(&self, level: u8, index: u64, width: u16) -> Result<Option<Vec<u8>>, LedgerError> {
        let key = TileKey { level, index };
        let Some(db) = self.covered(key, width)? else { return Ok(None) };
        let damaged =
            || LedgerError::Damaged(format!("{}: missing or too short", key.path(u64::from(width))));
        let mut tile = db.tile(key)?.ok_or_else(damaged)?;
        let len = usize::from(width) * size_of::<Hash>();
        if tile.len() < len {
            return Err(damaged());
        }
        tile.truncate(len);
        Ok(Some(tile))
    }

    /// The first `width` canonical leaf records of a bundle of 256, each behind its u16 length (C2SP tlog-tiles,
    /// "Log entries"); `None` unless the newest cosigned checkpoint covers them. Blocks.
    pub fn entry_bundle(&self, index: u64, width: u16) -> Result<Option<Vec<u8>>, LedgerError> {
        let Some(db) = self.covered(TileKey { level: 0, index }, width)? else { return Ok(None) };
        let mut bundle = Vec::with_capacity(usize::from(width) * 192);
        for entry in (index * FULL..).take(usize::from(width)) {
            let leaf = db.leaf(entry)?;
            bundle.extend_from_slice(&(leaf.len() as u16).to_be_bytes());
            bundle.extend_from_slice(&leaf);
        }
        Ok(Some(bundle))
    }

    fn covered(&self, key: TileKey, width: u16) -> Result<Option<Arc<Generation>>, LedgerError> {
        let Some(checkpoint) = self.checkpoint() else { return Ok(None) };
        let covered =
            (1..=FULL).contains(&u64::from(width)) && key.width(checkpoint.size) >= u64::from(width);
        if covered { self.proven().map(|(_, db)| Some(db)) } else { Ok(None) }
    }

    /// The newest cosigned checkpoint and a database that holds all of it.
    fn proven(&self) -> Result<(CosignedCheckpoint, Arc<Generation>), LedgerError> {
        let none =
            || LedgerError::NotProven("no checkpoint has been cosigned yet; try again in a second".into());
        let checkpoint = self.checkpoint().ok_or_else(none)?;
        let db = self.inner.store.generation();
        // After a crash the log is applied again: what was cosigned before comes back in a moment.
        let applied = load_applied(&db)?.size;
        if applied < checkpoint.size {
            return Err(LedgerError::NotProven(format!(
                "this site applies its log again and is at {applied} of {} entries; try again",
                checkpoint.size
            )));
        }
        Ok((checkpoint, db))
    }
}

/// See [`Ledger::prove`]; `db` holds what the checkpoint covers.
pub(crate) fn receipt(
    db: &Generation,
    checkpoint: &CosignedCheckpoint,
    index: u64,
) -> Result<String, LedgerError> {
    if index >= checkpoint.size {
        return Err(LedgerError::NotProven(format!(
            "the newest cosigned checkpoint covers {} entries, entry {index} is not among them; try again",
            checkpoint.size
        )));
    }
    let leaf = db.leaf(index)?;
    let path = inclusion_proof(db, index, checkpoint.size)?;
    if !verify_inclusion(&leaf_hash(&leaf), index, checkpoint.size, &path, &checkpoint.root) {
        return Err(LedgerError::Damaged(format!("leaf {index} or its tiles do not give the cosigned root")));
    }
    Ok(format!(
        "c2sp.org/tlog-proof@v1\nextra {}\nindex {index}\n{}\n{}",
        STANDARD.encode(leaf),
        hash_lines(&path),
        checkpoint.note
    ))
}

fn hash_lines(hashes: &[Hash]) -> String {
    hashes.iter().map(|hash| STANDARD.encode(hash) + "\n").collect()
}
