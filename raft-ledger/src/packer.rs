//! Drafts into signed batches: sealed, numbered, chained.

use std::sync::Arc;

use bytes::Bytes;

use crate::blocking;
use crate::keys::SiteKeys;
use crate::keystore::ReadyKeys;
use crate::partner::Partner;
use crate::raft::GROUP;
use crate::record::{Batch, BatchHead, Chunk, Command, Hash, Item, Message};
use crate::seal::Sealer;
use crate::types::OWN_KINDS;
use crate::{Draft, LedgerError, Subject};

/// Sealed bytes that one batch carries of a large payload.
const CHUNK_BYTES: usize = 256 << 10;

/// Where this site's next batch goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) epoch: u64,
    pub(crate) next_site_seq: u64,
    pub(crate) previous: Hash,
}

pub(crate) struct Packed {
    /// Batch hash and encoded command; the last holds the messages, those before it chunks of a large one.
    pub(crate) batches: Vec<(Hash, Bytes)>,
    pub(crate) next: Position,
}

#[derive(Clone)]
pub(crate) struct Packer {
    pub(crate) keys: Arc<SiteKeys>,
    pub(crate) sealer: Arc<Sealer>,
    /// Who must hold a key before anything is sealed with it.
    pub(crate) partner: Arc<Partner>,
}

impl Packer {
    /// One batch of all drafts; a single large one becomes several. Waits until enough sites hold the subjects' keys.
    /// Gives the drafts back. `None`: the runtime is going down.
    pub(crate) async fn pack(
        &self,
        position: Position,
        drafts: Vec<Draft>,
    ) -> Option<Result<(Packed, Vec<Draft>), LedgerError>> {
        // What the ledger itself has to say is not sealed.
        let sealed = drafts.iter().filter(|draft| draft.kind < OWN_KINDS);
        let subjects: Vec<Subject> = sealed.map(|draft| draft.subject).collect();
        let ready = match self.partner.ready(&subjects).await? {
            Ok(ready) => ready,
            Err(error) => return Some(Err(error)),
        };
        let packer = self.clone();
        // Whoever retires one of these keys from here on says so in a later batch.
        let seal = move || packer.seal(&position, &drafts, &ready).map(|packed| (packed, drafts));
        blocking::run(seal).await.ok()
    }

    /// Blocks.
    fn seal(&self, position: &Position, drafts: &[Draft], ready: &ReadyKeys) -> Result<Packed, LedgerError> {
        let mut rng = crate::random::rng();
        let mut items = Vec::with_capacity(drafts.len());
        let mut packed = Packed { batches: Vec::new(), next: position.clone() };
        for (draft, site_seq) in drafts.iter().zip(position.next_site_seq..) {
            let mut message = self.sealer.seal(draft, ready, (position.epoch, site_seq), &mut rng)?;
            if message.ciphertext.len() > 2 * CHUNK_BYTES {
                self.split(&mut message, &mut packed);
            }
            items.push(Item::Message(message));
        }
        self.sign(&mut packed, items);
        Ok(packed)
    }

    /// All but the end of a large message goes ahead in batches of its own. It is alone in its pack.
    fn split(&self, message: &mut Message, packed: &mut Packed) {
        let mut offset = 0;
        while message.ciphertext.len() > CHUNK_BYTES {
            let bytes = message.ciphertext.split_to(CHUNK_BYTES);
            let chunk = Chunk { offset, bytes };
            offset += CHUNK_BYTES as u32;
            self.sign(packed, vec![Item::Chunk(chunk)]);
        }
    }

    fn sign(&self, packed: &mut Packed, items: Vec<Item>) {
        let head = BatchHead {
            group_id: GROUP,
            site: self.keys.site.clone(),
            epoch: packed.next.epoch,
            first_site_seq: packed.next.next_site_seq,
            previous: packed.next.previous,
        };
        let (batch, hash) = Batch::sign(head, items, &self.keys.batch);
        packed.next.next_site_seq += batch.message_count();
        packed.next.previous = hash;
        packed.batches.push((hash, Command::Batch(batch).encode()));
    }
}
