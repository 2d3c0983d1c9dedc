//! `on_error = { retry = N }`: what a feed refused is read again by itself. A reader is deterministic: the same bytes come to
//! the same refusal until the feed's configuration, its code table or the release changes, all of which a start of the feed
//! brings, with its site or by a reload. So that is when it is tried, once for each way in which the feed has read since,
//! and N times at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use raft_ledger::{AppendError, Ledger, LedgerError};

use super::{ErrorState, Found, RepairError};
use crate::blocking;
use crate::entry::Kind;
use crate::errors::Repairs;
use crate::feeds::RunningFeed;
use crate::handle::Handle;
use crate::search::Search;

/// Who did it, as the ledger tells.
const BY: &str = "medulla (on_error)";
const REASON: &str = "its feed reads otherwise now";
const KEYS: &str = "retried/";
const PAGE: usize = 100;
/// Between two looks whether the site can commit.
const PAUSE: Duration = Duration::from_secs(1);

/// What was tried of one message: how often to no avail, and how its feed read then.
pub(super) struct Tries {
    pub count: u8,
    reads_by: String,
}

/// Blocks.
pub(super) fn tries(ledger: &Ledger, index: u64) -> Result<Option<Tries>, LedgerError> {
    Ok(ledger.site_get(key(index).as_bytes())?.as_deref().and_then(Tries::read))
}

/// In the order of the indices.
fn key(index: u64) -> String {
    format!("{KEYS}{index:020}")
}

impl Tries {
    fn read(kept: &[u8]) -> Option<Tries> {
        let (count, reads_by) = kept.split_first()?;
        Some(Tries { count: *count, reads_by: String::from_utf8(reads_by.to_vec()).ok()? })
    }

    fn write(&self) -> Vec<u8> {
        [&[self.count], self.reads_by.as_bytes()].concat()
    }
}

impl Handle {
    /// Goes through the refused messages of a feed that retries. Ends with the feed.
    pub(crate) async fn retry_by_itself(self, feed: Arc<RunningFeed>) {
        if feed.reader.now().retries() == 0 {
            return;
        }
        tokio::select! {
            () = feed.stop.cancelled() => {}
            done = self.retry_all(&feed) => if let Err(error) = done {
                tracing::error!(feed = %feed.name, %error, "refused messages are not retried; the next start tries again");
            }
        }
    }

    async fn retry_all(&self, feed: &Arc<RunningFeed>) -> Result<(), RepairError> {
        while !self.is_ready() {
            tokio::time::sleep(PAUSE).await;
        }
        let (mut taken, mut tried, mut next) = (0, 0, Some(0));
        while let Some(from) = next {
            let (handle, of) = (self.clone(), feed.clone());
            let (due, then) = blocking::read(move || handle.due(&of, from)).await?;
            next = then;
            for index in due {
                tried += 1;
                taken += usize::from(self.retry_one(index, feed).await?);
            }
        }
        if tried > 0 {
            tracing::info!(feed = %feed.name, tried, taken, "refused messages were read again");
        }
        Ok(())
    }

    /// One page of refused messages that may be read otherwise now, and where the next begins. Blocks.
    fn due(&self, feed: &RunningFeed, from: u64) -> Result<(Vec<u64>, Option<u64>), LedgerError> {
        let search = Search {
            from,
            limit: PAGE,
            feed: Some(feed.name.clone()),
            kind: Some(Kind::Rejected),
            ..Search::default()
        };
        let (page, mut due) = (search.run(self.ledger())?, Vec::new());
        let reader = feed.reader.now();
        for entry in page.entries {
            let Some(found) = self.opened(entry)? else { continue };
            match is_due(&found, reader.reads_by(), reader.retries()) {
                true => due.push(found.entry.index),
                false if found.tries.is_some() && !found.state().is_waiting() => {
                    self.forget(found.entry.index)?
                }
                false => {}
            }
        }
        Ok((due, page.next.map(|(_, from)| from)))
    }

