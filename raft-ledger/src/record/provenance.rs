//! What is kept of a batch beside the leaves it made: enough to check its site's signature for ever.

use bytes::Bytes;
use ed25519_dalek::VerifyingKey;

use super::batch::{BatchHasher, SignedBatch, verify_signature};
use super::reader::{Reader, RecordError};
use super::{Batch, BatchHead, Hash, Item, MAX_BATCH_ITEMS, Verified};
use crate::types::Outcome;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    pub head: BatchHead,
    /// Leaf index of the first leaf that it made (of the next leaf, if it made none).
    pub first_index: u64,
    pub items: Vec<ProvenanceItem>,
    pub signature: [u8; 64],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProvenanceItem {
    /// Made the next leaf.
    Leaf {
        private_hash: Hash,
    },
    Chunk {
        chunk_hash: Hash,
    },
    /// Made no leaf: its dedupe key was that of the leaf `first_index`.
    Duplicate {
        leaf_hash: Hash,
        private_hash: Hash,
        first_index: u64,
    },
}

impl Provenance {
    /// `first_index`: size of the tree before this batch; `outcomes`: one per message, as apply decided.
    /// `None` if their number is not that of the messages.
    pub fn new(
        batch: &Batch,
        verified: &Verified,
        first_index: u64,
        outcomes: &[Outcome],
    ) -> Option<Provenance> {
        if outcomes.len() != verified.messages.len() || batch.message_count() != outcomes.len() as u64 {
            return None;
        }
        let mut decided = verified.messages.iter().zip(outcomes);
        let items = batch.items.iter().map(|item| match item {
            Item::Chunk(chunk) => Some(ProvenanceItem::Chunk { chunk_hash: chunk.hash() }),
            Item::Message(_) => decided.next().map(|(message, outcome)| {
                let (leaf_hash, private_hash) = (message.leaf_hash, message.private_hash);
                if outcome.duplicate {
                    ProvenanceItem::Duplicate { leaf_hash, private_hash, first_index: outcome.index }
                } else {
                    ProvenanceItem::Leaf { private_hash }
                }
            }),
        });
        let items = items.collect::<Option<Vec<_>>>()?;
        Some(Provenance { head: batch.head.clone(), first_index, items, signature: batch.signature })
    }

    /// Number of leaves that the batch made.
    pub fn leaf_count(&self) -> usize {
        self.items.iter().filter(|item| matches!(item, ProvenanceItem::Leaf { .. })).count()
    }

    /// Number of messages, duplicates included: what its site counted.
    pub fn message_count(&self) -> u64 {
        self.items.iter().filter(|item| !matches!(item, ProvenanceItem::Chunk { .. })).count() as u64
    }

    /// The site_seq of each leaf, in order.
    pub fn leaf_site_seqs(&self) -> impl Iterator<Item = u64> + '_ {
        self.items
            .iter()
            .filter(|item| !matches!(item, ProvenanceItem::Chunk { .. }))
            .zip(self.head.first_site_seq..)
            .filter_map(|(item, seq)| matches!(item, ProvenanceItem::Leaf { .. }).then_some(seq))
    }

    /// Batch hash, from the hashes of the leaves it made in order; `None` if their number differs.
    pub fn batch_hash(&self, leaf_hashes: &[Hash]) -> Option<Hash> {
        Some(self.hasher(leaf_hashes)?.finish())
    }

    /// The same, as what its site signed.
    pub fn as_signed(&self, leaf_hashes: &[Hash]) -> Option<SignedBatch> {
        Some(SignedBatch { hashed: self.hasher(leaf_hashes)?.0, signature: self.signature })
    }

    fn hasher(&self, leaf_hashes: &[Hash]) -> Option<BatchHasher> {
        if leaf_hashes.len() != self.leaf_count() {
            return None;
        }
        let mut leaves = leaf_hashes.iter();
        let mut hasher = BatchHasher::new(&self.head, self.items.len());
        for item in &self.items {
            match item {
                ProvenanceItem::Leaf { private_hash } => hasher.message(leaves.next()?, private_hash),
                ProvenanceItem::Chunk { chunk_hash } => hasher.chunk(chunk_hash),
                ProvenanceItem::Duplicate { leaf_hash, private_hash, .. } => {
                    hasher.message(leaf_hash, private_hash);
                }
            }
        }
        Some(hasher)
    }

    pub fn signed_by(&self, key: &VerifyingKey, batch_hash: &Hash) -> bool {
        verify_signature(key, batch_hash, &self.signature)
    }

    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(256 + 33 * self.items.len());
        self.head.encode(self.items.len(), &mut out);
        out.extend_from_slice(&self.first_index.to_be_bytes());
        for item in &self.items {
            match item {
                ProvenanceItem::Leaf { private_hash } => {
                    out.push(1);
                    out.extend_from_slice(private_hash);
                }
                ProvenanceItem::Chunk { chunk_hash } => {
                    out.push(2);
                    out.extend_from_slice(chunk_hash);
                }
                ProvenanceItem::Duplicate { leaf_hash, private_hash, first_index } => {
                    out.push(3);
                    out.extend_from_slice(leaf_hash);
                    out.extend_from_slice(private_hash);
                    out.extend_from_slice(&first_index.to_be_bytes());
                }
            }
        }
        out.extend_from_slice(&self.signature);
        out.into()
    }

    pub fn decode(bytes: Bytes) -> Result<Provenance, RecordError> {
        let mut reader = Reader::new("provenance", bytes);
        let (head, count) = BatchHead::decode(&mut reader)?;
        let first_index = reader.u64()?;
        let mut items = Vec::with_capacity(count.min(reader.remaining() / 33).min(MAX_BATCH_ITEMS));
        for _ in 0..count {
            items.push(match reader.u8()? {
                1 => ProvenanceItem::Leaf { private_hash: reader.hash()? },
                2 => ProvenanceItem::Chunk { chunk_hash: reader.hash()? },
                3 => ProvenanceItem::Duplicate {
                    leaf_hash: reader.hash()?,
                    private_hash: reader.hash()?,
                    first_index: reader.u64()?,
                },
                _ => return Err(reader.error("an item form this release does not know")),
            });
        }
        let signature = reader.array()?;
        reader.end()?;
        Ok(Provenance { head, first_index, items, signature })
    }
}
