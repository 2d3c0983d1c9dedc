//! What the others' raft logs have acknowledged to this site while it led. A log that comes back and does not hold
//! that any more, an old image of its disk put back, must not vote as the member that it was: what was committed with
//! its help could be lost.
//!
//! A site says in its hello how far its log had reached when its process opened it. That is compared once a process:
//! what the same process acknowledged since is more than that and no contradiction. Whoever leads passes on what it
//! knows, so that the others know it while it is away.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::LedgerError;
use crate::raft::{LogId, StoreId};
use crate::store::{Reached, SiteDb, reached_in_words};

const KEY: &[u8] = b"acknowledged/";
/// Of one telling: far beyond the members that there can be.
const TOLD_MAX: usize = 256;
/// Of one raft log.
const PROCESSES_MAX: usize = 4;

/// What a process found in its raft log when it opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opened {
    /// Of the process, at random.
    pub(super) process: u64,
    pub(super) term: u64,
    pub(super) last: Option<LogId>,
}

/// What one raft log acknowledged last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// That has acknowledged it.
    process: u64,
    /// Or one of these: all that were let in by then. The hello of one that has ended may come last, and whoever is told
    /// of the mark cannot know that; an old image that is put back begins a process of its own.
    #[serde(default)]
    also: [u64; PROCESSES_MAX],
    /// Of the leader to whom it did: it has voted in that term, or heard of it.
    term: u64,
    last: Option<LogId>,
    /// So much of it will never be replaced.
    committed: Option<LogId>,
}

pub(crate) struct Acknowledged {
    site_db: Arc<SiteDb>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    marks: BTreeMap<StoreId, Mark>,
    /// The processes that were let in, the last one last. A late hello of one that has ended, or only healed its ledger,
    /// comes after the running one's.
    admitted: BTreeMap<StoreId, VecDeque<u64>>,
}

impl Acknowledged {
    pub(super) fn open(site_db: &Arc<SiteDb>) -> Result<Acknowledged, LedgerError> {
        let mut marks = BTreeMap::new();
        for (key, value) in site_db.scan(KEY)? {
            let mark = rmp_serde::from_slice(&value).ok();
            let store = key[KEY.len()..].try_into().ok();
            let damaged = || LedgerError::Damaged("sitedb: what a raft log has acknowledged".into());
            let (store, mark) = store.zip(mark).ok_or_else(damaged)?;
            marks.insert(store, mark);
        }
        let known = Known { marks, admitted: BTreeMap::new() };
        Ok(Acknowledged { site_db: site_db.clone(), known: Mutex::new(known) })
    }

    /// The raft log `store` has acknowledged entries up to `last` to this site, which leads in `term` and knows entries
    /// up to `committed` to be. Synced with whatever is synced next. Blocks for a moment.
    pub(crate) fn note(
        &self,
        store: &StoreId,
        term: u64,
        last: LogId,
        committed: Option<LogId>,
    ) -> Result<(), LedgerError> {
        let mut known = self.lock();
        let before = known.marks.get(store).copied().unwrap_or_default();
        let mut mark = before;
        if (mark.term, mark.last) < (term, Some(last)) {
            let (mut process, mut also) = (before.process, before.also);
            if let Some(admitted) = known.admitted.get(store).filter(|admitted| !admitted.is_empty()) {
                process = admitted.back().copied().unwrap_or(process);
                also = std::array::from_fn(|n| admitted.get(n).copied().unwrap_or(process));
            }
            mark = Mark { process, also, term, last: Some(last), ..before };
        }
        mark.committed = mark.committed.max(committed.min(Some(last)));
        if mark == before {
            return Ok(());
        }
        known.marks.insert(*store, mark);
        self.keep(store, &mark)
    }

    /// What is known of all, for the others.
    pub(crate) fn all(&self) -> Vec<(StoreId, Mark)> {
        self.lock().marks.iter().map(|(store, mark)| (*store, *mark)).collect()
    }

