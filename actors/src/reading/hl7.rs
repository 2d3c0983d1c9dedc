//! HL7 v2 in: one message or a batch of them, and the acknowledgements that MSH-15 and MSH-16 ask for.

use std::borrow::Cow;

use bytes::Bytes;
use clinical::hl7::{self, BatchPart, PieceKind, ack};
use clinical::{Issue, Severity, Time};
use connectors::{Refusal, Reply};
use raft_ledger::Draft;

use super::{Outcome, Read, Reader, Seen, codes_of, has_error, kept_headers, refusal};
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
    /// What the answer to such bytes is made of.
    raw: Bytes,
    /// Empty where it was taken.
    faults: Vec<Issue>,
    /// Of what it was taken with.
    codes: Vec<Cow<'static, str>>,
}

impl One {
    fn refused(draft: Draft, message: Option<hl7::Message>, raw: Bytes, faults: Vec<Issue>) -> One {
        // Not the sender's word: a metric label must not grow with what senders write.
        One { draft, type_: "unknown".into(), message, raw, faults, codes: Vec::new() }
    }
}

impl Reader {
    pub(super) fn read_hl7(&self, seen: &Seen) -> Read {
        let mut parts = hl7::batch_parts(seen.inbound.payload.clone());
        if parts.is_empty() {
            parts.push(BatchPart { piece: whole(seen.inbound.payload.clone()), issues: Vec::new() });
        }
        if let [BatchPart { piece, issues }] = parts.as_slice()
            && piece.kind == PieceKind::Envelope
            && !has_error(issues)
        {
            return self.empty_batch(seen, codes_of(issues));
        }
        if let (Some(doubt), [part]) = (&seen.inbound.doubt, parts.as_mut_slice())
            && part.issues.iter().all(|issue| issue.code != doubt.code)
        {
            part.issues.push(doubted(doubt));
        }
        let mut read: Vec<One> = parts.into_iter().map(|part| self.read_one(seen, part)).collect();
        let drafts = read.iter().map(|one| one.draft.clone()).collect();
        let codes = read.iter_mut().flat_map(|one| std::mem::take(&mut one.codes)).collect();
        // A batch is answered once: with its first fault, else for its last message.
        let faulty = read.iter().position(|one| !one.faults.is_empty());
        let mut speaker = read.swap_remove(faulty.unwrap_or(read.len() - 1));
        // What belongs to no message has nobody to name: the sender hears of it by the message that came with it.
        if speaker.message.is_none()
            && let Some(beside) = read.into_iter().find(|one| one.message.is_some())
        {
            speaker = One { faults: speaker.faults, ..beside };
        }
        let control_id = speaker.message.as_ref().map(|message| message.control_id().into_owned());
        let (type_, control_id) = (speaker.type_.clone(), control_id.unwrap_or_default());
        Read { drafts, type_, control_id, codes, outcome: answer(speaker, self.acks_elsewhere) }
    }

    /// A batch of no messages that says so: it is answered and counted, and there is nothing to keep.
    fn empty_batch(&self, seen: &Seen, codes: Vec<Cow<'static, str>>) -> Read {
        let position = &*seen.inbound.position;
        tracing::info!(feed = &*self.feed, position, "a batch of no messages: answered, nothing to keep");
        let now = clock::now();
        let last = reply(200, ack::empty_batch(&seen.inbound.payload, now, &control_id(now)));
        let answer = |_: &_| Accepted { first: None, last, last_at_quorum: false };
        Read {
            drafts: Vec::new(),
            type_: "BHS".into(),
            control_id: String::new(),
            codes,
            outcome: Outcome::Accepted(Box::new(answer)),
        }
    }

    fn read_one(&self, seen: &Seen, BatchPart { piece, issues: around }: BatchPart) -> One {
        let (kind, raw) = (piece.kind, piece.bytes);
        let message = match hl7::Message::parse(raw.clone(), &self.limits) {
            // What looks whole may be the first part of what its own bytes cut.
            Ok(message) if self.in_frames && hl7::is_wide(&raw) => {
                let faults = vec![hl7::ParseError::WideInMllp.to_issue()];
                let control_id = message.control_id().into_owned();
                let draft = self.rejected(seen, Format::Hl7v2, [&control_id, ""], &raw, &faults);
                // In UTF-8, so that the answer can name what it answers.
                let readable = message.bytes().clone();
                return One::refused(draft, None, readable, faults);
            }
            Ok(message) => message,
            // Envelopes without a message: what is wrong with them says more than that there is no MSH.
            Err(error) => {
                let own = if kind == PieceKind::Envelope { Vec::new() } else { vec![error.to_issue()] };
                let faults = [own, around].concat();
                let draft = self.rejected(seen, Format::Hl7v2, ["", ""], &raw, &faults);
                return One::refused(draft, None, raw, faults);
            }
        };
        let read_anew = match message.for_feed(&self.reader) {
            Cow::Owned(read_anew) => Some(read_anew),
            Cow::Borrowed(_) => None,
        };
        let message = read_anew.unwrap_or(message);
        let (events, mut issues) = hl7::to_events(&message, &self.reader, seen.received_at);
        issues.extend(around);
        let control_id = message.control_id().into_owned();
        if has_error(&issues) {
            let draft = self.rejected(seen, Format::Hl7v2, [&control_id, &message.type_()], &raw, &issues);
            return One::refused(draft, Some(message), raw, issues);
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
            headers: kept_headers(seen.inbound),
            events,
            issues,
            again: seen.again.clone(),
        };
        let type_ = known_type(&entry.type_);
        let dedupe = self.hl7_dedupe(seen, &message);
        let message_at = hl7::message_time(&message, &self.reader);
        let draft = self.message(seen, entry, &raw, message_at, dedupe);
        One { draft, type_, message: Some(message), raw, faults: Vec::new(), codes }
    }

