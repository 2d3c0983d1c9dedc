//! Batches in their order: one tree, and each site's chain without a gap.

use std::collections::HashMap;

use super::Export;
use super::batch::Checked;
use crate::merkle::{Hash, Tree};

pub(super) struct Chain {
    pub(super) tree: Tree,
    pub(super) batches: u64,
    /// Every batch could be read, so that size and root are those of all leaves.
    pub(super) complete: bool,
    sites: HashMap<String, Place>,
}

/// Where a site's next batch has to go on.
struct Place {
    epoch: u64,
    next_site_seq: u64,
    hash: Hash,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain { tree: Tree::default(), batches: 0, complete: true, sites: HashMap::new() }
    }
}

impl Chain {
    /// A batch could not be read: what follows cannot be judged by what went before.
    pub(super) fn lost(&mut self) {
        self.batches += 1;
        self.complete = false;
        self.sites.clear();
    }

    pub(super) fn batch(&mut self, batch: Checked, file: &str, offset: u64, report: &mut Export) {
        let first = Some(batch.first_index);
        for (index, text) in &batch.flaws {
            report.add(file, offset, *index, text.clone());
        }
        let mut wrong = |text: String| report.add(file, offset, first, text);
        if self.complete && batch.first_index != self.tree.size() {
            wrong(format!("the batch begins at index {}, expected {}", batch.first_index, self.tree.size()));
        }
        let end = batch.first_index.saturating_add(batch.leaves.len() as u64);
        if let Some(index) = batch.duplicate_of.filter(|index| *index >= end) {
            wrong(format!("a duplicate of index {index}, which is not before it"));
        }
        self.follow(&batch).into_iter().for_each(&mut wrong);
        report.payloads_absent += batch.payloads_absent;
        *report.sites.entry(batch.site.clone()).or_default() += batch.leaves.len() as u64;
        batch.leaves.iter().for_each(|leaf| self.tree.push(*leaf));
        self.batches += 1;
        let next_site_seq = batch.first_site_seq.saturating_add(batch.messages);
        self.sites.insert(batch.site, Place { epoch: batch.epoch, next_site_seq, hash: batch.hash });
    }

    fn follow(&self, batch: &Checked) -> Vec<String> {
        let (site, epoch, seq) = (&batch.site, batch.epoch, batch.first_site_seq);
        let mut wrong = Vec::new();
        let start = Place { epoch: 0, next_site_seq: 0, hash: [0; 32] };
        let before = match self.sites.get(site) {
            Some(before) => before,
            // After a loss the first batch of a site is taken as it comes.
            None if !self.complete => return wrong,
            None => &start,
        };
        let expected = if epoch == before.epoch { before.next_site_seq } else { 0 };
        if epoch < before.epoch {
            wrong.push(format!("epoch {epoch} of site {site} comes after epoch {}", before.epoch));
        } else if seq != expected {
            wrong.push(format!("site_seq {seq} of site {site} in epoch {epoch}, expected {expected}"));
        }
        if batch.previous != before.hash {
            wrong.push(format!("the batch of site {site} does not follow its batch before"));
        }
        wrong
    }
}