    /// Whoever leads says this to a site in `term` that has applied entries up to `applied`. A leader that lies must not
    /// shut anybody out: nothing is believed beyond what this site knows itself.
    pub(super) fn heard(
        &self,
        told: &[(StoreId, Mark)],
        term: u64,
        applied: Option<LogId>,
    ) -> Result<(), String> {
        if told.len() > TOLD_MAX {
            return Err(format!(
                "{} raft logs were told of, and no more than {TOLD_MAX} are heard",
                told.len()
            ));
        }
        let marks = &mut self.lock().marks;
        for (store, heard) in told.iter().filter(|(_, heard)| heard.term <= term) {
            let before = marks.get(store).copied().unwrap_or_default();
            let heard = Mark { last: heard.last.min(applied), ..*heard };
            let mut mark = if (before.term, before.last) < (heard.term, heard.last) { heard } else { before };
            mark.committed = before.committed.max(heard.committed.min(applied));
            if mark != before {
                marks.insert(*store, mark);
                self.keep(store, &mark).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Forgets the raft logs of those who are members no more.
    pub(crate) fn retain(&self, is_member: impl Fn(&StoreId) -> bool) -> Result<(), LedgerError> {
        let marks = &mut self.lock().marks;
        let gone: Vec<StoreId> = marks.keys().filter(|store| !is_member(store)).copied().collect();
        for store in gone {
            self.site_db.write(std::iter::once(([KEY, &store].concat(), None)))?;
            marks.remove(&store);
        }
        Ok(())
    }

    /// What the raft log has lost of what it had acknowledged, in words.
    pub(super) fn admit(&self, store: &StoreId, opened: &Opened) -> Result<(), String> {
        let mut known = self.lock();
        let mark = known.marks.get(store).copied().unwrap_or_default();
        let admitted = known.admitted.entry(*store).or_default();
        let goes_on = mark.process == opened.process
            || mark.also.contains(&opened.process)
            || admitted.contains(&opened.process);
        let has_lost = opened.term < mark.term
            || (opened.term == mark.term && opened.last < mark.last)
            || opened.last < mark.committed;
        if has_lost && !goes_on {
            let now = Reached { term: opened.term, last: opened.last };
            let before = Reached { term: mark.term, last: mark.last };
            return Err(format!(
                "it reaches {}, and had acknowledged {}",
                reached_in_words(&now),
                reached_in_words(&before)
            ));
        }
        admitted.retain(|process| *process != opened.process);
        admitted.push_back(opened.process);
        if admitted.len() > PROCESSES_MAX {
            admitted.pop_front();
        }
        Ok(())
    }

    fn keep(&self, store: &StoreId, mark: &Mark) -> Result<(), LedgerError> {
        let value = rmp_serde::to_vec_named(mark).map_err(|e| LedgerError::Storage(e.to_string()))?;
        self.site_db.put(&[KEY, store].concat(), &value, false)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Each use leaves whole maps.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::log_id;

    const STORE: StoreId = [7; 16];

    fn opened(process: u64, term: u64, last: Option<(u64, u64)>) -> Opened {
        Opened { process, term, last: last.map(|(term, index)| log_id(term, index)) }
    }

    #[test]
    fn only_a_log_that_lacks_what_it_acknowledged_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let site_db = Arc::new(SiteDb::open(&dir.path().join("sitedb")).unwrap());
        let known = Acknowledged::open(&site_db).unwrap();
        known.admit(&STORE, &opened(1, 0, None)).unwrap();
        known.note(&STORE, 3, log_id(2, 8), Some(log_id(2, 6))).unwrap();
        known.note(&STORE, 3, log_id(3, 9), Some(log_id(2, 6))).unwrap();
        // Older news change nothing.
        known.note(&STORE, 3, log_id(2, 8), None).unwrap();
        for (process, term, last, is_let_in) in [
            // What it acknowledged, it did after it was let in.
            (1, 0, None, true),
            (2, 3, Some((3, 9)), true),
            (3, 4, Some((3, 12)), true),
            // A later leader has replaced what was not committed.
            (4, 4, Some((2, 7)), true),
            (5, 4, Some((2, 6)), true),
            // It had more under the same leader; it had committed more; it had voted later; it is empty.
            (6, 3, Some((2, 8)), false),
            (7, 4, Some((2, 5)), false),
            (8, 2, Some((3, 9)), false),
            (9, 0, None, false),
            // The same process connects again: it was let in with what it opened.
            (5, 0, None, true),
            // As does one that a late hello of another seemed to replace.
            (3, 0, None, true),
        ] {
            let answer = known.admit(&STORE, &opened(process, term, last));
            assert_eq!(answer.is_ok(), is_let_in, "process {process}: {answer:?}");
        }
        known.admit(&[8; 16], &opened(6, 0, None)).unwrap();
        // Whoever leads says what another process acknowledged, which goes on.
        let other = Acknowledged::open(&Arc::new(SiteDb::open(&dir.path().join("other")).unwrap())).unwrap();
        other.heard(&known.all(), 3, Some(log_id(3, 9))).unwrap();
        other.admit(&STORE, &opened(1, 0, None)).unwrap();
        assert!(other.admit(&STORE, &opened(6, 3, Some((2, 8)))).is_err());
        // The next one does, before and after this site has led.
        let next = opened(12, 3, Some((3, 9)));
        other.admit(&STORE, &next).unwrap();
        other.note(&STORE, 4, log_id(4, 20), None).unwrap();
        other.heard(&known.all(), 4, Some(log_id(4, 20))).unwrap();
        other.admit(&STORE, &next).unwrap();
        assert!(other.admit(&STORE, &opened(13, 3, Some((3, 9)))).is_err());
        // The hello of a process that had ended came last, and the running one went on: others are told of both.
        for process in [20, 21] {
            known.admit(&STORE, &opened(process, 3, Some((3, 9)))).unwrap();
        }
        known.note(&STORE, 5, log_id(5, 30), None).unwrap();
        let third = Acknowledged::open(&Arc::new(SiteDb::open(&dir.path().join("third")).unwrap())).unwrap();
        third.heard(&known.all(), 5, Some(log_id(5, 30))).unwrap();
        third.admit(&STORE, &opened(20, 3, Some((3, 9)))).unwrap();
        assert!(third.admit(&STORE, &opened(22, 3, Some((3, 9)))).is_err());
        drop(known);
        let known = Acknowledged::open(&site_db).unwrap();
        let why = known.admit(&STORE, &opened(6, 3, Some((2, 8)))).unwrap_err();
        assert!(why.contains("entry 8 of term 2") && why.contains("entry 30 of term 5"), "{why}");
        known.retain(|store| *store != STORE).unwrap();
        known.admit(&STORE, &opened(6, 3, Some((2, 8)))).unwrap();
        drop(known);
        Acknowledged::open(&site_db).unwrap().admit(&STORE, &opened(6, 0, None)).unwrap();
    }

    #[test]
    fn a_leader_that_lies_shuts_nobody_out_that_holds_what_is_applied_here() {
        let dir = tempfile::tempdir().unwrap();
        let known = Acknowledged::open(&Arc::new(SiteDb::open(&dir.path().join("sitedb")).unwrap())).unwrap();
        let lie = |term, index| {
            let last = Some(log_id(term, index));
            Mark { process: 9, term, last, committed: last, ..Mark::default() }
        };
        known.heard(&[(STORE, lie(4, 9))], 3, Some(log_id(3, 9))).unwrap();
        assert!(known.all().is_empty(), "of a term that this site has not heard of");
        known.heard(&[(STORE, lie(3, 1_000))], 3, Some(log_id(3, 9))).unwrap();
        known.admit(&STORE, &opened(1, 3, Some((3, 9)))).unwrap();
        assert!(known.admit(&STORE, &opened(2, 3, Some((3, 8)))).is_err());
        let many: Vec<_> = (0..=TOLD_MAX as u64).map(|_| (STORE, lie(3, 5))).collect();
        assert!(known.heard(&many, 3, Some(log_id(3, 9))).is_err());
    }
}
