//! What a committed entry does to the ledger, on every replica the same.
//!
//! Decides from the entry and the applied state alone; writes one batch with `last_applied` in it.

mod contradiction;
mod new_site;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ed25519_dalek::VerifyingKey;

use crate::cosign::Contradiction;
use crate::keys::KeyRing;
use crate::merkle::Tree;
use crate::raft::{Entry as RaftEntry, GROUP, Payload as RaftPayload, StoredMembership};
use crate::record::{Batch, Command, Hash, Item, Message, OpenEpoch, Provenance, SiteName, Verified, sha256};
use crate::rules::Rules;
use crate::store::applied::{
    Applied, SiteState, applied_key, encode, load_applied, load_site, load_tree, site_key,
};
use crate::store::db::WriteBatch;
use crate::store::generation::{
    Family, Generation, hash_key, index_key, index_of_key, key, tag_key, tile_key, time_key,
};
use crate::store::tags;
use crate::{LedgerError, Outcome};

pub(crate) use self::new_site::{are_former, check_admissions};

/// Leaves that a dedupe key is remembered for. A constant of the format: changing it needs an apply version.
const DEDUPE_WINDOW: u64 = 1_000_000;

/// Leaves before it are out of the window of a ledger of `size` leaves that is on the disk.
pub(crate) fn dedupe_floor(size: u64) -> u64 {
    size.saturating_sub(dedupe_window())
}

fn dedupe_window() -> u64 {
    // A simulation that had to pass a million leaves would find nothing at the window's edge.
    #[cfg(any(test, feature = "sim"))]
    if let Some(window) = crate::sim::dedupe_window() {
        return window;
    }
    DEDUPE_WINDOW
}

/// Why an entry made nothing. Decided on every replica the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unreadable,
    OtherGroup,
    UnknownSite,
    Forged,
    /// Of an epoch that a newer one has fenced, or that was never granted.
    WrongEpoch,
    /// Not the successor of the site's last batch.
    Gap,
    /// Already applied.
    Replay,
    /// Chunks or payload do not fit together.
    BadPayload,
    /// A site of this name has other keys.
    NameTaken,
    /// Another site has one of these keys.
    KeyTaken,
}

/// What an entry did, for those who wait.
#[derive(Debug)]
pub(crate) enum Effect {
    Nothing,
    Applied {
        site: SiteName,
        batch_hash: Hash,
        outcomes: Vec<Outcome>,
    },
    EpochOpened {
        site: SiteName,
        nonce: [u8; 16],
        epoch: u64,
    },
    Refused {
        site: Option<SiteName>,
        batch_hash: Option<Hash>,
        refusal: Refusal,
        /// Evidence against the site that signed it.
        contradiction: Option<Box<Contradiction>>,
    },
}

pub(crate) struct Applier {
    db: Arc<Generation>,
    ring: Arc<KeyRing>,
    /// Batch keys of the sites that the ledger has brought: what it does never follows from what else is known here.
    joined: HashMap<SiteName, VerifyingKey>,
    rules: Arc<Rules>,
    tree: Tree,
    applied: Applied,
    sites: HashMap<SiteName, SiteState>,
}

impl Applier {
    /// Loads the applied state and checks that tiles and root agree.
    ///
    /// # Errors
    /// `OldRelease`: a later one has applied by rules that this one does not know.
    pub(crate) fn load(
        db: Arc<Generation>,
        ring: Arc<KeyRing>,
        rules: Arc<Rules>,
    ) -> Result<Applier, LedgerError> {
        let applied = load_applied(&db)?;
        rules.are(applied.apply_version)?;
        let tree = load_tree(&db, &applied)?;
        db.set_dedupe_floor(dedupe_floor(applied.size));
        let joined = new_site::load(&db, &ring)?;
        Ok(Applier { db, ring, joined, rules, tree, applied, sites: HashMap::new() })
    }

    pub(crate) fn applied(&self) -> &Applied {
        &self.applied
    }

    /// Applies one entry.
    ///
    /// # Errors
    /// Storage, and `OldRelease`: this release must not go on. Else what an entry says can make it refused, never fail.
    pub(crate) fn apply(&mut self, entry: &RaftEntry) -> Result<Effect, LedgerError> {
        // What is written of an event of 1 KiB: its bytes and a fifth more, for leaf, indexes and provenance.
        let entry_bytes =
            if let RaftPayload::Normal(proposal) = &entry.payload { proposal.0.len() } else { 0 };
        let mut batch = WriteBatch::with_room(entry_bytes + entry_bytes / 4);
        self.applied.last = Some(entry.log_id);
        let effect = match &entry.payload {
            RaftPayload::Blank => Effect::Nothing,
            RaftPayload::Membership(membership) => {
                self.applied.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                Effect::Nothing
            }
            RaftPayload::Normal(proposal) => self.apply_command(&mut batch, proposal.0.clone())?,
        };
        if matches!(effect, Effect::Refused { .. }) {
            self.applied.refused += 1;
        }
        self.db.put(&mut batch, Family::Meta, &applied_key(), &encode(&self.applied)?)?;
        self.db.write(batch)?;
        Ok(effect)
    }

