//! From a message's bytes to what the ledger keeps of it and what its sender hears. Decides and does nothing:
//! the normaliser feeds it, the committer carries it out.

mod batch;
mod fhir;
mod hl7;
mod recent;
mod reused;
mod versions;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use clinical::{Event, EventKind, Issue, PatientId, Severity, Time};
use connectors::{Inbound, Receipt, Refusal, Reply};
use prometheus::IntCounter;
use raft_ledger::{Draft, IndexKey, Ledger, Subject, Tag};
use sha2::{Digest, Sha256};

use crate::clock;
use crate::committer::{Answer, Labels, Prepared, WriteAnswer};
use crate::entry::{self, Again, Format, Kind, Message, Rejected};
use crate::parts::{Ack, Feed, OnError};
use crate::resources::Resources;
use crate::search::{self, CODE_TAG, MERGED_TAG, RECEIVED_TAG, TYPE_TAG};
use crate::window::Place;
use reused::ControlIds;
use versions::Versions;

/// Five tags are ours, the rest name patients, and ids that were merged and codes of issues where room is left.
const PATIENT_TAGS_MAX: usize = raft_ledger::MAX_TAGS - 6;

/// Of all headers of a message that are kept with it.
const HEADERS_BYTES_MAX: usize = 16 << 10;

/// How a running feed reads: exchanged while its connections go on.
pub(crate) struct Reading(RwLock<Arc<Reader>>);

impl Reading {
    pub fn new(reader: Reader) -> Reading {
        Reading(RwLock::new(Arc::new(reader)))
    }

    pub fn now(&self) -> Arc<Reader> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on by these settings.
    pub fn exchange(&self, reader: clinical::Feed) {
        let mut now = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *now = Arc::new(now.with(reader));
    }
}

/// Reads one feed's messages.
#[derive(Clone)]
pub(crate) struct Reader {
    site: Arc<str>,
    feed: Arc<str>,
    reader: clinical::Feed,
    codes: String,
    limits: clinical::hl7::Limits,
    on_error: OnError,
    /// Names what it reads by: what is read alike has no other outcome.
    reads_by: String,
    ack: Ack,
    /// HL7 enhanced mode's application answers do not go by the connection that brought the message.
    acks_elsewhere: bool,
    /// MLLP: bytes of a message can end it.
    in_frames: bool,
    control_ids: Arc<ControlIds>,
    keys: IndexKey,
    resources: Resources,
    versions: Arc<Versions>,
}

/// One message, read: the drafts and the answer. `hl7` and `fhir` make these.
struct Read {
    /// None of a batch of no messages.
    drafts: Vec<Draft>,
    type_: String,
    control_id: String,
    /// Of the issues that it was taken with, each once a message.
    codes: Vec<Cow<'static, str>>,
    outcome: Outcome,
}

enum Outcome {
    Accepted(WriteAnswer),
    Refused(Refusal, Reply),
}

/// What is known of a message where an entry is made of it.
struct Seen<'m> {
    inbound: &'m Inbound,
    received_at: Time,
    /// Absent where its sender has sent it.
    again: Option<Again>,
}

impl Reader {
    /// `reused`: counts control ids that came with another message.
    pub fn new(site: &str, feed: &Feed, ledger: &Ledger, reused: IntCounter) -> Reader {
        Reader {
            site: site.into(),
            feed: feed.name.as_str().into(),
            codes: hex::encode(feed.reader.codes.hash()),
            reader: feed.reader.clone(),
            limits: feed.limits,
            on_error: feed.on_error,
            reads_by: reads_by(&feed.reader, feed.limits),
            ack: feed.ack,
            acks_elsewhere: feed.application_acks.is_some(),
            in_frames: feed.kind == "mllp",
            control_ids: Arc::new(ControlIds::new(reused)),
            keys: ledger.index_key(),
            resources: Resources::new(ledger),
            versions: Arc::new(Versions::new(ledger.clone())),
        }
    }

    fn with(&self, reader: clinical::Feed) -> Reader {
        Reader {
            codes: hex::encode(reader.codes.hash()),
            reads_by: reads_by(&reader, self.limits),
            reader,
            ..self.clone()
        }
    }

    pub fn prepare(&self, inbound: Inbound, place: Place) -> Prepared {
        let received = Instant::now();
        let read = self.read(&inbound, None);
        let answer = match read.outcome {
            Outcome::Accepted(reply) => Answer::Accept(reply),
            Outcome::Refused(refusal, reply) => match self.on_error {
                OnError::Hold | OnError::Retry(_) => Answer::Hold(refusal, reply),
                OnError::DeadLetter => Answer::Refuse(refusal, reply),
            },
        };
        let mut labels = self.labels(read.type_, read.control_id, read.codes);
        if let Answer::Accept(_) = answer {
            labels.refused = rejected_in(&read.drafts).map(|rejected| rejected.code).collect();
        }
        Prepared { drafts: read.drafts, receipt: inbound.receipt, answer, labels, received, place }
    }

