//! The drafts that wait, in order, as they stand in the site's store. Every change is one write that is on the
//! disk as a whole or not at all, so a crash at any point leaves a queue without gaps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::record::{
    INDEX_PREFIX, PREFIX, Place, index_key, is_shredded, number_of, open, record_key, seal, value_len,
};
use crate::seal::Sealer;
use crate::store::SiteDb;
use crate::{Draft, LedgerError, Subject};

/// Removed bytes after which an empty queue gives its room back to the disk.
const COMPACT_BYTES: u64 = 64 << 20;

/// Keys with their new values; `None` removes.
type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

pub(super) struct Queue {
    db: Arc<SiteDb>,
    sealer: Arc<Sealer>,
    ends: Mutex<Ends>,
}

/// Numbers and offsets of the first that waits and of the next to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) head: u64,
    pub(super) tail: u64,
    pub(super) head_offset: u64,
    pub(super) tail_offset: u64,
    removed_bytes: u64,
}

/// One that waits.
pub(super) struct Held {
    pub(super) place: Place,
    /// Of its value in the store.
    pub(super) bytes: u64,
    /// `None`: its subject was shredded, so nobody can open it. It was an entry before that (`shred.rs`); that it
    /// still lies here, an old image of this store has brought back.
    pub(super) draft: Option<Draft>,
}

/// What became of one message's drafts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Put {
    /// The message is committed once the head has come here.
    pub(super) upto: u64,
    /// Bytes of those that wait already: they are not put twice.
    pub(super) known_bytes: u64,
}

/// What one write did.
pub(super) struct Written {
    /// Of each message.
    pub(super) puts: Vec<Put>,
    /// Removed, or not put because it waits already.
    pub(super) freed_bytes: u64,
}

/// One that was committed.
#[derive(Clone, Copy)]
pub(super) struct Done {
    number: u64,
    bytes: u64,
    index: [u8; 16],
}

impl Ends {
    pub(super) fn entries(&self) -> u64 {
        self.tail - self.head
    }

    pub(super) fn bytes(&self) -> u64 {
        self.tail_offset - self.head_offset
    }
}

impl Held {
    pub(super) fn done(&self) -> Done {
        let mut index = [0; 16];
        // Every draft in here has a dedupe key.
        let dedupe = self.draft.as_ref().and_then(|draft| draft.dedupe);
        index.copy_from_slice(&dedupe.unwrap_or_default()[..16]);
        Done { number: self.place.number, bytes: self.bytes, index }
    }
}

impl Queue {
    /// What the last process left.
    pub(super) fn open(db: Arc<SiteDb>, sealer: Arc<Sealer>) -> Result<Queue, LedgerError> {
        let mut ends = Ends::default();
        db.visit(PREFIX, PREFIX, |key, value| {
            let place = place(key, value)?;
            (ends.head, ends.head_offset) = (place.number, place.offset);
            Ok(false)
        })?;
        let last = db.last_upto(&record_key(u64::MAX))?;
        if let Some((key, value)) = last.filter(|(key, _)| key.starts_with(PREFIX)) {
            let place = place(&key, &value)?;
            (ends.tail, ends.tail_offset) = (place.number + 1, place.offset + value.len() as u64);
        }
        Ok(Queue { db, sealer, ends: Mutex::new(ends) })
    }