    /// Keyed hash of MSH-3, MSH-4, MSH-10 and the bytes after MSH: a resend may differ in MSH-7 alone. Where there is no
    /// MSH-10 nothing names the message, and only the very same bytes are a resend.
    fn hl7_dedupe(&self, seen: &Seen, message: &hl7::Message) -> [u8; 32] {
        let control_id = message.control_id();
        if control_id.is_empty() {
            return self.keys.keyed_hash("hl7-unnamed", &[message.bytes()]);
        }
        let (application, facility) = message.sending();
        let parts = [application.as_bytes(), facility.as_bytes(), control_id.as_bytes(), &message.body()];
        let hash = self.keys.keyed_hash("hl7", &parts);
        // Read again, it is no message of its sender's.
        if seen.again.is_none() {
            self.control_ids.meet(&self.feed, [&*application, &*facility, &*control_id], &hash);
        }
        hash
    }
}

fn whole(bytes: Bytes) -> hl7::Piece {
    hl7::Piece { kind: PieceKind::Stray, offset: 0, bytes }
}

fn doubted(doubt: &Refusal) -> Issue {
    let (code, text) = (doubt.code.clone().into(), doubt.reason.clone());
    Issue { severity: Severity::Warning, code, location: "message".into(), text }
}

/// MSH-9 as far as it may name a metric's label: its code is one that is read, and its trigger a letter and two digits.
/// Senders write what they like there.
fn known_type(type_: &str) -> String {
    match type_.split_once('^') {
        Some((_, trigger)) if is_trigger(trigger) => type_.to_owned(),
        Some((code, _)) => code.to_owned(),
        None => type_.to_owned(),
    }
}

fn is_trigger(text: &str) -> bool {
    matches!(text.as_bytes(), [letter, tens, ones]
        if letter.is_ascii_uppercase() && tens.is_ascii_digit() && ones.is_ascii_digit())
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use connectors::{Inbound, Receipt};
    use prometheus::IntCounter;

    use super::*;
    use crate::entry::Again;

    #[test]
    fn a_label_holds_nothing_that_a_sender_made_up() {
        for (sent, label) in [
            ("ORU^R01", "ORU^R01"),
            ("ADT^MUELLER ANNA 1951", "ADT"),
            ("ADT^A1", "ADT"),
            ("ORU^R0\u{661}", "ORU"),
            ("ORU", "ORU"),
        ] {
            assert_eq!(known_type(sent), label, "{sent}");
        }
    }

    #[actix::test]
    async fn a_batch_of_no_messages_is_answered_by_one_and_a_wrong_count_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = crate::test_ledger::one_site(dir.path()).await;
        let feed = crate::test_feed::mllp().await;
        let reader = Reader::new("a", &feed, &ledger, IntCounter::new("reused", "not read").unwrap());
        let read = |batch: &'static str| {
            let inbound = Inbound {
                key: "sender".into(),
                position: "sender#1".into(),
                payload: Bytes::from_static(batch.as_bytes()),
                format: Some(connectors::Format::Hl7v2),
                fault: None,
                doubt: None,
                headers: BTreeMap::new(),
                received_at: SystemTime::UNIX_EPOCH,
                receipt: Receipt::new().0,
            };
            reader.read(&inbound, None)
        };
        let text = |reply: Reply| String::from_utf8(reply.body.to_vec()).unwrap();

        let empty = read("BHS|^~\\&|APP||||||||B7\rBTS|0\r");
        assert_eq!((empty.drafts.len(), empty.codes), (0, vec![Cow::Borrowed("batch-empty")]));
        let Outcome::Accepted(write) = empty.outcome else { panic!("refused") };
        let answer = text(write(&[]).last);
        assert!(answer.starts_with("BHS|^~\\&|||APP||") && answer.ends_with("|B7\rBTS|0\r"), "{answer}");

        let lost = read("BHS|^~\\&|APP||||||||B7\rBTS|2\r");
        let Outcome::Refused(refusal, reply) = lost.outcome else { panic!("taken") };
        assert_eq!((lost.drafts.len(), refusal.code.as_str()), (1, "batch-count-mismatch"));
        let answer = text(reply);
        assert!(answer.contains("\rMSA|AR||batch-count-mismatch at BTS-1\r"), "{answer}");

        // In the place of a refused message it would close the error and leave nothing.
        let again = Again { of: 1, at: Time(0), replaces: None, same: 0, quiet: false };
        let none = Bytes::from_static(b"BHS|^~\\&\rBTS|0\r");
        let Err(issues) = reader.read_again(none, "entry 1".into(), Time(0), again) else { panic!("taken") };
        assert_eq!(codes_of(&issues), [Cow::Borrowed("batch-empty")]);
        ledger.close().await.unwrap();
    }
}
