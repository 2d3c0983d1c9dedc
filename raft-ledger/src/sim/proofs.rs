//! What sites signed and proved on the way, and what must still be true of it at the end.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::model::Verdict;
use crate::checkpoint::{Checkpoint, Note};
use crate::keys::VerifierKeys;
use crate::record::{Hash, sha256};

/// Checkpoints and receipts of all sites, against the roots of the committed leaves.
pub(super) struct Proofs {
    /// By size, from 0 on.
    roots: Vec<Hash>,
    /// By size: the root that sites signed. All equal means that no two checkpoints contradict one another.
    signed: BTreeMap<u64, Hash>,
    receipts: u64,
}

impl Default for Proofs {
    fn default() -> Proofs {
        Proofs { roots: vec![sha256(&[])], signed: BTreeMap::new(), receipts: 0 }
    }
}

impl Proofs {
    /// One more leaf is committed.
    pub(super) fn grown(&mut self, root: Hash) {
        self.roots.push(root);
    }

    pub(super) fn signed(&mut self, site: usize, size: u64, root: Hash) -> Verdict {
        let known = *self.signed.entry(size).or_insert(root);
        if known != root {
            return Err(format!("site {site} signed another root of size {size} than was signed before"));
        }
        match self.roots.get(size as usize) {
            Some(committed) if *committed != root => {
                Err(format!("site {site} signed a root of size {size} that is not the committed leaves'"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn count_signed(&self) -> u64 {
        self.signed.len() as u64
    }

    pub(super) fn count_receipts(&self) -> u64 {
        self.receipts
    }

    /// Signed sizes in pairs that follow one another, with their roots.
    pub(super) fn steps(&self) -> impl Iterator<Item = [(u64, Hash); 2]> + '_ {
        self.signed.iter().zip(self.signed.iter().skip(1)).map(|((m, a), (n, b))| [(*m, *a), (*n, *b)])
    }

    /// Once all sites agree: every size that was signed is committed, under that root.
    pub(super) fn close(&self) -> Verdict {
        match self.signed.iter().find(|(size, root)| self.roots.get(**size as usize) != Some(root)) {
            Some((size, _)) => Err(format!("a checkpoint of size {size} was signed, which was lost")),
            None => Ok(()),
        }
    }

    /// A receipt (C2SP tlog-proof) as a stranger would judge it: leaf, path and the signatures of `majority` sites
    /// under the root. The root is checked against the committed leaves: so it holds for as long as these do.
    pub(super) fn receipt(
        &mut self,
        receipt: &str,
        leaf: Hash,
        keys: &VerifierKeys,
        majority: usize,
    ) -> Verdict {
        let Some((size, root)) = judge(receipt, leaf, keys, majority) else {
            return Err(format!("a receipt does not verify:\n{receipt}"));
        };
        self.receipts += 1;
        match self.roots.get(size as usize) == Some(&root) {
            true => Ok(()),
            false => Err(format!("a receipt proves a root of size {size} that was not committed")),
        }
    }
}

/// The size and root that the receipt proves the leaf to be in.
fn judge(receipt: &str, leaf: Hash, keys: &VerifierKeys, majority: usize) -> Option<(u64, Hash)> {
    let (proof, note) = receipt.split_once("\n\n")?;
    let mut lines = proof.lines().skip(1);
    let record = STANDARD.decode(lines.next()?.strip_prefix("extra ")?).ok()?;
    let index: u64 = lines.next()?.strip_prefix("index ")?.parse().ok()?;
    let path: Option<Vec<Hash>> = lines.map(|line| STANDARD.decode(line).ok()?.try_into().ok()).collect();
    let note = Note::parse(note.as_bytes())?;
    let Checkpoint { size, root, .. } = Checkpoint::parse(note.text)?;
    let by = |key: &&_| note.signatures.iter().any(|signature| signature.verifies(key, note.text));
    let cosigned = keys.cosigners.iter().filter(by).count() >= majority;
    let signed = keys.logs.iter().any(|key| by(&key));
    let proven = sha256(&[&[0], &record]) == leaf && root_of(leaf, index, size, &path?)? == root;
    (proven && cosigned && signed).then_some((size, root))
}

/// RFC 6962 §2.1.1 backwards: the tree's root, from its largest subtree down to the leaf.
fn root_of(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if size == 1 {
        return (index == 0 && path.is_empty()).then_some(leaf);
    }
    let (sibling, below) = path.split_last()?;
    let left = size.checked_next_power_of_two()? / 2;
    if index < left {
        Some(sha256(&[&[1], &root_of(leaf, index, left, below)?, sibling]))
    } else {
        Some(sha256(&[&[1], sibling, &root_of(leaf, index - left, size.checked_sub(left)?, below)?]))
    }
}