    fn apply_command(&mut self, out: &mut WriteBatch, bytes: Bytes) -> Result<Effect, LedgerError> {
        match Command::decode(bytes) {
            Err(_) => Ok(refused(None, None, Refusal::Unreadable)),
            Ok(Command::Batch(batch)) => self.apply_batch(out, &batch),
            Ok(Command::OpenEpoch(open)) => self.open_epoch(out, open),
            Ok(Command::ApplyVersion(version)) => {
                self.rules.are(version.apply_version)?;
                self.applied.apply_version = self.applied.apply_version.max(version.apply_version);
                Ok(Effect::Nothing)
            }
            Ok(Command::NewSite(new)) => self.new_site(out, &new),
            Ok(Command::Unknown(_)) => Ok(Effect::Nothing),
        }
    }

    fn open_epoch(&mut self, out: &mut WriteBatch, open: OpenEpoch) -> Result<Effect, LedgerError> {
        let refuse = |refusal| Ok(refused(Some(open.site.clone()), None, refusal));
        if open.group_id != GROUP {
            return refuse(Refusal::OtherGroup);
        }
        let Some(key_of_site) = self.key_of(&open.site) else {
            return refuse(Refusal::UnknownSite);
        };
        if !open.verify(key_of_site) {
            return refuse(Refusal::Forged);
        }
        let mut state = self.site(&open.site)?;
        if open.previous_epoch != state.epoch {
            return refuse(Refusal::WrongEpoch);
        }
        state = SiteState { epoch: state.epoch + 1, next_site_seq: 0, chunk_bytes: 0, ..state };
        self.db.delete_prefix(out, Family::Chunks, &chunk_prefix(&open.site))?;
        self.db.put(out, Family::Meta, &site_key(&open.site), &encode(&state)?)?;
        let epoch = state.epoch;
        self.sites.insert(open.site.clone(), state);
        Ok(Effect::EpochOpened { site: open.site, nonce: open.nonce, epoch })
    }

    fn apply_batch(&mut self, out: &mut WriteBatch, batch: &Batch) -> Result<Effect, LedgerError> {
        let state = self.site(&batch.head.site)?;
        let checked = match self.check(batch, &state)? {
            Ok(checked) => checked,
            Err(refusal) => {
                let hash = batch.hash();
                let known = self.db.get(Family::ByBatch, &hash_key(&hash))?.is_some();
                let contradiction =
                    if known { None } else { self.contradiction(batch, &state)?.map(Box::new) };
                let refusal = if known { Refusal::Replay } else { refusal };
                let site = Some(batch.head.site.clone());
                return Ok(Effect::Refused { site, batch_hash: Some(hash), refusal, contradiction });
            }
        };
        let first_index = self.tree.size();
        let outcomes = self.write_messages(out, &checked)?;
        for (tile, hashes) in self.tree.take_writes() {
            self.db.put(out, Family::Tiles, &tile_key(tile), &hashes)?;
        }
        self.write_provenance(out, batch, &checked.verified, first_index, &outcomes)?;
        self.write_site(out, batch, &checked, state)?;
        self.applied.size = self.tree.size();
        self.applied.root = self.tree.root();
        let site = batch.head.site.clone();
        Ok(Effect::Applied { site, batch_hash: checked.verified.batch_hash, outcomes })
    }