    /// Whether it was taken.
    async fn retry_one(&self, index: u64, feed: &Arc<RunningFeed>) -> Result<bool, RepairError> {
        loop {
            match self.read_one(index).await {
                Ok(true) => {
                    tracing::info!(index, "a refused message was read again and taken");
                    let handle = self.clone();
                    blocking::read(move || handle.forget(index)).await?;
                    return Ok(true);
                }
                // A person was first, or it may still be done.
                Err(RepairError::Closed(_) | RepairError::Unconfirmed(_)) => return Ok(false),
                Err(error @ (RepairError::Ledger(_) | RepairError::Append(AppendError::Closed))) => {
                    return Err(error);
                }
                Err(RepairError::Append(
                    error @ (AppendError::Pushback { .. }
                    | AppendError::NotLeader
                    | AppendError::NoSpace { .. }),
                )) => {
                    tracing::warn!(%error, index, "a refused message can be read now and is not kept yet");
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(false) | Err(_) => {
                    let (handle, feed) = (self.clone(), feed.clone());
                    blocking::read(move || handle.note_try(index, &feed)).await?;
                    return Ok(false);
                }
            }
        }
    }

    /// What is refused again leaves no entry: nobody did anything.
    async fn read_one(&self, index: u64) -> Result<bool, RepairError> {
        let mut unconfirmed = self.inner.repairing.lock().await;
        let (started, handle) = (Instant::now(), self.clone());
        let found = self.open_one(index, &mut unconfirmed).await?;
        let how = Repairs { reason: REASON.into(), quiet: true, ..Repairs::default() };
        let attempt = move || handle.attempt(&found, &how, BY).map(|attempt| (found, attempt));
        let (found, attempt) = blocking::read(attempt).await?;
        if !attempt.is_accepted() {
            return Ok(false);
        }
        self.carry_out(&found, attempt, started, &mut unconfirmed).await?;
        Ok(true)
    }

    fn note_try(&self, index: u64, feed: &RunningFeed) -> Result<(), LedgerError> {
        let reader = feed.reader.now();
        let tried = tries(self.ledger(), index)?.map_or(0, |tries| tries.count);
        let count = tried.saturating_add(1);
        if count >= reader.retries() {
            tracing::warn!(feed = %feed.name, index, count, "a refused message is not retried by itself any more");
        }
        let tries = Tries { count, reads_by: reader.reads_by().to_owned() };
        self.ledger().site_put(key(index).as_bytes(), &tries.write(), true)
    }

    fn forget(&self, index: u64) -> Result<(), LedgerError> {
        self.ledger().site_write(vec![(key(index).into_bytes(), None)])
    }
}

/// Whether it waits in the error queue, may be tried, and its feed reads otherwise than when it last was.
fn is_due(found: &Found, reads_by: &str, retries: u8) -> bool {
    let (rejected, tries) = (&found.rejected, found.tries.as_ref());
    found.state() == ErrorState::Open
        && !rejected.partial
        && !rejected.read_by.is_empty()
        && tries.map_or(0, |tries| tries.count) < retries
        && tries.map_or(&*rejected.read_by, |tries| &tries.reads_by) != reads_by
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use raft_ledger::{Entry, Payload};

    use super::super::{Last, Traces};
    use super::*;
    use crate::entry::{Act, Format, Rejected};

    fn found(read_by: &str, held: bool, last: Option<(Act, bool)>) -> Found {
        let entry = Entry {
            index: 4,
            kind: Kind::Rejected as u16,
            site: "a".into(),
            epoch: 1,
            site_seq: 0,
            event_time_ms: 1,
            message_time_ms: 1,
            received_time_ms: 1,
            payload: Payload::Sealed,
        };
        let rejected = Rejected {
            feed: "adt".into(),
            format: Format::Hl7v2,
            position: String::new(),
            headers: Default::default(),
            control_id: String::new(),
            code: "merge-cycle".into(),
            issues: Vec::new(),
            partial: false,
            held,
            read_by: read_by.into(),
        };
        let traces = Traces { acts: Vec::new(), became: Vec::new() };
        let last = last.map(|(act, released)| Last { act, released });
        Found { entry, rejected, raw: Bytes::new(), traces, last, tries: None }
    }

    #[test]
    fn a_held_message_is_held_until_it_is_released_or_closed() {
        let state = |held, last| found("", held, last).state();
        assert_eq!(state(false, None), ErrorState::Open);
        assert_eq!(state(true, None), ErrorState::Held);
        assert_eq!(state(true, Some((Act::Refused, false))), ErrorState::Held);
        assert_eq!(state(true, Some((Act::Refused, true))), ErrorState::Open);
        for released in [false, true] {
            assert_eq!(state(true, Some((Act::Accepted, released))), ErrorState::Repaired);
            assert_eq!(state(true, Some((Act::Discarded, released))), ErrorState::Discarded);
        }
    }

    #[test]
    fn a_message_is_tried_once_for_each_way_to_read_it_and_so_often() {
        let tried = |count, reads_by: &str| Some(Tries { count, reads_by: reads_by.into() });
        let due = |found: Found, tries: Option<Tries>| is_due(&Found { tries, ..found }, "b", 2);
        let open = || found("a", false, None);
        assert!(due(open(), None));
        assert!(!due(found("b", false, None), None), "it was refused as its feed reads now");
        assert!(due(open(), tried(1, "a")) && !due(open(), tried(1, "b")) && !due(open(), tried(2, "a")));
        assert!(!due(found("", false, None), None), "its feed did not retry then");
        assert!(
            !due(found("a", true, None), None)
                && !due(found("a", false, Some((Act::Discarded, false))), None)
        );
        let mut part = open();
        part.rejected.partial = true;
        assert!(!due(part, None));
    }

    #[test]
    fn what_was_tried_is_read_again() {
        let tries = Tries { count: 3, reads_by: "ab".into() };
        let read = Tries::read(&tries.write()).unwrap();
        assert_eq!((read.count, read.reads_by), (3, "ab".to_owned()));
        assert!(Tries::read(b"").is_none());
    }
}
