//! Receipts: C2SP tlog-proof, the canonical leaf record in the extra line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::Refusal;
use crate::checkpoint::{Signed, decimal, hash};
use crate::keys::Keys;
use crate::leaf::Leaf;
use crate::merkle::{Hash, leaf_hash, root_from_path};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// RFC 6962: a tree of 2^64 leaves has no longer path.
const MAX_PATH: usize = 64;

/// A receipt that holds: this entry is in that tree, and these vouch for it.
#[derive(Debug, Serialize)]
pub struct Receipt {
    /// 0-based.
    pub index: u64,
    pub leaf: Leaf,
    pub checkpoint: Signed,
}

/// Judges a receipt by `keys`, with at least `k` cosigners, one of them not the site that the entry comes from.
///
/// # Errors
/// The first thing that does not hold.
pub fn judge_receipt(receipt: &[u8], keys: &Keys, k: usize) -> Result<Receipt, Refusal> {
    let what = "not a C2SP tlog-proof with a leaf record in its extra line";
    let parts = std::str::from_utf8(receipt).ok().and_then(Parts::read).ok_or(Refusal::Form { what })?;
    let checkpoint = Signed::judge(parts.checkpoint, keys, k)?;
    if !parts.leads_to(checkpoint.size, &checkpoint.root) {
        return Err(Refusal::NotIncluded);
    }
    let leaf = Leaf::decode(&parts.record)?;
    let own = format!("/site/{}", leaf.site);
    if k > 0 && checkpoint.cosigners.iter().all(|name| name.ends_with(&own)) {
        return Err(Refusal::OnlyItsOrigin { site: leaf.site });
    }
    Ok(Receipt { index: parts.index, leaf, checkpoint })
}

/// A receipt taken apart; nothing in it is judged yet.
pub(crate) struct Parts<'a> {
    pub(crate) record: Vec<u8>,
    pub(crate) index: u64,
    path: Vec<Hash>,
    pub(crate) checkpoint: &'a str,
}

impl Parts<'_> {
    /// Whether the path leads from the entry to `root`.
    pub(crate) fn leads_to(&self, size: u64, root: &Hash) -> bool {
        root_from_path(leaf_hash(&self.record), self.index, size, &self.path).as_ref() == Some(root)
    }

    pub(crate) fn read(receipt: &str) -> Option<Parts<'_>> {
        let (proof, checkpoint) = receipt.split_once("\n\n")?;
        let mut lines = proof.split('\n');
        if lines.next()? != HEADER {
            return None;
        }
        let record = STANDARD.decode(lines.next()?.strip_prefix("extra ")?).ok()?;
        let index = decimal(lines.next()?.strip_prefix("index ")?)?;
        let path = hashes(lines)?;
        Some(Parts { record, index, path, checkpoint })
    }
}

/// One base64 hash a line.
pub(crate) fn hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Vec<Hash>> {
    let path: Vec<Hash> = lines.take(MAX_PATH + 1).map(hash).collect::<Option<_>>()?;
    (path.len() <= MAX_PATH).then_some(path)
}
