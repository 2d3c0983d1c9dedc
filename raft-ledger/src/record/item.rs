//! What a batch consists of: sealed messages, and chunks of large ones.

use std::fmt;

use bytes::Bytes;

use super::reader::{Reader, RecordError};
use super::{BatchHead, Hash, Head, Leaf, MAX_CIPHERTEXT_BYTES, MAX_TAGS, sha256};
use crate::types::Tag;

const MESSAGE: u8 = 1;
const CHUNK: u8 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Message(Message),
    Chunk(Chunk),
}

/// One sealed draft. Its position (group, site, epoch, site_seq) is its place in the batch.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: u16,
    pub event_time_ms: i64,
    pub message_time_ms: i64,
    pub received_time_ms: i64,
    pub key_ref: [u8; 16],
    pub subject_commitment: Hash,
    /// Of the whole sealed payload, `ciphertext` and any chunks before it.
    pub ciphertext_len: u32,
    pub ciphertext_hash: Hash,
    pub private: Private,
    /// The whole sealed payload, or its end if chunks went before.
    pub ciphertext: Bytes,
}

/// What replicas need and no leaf shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Private {
    pub dedupe: Option<[u8; 32]>,
    /// At most [`MAX_TAGS`].
    pub tags: Vec<Tag>,
}

/// A part of the sealed payload of this site's next message.
#[derive(Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it belongs in that sealed payload.
    pub offset: u32,
    /// At least one byte.
    pub bytes: Bytes,
}

impl Item {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Item::Message(message) => {
                out.push(MESSAGE);
                message.encode(out);
            }
            Item::Chunk(chunk) => {
                out.push(CHUNK);
                out.extend_from_slice(&chunk.offset.to_be_bytes());
                out.extend_from_slice(&(chunk.bytes.len() as u32).to_be_bytes());
                out.extend_from_slice(&chunk.bytes);
            }
        }
    }

    pub(super) fn decode(bytes: Bytes) -> Result<Item, RecordError> {
        let mut reader = Reader::new("item", bytes);
        let item = match reader.u8()? {
            MESSAGE => Item::Message(Message::decode(&mut reader)?),
            CHUNK => Item::Chunk(Chunk::decode(&mut reader)?),
            _ => return Err(reader.error("an item form this release does not know")),
        };
        reader.end()?;
        Ok(item)
    }

    /// Bytes that this item takes in an encoded batch.
    pub fn encoded_len(&self) -> usize {
        4 + 1
            + match self {
                Item::Message(m) => {
                    2 + 24 + 16 + 32 + 4 + 32 + m.private.encoded_len() + 4 + m.ciphertext.len()
                }
                Item::Chunk(c) => 8 + c.bytes.len(),
            }
    }
}

impl Message {
    /// Whether `ciphertext` is the whole sealed payload (no chunks went before).
    pub fn is_whole(&self) -> bool {
        self.ciphertext.len() == self.ciphertext_len as usize
    }

    /// The leaf that this message makes as number `site_seq` of its site and epoch.
    pub fn leaf(&self, batch: &BatchHead, site_seq: u64) -> Leaf {
        Leaf {
            head: Head {
                group_id: batch.group_id,
                kind: self.kind,
                site: batch.site.clone(),
                epoch: batch.epoch,
                site_seq,
                event_time_ms: self.event_time_ms,
                message_time_ms: self.message_time_ms,
                received_time_ms: self.received_time_ms,
                key_ref: self.key_ref,
            },
            subject_commitment: self.subject_commitment,
            ciphertext_len: self.ciphertext_len,
            ciphertext_hash: self.ciphertext_hash,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.kind.to_be_bytes());
        for time in [self.event_time_ms, self.message_time_ms, self.received_time_ms] {
            out.extend_from_slice(&time.to_be_bytes());
        }
        out.extend_from_slice(&self.key_ref);
        out.extend_from_slice(&self.subject_commitment);
        out.extend_from_slice(&self.ciphertext_len.to_be_bytes());
        out.extend_from_slice(&self.ciphertext_hash);
        self.private.encode(out);
        out.extend_from_slice(&(self.ciphertext.len() as u32).to_be_bytes());
        out.extend_from_slice(&self.ciphertext);
    }

    fn decode(reader: &mut Reader) -> Result<Message, RecordError> {
        let message = Message {
            kind: reader.u16()?,
            event_time_ms: reader.i64()?,
            message_time_ms: reader.i64()?,
            received_time_ms: reader.i64()?,
            key_ref: reader.array()?,
            subject_commitment: reader.hash()?,
            ciphertext_len: reader.u32()?,
            ciphertext_hash: reader.hash()?,
            private: Private::decode(reader)?,
            ciphertext: reader.bytes32(MAX_CIPHERTEXT_BYTES)?,
        };
        let total = message.ciphertext_len as usize;
        if total > MAX_CIPHERTEXT_BYTES || message.ciphertext.len() > total {
            return Err(reader.error("a length is over its limit"));
        }
        Ok(message)
    }
}

impl Private {
    /// Binds dedupe key and tags to the leaf without showing them.
    pub fn hash(&self, leaf_hash: &Hash) -> Hash {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        self.encode(&mut bytes);
        sha256(&[&[0x21], leaf_hash, &bytes])
    }

    fn encoded_len(&self) -> usize {
        2 + if self.dedupe.is_some() { 32 } else { 0 } + 16 * self.tags.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match &self.dedupe {
            None => out.push(0),
            Some(key) => {
                out.push(1);
                out.extend_from_slice(key);
            }
        }
        out.push(self.tags.len() as u8);
        for tag in &self.tags {
            out.extend_from_slice(&tag.0);
        }
    }

    fn decode(reader: &mut Reader) -> Result<Private, RecordError> {
        let dedupe = match reader.u8()? {
            0 => None,
            1 => Some(reader.array()?),
            _ => return Err(reader.error("a flag that is neither 0 nor 1")),
        };
        let count = usize::from(reader.u8()?);
        if count > MAX_TAGS {
            return Err(reader.error("more than 16 tags"));
        }
        let tags = (0..count).map(|_| reader.array().map(Tag)).collect::<Result<_, _>>()?;
        Ok(Private { dedupe, tags })
    }
}

impl Chunk {
    pub fn hash(&self) -> Hash {
        let len = (self.bytes.len() as u32).to_be_bytes();
        sha256(&[&[0x22], &self.offset.to_be_bytes(), &len, &self.bytes])
    }

    fn decode(reader: &mut Reader) -> Result<Chunk, RecordError> {
        let chunk = Chunk { offset: reader.u32()?, bytes: reader.bytes32(MAX_CIPHERTEXT_BYTES)? };
        let end = u64::from(chunk.offset) + chunk.bytes.len() as u64;
        if chunk.bytes.is_empty() || end > MAX_CIPHERTEXT_BYTES as u64 {
            return Err(reader.error("a chunk that is empty or reaches beyond the largest payload"));
        }
        Ok(chunk)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message(kind {}, {} bytes sealed)", self.kind, self.ciphertext_len)
    }
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Private({} tags)", self.tags.len())
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({}..+{})", self.offset, self.bytes.len())
    }
}
