//! Answers (HL7 v2.9 ch. 2 §2.9, §2.13.1 ACK, §2.14.5 ERR, §2.14.8 MSA): written for a sender, in its own
//! delimiters and charset, and read as a sender.

use bytes::Bytes;

use super::escape::encode;
use super::view::Segment;
use super::{Delimiters, Limits, Message, ParseError};
use crate::{Issue, Severity, Time};

/// MSA-1 (HL7 table 0008).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AckCode {
    /// AA: application accept, or in original mode: taken.
    Accept,
    /// AE.
    Error,
    /// AR.
    Reject,
    /// CA: commit accept.
    CommitAccept,
    /// CE.
    CommitError,
    /// CR.
    CommitReject,
}

/// Which of table 0008's triples answers: A. or C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// AA, AE, AR: original mode's only answer, enhanced mode's application answer.
    Application,
    /// CA, CE, CR: enhanced mode's first answer, on taking the message over.
    Commit,
}

/// When a sender wants an answer (HL7 table 0155).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// AL.
    Always,
    /// NE.
    Never,
    /// ER: on error or reject only.
    OnError,
    /// SU: on success only.
    OnSuccess,
}

impl Condition {
    /// Whether this outcome is to be answered.
    pub fn wants(self, success: bool) -> bool {
        match self {
            Condition::Always => true,
            Condition::Never => false,
            Condition::OnError => !success,
            Condition::OnSuccess => success,
        }
    }
}

/// The answers that MSH-15 and MSH-16 ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// At least one of MSH-15 and MSH-16 is valued; without, original mode: one AA, AE or AR, always.
    pub enhanced: bool,
    /// Commit answers (CA, CE, CR).
    pub accept: Condition,
    /// Application answers (AA, AE, AR).
    pub application: Condition,
}

/// Which answers the sender asks for. In enhanced mode an empty field means never (§2.9.3).
pub fn asked(message: &Message) -> Asked {
    let header = message.header();
    let enhanced = header.valued(15).is_some() || header.valued(16).is_some();
    let condition = |field| match header.text(field, 1).trim().to_ascii_uppercase().as_str() {
        "AL" => Condition::Always,
        "ER" => Condition::OnError,
        "SU" => Condition::OnSuccess,
        "" | "NE" | "\"\"" => Condition::Never,
        // Neither said nor denied: an answer too many is dropped, one too few stops a feed.
        _ => Condition::Always,
    };
    if enhanced {
        Asked { enhanced, accept: condition(15), application: condition(16) }
    } else {
        Asked { enhanced, accept: Condition::Never, application: Condition::Always }
    }
}

/// AA or CA: it was taken. `control_id` is the answer's own MSH-10.
pub fn accept(to: &Message, mode: Mode, now: Time, control_id: &str) -> Bytes {
    let code = if mode == Mode::Commit { AckCode::CommitAccept } else { AckCode::Accept };
    write(&Sender::of(to), code, &[], now, control_id)
}

/// AE or CE: the message has these faults; sent again as it is, it will have them again.
pub fn error(to: &Message, mode: Mode, issues: &[Issue], now: Time, control_id: &str) -> Bytes {
    let code = if mode == Mode::Commit { AckCode::CommitError } else { AckCode::Error };
    write(&Sender::of(to), code, issues, now, control_id)
}

/// AR or CR: type, version or processing id is not taken here, or it could not be stored.
pub fn reject(to: &Message, mode: Mode, issues: &[Issue], now: Time, control_id: &str) -> Bytes {
    let code = if mode == Mode::Commit { AckCode::CommitReject } else { AckCode::Reject };
    write(&Sender::of(to), code, issues, now, control_id)
}