    fn labels(&self, type_: String, control_id: String, codes: Vec<Cow<'static, str>>) -> Labels {
        Labels { feed: self.feed.clone(), type_, control_id, codes, refused: Vec::new() }
    }

    fn read(&self, inbound: &Inbound, again: Option<Again>) -> Read {
        let seen = Seen { inbound, received_at: clock::from_system(inbound.received_at), again };
        match (&inbound.fault, detect(inbound)) {
            (Some(fault), format) => self.refuse_faulty(&seen, format, fault),
            (None, Format::Hl7v2) => self.read_hl7(&seen),
            (None, Format::Fhir) => self.read_fhir(&seen),
            (None, Format::Unknown) => self.refuse_unknown(&seen),
        }
    }

    /// A message once more, as if the feed had sent it then: its drafts and its type, or why not. All or nothing.
    pub fn read_again(
        &self,
        raw: Bytes,
        position: String,
        received_at: Time,
        again: Again,
    ) -> Result<(Vec<Draft>, Labels), Vec<Issue>> {
        let received_ms = u64::try_from(received_at.0).unwrap_or_default();
        let inbound = Inbound {
            key: self.feed.clone(),
            position,
            payload: raw,
            format: None,
            fault: None,
            doubt: None,
            headers: Default::default(),
            received_at: SystemTime::UNIX_EPOCH + Duration::from_millis(received_ms),
            receipt: Receipt::new().0,
        };
        let read = self.read(&inbound, Some(again));
        if let Outcome::Accepted(_) = read.outcome {
            if read.drafts.is_empty() {
                let text = "a batch of no messages takes the place of none; edit it to hold the message, or discard it";
                let (code, location, text) = ("batch-empty".into(), "BHS".to_owned(), text.to_owned());
                return Err(vec![Issue { severity: Severity::Error, code, location, text }]);
            }
            let labels = self.labels(read.type_, read.control_id, read.codes);
            return Ok((read.drafts, labels));
        }
        Err(rejected_in(&read.drafts).flat_map(|rejected| rejected.issues).collect())
    }

    /// How the feed reads, for whoever shows a message.
    pub fn feed(&self) -> (&clinical::Feed, &clinical::hl7::Limits) {
        (&self.reader, &self.limits)
    }

    pub fn reads_by(&self) -> &str {
        &self.reads_by
    }

    /// How often a refused message is read again by itself.
    pub fn retries(&self) -> u8 {
        match self.on_error {
            OnError::Retry(retries) => retries,
            OnError::Hold | OnError::DeadLetter => 0,
        }
    }

    /// The transport knows that it could not read all of it: what came is kept with that reason.
    fn refuse_faulty(&self, seen: &Seen, format: Format, fault: &Refusal) -> Read {
        self.refuse(seen, format, fault.code.clone(), fault.reason.clone())
    }

    fn refuse_unknown(&self, seen: &Seen) -> Read {
        let text =
            "neither HL7 v2 (begins with MSH, FHS or BHS) nor FHIR JSON (begins with {): send one of them";
        self.refuse(seen, Format::Unknown, "format-unknown".into(), text.into())
    }

    fn refuse(&self, seen: &Seen, format: Format, code: String, text: String) -> Read {
        let severity = Severity::Error;
        let issues = vec![Issue { severity, code: code.into(), location: "message".into(), text }];
        let draft = self.rejected(seen, format, ["", ""], &seen.inbound.payload, &issues);
        let reply = match format {
            Format::Hl7v2 => hl7::reject_reply(&seen.inbound.payload, &issues),
            Format::Fhir | Format::Unknown => fhir::outcome_reply(400, &issues),
        };
        Read {
            drafts: vec![draft],
            type_: "unknown".into(),
            control_id: String::new(),
            codes: Vec::new(),
            outcome: Outcome::Refused(refusal(&issues), reply),
        }
    }

