//! What an earlier process put and may have forwarded: it can be an entry already, its removal lost with the process.
//! Its dedupe key tells that only within the ledger's window, and a site may be away for longer than that. So its
//! entry is looked for, by its times.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::queue::Held;
use crate::record::{Leaf, SiteName};
use crate::seal::Sealer;
use crate::store::generation::{Family, Generation, index_of_key, time_key};
use crate::store::ledger_store::LedgerStore;
use crate::{Draft, LedgerError};

/// The entries of this site that are applied here.
#[derive(Clone)]
pub(crate) struct Entries {
    pub(crate) store: Arc<LedgerStore>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) site: SiteName,
}

/// Kind and times: what a draft and the leaf made of it say alike, in the clear.
type Marks = (u16, i64, i64, i64);

impl Entries {
    /// The index of each that is an entry. They became entries in their order, so each is looked for behind the one
    /// before it, and the first from `from` on: one entry stands for one draft. Exact once an epoch of this process
    /// is open here: what an earlier process sent is applied by then, or never will be. Blocks.
    pub(super) fn find(&self, page: &[Held], mut from: u64) -> Result<Vec<Option<u64>>, LedgerError> {
        let db = self.store.generation();
        let alike = self.alike(&db, page, from)?;
        let mut found = Vec::with_capacity(page.len());
        for Held { draft, .. } in page {
            let Some(draft) = draft else {
                found.push(None);
                continue;
            };
            let candidates = alike.get(&marks(draft)).map(Vec::as_slice).unwrap_or_default();
            let index = self.first(&db, candidates, from, draft)?;
            from = index.map_or(from, |index| index + 1);
            found.push(index);
        }
        Ok(found)
    }

    /// This site's leaves from `from` on with the marks of any of these, ascending.
    fn alike(
        &self,
        db: &Generation,
        page: &[Held],
        from: u64,
    ) -> Result<HashMap<Marks, Vec<u64>>, LedgerError> {
        let drafts = || page.iter().filter_map(|held| held.draft.as_ref());
        let mut alike: HashMap<Marks, Vec<u64>> = drafts().map(|draft| (marks(draft), Vec::new())).collect();
        let mut times: Vec<i64> = drafts().map(|draft| draft.event_time_ms).collect();
        times.sort_unstable();
        times.dedup();
        for time in times {
            db.scan(Family::ByTime, &time_key(time, from), &time_key(time, u64::MAX), |key, _| {
                let index = index_of_key(key)?;
                let head = leaf(db, index)?.head;
                let marks = (head.kind, head.event_time_ms, head.message_time_ms, head.received_time_ms);
                if head.site == self.site
                    && let Some(found) = alike.get_mut(&marks)
                {
                    found.push(index);
                }
                Ok(true)
            })?;
        }
        Ok(alike)
    }

    /// The first of the candidates from `from` on that holds the draft's payload.
    fn first(
        &self,
        db: &Generation,
        candidates: &[u64],
        from: u64,
        draft: &Draft,
    ) -> Result<Option<u64>, LedgerError> {
        for index in candidates.iter().filter(|index| **index >= from) {
            if self.payload(db, *index)?.as_ref() == Some(&draft.payload) {
                return Ok(Some(*index));
            }
        }
        Ok(None)
    }

    fn payload(&self, db: &Generation, index: u64) -> Result<Option<Bytes>, LedgerError> {
        let leaf = leaf(db, index)?;
        self.sealer.open(&leaf, &self.store.cold().payload(db, index, &leaf)?)
    }
}

fn leaf(db: &Generation, index: u64) -> Result<Leaf, LedgerError> {
    let read = Leaf::decode(db.leaf(index)?.into());
    read.map_err(|_| LedgerError::Damaged(format!("entry {index} cannot be read")))
}

fn marks(draft: &Draft) -> Marks {
    (draft.kind, draft.event_time_ms, draft.message_time_ms, draft.received_time_ms)
}
