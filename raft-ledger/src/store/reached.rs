//! How far the raft log has reached, in a file of its own beside it. A database that finds its write-ahead log torn
//! drops the end and cannot tell what was never synced from what was synced and damaged since; this file can.
//! It is written now and then, so that it costs next to nothing, and never says more than is on the disk.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::files;
use super::log_store::LogStore;
use crate::LedgerError;
use crate::raft::{LogId, StoreId, log_id};
use crate::tasks::Tasks;

/// One site's votes and entries up to a moment. Both only grow, but for an end that a later leader replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The latest term that it voted in.
    pub(crate) term: u64,
    pub(crate) last: Option<LogId>,
}

/// The file and what stands in it.
pub(super) struct HighWater {
    path: PathBuf,
    kept: Mutex<Option<(StoreId, Reached)>>,
}

impl HighWater {
    /// Of the log in `raftdb`.
    pub(super) fn open(raftdb: &Path) -> HighWater {
        let path = raftdb.with_extension("reached");
        let text = files::read_text(&path).ok();
        let kept = text.as_deref().and_then(parse);
        if kept.is_none() && text.is_some() {
            tracing::warn!(path = %path.display(), "unreadable; it is written anew");
        }
        HighWater { path, kept: Mutex::new(kept) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(StoreId, Reached)>> {
        // What is kept changes after the file has, in one assignment.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the entries after `last` go, for which a later leader has others. Blocks.
    pub(super) fn lower(&self, last: Option<LogId>) -> std::io::Result<()> {
        let mut kept = self.lock();
        match *kept {
            Some((store, reached)) if reached.last > last => {
                self.write(&mut kept, store, Reached { last, ..reached })
            }
            _ => Ok(()),
        }
    }

    fn write(
        &self,
        kept: &mut Option<(StoreId, Reached)>,
        store: StoreId,
        reached: Reached,
    ) -> std::io::Result<()> {
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name()) else { return Ok(()) };
        files::replace_text(dir, &name.to_string_lossy(), &text(&store, &reached))?;
        *kept = Some((store, reached));
        Ok(())
    }
}

impl LogStore {
    /// Votes and entries as of now, with what a ledger that is ahead of the log has `applied`.
    pub(crate) fn reached(&self, applied: Option<&LogId>) -> Reached {
        let state = self.inner.state();
        let term = state.vote.as_ref().map_or(0, |vote| vote.leader_id.term);
        Reached { term, last: state.last.max(applied.copied()) }
    }

    /// Whether everything is there that this log is known to have held. For the time before consensus starts.
    ///
    /// # Errors
    /// `Damaged`: votes or acknowledged entries are lost.
    pub(crate) fn check_reached(&self, applied: Option<&LogId>) -> Result<(), LedgerError> {
        let store = self.store_id()?;
        let Some((_, before)) = self.inner.high_water.lock().filter(|(of, _)| *of == store) else {
            return Ok(());
        };
        let now = self.reached(applied);
        if now.term >= before.term && now.last >= before.last {
            return Ok(());
        }
        Err(LedgerError::Damaged(format!(
            "the raft log has lost its end: it reaches {}, and had reached {} ({}); what is missing may have been \
             acknowledged. Move the directory `raftdb` away and start again: the site is then a new node that can be \
             added",
            words(&now),
            words(&before),
            self.inner.high_water.path.display()
        )))
    }

    /// Keeps how far the log has reached, once that is on the disk.
    pub(crate) async fn keep_reached(&self, tasks: &Tasks) -> Result<(), LedgerError> {
        let store = self.store_id()?;
        let cuts = self.inner.state().cuts;
        let reached = self.reached(None);
        if *self.inner.high_water.lock() == Some((store, reached)) {
            return Ok(());
        }
        let io = |source| LedgerError::Io { path: self.inner.high_water.path.display().to_string(), source };
        self.inner.synced().await.map_err(io)?;
        let log = self.inner.clone();
        // Waited for: who closes the log may open it again.
        let written = tasks.blocking(move || {
            let mut kept = log.high_water.lock();
            // An end that was replaced meanwhile is reached no more.
            let is_there = log.state().cuts == cuts;
            if is_there { log.high_water.write(&mut kept, store, reached) } else { Ok(()) }
        });
        written.await.map_or(Ok(()), |written| written.map_err(io))
    }
}

/// `term 3, entry 41`.
pub(crate) fn words(reached: &Reached) -> String {
    match &reached.last {
        Some(last) => {
            format!("entry {} of term {} (it votes in {})", last.index, last.leader_id.term, reached.term)
        }
        None => format!("no entry (it votes in {})", reached.term),
    }
}

fn text(store: &StoreId, reached: &Reached) -> String {
    let last = reached.last.map_or("-".to_owned(), |id| format!("{}.{}", id.leader_id.term, id.index));
    let line = format!("reached 1 {} {} {last}", hex::encode(store), reached.term);
    let sum = crc32c::crc32c(line.as_bytes());
    format!("{line} {sum:08x}\n")
}

fn parse(text: &str) -> Option<(StoreId, Reached)> {
    let (line, sum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != crc32c::crc32c(line.as_bytes()) {
        return None;
    }
    let mut fields = line.strip_prefix("reached 1 ")?.split(' ');
    let store = hex::decode(fields.next()?).ok()?.try_into().ok()?;
    let term = fields.next()?.parse().ok()?;
    let last = match fields.next()? {
        "-" => None,
        last => {
            let (term, index) = last.split_once('.')?;
            Some(log_id(term.parse().ok()?, index.parse().ok()?))
        }
    };
    Some((store, Reached { term, last }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_was_kept_or_nothing() {
        for last in [None, Some(log_id(3, 41))] {
            let reached = Reached { term: 7, last };
            let text = text(&[9; 16], &reached);
            assert_eq!(parse(&text), Some(([9; 16], reached)));
            for at in 0..text.len() - 1 {
                let mut bad = text.clone().into_bytes();
                bad[at] ^= 1;
                assert_eq!(parse(&String::from_utf8(bad).unwrap()), None, "byte {at} of {text}");
            }
        }
    }

    #[tokio::test]
    async fn a_log_that_lost_its_end_is_no_longer_taken_for_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (raftdb, old) = (dir.path().join("raftdb"), dir.path().join("old"));
        let log = LogStore::open(&raftdb).unwrap();
        log.put_for_test(5, 0..4);
        log.store_id().unwrap();
        drop(log);
        copy(&raftdb, &old);
        let log = LogStore::open(&raftdb).unwrap();
        log.put_for_test(5, 4..6);
        drop(log);
        let log = LogStore::open(&raftdb).unwrap();
        log.keep_reached(&Tasks::default()).await.unwrap();
        log.check_reached(None).unwrap();
        // A later leader has other entries from 5 on: a crash before they come finds the file lowered.
        log.cut_for_test(Some(log_id(5, 4))).await;
        drop(log);
        let log = LogStore::open(&raftdb).unwrap();
        log.check_reached(None).unwrap();
        drop(log);
        // The log as it was before, with the file as it is now.
        std::fs::remove_dir_all(&raftdb).unwrap();
        copy(&old, &raftdb);
        let log = LogStore::open(&raftdb).unwrap();
        let error = log.check_reached(None).unwrap_err().to_string();
        assert!(error.contains("reaches entry 3 of term 5") && error.contains("entry 4"), "{error}");
        // What is missing was applied: then it is not lost.
        log.check_reached(Some(&log_id(6, 4))).unwrap();
        drop(log);
        // Another log never held it.
        std::fs::remove_dir_all(&raftdb).unwrap();
        LogStore::open(&raftdb).unwrap().check_reached(None).unwrap();
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        }
    }
}