    pub(super) fn ends(&self) -> Ends {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes those that were committed out and puts messages in, each whole or not at all: one write, on the disk
    /// when this returns. Nobody else may write meanwhile.
    pub(super) fn write(
        &self,
        done: &[Done],
        messages: &[&[Draft]],
        now_ms: i64,
    ) -> Result<Written, LedgerError> {
        let subjects: Vec<Subject> =
            messages.iter().flat_map(|drafts| drafts.iter().map(|d| d.subject)).collect();
        self.sealer.ensure(&subjects)?;
        let mut ends = self.ends();
        let head_offset = ends.head_offset;
        let mut writes: Writes = Vec::with_capacity(2 * (done.len() + subjects.len()));
        for one in done {
            if one.number < ends.head {
                continue;
            }
            writes.push((record_key(one.number), None));
            writes.push((index_key(&one.index), None));
            ends.head = one.number + 1;
            ends.head_offset += one.bytes;
            ends.removed_bytes += one.bytes;
        }
        let puts = self.put_all(messages, now_ms, &mut ends, &mut writes)?;
        if !writes.is_empty() {
            self.db.write(writes.into_iter())?;
        }
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = ends;
        let known_bytes: u64 = puts.iter().map(|put| put.known_bytes).sum();
        Ok(Written { puts, freed_bytes: ends.head_offset - head_offset + known_bytes })
    }

    /// Gives each draft that does not wait yet its number.
    fn put_all(
        &self,
        messages: &[&[Draft]],
        now_ms: i64,
        ends: &mut Ends,
        writes: &mut Writes,
    ) -> Result<Vec<Put>, LedgerError> {
        let mut fresh = HashMap::new();
        let mut puts = Vec::with_capacity(messages.len());
        for drafts in messages {
            let mut put = Put { upto: 0, known_bytes: 0 };
            for draft in *drafts {
                let dedupe = draft.dedupe.ok_or_else(without_dedupe)?;
                let known = match fresh.get(&dedupe) {
                    Some(number) => Some(*number),
                    // What is taken out in this write is still there.
                    None => self.waiting(&dedupe)?.map(|(number, _)| number),
                };
                let number = match known {
                    Some(number) => {
                        put.known_bytes += value_len(draft);
                        number
                    }
                    None => {
                        let place = Place { number: ends.tail, offset: ends.tail_offset, put_at_ms: now_ms };
                        let value = seal(&self.sealer, &place, draft, &dedupe)?;
                        ends.tail += 1;
                        ends.tail_offset += value.len() as u64;
                        fresh.insert(dedupe, place.number);
                        writes.push((index_key(&dedupe), Some(place.number.to_be_bytes().to_vec())));
                        writes.push((record_key(place.number), Some(value)));
                        place.number
                    }
                };
                put.upto = put.upto.max(number + 1);
            }
            puts.push(put);
        }
        Ok(puts)
    }

    /// Whether it is empty and much was removed since this was last so; then [`Queue::compact`].
    pub(super) fn wants_compaction(&self) -> bool {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = ends.entries() == 0 && ends.removed_bytes > COMPACT_BYTES;
        if wanted {
            ends.removed_bytes = 0;
        }
        wanted
    }

    /// Gives the room of what was removed back to the disk. Blocks for as long as that takes.
    pub(super) fn compact(&self) {
        self.db.compact(INDEX_PREFIX, &record_key(u64::MAX));
    }

    /// Those that wait, from `from` on and before `upto`, of about so many bytes; one that is larger comes alone.
    ///
    /// # Errors
    /// `Damaged` at a gap, or at one that cannot be opened: none is ever left out.
    pub(super) fn page(
        &self,
        from: u64,
        upto: u64,
        bytes_max: u64,
        max: usize,
    ) -> Result<Vec<Held>, LedgerError> {
        let mut page: Vec<Held> = Vec::new();
        let mut bytes = 0;
        self.db.visit(PREFIX, &record_key(from), |key, value| {
            let expected = from + page.len() as u64;
            if expected >= upto || page.len() >= max || (bytes > 0 && bytes + value.len() as u64 > bytes_max)
            {
                return Ok(false);
            }
            if number_of(key) != Some(expected) {
                return Err(damaged(expected, "is missing"));
            }
            let (place, draft) = match open(&self.sealer, expected, value) {
                Some((place, draft)) => (place, Some(draft)),
                None if is_shredded(&self.sealer, value) => (place(key, value)?, None),
                None => return Err(damaged(expected, "does not open with its key")),
            };
            bytes += value.len() as u64;
            page.push(Held { place, bytes: value.len() as u64, draft });
            Ok(true)
        })?;
        if page.is_empty() && from < upto {
            return Err(damaged(from, "is missing"));
        }
        Ok(page)
    }

    /// The one whose dedupe key begins with these 16 bytes, if it waits.
    pub(super) fn find(&self, dedupe: &[u8]) -> Result<Option<Draft>, LedgerError> {
        Ok(self.waiting(dedupe)?.map(|(_, draft)| draft))
    }

    /// The same with its number. The index alone tells nothing: a row outlives its record when that was taken out
    /// without being opened, numbers begin anew once the queue was empty, and two keys may begin alike.
    fn waiting(&self, dedupe: &[u8]) -> Result<Option<(u64, Draft)>, LedgerError> {
        let Some(number) = self.number(dedupe)? else { return Ok(None) };
        let Some(value) = self.db.get(&record_key(number))? else { return Ok(None) };
        match open(&self.sealer, number, &value) {
            Some((_, draft)) => {
                let is_meant = draft.dedupe.is_some_and(|known| known.starts_with(dedupe));
                Ok(is_meant.then_some((number, draft)))
            }
            None if is_shredded(&self.sealer, &value) => Ok(None),
            // Its key may be lost, and come back from the site that holds it. Until then it cannot be told what waits
            // there: put again, both become one entry, because the ledger knows duplicates.
            None => {
                let error = damaged(number, "does not open with its key");
                tracing::error!(%error, "what may wait in the outbox already is put again");
                Ok(None)
            }
        }
    }

    /// When the first that waits was put.
    pub(super) fn oldest_ms(&self) -> Option<i64> {
        let ends = self.ends();
        let value = self.db.get(&record_key(ends.head)).ok().flatten().filter(|_| ends.entries() > 0)?;
        Place::decode(ends.head, &value).map(|place| place.put_at_ms)
    }

    fn number(&self, dedupe: &[u8]) -> Result<Option<u64>, LedgerError> {
        let found = self.db.get(&index_key(dedupe))?;
        Ok(found.and_then(|number| number.try_into().ok()).map(u64::from_be_bytes))
    }
}

fn place(key: &[u8], value: &[u8]) -> Result<Place, LedgerError> {
    let number =
        number_of(key).ok_or_else(|| LedgerError::Damaged("sitedb: outbox: a key is no key".into()))?;
    Place::decode(number, value).ok_or_else(|| damaged(number, "cannot be read; a later release wrote it"))
}

fn without_dedupe() -> LedgerError {
    LedgerError::Config("a draft for the outbox has no dedupe key".into())
}

fn damaged(number: u64, what: &str) -> LedgerError {
    LedgerError::Damaged(format!("sitedb: outbox: record {number} {what}"))
}

#[cfg(test)]
mod tests;
