//! The error queue: refused messages of this site that nobody has repaired or discarded yet. It is no table of its own;
//! what was done with a refused message are ledger entries under its tag.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use clinical::hl7::Message as Hl7;
use clinical::{Issue, Time};
use raft_ledger::{AppendError, Draft, Entry, Ledger, LedgerError, Payload, Tag};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::entry::{self, Act, Format, Kind, Rejected, Repaired};
use crate::handle::Handle;
use crate::search::Search;
use crate::{blocking, clock, outgoing};

/// Found under a refused message's index: what was done with it, and the messages it became.
const REPAIR_TAG: &str = "repair";
/// Tries of one message: nobody tries one thing so often.
const ACTS_MAX: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorState {
    Open,
    Repaired,
    Discarded,
}

/// One refused message, without anything of a patient's.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorRow {
    pub index: u64,
    pub feed: String,
    pub format: Format,
    pub code: String,
    pub control_id: String,
    pub position: String,
    pub received_time_ms: i64,
    pub state: ErrorState,
    /// Retries that were refused again.
    pub refused_again: usize,
    /// Only a part of the message came: it cannot be retried as it is.
    pub partial: bool,
    /// Indices of the messages that it became.
    pub became: Vec<u64>,
}

/// One page, open ones or all.
pub struct Errors {
    pub as_of: u64,
    pub rows: Vec<ErrorRow>,
    /// Index to go on from.
    pub next: Option<u64>,
}

#[derive(Serialize)]
pub struct ErrorDetail {
    pub row: ErrorRow,
    pub issues: Vec<Issue>,
    /// What was done with it, oldest first: ledger index and act.
    pub acts: Vec<(u64, Repaired)>,
    #[serde(skip)]
    pub raw: Bytes,
}

/// Another way to see a message, as its feed reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A line a field: path and value.
    Tree,
    Fhir,
}

