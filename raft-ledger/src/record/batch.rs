//! What one site sends to be ordered: numbered, chained to its previous batch, signed.

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::reader::{Reader, RecordError};
use super::{Hash, Item, MAX_BATCH_BYTES, MAX_BATCH_ITEMS, SiteName, sha256};

const VERSION: u8 = 1;
const HASH_DOMAIN: &[u8] = b"medulla batch v1\n";
const SIGNATURE_DOMAIN: &[u8] = b"medulla batch signature v1\n";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHead {
    pub group_id: u32,
    pub site: SiteName,
    pub epoch: u64,
    /// Number of the first message in it (of the next one, if there are only chunks).
    pub first_site_seq: u64,
    /// Batch hash of this site's previous committed batch, also across epochs; zeros if there is none.
    pub previous: Hash,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub head: BatchHead,
    /// 1 to [`MAX_BATCH_ITEMS`].
    pub items: Vec<Item>,
    pub signature: [u8; 64],
}

/// What a site signed, without what it hashed: enough for anybody to see that it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBatch {
    /// SHA-256 of it is the batch hash.
    pub hashed: Vec<u8>,
    pub signature: [u8; 64],
}

/// What a check of a batch yields, so that apply hashes nothing twice.
#[derive(Clone, Debug)]
pub struct Verified {
    pub batch_hash: Hash,
    /// One per `Item::Message`, in order.
    pub messages: Vec<VerifiedMessage>,
}

#[derive(Clone, Debug)]
pub struct VerifiedMessage {
    /// The canonical record.
    pub leaf_bytes: Bytes,
    /// RFC 6962 leaf hash: what is appended to the tree.
    pub leaf_hash: Hash,
    pub private_hash: Hash,
}

impl BatchHead {
    /// The fields from version to previous, as signed.
    pub(super) fn encode(&self, item_count: usize, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.group_id.to_be_bytes());
        self.site.encode(out);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.first_site_seq.to_be_bytes());
        out.extend_from_slice(&(item_count as u32).to_be_bytes());
        out.extend_from_slice(&self.previous);
    }

    pub(super) fn decode(reader: &mut Reader) -> Result<(BatchHead, usize), RecordError> {
        reader.version(VERSION)?;
        let group_id = reader.u32()?;
        let site = SiteName::decode(reader)?;
        let (epoch, first_site_seq) = (reader.u64()?, reader.u64()?);
        let item_count = reader.u32()? as usize;
        if !(1..=MAX_BATCH_ITEMS).contains(&item_count) {
            return Err(reader.error("an item count out of bounds"));
        }
        if first_site_seq.checked_add(item_count as u64).is_none() {
            return Err(reader.error("a site_seq out of bounds"));
        }
        Ok((BatchHead { group_id, site, epoch, first_site_seq, previous: reader.hash()? }, item_count))
    }
}

impl Batch {
    /// Signs `items` as the batch `head`; the hash is what the next batch names as `previous`.
    pub fn sign(head: BatchHead, items: Vec<Item>, key: &SigningKey) -> (Batch, Hash) {
        let mut batch = Batch { head, items, signature: [0; 64] };
        let hash = batch.hash();
        batch.signature = key.sign(&[SIGNATURE_DOMAIN, &hash].concat()).to_bytes();
        (batch, hash)
    }

