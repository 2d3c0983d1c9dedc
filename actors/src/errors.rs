//! The error queue and the hold queue: refused messages of this site that nobody has repaired or discarded yet. Neither is
//! a table of its own; what was done with a refused message are ledger entries under its tag.

mod by_itself;
mod retry;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use clinical::hl7::Message as Hl7;
use clinical::{Issue, Time};
use raft_ledger::{AppendError, Entry, Ledger, LedgerError, Payload, Tag};
use serde::Serialize;

pub(crate) use retry::Attempt;
pub use retry::{Repairs, Retried, Tried};

use crate::entry::{self, Act, Format, Kind, Rejected, Repaired};
use crate::handle::Handle;
use crate::reading::Reader;
use crate::search::Search;

/// Found under a message's index: what was done with it, and the messages it became.
const REPAIR_TAG: &str = "repair";
/// Tries of one message: nobody tries one thing so often.
const ACTS_MAX: usize = 1000;
/// Acts that one page of the list meets, about; with more the page ends early and says where to go on.
const PAGE_ACTS_MAX: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorState {
    /// In the error queue.
    Open,
    /// In the hold queue: it waits for a person.
    Held,
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
    /// How often it was read again by itself, to no avail.
    pub retried_by_itself: u8,
    /// Only a part of the message came: it cannot be retried as it is.
    pub partial: bool,
    /// Indices of the messages that it became.
    pub became: Vec<u64>,
}

/// Which of the refused messages are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listed {
    /// Those that are open and those that are held.
    #[default]
    Waiting,
    Open,
    Held,
    /// Also those that are repaired or discarded.
    All,
}

impl Listed {
    fn has(self, state: ErrorState) -> bool {
        match self {
            Listed::Waiting => state.is_waiting(),
            Listed::Open => state == ErrorState::Open,
            Listed::Held => state == ErrorState::Held,
            Listed::All => true,
        }
    }
}

impl ErrorState {
    /// Something can still be done with it.
    pub(crate) fn is_waiting(self) -> bool {
        matches!(self, ErrorState::Open | ErrorState::Held)
    }
}

/// One page of them.
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

#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error(
        "entry {0} is no refused message of this site that can be opened here; list them with `medulla errors list`"
    )]
    Unknown(u64),
    #[error(
        "entry {0} is no message of this site that can be opened here; `medulla messages --kind message` finds them, \
         `medulla errors list` those that were refused"
    )]
    NoMessage(u64),
    #[error("refused message {0} is repaired or discarded already; `medulla errors show {0}` says by whom")]
    Closed(u64),
    #[error("refused message {0} is not held: `medulla errors retry` and `discard` work on it")]
    NotHeld(u64),
    #[error("only a part of refused message {0} came: give the whole message with --edit, or discard it")]
    Partial(u64),
    #[error("there is no feed {0} here; name another one with --as-feed")]
    UnknownFeed(String),
    #[error("the message has {bytes} bytes, feed {feed} takes {limit}: raise its max_message_bytes")]
    TooLarge { bytes: usize, feed: String, limit: usize },
    #[error("the message cannot be read as HL7 v2 or FHIR, so it can be shown only as it came")]
    NoView,
    #[error("refused message {0} was tried too often; discard it")]
    TooManyActs(u64),
    #[error(
        "an act on message {0} is not confirmed yet, it may still be done: wait for a quorum; the next start of the site \
         gives it up"
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

/// Where the entries about one message are.
pub(crate) struct Traces {
    pub acts: Vec<u64>,
    /// Messages that it became, or later readings of it.
    pub became: Vec<u64>,
}

impl Traces {
    fn len(&self) -> usize {
        self.acts.len() + self.became.len()
    }
}

/// A refused message and what became of it.
pub(crate) struct Found {
    pub entry: Entry,
    pub rejected: Rejected,
    raw: Bytes,
    traces: Traces,
    /// What was done with it last. An act that closes it is followed by none.
    last: Option<Last>,
    /// `None`: it was not read again by itself, or was taken then.
    tries: Option<by_itself::Tries>,
}

struct Last {
    act: Act,
    released: bool,
}

impl Found {
    pub fn state(&self) -> ErrorState {
        let is_released = self.last.as_ref().is_some_and(|last| last.released);
        match self.last.as_ref().map(|last| last.act) {
            _ if !self.traces.became.is_empty() => ErrorState::Repaired,
            Some(Act::Accepted | Act::Replayed) => ErrorState::Repaired,
            Some(Act::Discarded) => ErrorState::Discarded,
            Some(Act::Refused) | None if self.rejected.held && !is_released => ErrorState::Held,
            Some(Act::Refused) | None => ErrorState::Open,
        }
    }