/// AR for bytes that are no message. What can be recovered of an MSH in them (delimiters, sender, control
/// id) is used; else MSA-2 is empty.
pub fn reject_bytes(bytes: &[u8], issues: &[Issue], now: Time, control_id: &str) -> Bytes {
    match recover(bytes) {
        Some(header) => write(&Sender::of(&header), AckCode::Reject, issues, now, control_id),
        None => write(&Sender::unknown(), AckCode::Reject, issues, now, control_id),
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
struct Sender<'m> {
    header: Option<Segment<'m>>,
    delimiters: Delimiters,
    trigger: String,
    version: String,
}

impl<'m> Sender<'m> {
    fn of(message: &'m Message) -> Self {
        Sender {
            header: Some(message.header()),
            delimiters: *message.delimiters(),
            trigger: message.header().text(9, 2).into_owned(),
            version: message.version().into_owned(),
        }
    }

    fn unknown() -> Self {
        Sender {
            header: None,
            delimiters: Delimiters::STANDARD,
            trigger: String::new(),
            version: "2.5".into(),
        }
    }

    fn raw(&self, field: usize) -> &'m [u8] {
        self.header.and_then(|h| h.field(field)).map_or(&[], |f| f.raw())
    }

    /// (2, 5) for `2.5.1`; an unknown version counts as old: every version reads MSA-3.
    fn version(&self) -> (u32, u32) {
        let mut parts = self.version.trim().split('.').map(|p| p.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

fn write(to: &Sender, code: AckCode, issues: &[Issue], now: Time, control_id: &str) -> Bytes {
    let mut out = Vec::with_capacity(256);
    write_header(to, now, control_id, &mut out);
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
    }
    out.into()
}

fn write_header(to: &Sender, now: Time, control_id: &str, out: &mut Vec<u8>) {
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
    let or = |raw: &[u8], default: &str| if raw.is_empty() { default.into() } else { raw.to_vec() };
    let encoding = or(to.raw(2), "^~\\&");
    let mut fields: Vec<Vec<u8>> = vec![
        encoding,
        to.raw(5).into(),
        to.raw(6).into(),
        to.raw(3).into(),
        to.raw(4).into(),
        stamp(now).into(),
        Vec::new(),
        kind.into(),
        encode(control_id, delimiters).into(),
        or(to.raw(11), "P"),
        or(to.raw(12), "2.5"),
    ];
    if !to.raw(18).is_empty() {
        fields.resize(16, Vec::new());
        fields.push(to.raw(18).into());
    }
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
        "version-unsupported" => ("203", "Unsupported version id"),
        "msh-missing" | "msh-repeated" => ("100", "Segment sequence error"),
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

fn push_segment(name: &[u8], fields: &[Vec<u8>], delimiters: &Delimiters, out: &mut Vec<u8>) {
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

impl AckCode {
    /// As in MSA-1.
    pub fn text(self) -> &'static str {
        match self {
            AckCode::Accept => "AA",
            AckCode::Error => "AE",
            AckCode::Reject => "AR",
            AckCode::CommitAccept => "CA",
            AckCode::CommitError => "CE",
            AckCode::CommitReject => "CR",
        }
    }

    fn read(text: &str) -> Option<AckCode> {
        use AckCode::{Accept, CommitAccept, CommitError, CommitReject, Error, Reject};
        let codes = [Accept, Error, Reject, CommitAccept, CommitError, CommitReject];
        codes.into_iter().find(|code| text.trim().eq_ignore_ascii_case(code.text()))
    }

    /// AA or CA.
    pub fn is_positive(self) -> bool {
        matches!(self, AckCode::Accept | AckCode::CommitAccept)
    }
}

/// A receiver's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    pub code: AckCode,
    /// MSA-2: MSH-10 of the message that is answered.
    pub control_id: String,
    /// MSA-3, else ERR-8, ERR-7 or ERR-3.2 of the first ERR segment; may be empty.
    pub text: String,
}

/// Reads an answer.
pub fn read(bytes: &[u8]) -> Result<Ack, ParseError> {
    let message = Message::parse(Bytes::copy_from_slice(bytes), &Limits::default())?;
    let msa = message.first("MSA").ok_or(ParseError::NotAnAcknowledgement)?;
    let code = AckCode::read(&msa.text(1, 1)).ok_or(ParseError::NotAnAcknowledgement)?;
    let err = message.first("ERR");
    let said = |field, component| err.map(|e| e.text(field, component).into_owned()).unwrap_or_default();
    let texts = [msa.text(3, 1).into_owned(), said(8, 1), said(7, 1), said(3, 2)];
    let text = texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    Ok(Ack { code, control_id: msa.text(2, 1).into_owned(), text })
}

#[cfg(test)]
mod tests;
