//! Shredding: the keys of a subject are destroyed, and with them everything that was sealed under them, wherever its
//! copies are. The ledger says that it was done and goes on proving every entry.
//!
//! The order: the outbox is emptied and held, so that nothing in it is sealed under the old keys; these are retired,
//! durably, so that nothing more will be; an entry then names them, and stands behind everything that this site sealed
//! under them, because a site's batches are in order; what is applied is obeyed. A crash in between leaves keys that
//! open and seal nothing: shredding again ends it.

use std::time::Duration;

use crate::blocking;
use crate::clock::now_ms;
use crate::ledger::Ledger;
use crate::record::{MAX_SHRED_KEYS, Shred};
use crate::types::Shredded;
use crate::{AppendError, Draft, LedgerError, SHRED, Subject, Tag};

/// For a quorum to take what the outbox holds, and then the entry.
const WAIT: Duration = Duration::from_secs(30);
const PUSHBACK_PAUSE: Duration = Duration::from_millis(5);

impl Ledger {
    /// Destroys every key that this site holds of these subjects. What this site sealed about them before is then
    /// unreadable everywhere, in every copy; what comes in afterwards is sealed under a new key. `tags`: of the entry
    /// that says so. `None`: this site holds no key of theirs, so there is nothing to destroy.
    ///
    /// # Errors
    /// `Unavailable`: no majority of the sites in time; nothing was destroyed yet, call it again. Others: the keys
    /// are gone from the ledger's view, but not yet from this site's disk; that is tried again until it succeeds.
    pub async fn shred(&self, subjects: &[Subject], tags: Vec<Tag>) -> Result<Option<Shredded>, LedgerError> {
        let _alone = self.inner.shredding.lock().await;
        if self.inner.sealer.keys_of(subjects).is_empty() {
            return Ok(None);
        }
        let held = tokio::time::timeout(WAIT, self.outbox().emptied()).await;
        let held = held.map_err(|_| unavailable("the outbox did not drain"))?.map_err(refused)?;
        let (sealer, of) = (self.inner.sealer.clone(), subjects.to_vec());
        let keys = blocking::attempt(move || sealer.retire(&of)).await?;
        if keys.len() > MAX_SHRED_KEYS {
            let text = format!("{} keys at once; shred fewer than {MAX_SHRED_KEYS}", keys.len());
            return Err(LedgerError::Config(text));
        }
        let count = keys.len();
        let index = self.append_shred(self.draft(subjects, Shred { keys }, tags)).await?;
        drop(held);
        let (shredder, sealer) = (self.inner.shredder.clone(), self.inner.sealer.clone());
        blocking::attempt(move || shredder.catch_up(index + 1).and_then(|()| sealer.settle())).await?;
        Ok(Some(Shredded { index, keys: count }))
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

    async fn append_shred(&self, draft: Draft) -> Result<u64, LedgerError> {
        let appended = async {
            loop {
                match self.submit_own(vec![draft.clone()]) {
                    Ok(commit) => break commit.await,
                    Err(AppendError::Pushback { .. }) => tokio::time::sleep(PUSHBACK_PAUSE).await,
                    Err(error) => break Err(error),
                }
            }
        };
        let outcomes = tokio::time::timeout(WAIT, appended).await;
        let outcomes = outcomes.map_err(|_| unavailable("there was no quorum"))?.map_err(refused)?;
        outcomes.first().map(|outcome| outcome.index).ok_or_else(|| unavailable("there was no outcome"))
    }
}

/// What was proposed may still be committed; asking again then tells so.
fn unavailable(what: &str) -> LedgerError {
    LedgerError::Unavailable(format!("not shredded yet: {what} within {} s", WAIT.as_secs()))
}

fn refused(error: AppendError) -> LedgerError {
    match error {
        AppendError::Unavailable { .. } => unavailable("there was no quorum"),
        error => LedgerError::Unavailable(format!("not shredded: {error}")),
    }
}
