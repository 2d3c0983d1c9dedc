//! A message that a replay meets, and what reading it now comes to.

use bytes::Bytes;
use clinical::Time;
use raft_ledger::{Draft, Entry, LedgerError, Payload};
use sha2::{Digest, Sha256};

use super::counted::would_stay;
use super::{Difference, Replay, ReplayOutcome, ReplayRow, difference};
use crate::entry::{self, Act, Again, Kind, Message, Repaired};
use crate::errors::{Attempt, ErrorState, Found, RepairError, Repairs, repair_tag, traces};
use crate::handle::Handle;
use crate::{clock, outgoing};

pub(super) type Next = Option<(Option<Time>, u64)>;

/// A message where it stands now: of several readings the last one, of refused ones those that are open.
pub(super) enum Met {
    Taken { entry: Entry, message: Box<Message>, raw: Bytes },
    Refused(Box<Found>),
}

/// What is to be written.
pub(crate) enum Todo {
    Nothing,
    /// The new reading, and the act.
    Keep(Vec<Draft>),
    Repair(Box<Found>, Box<Attempt>),
}

impl Met {
    pub fn feed(&self) -> &str {
        match self {
            Met::Taken { message, .. } => &message.feed,
            Met::Refused(found) => &found.rejected.feed,
        }
    }

    /// Of a refused message none is kept.
    pub fn type_(&self) -> &str {
        match self {
            Met::Taken { message, .. } => &message.type_,
            Met::Refused(_) => "",
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Met::Taken { .. } => Kind::Message,
            Met::Refused(_) => Kind::Rejected,
        }
    }

    pub fn codes(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Met::Taken { message, .. } => Box::new(message.issues.iter().map(|issue| &*issue.code)),
            Met::Refused(found) => Box::new(std::iter::once(&*found.rejected.code)),
        }
    }
}

impl Handle {
    /// `None`: nothing that this site may read, or a reading that a later one has taken the place of.
    pub(super) fn met(&self, entry: Entry) -> Result<Option<Met>, LedgerError> {
        Ok(self.met_at(entry, false)?.ok())
    }

    /// The last reading of the message, whichever of them the index names.
    pub(super) fn met_by_index(&self, entry: Entry) -> Result<Option<Met>, RepairError> {
        let index = entry.index;
        match self.met_at(entry, true)? {
            Ok(met) => Ok(Some(met)),
            Err(None) => Err(RepairError::NoMessage(index)),
            Err(Some(later)) => {
                let entry = self.ledger().read_from(later, 1)?.into_iter().next();
                entry.map_or(Ok(None), |entry| Ok(self.met(entry)?))
            }
        }
    }

    /// Else the index of its last reading, if it is a message. What is held waits for a person who names it.
    fn met_at(&self, entry: Entry, named: bool) -> Result<Result<Met, Option<u64>>, LedgerError> {
        if entry.kind == Kind::Rejected as u16 {
            let is_met = |state| state == ErrorState::Open || (named && state == ErrorState::Held);
            let open = self.opened(entry)?.filter(|found| is_met(found.state()));
            return Ok(open.map(|found| Met::Refused(Box::new(found))).ok_or(None));
        }
        let Payload::Open(payload) = &entry.payload else { return Ok(Err(None)) };
        if entry.kind != Kind::Message as u16 || entry.site != self.site() {
            return Ok(Err(None));
        }
        let Ok((message, raw)) = entry::decode::<Message>(payload) else { return Ok(Err(None)) };
        let first = message.first_read().unwrap_or(entry.index);
        match traces(self.ledger(), first)?.became.last() {
            Some(last) if *last != entry.index => Ok(Err(Some(*last))),
            _ => Ok(Ok(Met::Taken { entry, message: Box::new(message), raw })),
        }
    }

    /// Reads it as its feed reads now.
    pub(super) fn read_anew(
        &self,
        met: Met,
        how: &Replay,
        by: &str,
    ) -> Result<(ReplayRow, Todo), RepairError> {
        match met {
            Met::Taken { entry, message, raw } => self.read_taken(&entry, &message, raw, how, by),
            Met::Refused(found) => self.read_refused(found, how, by),
        }
    }

    fn read_refused(
        &self,
        found: Box<Found>,
        how: &Replay,
        by: &str,
    ) -> Result<(ReplayRow, Todo), RepairError> {
        let index = found.entry.index;
        let mut row = ReplayRow {
            index,
            original: index,
            feed: found.rejected.feed.clone(),
            type_: String::new(),
            control_id: found.rejected.control_id.clone(),
            outcome: ReplayOutcome::Refused,
            difference: Difference::default(),
            issues: found.rejected.issues.clone(),
            became: Vec::new(),
        };
        let (reason, query) = (how.reason.clone(), how.query.clone());
        let repairs = Repairs { reason, query, quiet: !how.with_alerts, ..Repairs::default() };
        let attempt = match self.attempt(&found, &repairs, by) {
            Ok(attempt) => attempt,
            Err(RepairError::UnknownFeed(_)) => {
                row.outcome = ReplayOutcome::NoFeed;
                return Ok((row, Todo::Nothing));
            }
            // It has its own way to be repaired.
            Err(RepairError::Partial(_) | RepairError::TooManyActs(_) | RepairError::TooLarge { .. }) => {
                return Ok((row, Todo::Nothing));
            }
            Err(error) => return Err(error),
        };
        let tried = attempt.tried();
        (row.difference, row.issues) = (tried.difference, tried.issues);
        if !tried.accepted {
            return Ok((row, Todo::Nothing));
        }
        row.outcome = ReplayOutcome::Taken;
        Ok((row, Todo::Repair(found, Box::new(attempt))))
    }

