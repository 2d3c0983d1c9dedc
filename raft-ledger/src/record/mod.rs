//! The bytes that sites sign, replicate, hash and keep. This page is their specification.
//!
//! Everything is big-endian, fixed order, no padding. `bytes8` is a u8 length and that many bytes; `hash` is
//! 32 bytes of SHA-256. A decoder takes the whole input or refuses it: no trailing bytes, no length beyond
//! the limits below, one encoding per value. `golden.rs` holds one example of each in hex.
//!
//! ```text
//! Leaf (the canonical record; RFC 6962 leaf hash = SHA-256(0x00 ‖ Leaf))
//!   u8  version = 1
//!   u32 group_id
//!   u16 kind               unknown kinds are kept and hashed, never interpreted
//!   bytes8 site            site name, [a-z0-9.-]{1,63}, no '.' or '-' at either end
//!   u64 epoch
//!   u64 site_seq           messages of this site in this epoch, from 0, gapless
//!   i64 event_time_ms, i64 message_time_ms, i64 received_time_ms
//!   [16] key_ref           id of the subject's key, masked by position (see seal.rs)
//!     ── the bytes up to here are the Head: associated data of the sealing ──
//!   hash subject_commitment   salted; the salt is derived from the event's own key
//!   u32 ciphertext_len     at most 64 MiB + 256
//!   hash ciphertext_hash   of the whole sealed payload; there is no plaintext hash anywhere
//!
//! Item (in a batch)
//!   u8  form = 1: Message
//!     u16 kind, i64 × 3 times, [16] key_ref, hash subject_commitment, u32 ciphertext_len, hash ciphertext_hash
//!     Private: u8 has_dedupe (0|1), hash dedupe if 1, u8 tags (≤ 16), tags × [16]
//!     u32 inline_len, inline bytes
//!         inline_len = ciphertext_len: the whole sealed payload.
//!         inline_len < ciphertext_len: its end; the beginning came in this site's Chunks just before.
//!   u8  form = 2: Chunk (a part of the next message of this site; makes no leaf, takes no site_seq)
//!     u32 offset, u32 len (≥ 1), bytes
//!
//! Batch (one raft entry)
//!   u8  version = 1
//!   u32 group_id, bytes8 site, u64 epoch, u64 first_site_seq
//!   u32 item_count (1 ..= 65,536)
//!   hash previous          batch hash of this site's previous committed batch, also across epochs; zeros if none
//!   items: per item u32 length, Item
//!   [64] Ed25519 signature by the site's batch key over "medulla batch signature v1\n" ‖ batch hash
//!
//! Batch hash = SHA-256("medulla batch v1\n" ‖ the batch's fields from version to previous ‖ item digests)
//!   Message: 0x01 ‖ leaf hash ‖ private hash;  private hash = SHA-256(0x21 ‖ leaf hash ‖ Private)
//!   Chunk:   0x02 ‖ SHA-256(0x22 ‖ offset ‖ len ‖ bytes)
//! So a signature can be checked from leaves and private hashes alone: without tags, dedupe keys, ciphertext.
//!
//! Provenance (kept beside the leaves, exported; what re-checks a batch's signature)
//!   the batch's fields from version to previous, u64 first_index (leaf index of the first leaf it made),
//!   per item: 0x01 ‖ private hash                               made a leaf
//!             0x03 ‖ leaf hash ‖ private hash ‖ u64 first_index  duplicate of that leaf: made none
//!             0x02 ‖ chunk hash
//!   [64] signature
//!
//! Shred (payload of a leaf of kind 0xff00; not sealed, so that it outlives every key)
//!   u8 version = 2
//!   u16 keys (1 ..= 1,024), keys × (hash subject, [16] key id), masked by position: only sites see them (seal.rs)
//!   u8 length (0 ..= 128), who ordered it, masked as well; version 1 ends before
//!
//! Takeover (payload of a leaf of kind 0xff01; not sealed, so that everybody can tell who stood in for whom)
//!   u8 version = 1
//!   u8 form = 1: Here, of the site that signs it
//!     u8 has_partner (0|1), bytes8 partner if 1
//!   u8 form = 2: Gone, of the leader
//!     u8 sites (0 ..= 64), sites × (bytes8 site, bytes8 holder of its lease), in the order of the sites, each once
//!
//! Command (what a raft entry carries)
//!   u8 version = 1, u16 command kind, body to the end
//!     1 Batch
//!     2 OpenEpoch: u32 group_id, bytes8 site, u64 previous_epoch, [16] nonce,
//!       [64] signature over "medulla open epoch v1\n" ‖ the fields before it
//!     3 ApplyVersion: u32 apply_version, raised by the leader alone; the highest one counts, from this entry on
//!     4 NewSite, below; without effect before apply version 1
//!     anything else (also another version) is kept and ignored until an apply version knows it
//!
//! NewSite (what the consortium's offline authority admits a further site by)
//!   u8  version = 1
//!   bytes8 consortium      UTF-8, what the names of its keys begin with; the origin is that ‖ "/group/" ‖ group_id
//!   u32 group_id
//!   bytes8 site
//!   u32 generation = 1     which keys of this name; others are refused until an apply version lets a name change its keys
//!   [32] batch key, [32] log key, [32] cosigner key (all Ed25519)
//!   [64] signature by the authority's key over "medulla admission v1\n" ‖ the fields before it
//!   As a line of text: "medulla admission v1 " ‖ base64 of all of it (keys/admission.rs). Refused in apply unless the
//!   authority in public.json has signed it for this consortium, group and generation; if the name has other keys; if
//!   another site has one of these. Who proposes it says nothing: the leader cannot make one.
//! ```

mod batch;
mod command;
#[cfg(test)]
mod golden;
mod item;
mod leaf;
mod new_site;
mod provenance;
mod reader;
mod shred;
mod site;
mod takeover;

pub use self::batch::{Batch, BatchHead, SignedBatch, Verified};
pub use self::command::{ApplyVersion, Command, OpenEpoch};
pub use self::item::{Chunk, Item, Message, Private};
pub use self::leaf::{Head, Leaf};
pub use self::new_site::NewSite;
pub use self::provenance::{Provenance, ProvenanceItem};
pub use self::reader::RecordError;
pub use self::shred::{MAX_ORDERED_BY_BYTES, MAX_SHRED_KEYS, Shred};
pub use self::site::SiteName;
pub use self::takeover::{MAX_GONE_SITES, Takeover};

pub(crate) use self::new_site::MAX_NAME_BYTES;
pub(crate) use self::reader::Reader;

/// SHA-256.
pub type Hash = [u8; 32];

/// Of one entry.
pub const MAX_TAGS: usize = 16;
/// Plain bytes of one message.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;
/// Sealed bytes of one message: payload and envelope.
pub const MAX_CIPHERTEXT_BYTES: usize = MAX_PAYLOAD_BYTES + 256;
pub const MAX_BATCH_ITEMS: usize = 65_536;
/// Encoded; a batch is closed far earlier (256 KiB), a single large message may stand alone in one.
pub const MAX_BATCH_BYTES: usize = MAX_CIPHERTEXT_BYTES + (1 << 20);

pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    use sha2::Digest;
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
