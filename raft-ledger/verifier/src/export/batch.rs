//! One exported batch by itself: its leaves, sealed payloads, and its site's signature over them.

use sha2::{Digest, Sha256};

use crate::Keys;
use crate::keys::verifies;
use crate::leaf::{Fields, LeafFields};
use crate::merkle::{Hash, leaf_hash, sha256};

const ITEMS_MAX: u32 = 65_536;

/// What the order of batches is judged by, and what is wrong with this one.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) site: String,
    pub(super) epoch: u64,
    pub(super) first_site_seq: u64,
    pub(super) messages: u64,
    pub(super) previous: Hash,
    pub(super) hash: Hash,
    pub(super) first_index: u64,
    pub(super) leaves: Vec<Hash>,
    pub(super) payloads_absent: u64,
    /// Largest index that a duplicate in it points to.
    pub(super) duplicate_of: Option<u64>,
    /// Leaf index, if it is about one, and text.
    pub(super) flaws: Vec<(Option<u64>, String)>,
}

/// `None` if the bytes are no exported batch.
pub(super) fn check(body: &[u8], keys: &Keys) -> Option<Checked> {
    let mut body = Fields(body);
    let length = body.u32()? as usize;
    let whole = body.take(length)?;
    let mut batch = Fields(whole);
    if batch.u8()? != 1 {
        return None;
    }
    let (group_id, site) = (batch.u32()?, batch.site()?);
    let (epoch, first_site_seq, items) = (batch.u64()?, batch.u64()?, batch.u32()?);
    if !(1..=ITEMS_MAX).contains(&items) {
        return None;
    }
    let previous = batch.array()?;
    let head = whole.get(..whole.len() - batch.0.len())?;
    let first_index = batch.u64()?;
    let mut checked =
        Checked { site: site.to_owned(), epoch, first_site_seq, previous, first_index, ..Checked::default() };
    let mut hasher = Sha256::new().chain_update("medulla batch v1\n").chain_update(head);
    for _ in 0..items {
        let site_seq = first_site_seq.checked_add(checked.messages)?;
        match batch.u8()? {
            1 => {
                let private: Hash = batch.array()?;
                let own = Own { group_id, site, epoch, site_seq };
                let leaf = checked.leaf(&mut body, &own)?;
                hasher.update([1]);
                hasher.update(leaf);
                hasher.update(private);
                checked.messages += 1;
            }
            2 => {
                hasher.update([2]);
                hasher.update(batch.array::<32>()?);
            }
            3 => {
                hasher.update([1]);
                hasher.update(batch.array::<32>()?);
                hasher.update(batch.array::<32>()?);
                checked.duplicate_of = checked.duplicate_of.max(Some(batch.u64()?));
                checked.messages += 1;
            }
            _ => return None,
        }
    }
    let signature: [u8; 64] = batch.array()?;
    if !batch.0.is_empty() || !body.0.is_empty() {
        return None;
    }
    checked.hash = hasher.finalize().into();
    checked.signature(keys, &signature);
    Some(checked)
}

/// What the leaves of a batch must say of themselves.
struct Own<'a> {
    group_id: u32,
    site: &'a str,
    epoch: u64,
    site_seq: u64,
}

impl Checked {
    /// The next leaf and its payload from `body`.
    fn leaf(&mut self, body: &mut Fields, own: &Own) -> Option<Hash> {
        let length = usize::from(body.u16()?);
        let record = body.take(length)?;
        let payload = match body.u8()? {
            0 => None,
            1 => {
                let length = body.u32()? as usize;
                Some(body.take(length)?)
            }
            _ => return None,
        };
        let index = self.first_index.checked_add(self.leaves.len() as u64);
        let hash = leaf_hash(record);
        self.leaves.push(hash);
        let flaw = match LeafFields::read(record) {
            None => Some("not a leaf record of a known version"),
            Some(leaf)
                if (leaf.group_id, leaf.site, leaf.epoch, leaf.site_seq)
                    != (own.group_id, own.site, own.epoch, own.site_seq) =>
            {
                Some("the leaf's group, site, epoch or site_seq is not its batch's")
            }
            Some(leaf) => match payload {
                None => {
                    self.payloads_absent += 1;
                    None
                }
                Some(bytes)
                    if bytes.len() == leaf.ciphertext_len as usize
                        && sha256(bytes) == leaf.ciphertext_hash =>
                {
                    None
                }
                Some(_) => Some("the sealed payload is not the one that its leaf names"),
            },
        };
        self.flaws.extend(flaw.map(|text| (index, text.to_owned())));
        Some(hash)
    }

    fn signature(&mut self, keys: &Keys, signature: &[u8; 64]) {
        let signed = [b"medulla batch signature v1\n".as_slice(), &self.hash].concat();
        let text = match keys.batches.get(&self.site) {
            None => format!("you brought no batch key of site {}", self.site),
            Some(keys) if !keys.values().any(|key| verifies(key, &signed, signature)) => {
                format!("the signature is not that of site {} over this batch", self.site)
            }
            Some(_) => return,
        };
        self.flaws.push((Some(self.first_index), text));
    }
}
