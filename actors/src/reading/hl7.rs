//! HL7 v2 in: one message or a batch of them, and the acknowledgements that MSH-15 and MSH-16 ask for.

use std::borrow::Cow;

use bytes::Bytes;
use clinical::hl7::{self, ack};
use clinical::{Issue, Time};
use connectors::Reply;
use raft_ledger::Draft;

use super::{Outcome, Read, Reader, Seen, codes_of, has_error, refusal};
use crate::clock;
use crate::committer::Accepted;
use crate::entry::{Format, Message, READER};

const CONTENT_TYPE: &str = "x-application/hl7-v2+er7";

/// One message of the payload, read.
struct One {
    draft: Draft,
    type_: String,
    /// `None`: not even a header could be read.
    message: Option<hl7::Message>,
    raw: Bytes,
    /// Empty where it was taken.
    faults: Vec<Issue>,
    /// Of what it was taken with.
    codes: Vec<Cow<'static, str>>,
}

impl Reader {
    pub(super) fn read_hl7(&self, seen: &Seen) -> Read {
        let pieces: Vec<Bytes> =
            hl7::messages(seen.inbound.payload.clone()).map(|piece| piece.bytes).collect();
        let mut read: Vec<One> = match pieces.is_empty() {
            true => vec![self.read_one(seen, seen.inbound.payload.clone())],
            false => pieces.into_iter().map(|piece| self.read_one(seen, piece)).collect(),
        };
        let drafts = read.iter().map(|one| one.draft.clone()).collect();
        let codes = read.iter_mut().flat_map(|one| std::mem::take(&mut one.codes)).collect();
        // A batch is answered once: with its first fault, else for its last message.
        let speaker = read.iter().position(|one| !one.faults.is_empty()).unwrap_or(read.len() - 1);
        let speaker = read.swap_remove(speaker);
        let control_id = speaker.message.as_ref().map(|message| message.control_id().into_owned());
        let (type_, control_id) = (speaker.type_.clone(), control_id.unwrap_or_default());
        Read { drafts, type_, control_id, codes, outcome: answer(speaker, self.acks_elsewhere) }
    }

    fn read_one(&self, seen: &Seen, raw: Bytes) -> One {
        let message = match hl7::Message::parse(raw.clone(), &self.limits) {
            Ok(message) => message,
            Err(error) => {
                let faults = vec![error.to_issue()];
                let draft = self.rejected(seen, Format::Hl7v2, ["", ""], &raw, &faults);
                let codes = Vec::new();
                return One { draft, type_: "unknown".into(), message: None, raw, faults, codes };
            }
        };
        let read_anew = match message.for_feed(&self.reader) {
            Cow::Owned(read_anew) => Some(read_anew),
            Cow::Borrowed(_) => None,
        };
        let message = read_anew.unwrap_or(message);
        let (events, issues) = hl7::to_events(&message, &self.reader, seen.received_at);
        let control_id = message.control_id().into_owned();
        if has_error(&issues) {
            let draft = self.rejected(seen, Format::Hl7v2, [&control_id, &message.type_()], &raw, &issues);
            // Not the sender's word: a metric label must not grow with what senders write.
            let (type_, message) = ("unknown".into(), Some(message));
            return One { draft, type_, message, raw, faults: issues, codes: Vec::new() };
        }
        let codes = codes_of(&issues);
        let entry = Message {
            feed: self.feed.to_string(),
            format: Format::Hl7v2,
            reader: READER,
            codes: self.codes.clone(),
            type_: message.type_(),
            control_id,
            position: seen.inbound.position.clone(),
            events,
            issues,
            again: seen.again.clone(),
        };
        let type_ = entry.type_.clone();
        let dedupe = self.hl7_dedupe(&message);
        let message_at = hl7::message_time(&message, &self.reader);
        let draft = self.message(seen, entry, &raw, message_at, dedupe);
        One { draft, type_, message: Some(message), raw, faults: Vec::new(), codes }
    }

    /// Keyed hash of MSH-3, MSH-4, MSH-10 and the bytes after MSH: a resend may differ in MSH-7 alone.
    fn hl7_dedupe(&self, message: &hl7::Message) -> [u8; 32] {
        let (application, facility) = message.sending();
        let control_id = message.control_id();
        let parts = [application.as_bytes(), facility.as_bytes(), control_id.as_bytes(), &message.body()];
        self.keys.keyed_hash("hl7", &parts)
    }
}

/// `elsewhere`: the feed's application answers are messages of their own, made of what is in the ledger.
fn answer(one: One, elsewhere: bool) -> Outcome {
    let now = clock::now();
    let Some(message) = &one.message else {
        return Outcome::Refused(refusal(&one.faults), reject_reply(&one.raw, &one.faults));
    };
    let asked = ack::asked(message);
    let here = |mode| mode == ack::Mode::Commit || !(elsewhere && asked.enhanced);
    if one.faults.is_empty() {
        let accept = |mode| ack::accept(message, mode, now, &control_id(now));
        let commit = asked.accept.wants(true).then(|| accept(ack::Mode::Commit));
        let application = (asked.application.wants(true) && here(ack::Mode::Application))
            .then(|| accept(ack::Mode::Application));
        let enhanced = asked.enhanced;
        return Outcome::Accepted(Box::new(move |_| match (commit, application) {
            (Some(first), Some(last)) => {
                Accepted { first: Some(reply(200, first)), last: reply(200, last), last_at_quorum: true }
            }
            (None, Some(last)) => Accepted { first: None, last: reply(200, last), last_at_quorum: enhanced },
            (commit, None) => {
                Accepted { first: None, last: reply(200, commit.unwrap_or_default()), last_at_quorum: false }
            }
        }));
    }
    let mode = asked.refusal().filter(|mode| here(*mode));
    let body = mode.map(|mode| ack::refuse(message, mode, &one.faults, now, &control_id(now)));
    Outcome::Refused(refusal(&one.faults), reply(422, body.unwrap_or_default()))
}

/// To bytes whose header may not be readable.
pub(super) fn reject_reply(raw: &[u8], faults: &[Issue]) -> Reply {
    let now = clock::now();
    reply(400, ack::refuse_bytes(raw, faults, now, &control_id(now)).unwrap_or_default())
}

fn reply(status: u16, body: Bytes) -> Reply {
    Reply { status, content_type: CONTENT_TYPE, location: None, body }
}

/// MSH-10 of an acknowledgement: nobody answers it, so it need only tell two of them apart in a log.
fn control_id(now: Time) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{:X}-{}", now.0, COUNT.fetch_add(1, Ordering::Relaxed) % 100_000)
}