    fn read_taken(
        &self,
        entry: &Entry,
        message: &Message,
        raw: Bytes,
        how: &Replay,
        by: &str,
    ) -> Result<(ReplayRow, Todo), RepairError> {
        let first = message.first_read().unwrap_or(entry.index);
        let mut row = ReplayRow {
            index: entry.index,
            original: first,
            feed: message.feed.clone(),
            type_: message.type_.clone(),
            control_id: message.control_id.clone(),
            outcome: ReplayOutcome::NoFeed,
            difference: Difference::default(),
            issues: Vec::new(),
            became: Vec::new(),
        };
        let Ok(reader) = self.reader(&message.feed) else { return Ok((row, Todo::Nothing)) };
        let quiet = !how.with_alerts;
        let again = Again { of: first, at: clock::now(), replaces: Some(entry.index), same: 0, quiet };
        let received_at = Time(entry.received_time_ms);
        let read = reader.read_again(raw.clone(), message.position.clone(), received_at, again);
        let mut draft = match read {
            Ok((mut drafts, _)) if drafts.len() == 1 => drafts.remove(0),
            // What came as one message is one: it is in nobody's hand to make several of it.
            Ok(_) => {
                row.outcome = ReplayOutcome::Refused;
                return Ok((row, Todo::Nothing));
            }
            Err(issues) => {
                (row.outcome, row.issues) = (ReplayOutcome::Refused, issues);
                return Ok((row, Todo::Nothing));
            }
        };
        let Ok((mut now, _)) = entry::decode::<Message>(&draft.payload) else {
            return Ok((row, Todo::Nothing));
        };
        let (same, new) = difference::split(&message.events, now.events);
        if let Some(again) = &mut now.again {
            again.same = u32::try_from(same.len()).unwrap_or(u32::MAX);
        }
        now.events = [same, new].concat();
        row.difference = Difference::between(&message.events, &now.events);
        row.issues.clone_from(&now.issues);
        if row.difference.is_empty() {
            row.outcome = ReplayOutcome::Same;
            return Ok((row, Todo::Nothing));
        }
        if would_stay(&message.events, &now.events) {
            row.outcome = ReplayOutcome::Counted;
            return Ok((row, Todo::Nothing));
        }
        row.outcome = ReplayOutcome::Changed;
        if how.dry_run {
            return Ok((row, Todo::Nothing));
        }
        // It is found as a trace of the first reading.
        draft.tags.truncate(raft_ledger::MAX_TAGS - 1);
        draft.tags.push(repair_tag(self.ledger(), first));
        draft.payload = entry::encode(&now, &raw);
        draft.dedupe = Some(self.successor("replayed", first, entry.index));
        let act = self.replayed(&row, how, by, &raw, &draft);
        Ok((row, Todo::Keep(vec![draft, act])))
    }

    /// One reading has one successor, whoever asks for it and however often it is tried.
    fn successor(&self, domain: &str, first: u64, replaced: u64) -> [u8; 32] {
        self.ledger().keyed_hash(domain, &[&first.to_be_bytes(), &replaced.to_be_bytes()])
    }

    /// The act, under the same key as the reading that it tells of: the query may name the patient.
    fn replayed(&self, row: &ReplayRow, how: &Replay, by: &str, raw: &Bytes, reading: &Draft) -> Draft {
        let (ledger, at) = (self.ledger(), clock::now());
        let sha256 = hex::encode(Sha256::digest(raw));
        let done = Repaired {
            original: row.original,
            act: Act::Replayed,
            by: by.to_owned(),
            at,
            reason: how.reason.clone(),
            feed: row.feed.clone(),
            original_sha256: sha256.clone(),
            repaired_sha256: sha256,
            issues: row.issues.clone(),
            released: false,
            query: how.query.clone(),
            changed: Some(row.difference.counts.clone()),
        };
        let mut act = outgoing::draft(ledger, Kind::Repaired, b"", entry::encode(&done, b""), at);
        act.subject = reading.subject;
        act.tags.push(ledger.tag("feed", row.feed.as_bytes()));
        act.tags.push(repair_tag(ledger, row.original));
        act.dedupe = Some(self.successor("replay-act", row.original, row.index));
        act
    }
}
