//! This site's store as batches, to be verified or exported.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::LedgerError;
use crate::cold::Cold;
use crate::export::{ExportBatch, ExportLeaf, Progress, export};
use crate::ledger::Ledger;
use crate::record::{Hash, Leaf, Provenance};
use crate::store::applied::{Applied, load_applied};
use crate::store::generation::{Family, Generation, index_key};
use crate::verify::{Auditor, Report};

impl Ledger {
    /// Recomputes everything that is stored here from the leaves and sealed payloads: hashes, root, each site's
    /// chain and signatures. Blocks for as long as that takes; the ledger goes on meanwhile.
    pub fn verify(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report, LedgerError> {
        let db = self.inner.store.generation();
        let applied = load_applied(&db)?;
        let keys = self.inner.keys.verifiers();
        let mut auditor = Auditor::new(Some(&keys), Some(self.inner.keys.group_id()));
        let mut report = Report { keys_brought: true, ..Report::default() };
        let mut lost = String::new();
        for number in 0..applied.batches {
            let mut missed = |index: u64, text: String| {
                // Once a file, not once an entry.
                if lost != text {
                    report.add("", None, Some(index), format!("cold file {text}"));
                    lost = text;
                }
                Ok(())
            };
            match read_batch(&db, self.inner.store.cold(), number, &mut missed) {
                Ok(batch) => {
                    for flaw in auditor.batch(&batch) {
                        report.add("", None, flaw.index, flaw.text);
                    }
                }
                Err(error) => {
                    report.add("", None, None, format!("batch {number}: {error}"));
                    auditor.skip();
                }
            }
            progress(Progress { done: auditor.size(), total: applied.size });
        }
        self.compare_roots(&auditor, &applied, &mut report)?;
        Ok(report.finish(&auditor))
    }

    fn compare_roots(
        &self,
        auditor: &Auditor,
        applied: &Applied,
        report: &mut Report,
    ) -> Result<(), LedgerError> {
        if auditor.complete() && (auditor.size() != applied.size || auditor.root() != applied.root) {
            report.add(
                "",
                None,
                None,
                format!("the leaves give another root than was applied at size {}", applied.size),
            );
        }
        match self.root_at(applied.size) {
            Ok(root) if root == applied.root => {}
            Ok(_) => report.add("", None, None, "the tiles give another root than was applied"),
            Err(LedgerError::Damaged(text)) => report.add("", None, None, text),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes what is applied here into the empty or new directory `dir`; `verify_export` judges it. Blocks.
    pub fn export(&self, dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(u64, Hash), LedgerError> {
        let db = self.inner.store.generation();
        let applied = load_applied(&db)?;
        // Also an export's checkpoint must not contradict what this site signed before.
        self.inner.cosigner.sign_as_log(applied.size).map_err(|e| LedgerError::NotProven(e.to_string()))?;
        let batches = batches(db, self.inner.store.cold().clone(), applied.batches);
        export(dir, batches, applied.size, applied.root, &self.inner.keys, progress)?;
        Ok((applied.size, applied.root))
    }
}

fn batches(
    db: Arc<Generation>,
    cold: Arc<Cold>,
    count: u64,
) -> impl Iterator<Item = Result<ExportBatch, LedgerError>> {
    (0..count).map(move |number| read_batch(&db, &cold, number, &mut |_, text| Err(LedgerError::Cold(text))))
}

/// `missed`: hears of a payload that is where it should be no longer, and whether to go on without it.
fn read_batch(
    db: &Generation,
    cold: &Cold,
    number: u64,
    missed: &mut dyn FnMut(u64, String) -> Result<(), LedgerError>,
) -> Result<ExportBatch, LedgerError> {
    let damaged = |e: &dyn std::fmt::Display| LedgerError::Damaged(format!("batch {number}: {e}"));
    let kept = db.get(Family::Batches, &index_key(number))?;
    let kept = kept.ok_or_else(|| LedgerError::Damaged(format!("batch {number} is missing")))?;
    let provenance = Provenance::decode(kept.into()).map_err(|e| damaged(&e))?;
    let mut leaves = Vec::with_capacity(provenance.leaf_count());
    for index in (provenance.first_index..).take(provenance.leaf_count()) {
        let record = Bytes::from(db.leaf(index)?);
        let payload = match Leaf::decode(record.clone()) {
            Ok(leaf) => cold.payload(db, index, &leaf),
            Err(error) => Err(damaged(&error)),
        };
        let ciphertext = match payload {
            Err(LedgerError::Cold(text)) => missed(index, text).map(|()| None)?,
            found => found.map(|payload| Some(Bytes::from(payload)))?,
        };
        leaves.push(ExportLeaf { leaf: record, ciphertext });
    }
    Ok(ExportBatch { provenance, leaves })
}
