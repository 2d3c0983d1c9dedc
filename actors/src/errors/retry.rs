//! What a person does with a refused message.

use std::time::Instant;

use bytes::Bytes;
use clinical::{Issue, Time};
use raft_ledger::{AppendError, Draft, Outcome};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{ACTS_MAX, ErrorState, Found, RepairError, Unconfirmed, repair_tag};
use crate::committer::Labels;
use crate::entry::{self, Act, Again, Kind, Message, Repaired};
use crate::handle::Handle;
use crate::replay::Difference;
use crate::{blocking, clock, outgoing};

/// How a message is retried.
#[derive(Clone, Default)]
pub struct Repairs {
    /// In the place of what came.
    pub raw: Option<Bytes>,
    /// Read for another feed than the one that it came by.
    pub feed: Option<String>,
    pub reason: String,
    /// The query that found it.
    pub query: String,
    /// It raises no alert by itself.
    pub quiet: bool,
    /// It is held, and is so no longer whatever comes of it.
    pub release: bool,
}

#[derive(Serialize)]
pub struct Retried {
    pub accepted: bool,
    /// Index of the entry that says so.
    pub index: u64,
    /// Indices of the messages that it became; of the first one where that was in the ledger already.
    pub became: Vec<u64>,
    pub duplicate: bool,
    /// Why it was refused again.
    pub issues: Vec<Issue>,
}

/// What a retry would come to.
#[derive(Serialize)]
pub struct Tried {
    pub accepted: bool,
    /// Messages that it would become: a batch is many.
    pub messages: usize,
    /// What they would say.
    pub difference: Difference,
    /// Why it would be refused again, or what is doubtful in it.
    pub issues: Vec<Issue>,
}

/// A retry that is not written yet.
pub(crate) struct Attempt {
    /// That of the act last.
    drafts: Vec<Draft>,
    /// Absent where it is refused again.
    labels: Option<Labels>,
    issues: Vec<Issue>,
}

impl Attempt {
    pub fn is_accepted(&self) -> bool {
        self.labels.is_some()
    }

    pub fn tried(&self) -> Tried {
        let decoded = |draft: &Draft| Some(entry::decode::<Message>(&draft.payload).ok()?.0);
        let is_message = |draft: &&Draft| draft.kind == Kind::Message as u16;
        let messages: Vec<Message> = self.drafts.iter().filter(is_message).filter_map(decoded).collect();
        let events: Vec<_> = messages.iter().flat_map(|message| message.events.iter().cloned()).collect();
        let doubts = messages.iter().flat_map(|message| message.issues.iter().cloned());
        Tried {
            accepted: self.labels.is_some(),
            messages: messages.len(),
            difference: Difference::between(&[], &events),
            issues: self.issues.iter().cloned().chain(doubts).collect(),
        }
    }
}

impl Handle {
    /// Reads a refused message again, edited or as it came, and lets it flow as if its feed had sent it. Refused again,
    /// it stays open. In the ledger when this returns, with who asked.
    pub async fn retry(&self, index: u64, how: Repairs, by: &str) -> Result<Retried, RepairError> {
        let mut unconfirmed = self.inner.repairing.lock().await;
        let started = Instant::now();
        let (handle, by) = (self.clone(), by.to_owned());
        let found = self.open_one(index, &mut unconfirmed).await?;
        let attempt = move || handle.attempt(&found, &how, &by).map(|attempt| (found, attempt));
        let (found, attempt) = blocking::read(attempt).await?;
        self.carry_out(&found, attempt, started, &mut unconfirmed).await
    }

    /// What [`Handle::retry`] would come to. Writes nothing. Blocks.
    pub fn try_retry(&self, index: u64, how: &Repairs) -> Result<Tried, RepairError> {
        let found = self.found(index)?;
        match found.state().is_waiting() {
            true => Ok(self.attempt(&found, how, "")?.tried()),
            false => Err(RepairError::Closed(index)),
        }
    }

    /// Takes a refused message off the queue for good; its bytes stay in the ledger. The index of the entry that says so.
    pub async fn discard(&self, index: u64, reason: &str, by: &str) -> Result<u64, RepairError> {
        let mut unconfirmed = self.inner.repairing.lock().await;
        let found = self.open_one(index, &mut unconfirmed).await?;
        let done = repaired(&found, Act::Discarded, by, reason.to_owned());
        Ok(self.keep(&found, vec![self.draft(&found, &done, &[])], &mut unconfirmed).await?.1)
    }

    pub(super) async fn open_one(
        &self,
        index: u64,
        unconfirmed: &mut Unconfirmed,
    ) -> Result<Found, RepairError> {
        let handle = self.clone();
        let found = blocking::read(move || handle.found(index)).await?;
        confirmed(&found, unconfirmed)?;
        match found.state().is_waiting() {
            true => Ok(found),
            false => Err(RepairError::Closed(index)),
        }
    }

