//! Shredding: the keys of a subject are destroyed, and with them everything that was sealed under them, wherever its
//! copies are. The ledger says that it was done and goes on proving every entry.
//!
//! The order: the outbox is emptied and held, so that nothing in it is sealed under the old keys; these are retired,
//! durably, so that nothing more will be; an entry then names them, and stands behind everything that this site sealed
//! under them, because a site's batches are in order; what is applied is obeyed. A crash in between leaves keys that
//! open and seal nothing: shredding again ends it.
//!
//! Without a quorum what waits never becomes less. So the outbox is held only once all that waited before is committed,
//! for a moment, and no longer than until the entry has its place behind it.

use std::time::Duration;

use crate::blocking;
use crate::clock::now_ms;
use crate::ledger::Ledger;
use crate::record::{MAX_ORDERED_BY_BYTES, MAX_SHRED_KEYS, Shred};
use crate::types::Shredded;
use crate::{AppendError, Draft, LedgerError, Outcome, SHRED, Subject, Tag};

/// Meanwhile feeds that are answered from the outbox wait.
const HOLD_MAX: Duration = Duration::from_secs(3);
const PUSHBACK_PAUSE: Duration = Duration::from_millis(5);

impl Ledger {
    /// Destroys every key that this site holds of these subjects. What this site sealed about them before is then
    /// unreadable everywhere, in every copy; what comes in afterwards is sealed under a new key. `tags`: of the entry
    /// that says so, and `by` who ordered it. `None`: this site holds no key of theirs, so there is nothing to destroy.
    ///
    /// # Errors
    /// `Unavailable`: no majority of the sites in time; nothing was destroyed, call it again. `Unconfirmed`: ordered, and
    /// perhaps done; the same call again ends it.
    pub async fn shred(
        &self,
        subjects: &[Subject],
        tags: Vec<Tag>,
        by: &str,
    ) -> Result<Option<Shredded>, LedgerError> {
        let _alone = self.inner.shredding.lock().await;
        if self.inner.sealer.keys_of(subjects).is_empty() {
            return self.nothing_left().await;
        }
        // For a quorum to take what the outbox holds, and then as long for the entry.
        let wait = self.inner.config.append_wait;
        let committed = tokio::time::timeout(wait, self.outbox().all_committed()).await;
        committed.map_err(|_| unavailable("the outbox did not drain", wait))?;
        let ordered = tokio::time::timeout(HOLD_MAX, self.order_shred(subjects, tags, by)).await;
        let ordered = ordered.map_err(|_| unavailable("the outbox did not drain", HOLD_MAX))??;
        let Some((keys, commit)) = ordered else { return self.nothing_left().await };
        let outcomes = commit.await.map_err(|error| unconfirmed(&error))?;
        let index = outcomes.first().map(|outcome| outcome.index);
        let index = index.ok_or_else(|| unconfirmed(&AppendError::Closed))?;
        let (shredder, sealer) = (self.inner.shredder.clone(), self.inner.sealer.clone());
        let obeyed =
            blocking::attempt(move || shredder.catch_up(index + 1).and_then(|()| sealer.settle())).await;
        obeyed.map(|()| Some(Shredded { index, keys })).map_err(still_on_disk)
    }

    async fn nothing_left(&self) -> Result<Option<Shredded>, LedgerError> {
        let sealer = self.inner.sealer.clone();
        blocking::attempt(move || sealer.settle()).await.map(|()| None).map_err(still_on_disk)
    }

    /// The entry on its way, with how many keys it names; `None`: an earlier asking was obeyed meanwhile. What is put into the outbox from now on comes after it.
    async fn order_shred(
        &self,
        subjects: &[Subject],
        tags: Vec<Tag>,
        by: &str,
    ) -> Result<Option<(usize, impl Future<Output = Result<Vec<Outcome>, AppendError>>)>, LedgerError> {
        let _held = self.outbox().emptied().await.map_err(refused)?;
        let (sealer, of) = (self.inner.sealer.clone(), subjects.to_vec());
        let keys = blocking::attempt(move || sealer.retire(&of)).await?;
        if keys.is_empty() {
            return Ok(None);
        }
        if keys.len() > MAX_SHRED_KEYS {
            let text = format!("{} keys at once; shred fewer than {MAX_SHRED_KEYS}", keys.len());
            return Err(LedgerError::Config(text));
        }
        let count = keys.len();
        let by = by.bytes().take(MAX_ORDERED_BY_BYTES).collect();
        let draft = self.draft(subjects, Shred { keys, by }, tags);
        loop {
            match self.submit_own(vec![draft.clone()]) {
                Ok(commit) => return Ok(Some((count, commit))),
                Err(AppendError::Pushback { .. }) => tokio::time::sleep(PUSHBACK_PAUSE).await,
                Err(error) => return Err(refused(error)),
            }
        }
    }

    fn draft(&self, subjects: &[Subject], shred: Shred, mut tags: Vec<Tag>) -> Draft {
        let ids: Vec<&[u8]> = shred.keys.iter().map(|(_, id)| id.as_slice()).collect();
        let now = now_ms();
        tags.push(self.inner.shredder.tag());
        Draft {
            kind: SHRED,
            subject: subjects.first().copied().unwrap_or(Subject([0; 32])),
            tags,
            // The same keys again are the same entry.
            dedupe: Some(self.keyed_hash("shred", &ids)),
            event_time_ms: now,
            message_time_ms: now,
            received_time_ms: now,
            payload: shred.encode().into(),
        }
    }
}

fn unavailable(what: &str, waited: Duration) -> LedgerError {
    LedgerError::Unavailable(format!("not shredded: {what} within {} ms", waited.as_millis()))
}

/// What was proposed may still be committed; asking again then tells so.
fn unconfirmed(error: &AppendError) -> LedgerError {
    LedgerError::Unconfirmed(format!("the shredding: {error}"))
}

fn still_on_disk(error: LedgerError) -> LedgerError {
    LedgerError::Unconfirmed(format!(
        "the shredding: the keys open nothing any more, but are not off this site's disk, which is tried again: {error}"
    ))
}

fn refused(error: AppendError) -> LedgerError {
    LedgerError::Unavailable(format!("not shredded: {error}"))
}