    fn check<'a>(
        &self,
        batch: &'a Batch,
        state: &SiteState,
    ) -> Result<Result<Checked<'a>, Refusal>, LedgerError> {
        let head = &batch.head;
        if head.group_id != GROUP {
            return Ok(Err(Refusal::OtherGroup));
        }
        let Some(key_of_site) = self.key_of(&head.site) else {
            return Ok(Err(Refusal::UnknownSite));
        };
        if head.epoch != state.epoch || state.epoch == 0 {
            return Ok(Err(Refusal::WrongEpoch));
        }
        if head.first_site_seq != state.next_site_seq || head.previous != state.previous {
            return Ok(Err(Refusal::Gap));
        }
        let Ok(verified) = batch.verify(key_of_site) else { return Ok(Err(Refusal::Forged)) };
        Ok(match self.payloads(batch, state)? {
            Some((messages, open)) => Ok(Checked { verified, messages, open }),
            None => Err(Refusal::BadPayload),
        })
    }

    /// The sealed payload of each message, chunks put together, and what stays open; `None` if they do not fit.
    fn payloads<'a>(&self, batch: &'a Batch, state: &SiteState) -> Result<Option<Payloads<'a>>, LedgerError> {
        let mut messages = Vec::with_capacity(batch.items.len());
        let mut open = Open { stored: state.chunk_bytes, fresh: Vec::new() };
        for item in &batch.items {
            match item {
                Item::Chunk(chunk) => {
                    if u64::from(chunk.offset) != open.len() {
                        return Ok(None);
                    }
                    open.fresh.push(chunk.bytes.clone());
                }
                Item::Message(message) if open.len() == 0 => {
                    if !message.is_whole() {
                        return Ok(None);
                    }
                    messages.push((message, message.ciphertext.clone()));
                }
                Item::Message(message) => {
                    let Some(payload) = self.join(batch, message, &open)? else { return Ok(None) };
                    messages.push((message, payload));
                    open = Open { stored: 0, fresh: Vec::new() };
                }
            }
        }
        Ok(Some((messages, open)))
    }

    fn join(&self, batch: &Batch, message: &Message, open: &Open) -> Result<Option<Bytes>, LedgerError> {
        if open.len() + message.ciphertext.len() as u64 != u64::from(message.ciphertext_len) {
            return Ok(None);
        }
        let mut payload = Vec::with_capacity(message.ciphertext_len as usize);
        if open.stored > 0 {
            let prefix = chunk_prefix(&batch.head.site);
            let end = [&prefix[..], &[0xff; 9]].concat();
            self.db.scan(Family::Chunks, &prefix, &end, |_, value| {
                payload.extend_from_slice(value);
                Ok(true)
            })?;
        }
        open.fresh.iter().for_each(|bytes| payload.extend_from_slice(bytes));
        payload.extend_from_slice(&message.ciphertext);
        Ok((sha256(&[&payload]) == message.ciphertext_hash).then(|| payload.into()))
    }

    fn write_messages(
        &mut self,
        out: &mut WriteBatch,
        checked: &Checked<'_>,
    ) -> Result<Vec<Outcome>, LedgerError> {
        let mut outcomes = Vec::with_capacity(checked.messages.len());
        let first_index = self.tree.size();
        let stored = self.stored_firsts(&checked.messages)?;
        let mut fresh: HashMap<[u8; 32], u64> = HashMap::new();
        let mut tags = Vec::new();
        for ((message, payload), verified) in checked.messages.iter().zip(&checked.verified.messages) {
            if let Some(dedupe) = &message.private.dedupe {
                if let Some(index) = self.first_of(dedupe, &fresh, &stored) {
                    self.applied.duplicates += 1;
                    outcomes.push(Outcome { index, duplicate: true });
                    continue;
                }
                fresh.insert(*dedupe, self.tree.size());
            }
            let index = self.tree.append(verified.leaf_hash);
            self.db.put(out, Family::Events, &index_key(index), &verified.leaf_bytes)?;
            self.db.put(out, Family::Blobs, &index_key(index), payload)?;
            self.db.put(out, Family::ByTime, &time_key(message.event_time_ms, index), &[])?;
            tags.extend(message.private.tags.iter().map(|tag| tag_key(&tag.0, index)));
            outcomes.push(Outcome { index, duplicate: false });
        }
        tags::write(&self.db, out, (first_index, self.tree.size()), tags)?;
        let mut fresh: Vec<_> = fresh.into_iter().collect();
        fresh.sort_unstable();
        for (dedupe, index) in fresh {
            self.db.put(out, Family::Dedupe, &hash_key(&dedupe), &index.to_be_bytes())?;
        }
        Ok(outcomes)
    }

    /// The leaves that the dedupe keys of these messages have made, in or out of the window. Read together, in the
    /// order of the keys: one by one each would look through the same tables anew.
    fn stored_firsts(&self, messages: &[(&Message, Bytes)]) -> Result<HashMap<[u8; 32], u64>, LedgerError> {
        let mut dedupes: Vec<_> = messages.iter().filter_map(|(message, _)| message.private.dedupe).collect();
        dedupes.sort_unstable();
        dedupes.dedup();
        let keys: Vec<_> = dedupes.iter().map(hash_key).collect();
        let found = self.db.get_many(Family::Dedupe, &keys)?;
        let found = dedupes.into_iter().zip(found).filter_map(|(dedupe, index)| Some((dedupe, index?)));
        found.map(|(dedupe, index)| Ok((dedupe, index_of_key(&index)?))).collect()
    }

    /// Index of the leaf that this dedupe key made within the window.
    fn first_of(
        &self,
        dedupe: &[u8; 32],
        fresh: &HashMap<[u8; 32], u64>,
        stored: &HashMap<[u8; 32], u64>,
    ) -> Option<u64> {
        if let Some(index) = fresh.get(dedupe) {
            return Some(*index);
        }
        let index = *stored.get(dedupe)?;
        #[cfg(any(test, feature = "sim"))]
        if crate::sim::planted(crate::sim::Plant::DedupeOffByOne) {
            return (index + self.window() >= self.tree.size()).then_some(index);
        }
        (index + self.window() > self.tree.size()).then_some(index)
    }

    fn window(&self) -> u64 {
        #[cfg(any(test, feature = "sim"))]
        if self.applied.apply_version.min(self.rules.known()) >= crate::rules::NEXT {
            return crate::rules::next_dedupe_window(dedupe_window());
        }
        dedupe_window()
    }

    fn write_provenance(
        &mut self,
        out: &mut WriteBatch,
        batch: &Batch,
        verified: &Verified,
        first_index: u64,
        outcomes: &[Outcome],
    ) -> Result<(), LedgerError> {
        let provenance = Provenance::new(batch, verified, first_index, outcomes)
            .ok_or_else(|| LedgerError::Storage("a batch has not one outcome a message".into()))?;
        let number = self.applied.batches;
        self.db.put(out, Family::Batches, &index_key(number), &provenance.encode())?;
        self.db.put(out, Family::ByBatch, &hash_key(&verified.batch_hash), &number.to_be_bytes())?;
        self.applied.batches += 1;
        Ok(())
    }

    fn write_site(
        &mut self,
        out: &mut WriteBatch,
        batch: &Batch,
        checked: &Checked<'_>,
        before: SiteState,
    ) -> Result<(), LedgerError> {
        let site = &batch.head.site;
        if before.chunk_bytes > 0 && checked.open.stored == 0 {
            self.db.delete_prefix(out, Family::Chunks, &chunk_prefix(site))?;
        }
        let mut offset = checked.open.stored;
        for bytes in &checked.open.fresh {
            let chunk_key = [&chunk_prefix(site)[..], &offset.to_be_bytes()].concat();
            self.db.put(out, Family::Chunks, &chunk_key, bytes)?;
            offset += bytes.len() as u64;
        }
        let state = SiteState {
            epoch: before.epoch,
            next_site_seq: before.next_site_seq + checked.messages.len() as u64,
            previous: checked.verified.batch_hash,
            chunk_bytes: offset,
        };
        self.db.put(out, Family::Meta, &site_key(site), &encode(&state)?)?;
        self.sites.insert(site.clone(), state);
        Ok(())
    }

    /// The batch key of a site that may write.
    fn key_of(&self, site: &SiteName) -> Option<&VerifyingKey> {
        self.ring.founders().get(site).or_else(|| self.joined.get(site))
    }

    pub(crate) fn site(&self, site: &SiteName) -> Result<SiteState, LedgerError> {
        match self.sites.get(site) {
            Some(state) => Ok(state.clone()),
            None => load_site(&self.db, site),
        }
    }
}

/// A batch in order, signed by its site, its payloads whole.
struct Checked<'a> {
    verified: Verified,
    messages: Vec<(&'a Message, Bytes)>,
    open: Open,
}

type Payloads<'a> = (Vec<(&'a Message, Bytes)>, Open);

/// Chunks of a message that has not ended yet.
struct Open {
    /// Bytes of it that earlier batches brought.
    stored: u64,
    fresh: Vec<Bytes>,
}

impl Open {
    fn len(&self) -> u64 {
        self.stored + self.fresh.iter().map(|bytes| bytes.len() as u64).sum::<u64>()
    }
}

fn chunk_prefix(site: &SiteName) -> Vec<u8> {
    // The length keeps "a" from being a prefix of "ab".
    let name = site.as_str().as_bytes();
    key(&[&[name.len() as u8], name].concat())
}

fn refused(site: Option<SiteName>, batch_hash: Option<Hash>, refusal: Refusal) -> Effect {
    Effect::Refused { site, batch_hash, refusal, contradiction: None }
}

#[cfg(test)]
mod tests;
