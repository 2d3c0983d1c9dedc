//! Reading what was applied here.

use bytes::Bytes;

use crate::ledger::Ledger;
use crate::merkle::root_at;
use crate::record::Leaf;
use crate::seal::Access;
use crate::store::generation::{Family, Generation, index_key, index_of_key, time_key, time_of_key};
use crate::store::tags;
use crate::{Entry, LedgerError, Payload, SHRED, Subject, TAKEOVER, Tag};

/// Sealed bytes that one `read_from` returns at most, unless a single entry is larger.
const READ_BYTES_MAX: usize = 32 << 20;

impl Ledger {
    /// Entries from `index` on, at most `max_entries` and about 32 MiB. Empty at the end. Blocks.
    ///
    /// # Errors
    /// `Damaged` if what is stored is not what was applied.
    pub fn read_from(&self, index: u64, max_entries: usize) -> Result<Vec<Entry>, LedgerError> {
        // What was shredded is never read again. Where the disk fails the shredder's own task says so, and tries again.
        let _ = self.inner.shredder.catch_up(self.size());
        let db = self.inner.store.generation();
        let end = self.size().min(index.saturating_add(max_entries as u64));
        let mut entries = Vec::new();
        let mut bytes = 0;
        db.scan(Family::Events, &index_key(index), &index_key(end), |stored, leaf| {
            let index = index_of_key(stored)?;
            let (entry, size) = self.open_entry(&db, index, Bytes::copy_from_slice(leaf))?;
            entries.push(entry);
            bytes += size;
            Ok(bytes < READ_BYTES_MAX)
        })?;
        Ok(entries)
    }

    /// Indices of entries with this tag, from `from` on, at most `limit`, ascending. Blocks.
    pub fn by_tag(&self, tag: Tag, from: u64, limit: usize) -> Result<Vec<u64>, LedgerError> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let db = self.inner.store.generation();
        tags::scan(&db, &tag.0, (from, u64::MAX), |index| {
            found.push(index);
            Ok(found.len() < limit)
        })?;
        Ok(found)
    }

    /// Event time and index of entries from `from` on (a time and an index) and before `until_ms`, in the order of
    /// their event times, then of their indices, at most `limit`. Times in ms since the Unix epoch. Blocks.
    pub fn by_time(
        &self,
        from: (i64, u64),
        until_ms: i64,
        limit: usize,
    ) -> Result<Vec<(i64, u64)>, LedgerError> {
        let mut found = Vec::new();
        if limit == 0 || from.0 >= until_ms {
            return Ok(found);
        }
        let db = self.inner.store.generation();
        db.scan(Family::ByTime, &time_key(from.0, from.1), &time_key(until_ms, 0), |stored, _| {
            found.push((time_of_key(stored)?, index_of_key(stored)?));
            Ok(found.len() < limit)
        })?;
        Ok(found)
    }

    /// RFC 6962 root of the first `size` leaves. Blocks.
    ///
    /// # Errors
    /// `Config` if this site has fewer leaves.
    pub fn root_at(&self, size: u64) -> Result<[u8; 32], LedgerError> {
        let known = self.size();
        if size > known {
            return Err(LedgerError::Config(format!(
                "size {size} is beyond the {known} leaves of this site"
            )));
        }
        root_at(self.inner.store.generation().as_ref(), size)
    }

    fn open_entry(&self, db: &Generation, index: u64, leaf: Bytes) -> Result<(Entry, usize), LedgerError> {
        let damaged = |e: &dyn std::fmt::Display| LedgerError::Damaged(format!("entry {index}: {e}"));
        let leaf = Leaf::decode(leaf).map_err(|e| damaged(&e))?;
        let (payload, size) = self.payload(db, index, &leaf).map_err(|error| match error {
            LedgerError::Damaged(what) => damaged(&what),
            error => error,
        })?;
        let entry = Entry {
            index,
            kind: leaf.head.kind,
            site: leaf.head.site.to_string(),
            epoch: leaf.head.epoch,
            site_seq: leaf.head.site_seq,
            event_time_ms: leaf.head.event_time_ms,
            message_time_ms: leaf.head.message_time_ms,
            received_time_ms: leaf.head.received_time_ms,
            payload,
        };
        Ok((entry, size))
    }

    /// With the sealed bytes that were read for it.
    fn payload(&self, db: &Generation, index: u64, leaf: &Leaf) -> Result<(Payload, usize), LedgerError> {
        let blob = || self.inner.store.cold().payload(db, index, leaf);
        let sealer = &self.inner.sealer;
        if leaf.head.kind == SHRED {
            let shred = sealer.read_shred(leaf, blob()?.into());
            let (keys, by) = shred.map(|shred| (shred.keys, shred.by)).unwrap_or_default();
            let mut subjects: Vec<Subject> = keys.into_iter().map(|(subject, _)| subject).collect();
            subjects.dedup();
            let by = String::from_utf8_lossy(&by).into_owned();
            return Ok((Payload::Shred { subjects, by }, 0));
        }
        if leaf.head.kind == TAKEOVER {
            return Ok((Payload::Open(blob()?.into()), 0));
        }
        // What nobody here can open is not even fetched: a site's replica holds all sites' entries.
        match sealer.access(leaf) {
            Access::Elsewhere => Ok((Payload::Sealed, 0)),
            Access::Nobody => Ok((Payload::Shredded, 0)),
            access @ (Access::Own | Access::Entrusted) => {
                let blob = blob()?;
                let readable = if access == Access::Own { Payload::Open } else { Payload::Entrusted };
                // Its key may be destroyed at this moment, or taken back.
                let opened = sealer.open(leaf, &blob)?;
                let gone = || {
                    if sealer.access(leaf) == Access::Elsewhere { Payload::Sealed } else { Payload::Shredded }
                };
                Ok((opened.map_or_else(gone, readable), blob.len()))
            }
        }
    }
}