    /// Reads it again and writes nothing. Blocks.
    pub(crate) fn attempt(&self, found: &Found, how: &Repairs, by: &str) -> Result<Attempt, RepairError> {
        let index = found.entry.index;
        let is_held = found.state() == ErrorState::Held;
        if how.release && !is_held {
            return Err(RepairError::NotHeld(index));
        }
        if found.traces.acts.len() >= ACTS_MAX {
            return Err(RepairError::TooManyActs(index));
        }
        if found.rejected.partial && how.raw.is_none() {
            return Err(RepairError::Partial(index));
        }
        let raw = how.raw.as_ref().unwrap_or(&found.raw);
        let feed = how.feed.as_ref().unwrap_or(&found.rejected.feed);
        let reader = self.reader(feed)?;
        let limit = reader.feed().1.bytes_max;
        if raw.len() > limit {
            return Err(RepairError::TooLarge { bytes: raw.len(), feed: feed.clone(), limit });
        }
        let mut done = repaired(found, Act::Accepted, by, how.reason.clone());
        (done.feed, done.repaired_sha256) = (feed.clone(), hex::encode(Sha256::digest(raw)));
        done.query.clone_from(&how.query);
        // Said of every act from the release on: the last one alone is looked at.
        done.released = found.rejected.held && (how.release || !is_held);
        let position = format!("entry {index}, repaired by {by}");
        let again = Again { of: index, at: done.at, replaces: None, same: 0, quiet: how.quiet };
        let received_at = Time(found.entry.received_time_ms);
        let (mut drafts, labels) = match reader.read_again(raw.clone(), position, received_at, again) {
            Ok(read) => read,
            Err(issues) => {
                (done.act, done.issues) = (Act::Refused, issues.clone());
                let kept = if how.raw.is_some() { &raw[..] } else { &[] };
                return Ok(Attempt { drafts: vec![self.draft(found, &done, kept)], labels: None, issues });
            }
        };
        // The messages first: were the act alone kept, they would be lost. Kept alone they close the error as well.
        let tag = repair_tag(self.ledger(), index);
        for draft in &mut drafts {
            draft.tags.truncate(raft_ledger::MAX_TAGS - 1);
            draft.tags.push(tag);
        }
        drafts.push(self.draft(found, &done, &[]));
        Ok(Attempt { drafts, labels: Some(labels), issues: Vec::new() })
    }

    pub(crate) async fn carry_out(
        &self,
        found: &Found,
        Attempt { drafts, labels, issues }: Attempt,
        started: Instant,
        unconfirmed: &mut Unconfirmed,
    ) -> Result<Retried, RepairError> {
        confirmed(found, unconfirmed)?;
        let (outcomes, index) = self.keep(found, drafts, unconfirmed).await?;
        let Some(labels) = labels else {
            return Ok(Retried { accepted: false, index, became: vec![], duplicate: false, issues });
        };
        let duplicate = outcomes.iter().all(|outcome| outcome.duplicate);
        labels.count(if duplicate { "duplicate" } else { "committed" }, started, &self.inner.metrics);
        let became = outcomes.iter().map(|outcome| outcome.index).collect();
        Ok(Retried { accepted: true, index, became, duplicate, issues })
    }

    fn draft(&self, found: &Found, done: &Repaired, raw: &[u8]) -> Draft {
        let ledger = self.ledger();
        let (index, payload) = (found.entry.index, entry::encode(done, raw));
        // Of the same day and feed as refused messages are: nobody knows yet whose it is.
        let day = done.at.0.div_euclid(24 * Time::HOUR_MS);
        let subject = [b"feed", found.rejected.feed.as_bytes(), &day.to_be_bytes()].concat();
        let mut draft = outgoing::draft(ledger, Kind::Repaired, &subject, payload, done.at);
        draft.tags.push(ledger.tag("feed", found.rejected.feed.as_bytes()));
        draft.tags.push(repair_tag(ledger, index));
        draft
    }

    /// What became of all but the last, and the index of the last.
    async fn keep(
        &self,
        found: &Found,
        drafts: Vec<Draft>,
        unconfirmed: &mut Unconfirmed,
    ) -> Result<(Vec<Outcome>, u64), RepairError> {
        let mut outcomes = self.ledger().append(drafts).await.map_err(|error| match error {
            AppendError::Unavailable { .. } => {
                unconfirmed.insert(found.entry.index, found.traces.len());
                RepairError::Unconfirmed(found.entry.index)
            }
            error => RepairError::Append(error),
        })?;
        let index = outcomes.pop().map(|outcome| outcome.index).unwrap_or_default();
        Ok((outcomes, index))
    }
}

/// The ledger may still commit what it could not confirm in time: a second act would come on top of it.
fn confirmed(found: &Found, unconfirmed: &mut Unconfirmed) -> Result<(), RepairError> {
    let index = found.entry.index;
    if unconfirmed.get(&index) == Some(&found.traces.len()) {
        return Err(RepairError::Unconfirmed(index));
    }
    unconfirmed.remove(&index);
    Ok(())
}

fn repaired(found: &Found, act: Act, by: &str, reason: String) -> Repaired {
    Repaired {
        original: found.entry.index,
        act,
        by: by.to_owned(),
        at: clock::now(),
        reason,
        feed: String::new(),
        original_sha256: hex::encode(Sha256::digest(&found.raw)),
        repaired_sha256: String::new(),
        issues: Vec::new(),
        released: false,
        query: String::new(),
        changed: None,
    }
}
