//! What a site stores and proves, against what was committed.

use super::Process;
use crate::LedgerError;
use crate::keys::SiteKeys;
use crate::merkle::{consistency_proof, verify_consistency};
use crate::proofs::receipt;
use crate::record::{Leaf, sha256};
use crate::sim::model::Model;
use crate::sim::workload::TAG;
use crate::sim::{chance, disk};
use crate::store::applied::load_applied;
use crate::store::generation::{Family, index_key};
use crate::takeover::Leases;

impl Process {
    /// Whether this site opens every entry of `home` with the keys that it holds for it.
    pub(in crate::sim) fn stands_in_for(&self, home: &str, model: &Model) -> Result<(), String> {
        let db = self.opened.served.store.generation();
        let text = |e: LedgerError| e.to_string();
        let sealed = |known: &crate::sim::model::Leaf| known.site == home && known.takeover.is_none();
        for (index, _) in (0..).zip(&model.leaves).filter(|(_, known)| sealed(known)) {
            let leaf = db.get(Family::Events, &index_key(index)).map_err(text)?.unwrap_or_default();
            let leaf = Leaf::decode(leaf.into()).map_err(|e| format!("leaf {index}: {e}"))?;
            let blob = self.opened.served.store.cold().payload(&db, index, &leaf).map_err(text)?;
            let opened = self.opened.served.sealer.open(&leaf, &blob).map_err(text)?;
            opened.ok_or_else(|| format!("payload {index} of {home} has no key here"))?;
        }
        Ok(())
    }

    /// Whenever a checkpoint was gathered: a receipt for its last entry and for any other, judged.
    pub(in crate::sim) fn take_receipts(&mut self, keys: &SiteKeys, model: &mut Model) -> Result<(), String> {
        let Some(newest) = self.opened.newest.get().filter(|newest| newest.size > self.proven) else {
            return Ok(());
        };
        let damage = self.opened.served.store.damage();
        let db = self.opened.served.store.generation();
        let applied = match damage.hear(load_applied(&db)) {
            // It says so, and proves nothing.
            Err(LedgerError::Damaged(_)) if !disk::is_whole(self.number) => return Ok(()),
            applied => applied.map_err(|e| e.to_string())?.size,
        };
        // After a power cut the log is applied again: what was cosigned before comes back in a moment.
        if applied < newest.size || model.size() < newest.size {
            return Ok(());
        }
        self.proven = newest.size;
        // At least so many sites vote, see `operator`.
        let voters = (keys.verifiers().cosigners.len() - 1).max(2);
        let majority = voters / 2 + 1;
        for index in [newest.size - 1, chance::within(0..newest.size)] {
            let receipt = match damage.hear(receipt(&db, &newest, index)) {
                Err(LedgerError::Damaged(_)) if !disk::is_whole(self.number) => continue,
                receipt => receipt.map_err(|e| e.to_string())?,
            };
            let leaf = model.leaves[index as usize].hash;
            model.proofs.receipt(&receipt, leaf, &keys.verifiers(), majority)?;
        }
        Ok(())
    }

    /// What is stored against what was committed. `lost_keys`: its own payloads may be sealed for it, too.
    pub(in crate::sim) fn check(
        &self,
        keys: &SiteKeys,
        model: &Model,
        lost_keys: bool,
    ) -> Result<(), String> {
        let db = self.opened.served.store.generation();
        let text = |e: LedgerError| e.to_string();
        let mut tagged = Vec::new();
        crate::store::tags::scan(&db, &TAG.0, (0, u64::MAX), |index| {
            tagged.push(index);
            Ok(true)
        })
        .map_err(text)?;
        let messages = (0..).zip(&model.leaves).filter(|(_, leaf)| leaf.takeover.is_none());
        if !messages.map(|(index, _)| index).eq(tagged.iter().copied()) {
            return Err(format!("{} of {} leaves are found by their tag", tagged.len(), model.size()));
        }
        let leases = self.opened.takeovers.at(model.size(), Leases::clone).map_err(text)?;
        if leases != model.leases {
            return Err(format!("its leases are {leases:?}, expected {:?}", model.leases));
        }
        for (index, known) in (0..).zip(&model.leaves) {
            let leaf = db.get(Family::Events, &index_key(index)).map_err(text)?;
            let leaf = leaf.ok_or_else(|| format!("leaf {index} is missing"))?;
            if sha256(&[&[0], &leaf]) != known.hash {
                return Err(format!("leaf {index} is another than was committed"));
            }
            let leaf = Leaf::decode(leaf.into()).map_err(|e| format!("leaf {index}: {e}"))?;
            let blob = self.opened.served.store.cold().payload(&db, index, &leaf).map_err(text)?;
            if sha256(&[&blob]) != leaf.ciphertext_hash {
                return Err(format!("payload {index} is another than was committed"));
            }
            if known.site == keys.site.as_str() && known.takeover.is_none() && !lost_keys {
                let opened = self.opened.served.sealer.open(&leaf, &blob).map_err(text)?;
                opened.ok_or_else(|| format!("its own payload {index} has no key"))?;
            }
        }
        // Whoever holds any of the signed checkpoints can be led to the next.
        for [(old, old_root), (new, new_root)] in model.proofs.steps() {
            let proof = consistency_proof(db.as_ref(), old, new).map_err(text)?;
            if !verify_consistency(old, new, &proof, &old_root, &new_root) {
                return Err(format!("no proof leads from the checkpoint of size {old} to that of {new}"));
            }
        }
        Ok(())
    }
}
