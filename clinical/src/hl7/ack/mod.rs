//! Answers (HL7 v2.9 ch. 2 §2.9, §2.13.1 ACK, §2.14.5 ERR, §2.14.8 MSA): written for a sender, in its own
//! delimiters and charset, and read as a sender.

use bytes::Bytes;

use super::{Limits, Message, ParseError};

mod batch;
mod write;

pub use batch::empty_batch;
pub use write::{accept, application, refuse, refuse_bytes};

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

impl Asked {
    /// The one answer to a message that is refused: the application never sees it, so where both were asked for the
    /// first one says so. `None`: the sender wants to hear of no error.
    pub fn refusal(self) -> Option<Mode> {
        match (self.accept.wants(false), self.application.wants(false)) {
            (true, _) => Some(Mode::Commit),
            (false, true) => Some(Mode::Application),
            (false, false) => None,
        }
    }
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
