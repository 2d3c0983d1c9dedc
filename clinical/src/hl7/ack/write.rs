//! Answers, written.

use bytes::Bytes;

use super::{AckCode, Asked, Condition, Mode, asked};
use crate::hl7::escape::encode;
use crate::hl7::view::Segment;
use crate::hl7::{Delimiters, Limits, Message};
use crate::{Issue, Severity, Time};

/// What names no version is read as this one, and answered in it.
const VERSION: &str = "2.5";
/// MSH-15 and MSH-16 of an answer that is a message of its own: it asks to be taken over, and for nothing more.
const CONFIRMED: [&[u8]; 2] = [b"AL", b"NE"];
/// An answer to a message on the connection that brought it is answered by nobody.
const UNCONFIRMED: [&[u8]; 2] = [b"", b""];

/// AA or CA: it was taken. `control_id` is the answer's own MSH-10.
pub fn accept(to: &Message, mode: Mode, now: Time, control_id: &str) -> Bytes {
    let code = if mode == Mode::Commit { AckCode::CommitAccept } else { AckCode::Accept };
    write(&Sender::of(to), code, &[], UNCONFIRMED, now, control_id)
}

/// AE or CE: the message has these faults; sent again as it is, it will have them again. AR or CR where its type, version
/// or processing id is not taken here (§2.9.2, §2.9.3).
pub fn refuse(to: &Message, mode: Mode, issues: &[Issue], now: Time, control_id: &str) -> Bytes {
    write(&Sender::of(to), refusal(mode, issues), issues, UNCONFIRMED, now, control_id)
}

/// The application's answer as a message of its own, whenever and wherever it is sent (§2.9.3): AA, or AE or AR where
/// there are faults. Its receiver is asked for a CA.
pub fn application(to: &Message, faults: &[Issue], now: Time, control_id: &str) -> Bytes {
    let code = if faults.is_empty() { AckCode::Accept } else { refusal(Mode::Application, faults) };
    write(&Sender::of(to), code, faults, CONFIRMED, now, control_id)
}

/// AR or CR for bytes that are no message. What can be recovered of an MSH in them (delimiters, sender, control id, what
/// is asked for) is used; else it is an AR, with an empty MSA-2. `None`: the sender wants to hear of no error.
pub fn refuse_bytes(bytes: &[u8], issues: &[Issue], now: Time, control_id: &str) -> Option<Bytes> {
    let header = recover(bytes);
    let original = Asked { enhanced: false, accept: Condition::Never, application: Condition::Always };
    let code = match header.as_ref().map_or(original, asked).refusal()? {
        Mode::Commit => AckCode::CommitReject,
        Mode::Application => AckCode::Reject,
    };
    let sender = header.as_ref().map_or_else(Sender::unknown, Sender::of);
    Some(write(&sender, code, issues, UNCONFIRMED, now, control_id))
}

/// Rejected by what the header says, else in error.
fn refusal(mode: Mode, issues: &[Issue]) -> AckCode {
    let is_header = |issue: &Issue| {
        let field = issue.location.split('.').next().unwrap_or_default();
        issue.severity == Severity::Error && matches!(field, "MSH-9" | "MSH-11" | "MSH-12")
    };
    match (mode, issues.iter().any(is_header)) {
        (Mode::Application, false) => AckCode::Error,
        (Mode::Application, true) => AckCode::Reject,
        (Mode::Commit, false) => AckCode::CommitError,
        (Mode::Commit, true) => AckCode::CommitReject,
    }
}

/// The first line of the bytes that can be read as an MSH segment.
fn recover(bytes: &[u8]) -> Option<Message> {
    const HEADER_BYTES_MAX: usize = 4096;
    let bytes = bytes.get(..HEADER_BYTES_MAX).unwrap_or(bytes);
    let rest = bytes.get(memchr::memmem::find(bytes, b"MSH")?..)?;
    let line = rest.split(|b| matches!(b, b'\r' | b'\n' | 0x1C)).next()?;
    Message::parse(Bytes::copy_from_slice(line), &Limits::default()).ok()
}

/// What the answer takes from the message's MSH, as it was written: charset and escapes stay right.
pub(super) struct Sender<'m> {
    header: Option<Segment<'m>>,
    pub(super) delimiters: Delimiters,
    trigger: String,
    version: String,
}