/// How a message is retried.
#[derive(Clone, Default)]
pub struct Repairs {
    /// In the place of what came.
    pub raw: Option<Bytes>,
    /// Read for another feed than the one that it came by.
    pub feed: Option<String>,
    pub reason: String,
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

#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error(
        "entry {0} is no refused message of this site that can be opened here; list them with `medulla errors list`"
    )]
    Unknown(u64),
    #[error("refused message {0} is repaired or discarded already; `medulla errors show {0}` says by whom")]
    Closed(u64),
    #[error("only a part of refused message {0} came: give the whole message with --edit, or discard it")]
    Partial(u64),
    #[error("there is no feed {0} here; name another one with --as-feed")]
    UnknownFeed(String),
    #[error("the message cannot be read as HL7 v2 or FHIR, so it can be shown only as it came")]
    NoView,
    #[error("refused message {0} was tried too often; discard it")]
    TooManyActs(u64),
    #[error(
        "an act on refused message {0} is not confirmed yet, it may still be done: wait for a quorum; the next start of \
         the site gives it up"
    )]
    Unconfirmed(u64),
    #[error("nothing was done: {0}")]
    Append(AppendError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Codes with which the transport refuses a message of which it has a part only. An entry of a release that did not say
/// so is known by them.
const PARTIAL_CODES: [&str; 4] = ["too-large", "mllp-too-large", "mllp-cut-short", "mllp-unterminated"];

/// Refused messages with an act that is not confirmed, and how many entries each had before it.
pub(crate) type Unconfirmed = BTreeMap<u64, usize>;

/// A refused message and what became of it.
struct Found {
    entry: Entry,
    rejected: Rejected,
    raw: Bytes,
    acts: Vec<(u64, Repaired)>,
    became: Vec<u64>,
}

impl Found {
    /// Entries about it.
    fn traces(&self) -> usize {
        self.acts.len() + self.became.len()
    }

    fn row(&self) -> ErrorRow {
        let acts = || self.acts.iter().map(|(_, done)| done.act);
        let state = match () {
            () if !self.became.is_empty() || acts().any(|act| act == Act::Accepted) => ErrorState::Repaired,
            () if acts().any(|act| act == Act::Discarded) => ErrorState::Discarded,
            () => ErrorState::Open,
        };
        ErrorRow {
            index: self.entry.index,
            feed: self.rejected.feed.clone(),
            format: self.rejected.format,
            code: self.rejected.code.clone(),
            control_id: self.rejected.control_id.clone(),
            position: self.rejected.position.clone(),
            received_time_ms: self.entry.received_time_ms,
            state,
            refused_again: acts().filter(|act| *act == Act::Refused).count(),
            partial: self.rejected.partial,
            became: self.became.clone(),
        }
    }
}

impl Handle {
    /// Refused messages of this site, in the ledger's order. `search` says from where, how many, of which feed, control
    /// id and time; its kind counts not. Blocks.
    pub fn errors(&self, search: &Search, code: Option<&str>, all: bool) -> Result<Errors, LedgerError> {
        let search = Search { kind: Some(Kind::Rejected), ..search.clone() };
        let found = search.run(self.ledger())?;
        let mut rows = Vec::new();
        for entry in found.entries {
            let Some(found) = self.opened(entry)? else { continue };
            let row = found.row();
            if (all || row.state == ErrorState::Open) && code.is_none_or(|code| row.code == code) {
                rows.push(row);
            }
        }
        Ok(Errors { as_of: found.as_of, rows, next: found.next.map(|(_, from)| from) })
    }

    /// Blocks.
    pub fn error(&self, index: u64) -> Result<ErrorDetail, RepairError> {
        let found = self.found(index)?;
        let row = found.row();
        Ok(ErrorDetail { row, issues: found.rejected.issues, acts: found.acts, raw: found.raw })
    }

    /// Blocks.
    pub fn error_view(&self, index: u64, view: View) -> Result<String, RepairError> {
        let found = self.found(index)?;
        let reader = self.reader(&found.rejected.feed)?;
        let (feed, limits) = reader.feed();
        match (found.rejected.format, view) {
            (Format::Hl7v2, _) => {
                let message = Hl7::parse(found.raw, limits).map_err(|_| RepairError::NoView)?;
                let message = message.for_feed(feed);
                let received_at = Time(found.entry.received_time_ms);
                Ok(match view {
                    View::Tree => tree(&message),
                    View::Fhir => {
                        let bundle = clinical::fhir::from_hl7(&message, feed, received_at);
                        String::from_utf8_lossy(&bundle).into_owned()
                    }
                })
            }
            (Format::Fhir, _) => String::from_utf8(found.raw.to_vec()).map_err(|_| RepairError::NoView),
            (Format::Unknown, _) => Err(RepairError::NoView),
        }
    }

    /// Reads a refused message again, edited or as it came, and lets it flow as if its feed had sent it. Refused again,
    /// it stays open. In the ledger when this returns, with who asked.
    pub async fn retry(&self, index: u64, how: Repairs, by: &str) -> Result<Retried, RepairError> {
        let mut unconfirmed = self.inner.repairing.lock().await;
        let found = self.open_one(index, &mut unconfirmed).await?;
        if found.acts.len() >= ACTS_MAX {
            return Err(RepairError::TooManyActs(index));
        }
        if found.rejected.partial && how.raw.is_none() {
            return Err(RepairError::Partial(index));
        }
        let (edited, raw) = (how.raw.is_some(), how.raw.unwrap_or_else(|| found.raw.clone()));
        let feed = how.feed.unwrap_or_else(|| found.rejected.feed.clone());
        self.reader(&feed)?;
        let received = u64::try_from(found.entry.received_time_ms).unwrap_or_default();
        let received = SystemTime::UNIX_EPOCH + Duration::from_millis(received);
        let position = format!("entry {index}, repaired by {by}");
        let started = Instant::now();
        let mut done = repaired(&found, Act::Accepted, by, how.reason);
        (done.feed, done.repaired_sha256) = (feed.clone(), hex::encode(Sha256::digest(&raw)));
        let (handle, again) = (self.clone(), raw.clone());
        let read = blocking::read(move || {
            handle.reader(&feed).map(|reader| reader.read_again(again, position, received))
        });
        let (mut drafts, labels) = match read.await? {
            Ok(read) => read,
            Err(issues) => {
                (done.act, done.issues) = (Act::Refused, issues.clone());
                let kept = if edited { &raw[..] } else { &[] };
                let drafts = vec![self.draft(&found, &done, kept)];
                let index = self.keep(&found, drafts, &mut unconfirmed).await?.1;
                return Ok(Retried { accepted: false, index, became: vec![], duplicate: false, issues });
            }
        };
        // The messages first: were the act alone kept, they would be lost. Kept alone they close the error as well.
        let tag = self.repair_tag(index);
        for draft in &mut drafts {
            draft.tags.truncate(raft_ledger::MAX_TAGS - 1);
            draft.tags.push(tag);
        }
        drafts.push(self.draft(&found, &done, &[]));
        let (outcomes, index) = self.keep(&found, drafts, &mut unconfirmed).await?;
        let duplicate = outcomes.iter().all(|outcome| outcome.duplicate);
        labels.count(if duplicate { "duplicate" } else { "committed" }, started, &self.inner.metrics);
        let became = outcomes.iter().map(|outcome| outcome.index).collect();
        Ok(Retried { accepted: true, index, became, duplicate, issues: Vec::new() })
    }

    /// Takes a refused message off the queue for good; its bytes stay in the ledger. The index of the entry that says so.
    pub async fn discard(&self, index: u64, reason: &str, by: &str) -> Result<u64, RepairError> {
        let mut unconfirmed = self.inner.repairing.lock().await;
        let found = self.open_one(index, &mut unconfirmed).await?;
        let done = repaired(&found, Act::Discarded, by, reason.to_owned());
        Ok(self.keep(&found, vec![self.draft(&found, &done, &[])], &mut unconfirmed).await?.1)
    }

    fn reader(&self, feed: &str) -> Result<&crate::reading::Reader, RepairError> {
        let running = self.inner.feeds.iter().find(|running| running.name == feed);
        running.map(|running| &running.reader).ok_or_else(|| RepairError::UnknownFeed(feed.to_owned()))
    }

    fn repair_tag(&self, index: u64) -> Tag {
        repair_tag(self.ledger(), index)
    }

    fn found(&self, index: u64) -> Result<Found, RepairError> {
        let entry = self.ledger().read_from(index, 1)?.into_iter().next();
        entry.map(|entry| self.opened(entry)).transpose()?.flatten().ok_or(RepairError::Unknown(index))
    }

    async fn open_one(&self, index: u64, unconfirmed: &mut Unconfirmed) -> Result<Found, RepairError> {
        let handle = self.clone();
        let found = blocking::read(move || handle.found(index)).await?;
        // The ledger may still commit what it could not confirm in time: a second act would come on top of it.
        if unconfirmed.get(&index) == Some(&found.traces()) {
            return Err(RepairError::Unconfirmed(index));
        }
        unconfirmed.remove(&index);
        match found.row().state {
            ErrorState::Open => Ok(found),
            ErrorState::Repaired | ErrorState::Discarded => Err(RepairError::Closed(index)),
        }
    }

    /// `None`: not a refused message of this site, or one that nobody can read any more.
    fn opened(&self, entry: Entry) -> Result<Option<Found>, LedgerError> {
        let Payload::Open(payload) = &entry.payload else { return Ok(None) };
        if entry.kind != Kind::Rejected as u16 || entry.site != self.site() {
            return Ok(None);
        }
        let Ok((mut rejected, raw)) = entry::decode::<Rejected>(payload) else { return Ok(None) };
        rejected.partial |= PARTIAL_CODES.contains(&&*rejected.code);
        let (ledger, mut acts, mut became) = (self.ledger(), Vec::new(), Vec::new());
        for at in ledger.by_tag(self.repair_tag(entry.index), 0, 2 * ACTS_MAX)? {
            let Some(done) = ledger.read_from(at, 1)?.into_iter().next() else { continue };
            if done.kind == Kind::Message as u16 {
                became.push(at);
            } else if let Payload::Open(payload) = &done.payload
                && let Ok((repaired, _)) = entry::decode::<Repaired>(payload)
            {
                acts.push((at, repaired));
            }
        }
        Ok(Some(Found { entry, rejected, raw, acts, became }))
    }

    fn draft(&self, found: &Found, done: &Repaired, raw: &[u8]) -> Draft {
        let ledger = self.ledger();
        let (index, payload) = (found.entry.index, entry::encode(done, raw));
        // Of the same day and feed as refused messages are: nobody knows yet whose it is.
        let day = done.at.0.div_euclid(24 * Time::HOUR_MS);
        let subject = [b"feed", found.rejected.feed.as_bytes(), &day.to_be_bytes()].concat();
        let mut draft = outgoing::draft(ledger, Kind::Repaired, &subject, payload, done.at);
        draft.tags.push(ledger.tag("feed", found.rejected.feed.as_bytes()));
        draft.tags.push(self.repair_tag(index));
        draft
    }

    /// What became of all but the last, and the index of the last.
    async fn keep(
        &self,
        found: &Found,
        drafts: Vec<Draft>,
        unconfirmed: &mut Unconfirmed,
    ) -> Result<(Vec<raft_ledger::Outcome>, u64), RepairError> {
        let mut outcomes = self.ledger().append(drafts).await.map_err(|error| match error {
            AppendError::Unavailable { .. } => {
                unconfirmed.insert(found.entry.index, found.traces());
                RepairError::Unconfirmed(found.entry.index)
            }
            error => RepairError::Append(error),
        })?;
        let index = outcomes.pop().map(|outcome| outcome.index).unwrap_or_default();
        Ok((outcomes, index))
    }
}

fn repair_tag(ledger: &Ledger, index: u64) -> Tag {
    ledger.tag(REPAIR_TAG, &index.to_be_bytes())
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
    }
}

fn tree(message: &Hl7) -> String {
    let mut lines = String::new();
    for segment in message.segments() {
        for (number, field) in segment.fields().filter(|(_, field)| !field.is_empty()) {
            let text = field.raw_text();
            lines.push_str(&format!("{}-{number}  {text}\n", segment.name()));
        }
    }
    lines
}