    /// The entry of a message that was read.
    fn message(
        &self,
        seen: &Seen,
        message: Message,
        raw: &[u8],
        message_at: Option<Time>,
        dedupe: [u8; 32],
    ) -> Draft {
        let mut patients: Vec<&PatientId> = Vec::new();
        for event in &message.events {
            if !patients.contains(&&event.patient) {
                patients.push(&event.patient);
            }
        }
        let subject = match patients.first() {
            Some(patient) => self.keys.subject(&subject_key(patient)),
            None => self.feed_day(seen.received_at),
        };
        let mut tags = self.tags(Kind::Message, seen, [&message.control_id, &message.type_]);
        if let Some(visit) = message.events.iter().find_map(|event| event.visit.as_deref()) {
            tags.push(self.keys.tag("visit", visit.as_bytes()));
        }
        let patients = patients.iter().take(PATIENT_TAGS_MAX);
        tags.extend(patients.map(|patient| self.keys.tag("patient", &subject_key(patient))));
        for event in &message.events {
            let EventKind::Merged { from } = &event.kind else { continue };
            // The last place may become that of a resource, or of the message that this one stands for.
            if tags.len() < raft_ledger::MAX_TAGS - 1 {
                tags.push(self.keys.tag(MERGED_TAG, &subject_key(from)));
            }
        }
        self.add_codes(&mut tags, &message.issues);
        let happened_at = newest(&message.events).or(message_at).unwrap_or(seen.received_at);
        Draft {
            kind: Kind::Message as u16,
            subject,
            tags,
            dedupe: Some(dedupe),
            event_time_ms: happened_at.0,
            message_time_ms: message_at.unwrap_or(happened_at).0,
            received_time_ms: seen.received_at.0,
            payload: entry::encode(&message, raw),
        }
    }

    /// The entry of a message that cannot be used: its raw bytes and the reasons.
    fn rejected(
        &self,
        seen: &Seen,
        format: Format,
        [control_id, type_]: [&str; 2],
        raw: &[u8],
        issues: &[Issue],
    ) -> Draft {
        let mut tags = self.tags(Kind::Rejected, seen, [control_id, type_]);
        self.add_codes(&mut tags, issues);
        let rejected = Rejected {
            feed: self.feed.to_string(),
            format,
            position: seen.inbound.position.clone(),
            headers: kept_headers(seen.inbound),
            control_id: control_id.to_owned(),
            code: refusal(issues).code,
            issues: issues.to_vec(),
            partial: seen.inbound.fault.is_some(),
            held: self.on_error == OnError::Hold,
            read_by: if self.retries() > 0 { self.reads_by.clone() } else { String::new() },
        };
        Draft {
            kind: Kind::Rejected as u16,
            subject: self.feed_day(seen.received_at),
            tags,
            // Each site repairs what it refused itself: what one has is in nobody's queue elsewhere.
            dedupe: Some(
                self.keys.keyed_hash("rejected", &[self.site.as_bytes(), self.feed.as_bytes(), raw]),
            ),
            event_time_ms: seen.received_at.0,
            message_time_ms: seen.received_at.0,
            received_time_ms: seen.received_at.0,
            payload: entry::encode(&rejected, raw),
        }
    }

    fn tags(&self, kind: Kind, seen: &Seen, [control_id, type_]: [&str; 2]) -> Vec<Tag> {
        let received = search::hour_of(seen.received_at).to_be_bytes();
        let known: [(&str, &[u8]); 5] = [
            ("kind", kind.tag()),
            ("feed", self.feed.as_bytes()),
            (RECEIVED_TAG, &received),
            ("control", control_id.as_bytes()),
            (TYPE_TAG, type_.as_bytes()),
        ];
        let known = known.into_iter().filter(|(_, value)| !value.is_empty());
        known.map(|(name, value)| self.keys.tag(name, value)).collect()
    }

    /// Worst first, as many as there is room for.
    fn add_codes(&self, tags: &mut Vec<Tag>, issues: &[Issue]) {
        let mut issues: Vec<&Issue> = issues.iter().collect();
        issues.sort_by_key(|issue| std::cmp::Reverse(issue.severity));
        for issue in issues {
            let tag = self.keys.tag(CODE_TAG, issue.code.as_bytes());
            if tags.len() < raft_ledger::MAX_TAGS && !tags.contains(&tag) {
                tags.push(tag);
            }
        }
    }

    /// Entries without a patient are sealed under a key per feed and day.
    fn feed_day(&self, at: Time) -> Subject {
        let day = at.0.div_euclid(24 * Time::HOUR_MS);
        self.keys.subject(&[b"feed", self.feed.as_bytes(), &day.to_be_bytes()].concat())
    }
}

/// Everything that the outcome of reading may depend on, the bytes apart.
fn reads_by(reader: &clinical::Feed, limits: clinical::hl7::Limits) -> String {
    let clinical::Feed { authority, zone, charset, codes, icu_wards, processing_ids } = reader;
    let codes = hex::encode(codes.hash());
    let read = (authority, zone, charset, codes, icu_wards, processing_ids);
    let all = format!("{:?}", (entry::READER, read, limits));
    hex::encode(&Sha256::digest(all)[..16])
}