impl<'m> Sender<'m> {
    pub(super) fn of(message: &'m Message) -> Self {
        Sender {
            header: Some(message.header()),
            delimiters: *message.delimiters(),
            trigger: message.header().text(9, 2).into_owned(),
            // What names no version is read as v2.5 and answered so.
            version: match message.header().valued(12) {
                Some(_) => message.version().into_owned(),
                None => VERSION.into(),
            },
        }
    }

    pub(super) fn unknown() -> Self {
        Sender {
            header: None,
            delimiters: Delimiters::STANDARD,
            trigger: String::new(),
            version: VERSION.into(),
        }
    }

    pub(super) fn raw(&self, field: usize) -> &'m [u8] {
        self.header.and_then(|h| h.field(field)).map_or(&[], |f| f.raw())
    }

    /// MSH-2 to MSH-7 of what goes back: encoding characters, from whom and to whom, and when.
    pub(super) fn addressed(&self, now: Time) -> Vec<Vec<u8>> {
        let encoding = match self.raw(2) {
            [] => b"^~\\&".to_vec(),
            raw => raw.to_vec(),
        };
        let [application, facility, by, at] = [5, 6, 3, 4].map(|field| self.raw(field).to_vec());
        vec![encoding, application, facility, by, at, stamp(now).into()]
    }

    /// (2, 5) for `2.5.1`; an unknown version counts as old: every version reads MSA-3.
    fn version(&self) -> (u32, u32) {
        let mut parts = self.version.trim().split('.').map(|p| p.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

fn write(
    to: &Sender,
    code: AckCode,
    issues: &[Issue],
    asks: [&[u8]; 2],
    now: Time,
    control_id: &str,
) -> Bytes {
    let mut out = Vec::with_capacity(256);
    write_header(to, asks, now, control_id, &mut out);
    let version = to.version();
    let mut fields: Vec<Vec<u8>> = vec![code.text().into(), to.raw(10).to_vec()];
    // MSA-3 was withdrawn in v2.7; up to there it is the text that every receiver shows.
    if let Some(worst) = issues.iter().max_by_key(|i| i.severity)
        && version < (2, 7)
    {
        fields.push(encode(&summary(worst), &to.delimiters).into());
    }
    push_segment(b"MSA", &fields, &to.delimiters, &mut out);
    if version >= (2, 5) {
        for issue in issues {
            push_segment(b"ERR", &error_fields(issue, &to.delimiters), &to.delimiters, &mut out);
        }
    } else if version >= (2, 2) && !issues.is_empty() {
        push_segment(b"ERR", &[former_errors(issues, &to.delimiters)], &to.delimiters, &mut out);
    }
    out.into()
}

fn write_header(
    to: &Sender,
    [accept, application]: [&[u8]; 2],
    now: Time,
    control_id: &str,
    out: &mut Vec<u8>,
) {
    let delimiters = &to.delimiters;
    let component = delimiters.component.map(char::from);
    let kind = match component {
        Some(c) if !to.trigger.is_empty() && to.version() >= (2, 4) => {
            format!("ACK{c}{}{c}ACK", encode(&to.trigger, delimiters))
        }
        Some(c) if !to.trigger.is_empty() && to.version() >= (2, 2) => {
            format!("ACK{c}{}", encode(&to.trigger, delimiters))
        }
        _ => "ACK".to_owned(),
    };
    let or_valued = |field, default: &str| match to.header.and_then(|h| h.valued(field)) {
        Some(value) => value.raw().to_vec(),
        None => default.into(),
    };
    let mut fields = to.addressed(now);
    fields.extend([
        Vec::new(),
        kind.into(),
        encode(control_id, delimiters).into(),
        or_valued(11, "P"),
        or_valued(12, VERSION),
    ]);
    fields.resize(13, Vec::new());
    fields.extend([accept.into(), application.into(), Vec::new(), to.raw(18).into()]);
    push_segment(b"MSH", &fields, delimiters, out);
}

/// ERR of v2.5 and later: ERR-2 location, ERR-3 table 0357, ERR-4 severity, ERR-5 our code, ERR-8 the text.
fn error_fields(issue: &Issue, delimiters: &Delimiters) -> Vec<Vec<u8>> {
    let join = |parts: &[&str]| -> Vec<u8> {
        let parts: Vec<_> = parts.iter().map(|p| encode(p, delimiters)).collect();
        match delimiters.component {
            Some(c) => parts.join(&char::from(c).to_string()).into(),
            None => parts.first().cloned().unwrap_or_default().into(),
        }
    };
    let location = location_parts(&issue.location);
    let location: Vec<&str> = location.iter().map(String::as_str).collect();
    let (number, meaning) = table_0357(&issue.code);
    let severity = match issue.severity {
        Severity::Error => "E",
        Severity::Warning => "W",
        Severity::Information => "I",
    };
    vec![
        Vec::new(),
        join(&location),
        join(&[number, meaning, "HL70357"]),
        severity.into(),
        join(&[&issue.code, "", "L"]),
        Vec::new(),
        Vec::new(),
        join(&[&issue.text]),
    ]
}

/// ERR-1 of v2.2 to v2.4 (ELD, repeats): segment, its occurrence, field, and the code with its text and table as
/// subcomponents, where the sender has a delimiter for these.
fn former_errors(issues: &[Issue], delimiters: &Delimiters) -> Vec<u8> {
    let all = issues.iter().map(|issue| {
        let mut parts = location_parts(&issue.location);
        parts.truncate(3);
        parts.resize(3, String::new());
        let (number, meaning) = table_0357(&issue.code);
        let code: Vec<String> =
            [number, meaning, "HL70357"].iter().map(|part| encode(part, delimiters)).collect();
        let mut components: Vec<String> = parts.iter().map(|part| encode(part, delimiters)).collect();
        components.push(match delimiters.subcomponent {
            Some(subcomponent) => code.join(&char::from(subcomponent).to_string()),
            None => number.to_owned(),
        });
        match delimiters.component {
            Some(component) => components.join(&char::from(component).to_string()),
            None => components.swap_remove(0),
        }
    });
    match delimiters.repetition {
        Some(repetition) => all.collect::<Vec<_>>().join(&char::from(repetition).to_string()).into_bytes(),
        None => all.take(1).collect::<String>().into_bytes(),
    }
}

/// `OBX[2]-5.1` as ERL: segment, its occurrence, field, repetition, component, subcomponent.
fn location_parts(location: &str) -> Vec<String> {
    let (segment, field) = location.split_once('-').unwrap_or((location, ""));
    let (name, occurrence) = segment.split_once('[').unwrap_or((segment, "1]"));
    if name.len() != 3 || !name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
        return Vec::new();
    }
    let mut parts = vec![name.to_owned(), occurrence.trim_end_matches(']').to_owned()];
    let mut numbers = field.split('.').filter(|n| !n.is_empty());
    if let Some(field) = numbers.next() {
        let (field, repetition) = field.split_once('[').unwrap_or((field, "1]"));
        parts.extend([field.to_owned(), repetition.trim_end_matches(']').to_owned()]);
    }
    parts.extend(numbers.map(str::to_owned));
    parts
}

/// HL7 table 0357 for our codes.
fn table_0357(code: &str) -> (&'static str, &'static str) {
    match code {
        "type-unsupported" => ("200", "Unsupported message type"),
        "processing-id-not-taken" => ("202", "Unsupported processing id"),
        "version-not-taken" => ("203", "Unsupported version id"),
        "msh-missing" | "msh-repeated" | "mllp-unterminated" | "mllp-cut-short" => {
            ("100", "Segment sequence error")
        }
        "message-too-large" | "mllp-too-large" | "too-large" | "segments-too-many" => {
            ("104", "Value too long")
        }
        "message-empty" => ("101", "Required field missing"),
        _ if code.ends_with("-missing") => ("101", "Required field missing"),
        _ if code.ends_with("-invalid") => ("102", "Data type error"),
        _ if code.ends_with("-unknown") => ("103", "Table value not found"),
        _ => ("207", "Application internal error"),
    }
}

fn summary(issue: &Issue) -> String {
    // MSA-3 is an ST of 80 characters in the versions that need it.
    format!("{} at {}", issue.code, issue.location).chars().take(80).collect()
}

pub(super) fn push_segment(name: &[u8], fields: &[Vec<u8>], delimiters: &Delimiters, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    let valued = fields.iter().rposition(|f| !f.is_empty()).map_or(0, |at| at + 1);
    for field in fields.iter().take(valued) {
        out.push(delimiters.field);
        out.extend_from_slice(field);
    }
    out.push(b'\r');
}

/// `now` as a DTM with offset: the answer's zone is no secret.
fn stamp(now: Time) -> String {
    let digits: String = now.to_rfc3339().chars().filter(char::is_ascii_digit).take(14).collect();
    format!("{digits}+0000")
}