    fn row(&self) -> ErrorRow {
        let state = self.state();
        let is_closing = |last: &Last| matches!(last.act, Act::Accepted | Act::Discarded);
        let closing = usize::from(self.last.as_ref().is_some_and(is_closing));
        ErrorRow {
            index: self.entry.index,
            feed: self.rejected.feed.clone(),
            format: self.rejected.format,
            code: self.rejected.code.clone(),
            control_id: self.rejected.control_id.clone(),
            position: self.rejected.position.clone(),
            received_time_ms: self.entry.received_time_ms,
            state,
            refused_again: self.traces.acts.len() - closing,
            retried_by_itself: self.tries.as_ref().map_or(0, |tries| tries.count),
            partial: self.rejected.partial,
            became: self.traces.became.clone(),
        }
    }
}

impl Handle {
    /// Refused messages of this site, in the ledger's order. `search` says from where, how many, of which feed, control
    /// id and time; its kind counts not. Blocks.
    pub fn errors(&self, search: &Search, code: Option<&str>, listed: Listed) -> Result<Errors, LedgerError> {
        let search = Search { kind: Some(Kind::Rejected), in_ledger_order: true, ..search.clone() };
        let found = search.run(self.ledger())?;
        let (mut rows, mut acts) = (Vec::new(), 0);
        for entry in found.entries {
            if acts > PAGE_ACTS_MAX {
                return Ok(Errors { as_of: found.as_of, rows, next: Some(entry.index) });
            }
            let Some(found) = self.opened(entry)? else { continue };
            acts += found.traces.len();
            let row = found.row();
            if listed.has(row.state) && code.is_none_or(|code| row.code == code) {
                rows.push(row);
            }
        }
        Ok(Errors { as_of: found.as_of, rows, next: found.next.map(|(_, from)| from) })
    }

    /// Blocks.
    pub fn error(&self, index: u64) -> Result<ErrorDetail, RepairError> {
        let found = self.found(index)?;
        let acts = found.traces.acts.iter().map(|at| Ok(self.act(*at)?.map(|done| (*at, done))));
        let acts: Result<Vec<_>, LedgerError> = acts.collect();
        let (row, acts) = (found.row(), acts?.into_iter().flatten().collect());
        Ok(ErrorDetail { row, issues: found.rejected.issues, acts, raw: found.raw })
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

    pub(crate) fn reader(&self, feed: &str) -> Result<Arc<Reader>, RepairError> {
        let running = self.inner.feeds.get(feed);
        running.map(|running| running.reader.now()).ok_or_else(|| RepairError::UnknownFeed(feed.to_owned()))
    }

    fn found(&self, index: u64) -> Result<Found, RepairError> {
        let entry = self.ledger().read_from(index, 1)?.into_iter().next();
        entry.map(|entry| self.opened(entry)).transpose()?.flatten().ok_or(RepairError::Unknown(index))
    }

    /// `None`: not a refused message of this site, or one that nobody can read any more.
    pub(crate) fn opened(&self, entry: Entry) -> Result<Option<Found>, LedgerError> {
        let Payload::Open(payload) = &entry.payload else { return Ok(None) };
        if entry.kind != Kind::Rejected as u16 || entry.site != self.site() {
            return Ok(None);
        }
        let Ok((mut rejected, raw)) = entry::decode::<Rejected>(payload) else { return Ok(None) };
        rejected.partial |= PARTIAL_CODES.contains(&&*rejected.code);
        let traces = traces(self.ledger(), entry.index)?;
        let last = traces.acts.last().map(|at| self.act(*at)).transpose()?.flatten();
        let last = last.map(|done| Last { act: done.act, released: done.released });
        let tries = match rejected.read_by.is_empty() {
            true => None,
            false => by_itself::tries(self.ledger(), entry.index)?,
        };
        Ok(Some(Found { entry, rejected, raw, traces, last, tries }))
    }

    fn act(&self, index: u64) -> Result<Option<Repaired>, LedgerError> {
        let entry = self.ledger().read_from(index, 1)?.into_iter().next();
        let Some(Entry { payload: Payload::Open(payload), .. }) = entry else { return Ok(None) };
        Ok(entry::decode::<Repaired>(&payload).ok().map(|(done, _)| done))
    }
}

pub(crate) fn repair_tag(ledger: &Ledger, index: u64) -> Tag {
    ledger.tag(REPAIR_TAG, &index.to_be_bytes())
}

/// By tags alone: nothing is opened only to learn what it is. Blocks.
pub(crate) fn traces(ledger: &Ledger, index: u64) -> Result<Traces, LedgerError> {
    let messages = ledger.tag("kind", Kind::Message.tag());
    let (mut acts, mut became) = (Vec::new(), Vec::new());
    for at in ledger.by_tag(repair_tag(ledger, index), 0, 2 * ACTS_MAX)? {
        let is_message = ledger.by_tag(messages, at, 1)?.first() == Some(&at);
        if is_message { &mut became } else { &mut acts }.push(at);
    }
    Ok(Traces { acts, became })
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