    #[cfg(test)]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out.into()
    }

    pub(super) fn encode_into(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len());
        self.head.encode(self.items.len(), out);
        for item in &self.items {
            out.extend_from_slice(&((item.encoded_len() - 4) as u32).to_be_bytes());
            item.encode(out);
        }
        out.extend_from_slice(&self.signature);
    }

    pub fn encoded_len(&self) -> usize {
        256 + self.items.iter().map(Item::encoded_len).sum::<usize>()
    }

    /// Checks the form alone; `verify` checks what it says.
    pub fn decode(bytes: Bytes) -> Result<Batch, RecordError> {
        let mut reader = Reader::new("batch", bytes);
        if reader.remaining() > MAX_BATCH_BYTES {
            return Err(reader.error("more bytes than a batch may have"));
        }
        let (head, count) = BatchHead::decode(&mut reader)?;
        // An item takes more than 8 bytes: what is reserved is bounded by what is there.
        let mut items = Vec::with_capacity(count.min(reader.remaining() / 8));
        for _ in 0..count {
            let bytes = reader.bytes32(MAX_BATCH_BYTES)?;
            let start = reader.position() - bytes.len();
            items.push(Item::decode(bytes).map_err(|e| RecordError { at: start + e.at, ..e })?);
        }
        let signature = reader.array()?;
        reader.end()?;
        Ok(Batch { head, items, signature })
    }

    /// Batch hash: what is signed and what the site's next batch names as `previous`.
    pub fn hash(&self) -> Hash {
        self.digest().batch_hash
    }

    /// Number of messages: the next batch of this site and epoch begins that much later.
    pub fn message_count(&self) -> u64 {
        self.items.iter().filter(|item| matches!(item, Item::Message(_))).count() as u64
    }

    /// Checks the signature and the hash of every sealed payload that is whole in this batch.
    /// Epoch, gaplessness and `previous` are for the caller to compare with what was applied before.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Verified, RecordError> {
        let bad = |what| RecordError { record: "batch", what, at: 0 };
        let verified = self.digest();
        verify_signature(key, &verified.batch_hash, &self.signature)
            .then_some(())
            .ok_or_else(|| bad("the signature is not its site's"))?;
        for item in &self.items {
            if let Item::Message(message) = item
                && message.is_whole()
                && sha256(&[&message.ciphertext]) != message.ciphertext_hash
            {
                return Err(bad("a sealed payload does not match its hash"));
            }
        }
        Ok(verified)
    }

    pub fn as_signed(&self) -> SignedBatch {
        SignedBatch { hashed: self.hashed().0.0, signature: self.signature }
    }

    fn digest(&self) -> Verified {
        let (hasher, messages) = self.hashed();
        Verified { batch_hash: hasher.finish(), messages }
    }

    fn hashed(&self) -> (BatchHasher, Vec<VerifiedMessage>) {
        let mut messages = Vec::with_capacity(self.items.len());
        let mut hasher = BatchHasher::new(&self.head, self.items.len());
        let mut site_seq = self.head.first_site_seq;
        for item in &self.items {
            match item {
                Item::Chunk(chunk) => hasher.chunk(&chunk.hash()),
                Item::Message(message) => {
                    let leaf_bytes = Bytes::from(message.leaf(&self.head, site_seq).encode());
                    let leaf_hash = crate::merkle::leaf_hash(&leaf_bytes);
                    let private_hash = message.private.hash(&leaf_hash);
                    hasher.message(&leaf_hash, &private_hash);
                    messages.push(VerifiedMessage { leaf_bytes, leaf_hash, private_hash });
                    site_seq = site_seq.saturating_add(1);
                }
            }
        }
        (hasher, messages)
    }
}

/// The batch hash from heads and hashes alone; shared with [`super::Provenance`].
pub(super) struct BatchHasher(pub(super) Vec<u8>);

impl BatchHasher {
    pub(super) fn new(head: &BatchHead, item_count: usize) -> BatchHasher {
        let mut bytes = Vec::with_capacity(256 + 65 * item_count);
        bytes.extend_from_slice(HASH_DOMAIN);
        head.encode(item_count, &mut bytes);
        BatchHasher(bytes)
    }

    pub(super) fn message(&mut self, leaf_hash: &Hash, private_hash: &Hash) {
        self.0.push(1);
        self.0.extend_from_slice(leaf_hash);
        self.0.extend_from_slice(private_hash);
    }

    pub(super) fn chunk(&mut self, chunk_hash: &Hash) {
        self.0.push(2);
        self.0.extend_from_slice(chunk_hash);
    }

    pub(super) fn finish(self) -> Hash {
        sha256(&[&self.0])
    }
}

pub(super) fn verify_signature(key: &VerifyingKey, batch_hash: &Hash, signature: &[u8; 64]) -> bool {
    let signed = [SIGNATURE_DOMAIN, batch_hash].concat();
    key.verify_strict(&signed, &Signature::from_bytes(signature)).is_ok()
}
