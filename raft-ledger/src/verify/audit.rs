//! The checks themselves, on batches in order, wherever they were read from.

use std::collections::BTreeMap;

use crate::export::{ExportBatch, ExportLeaf};
use crate::keys::VerifierKeys;
use crate::merkle::{Tree, leaf_hash};
use crate::record::{Hash, Leaf, Provenance, ProvenanceItem, SiteName, sha256};

/// Follows every batch from the first one: leaves, sealed payloads, root, signatures, gapless numbers.
pub(crate) struct Auditor<'a> {
    keys: Option<&'a VerifierKeys>,
    group_id: Option<u32>,
    tree: Tree,
    sites: BTreeMap<SiteName, SiteState>,
    batches: u64,
    payloads_absent: u64,
    /// A batch could not be read: until its site is seen again, numbers and links are taken as they come.
    gap: bool,
    complete: bool,
}

struct SiteState {
    epoch: u64,
    next_site_seq: u64,
    batch_hash: Hash,
}

/// Something wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// Which of the batch's leaves, if it is one of them.
    pub(crate) leaf: Option<usize>,
    /// Whether it is the sealed payload of that leaf.
    pub(crate) in_payload: bool,
    pub(crate) index: Option<u64>,
    pub(crate) text: String,
}

impl<'a> Auditor<'a> {
    /// Without keys signatures are not judged; without a group any is taken.
    pub(crate) fn new(keys: Option<&'a VerifierKeys>, group_id: Option<u32>) -> Auditor<'a> {
        Auditor {
            keys,
            group_id,
            tree: Tree::default(),
            sites: BTreeMap::new(),
            batches: 0,
            payloads_absent: 0,
            gap: false,
            complete: true,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    pub(crate) fn root(&self) -> Hash {
        self.tree.root()
    }

    pub(crate) fn batches(&self) -> u64 {
        self.batches
    }

    pub(crate) fn payloads_absent(&self) -> u64 {
        self.payloads_absent
    }

    /// Whether every batch could be read, so that size and root are those of all leaves.
    pub(crate) fn complete(&self) -> bool {
        self.complete
    }

    /// A batch could not be read.
    pub(crate) fn skip(&mut self) {
        self.batches += 1;
        self.sites.clear();
        self.gap = true;
        self.complete = false;
    }

    /// Checks the next batch and takes its leaves into the tree.
    pub(crate) fn batch(&mut self, batch: &ExportBatch) -> Vec<Flaw> {
        let provenance = &batch.provenance;
        let mut flaws = Vec::new();
        let mut flaw = |text: String| {
            flaws.push(Flaw { leaf: None, in_payload: false, index: Some(provenance.first_index), text });
        };
        if self.complete && provenance.first_index != self.tree.size() {
            flaw(format!(
                "the batch begins at index {}, expected {}",
                provenance.first_index,
                self.tree.size()
            ));
        }
        if self.group_id.is_some_and(|group_id| group_id != provenance.head.group_id) {
            flaw(format!("the batch is of group {}", provenance.head.group_id));
        }
        for item in &provenance.items {
            if let ProvenanceItem::Duplicate { first_index, .. } = item
                && *first_index >= provenance.first_index.saturating_add(batch.leaves.len() as u64)
            {
                flaw(format!("a duplicate of index {first_index}, which is not before it"));
            }
        }
        let hashes: Vec<Hash> = batch.leaves.iter().map(|leaf| leaf_hash(&leaf.leaf)).collect();
        for (n, (leaf, site_seq)) in batch.leaves.iter().zip(provenance.leaf_site_seqs()).enumerate() {
            if let Some((in_payload, text)) = self.leaf(leaf, provenance, site_seq) {
                let index = Some(provenance.first_index.saturating_add(n as u64));
                flaws.push(Flaw { leaf: Some(n), in_payload, index, text });
            }
        }
        for text in self.chain(provenance, &hashes) {
            flaws.push(Flaw { leaf: None, in_payload: false, index: Some(provenance.first_index), text });
        }
        for hash in hashes {
            self.tree.append(hash);
        }
        self.tree.take_writes(); // tiles are not kept here
        self.batches += 1;
        flaws
    }

    /// One leaf: that it is what its batch says, and its sealed payload what it says.
    fn leaf(&mut self, found: &ExportLeaf, batch: &Provenance, site_seq: u64) -> Option<(bool, String)> {
        let leaf = match Leaf::decode(found.leaf.clone()) {
            Ok(leaf) => leaf,
            Err(error) => return Some((false, error.to_string())),
        };
        let (head, own) = (&batch.head, &leaf.head);
        if (head.group_id, &head.site, head.epoch, site_seq)
            != (own.group_id, &own.site, own.epoch, own.site_seq)
        {
            return Some((false, "the leaf's group, site, epoch or site_seq is not its batch's".into()));
        }
        match &found.ciphertext {
            None => self.payloads_absent += 1,
            Some(bytes) if bytes.len() != leaf.ciphertext_len as usize => {
                return Some((true, "the sealed payload has another length than the leaf says".into()));
            }
            Some(bytes) if sha256(&[bytes]) != leaf.ciphertext_hash => {
                return Some((true, "the sealed payload does not match the hash in its leaf".into()));
            }
            Some(_) => {}
        }
        None
    }

    /// The batch among its site's: signature, number, link to the one before.
    fn chain(&mut self, batch: &Provenance, leaf_hashes: &[Hash]) -> Vec<String> {
        let head = &batch.head;
        let (site, seq) = (&head.site, head.first_site_seq);
        let Some(batch_hash) = batch.batch_hash(leaf_hashes) else {
            return vec![format!("the batch of site {site} has another number of leaves than it says")];
        };
        let mut wrong = Vec::new();
        if let Some(keys) = self.keys {
            if keys.of_batches(site).next().is_none() {
                wrong.push(format!("no batch key of site {site} is known"));
            } else if !keys.of_batches(site).any(|key| batch.signed_by(key, &batch_hash)) {
                wrong.push(format!("the signature is not that of site {site} over this batch"));
            }
        }
        let state = self.sites.get(site);
        let (epoch, expected, previous) = match state {
            Some(state) if state.epoch == head.epoch => (state.epoch, state.next_site_seq, state.batch_hash),
            Some(state) => (state.epoch, 0, state.batch_hash),
            None => (0, 0, [0; 32]),
        };
        if state.is_some() || !self.gap {
            if head.epoch < epoch {
                wrong.push(format!("epoch {} of site {site} comes after epoch {epoch}", head.epoch));
            } else if seq != expected {
                wrong.push(format!(
                    "site_seq {seq} of site {site} in epoch {}, expected {expected}",
                    head.epoch
                ));
            }
            if head.previous != previous {
                wrong.push(format!("the batch of site {site} does not follow its batch before"));
            }
        }
        let next_site_seq = seq.saturating_add(batch.message_count());
        self.sites.insert(site.clone(), SiteState { epoch: head.epoch, next_site_seq, batch_hash });
        wrong
    }
}