/// Names a patient towards the ledger; authority and id cannot run into each other.
pub(crate) fn subject_key(patient: &PatientId) -> Vec<u8> {
    let authority = patient.authority.as_bytes();
    [b"patient", &(authority.len() as u32).to_be_bytes()[..], authority, patient.id.as_bytes()].concat()
}

/// The same as an opaque name for state, board and URLs.
pub(crate) fn patient_key(ledger: &Ledger, patient: &PatientId) -> String {
    hex::encode(&ledger.keyed_hash("patient-key", &[&subject_key(patient)])[..16])
}

/// The worst issue, as transports and metrics name it.
fn refusal(issues: &[Issue]) -> Refusal {
    match issues.iter().max_by_key(|issue| issue.severity) {
        Some(issue) => Refusal {
            code: issue.code.to_string(),
            reason: format!("{}: {} ({})", issue.location, issue.text, issue.code),
        },
        None => Refusal { code: "unusable".into(), reason: "the message cannot be used".into() },
    }
}

/// What the broker's message had beside its body, as far as it is text. Those of HTTP are the request's own.
fn kept_headers(inbound: &Inbound) -> BTreeMap<String, String> {
    if inbound.position.starts_with("http#") {
        return BTreeMap::new();
    }
    let (mut room, mut kept) = (HEADERS_BYTES_MAX, BTreeMap::new());
    for (name, value) in &inbound.headers {
        if let Some(left) = room.checked_sub(name.len() + value.len()) {
            room = left;
            kept.insert(name.clone(), value.clone());
        }
    }
    let more = inbound.headers.len() - kept.len();
    if more > 0 {
        kept.insert("(more)".into(), format!("{more} headers were too large to be kept"));
    }
    kept
}

/// Read again, a version is none: what its sender has told since stands.
pub(crate) fn no_version(event: &mut Event) {
    if let EventKind::Observed(observation) = &mut event.kind {
        observation.is_version = false;
    }
}

fn rejected_in(drafts: &[Draft]) -> impl Iterator<Item = Rejected> {
    let rejected = drafts.iter().filter(|draft| draft.kind == Kind::Rejected as u16);
    rejected.filter_map(|draft| Some(entry::decode::<Rejected>(&draft.payload).ok()?.0))
}

/// Each once.
fn codes_of(issues: &[Issue]) -> Vec<Cow<'static, str>> {
    let codes: BTreeSet<_> = issues.iter().map(|issue| issue.code.clone()).collect();
    codes.into_iter().collect()
}

fn has_error(issues: &[Issue]) -> bool {
    issues.iter().any(|issue| issue.severity == Severity::Error)
}

fn newest(events: &[Event]) -> Option<Time> {
    events.iter().map(|event| event.at).max()
}

/// What the transport says, else what the first bytes say.
fn detect(inbound: &Inbound) -> Format {
    match inbound.format {
        Some(connectors::Format::Hl7v2) => return Format::Hl7v2,
        Some(connectors::Format::FhirJson) => return Format::Fhir,
        None => {}
    }
    if clinical::hl7::is_wide(&inbound.payload) {
        return Format::Hl7v2;
    }
    let text = clinical::hl7::without_marks(&inbound.payload).trim_ascii_start();
    let text = text.strip_prefix(b"\x0B".as_slice()).unwrap_or(text);
    match text {
        [b'{', ..] | [b'<', ..] => Format::Fhir,
        [b'M', b'S', b'H', ..] | [b'F', b'H', b'S', ..] | [b'B', b'H', b'S', ..] => Format::Hl7v2,
        _ => Format::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_kept_within_bounds_and_those_of_a_request_are_not() {
        let inbound = |position: &str| Inbound {
            key: Arc::from("bus"),
            position: position.into(),
            payload: Bytes::new(),
            format: None,
            fault: None,
            doubt: None,
            headers: (0..10_000)
                .map(|n| (format!("x{n}"), "y".to_owned()))
                .chain([
                    ("batch".to_owned(), "x".repeat(HEADERS_BYTES_MAX)),
                    ("sender".to_owned(), "lab".to_owned()),
                ])
                .collect(),
            received_at: SystemTime::UNIX_EPOCH,
            receipt: Receipt::new().0,
        };
        let kept = kept_headers(&inbound("events/3@17"));
        assert_eq!(kept["sender"], "lab");
        let size: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(size > HEADERS_BYTES_MAX / 2 && size < HEADERS_BYTES_MAX + 64, "{size}");
        let more = 10_002 - (kept.len() - 1);
        assert_eq!(kept["(more)"], format!("{more} headers were too large to be kept"));
        assert!(kept_headers(&inbound("http#1")).is_empty());
    }
}
