//! Why bytes are no message, and how much of them is read.

use std::borrow::Cow;

use crate::{Issue, Severity};

/// Bounds on one message; beyond them it is refused, never cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message. The index counts in 32 bits, so 4 GiB is the most that any setting gives.
    pub bytes_max: usize,
    /// Segments of one message.
    pub segments_max: usize,
}

impl Default for Limits {
    /// 64 MiB and a million segments: a 20 MB document in OBX-5 and 64,000 OBX pass.
    fn default() -> Self {
        Limits { bytes_max: 64 << 20, segments_max: 1_000_000 }
    }
}

impl Limits {
    pub(super) const NONE: Limits = Limits { bytes_max: usize::MAX, segments_max: usize::MAX };
}

/// Why bytes cannot be read as an HL7 v2 message. Holds numbers and places, no patient data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("message is empty: send a message that begins with MSH")]
    Empty,
    #[error(
        "message has {bytes} bytes and the feed takes {bytes_max}: raise max_message_bytes or send it in parts"
    )]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("message has more than {segments_max} segments: send it in parts")]
    TooManySegments { segments_max: usize },
    #[error("message does not begin with MSH: send one message a frame, with MSH as its first segment")]
    MshMissing,
    #[error("MSH-1 is no usable field separator: use a printable ASCII character that is no letter or digit")]
    SeparatorInvalid,
    #[error("MSH-2 holds a letter, digit or blank: use four distinct delimiters such as ^~\\&")]
    DelimitersInvalid,
    #[error(
        "message is written in UTF-16 or UTF-32 and is cut, or has units that are no characters: send it whole, in UTF-8"
    )]
    WideDamaged,
    #[error("message is written in UTF-16 or UTF-32, whose bytes can end an MLLP frame anywhere: send UTF-8")]
    WideInMllp,
    #[error("not an acknowledgement: MSA-1 is missing or no code of HL7 table 0008")]
    NotAnAcknowledgement,
}

impl ParseError {
    /// Stable and kebab-case: metrics and scripts count by it.
    pub fn code(&self) -> &'static str {
        match self {
            ParseError::Empty => "message-empty",
            ParseError::TooLarge { .. } => "message-too-large",
            ParseError::TooManySegments { .. } => "segments-too-many",
            ParseError::MshMissing => "msh-missing",
            ParseError::SeparatorInvalid => "field-separator-invalid",
            ParseError::DelimitersInvalid => "delimiters-invalid",
            ParseError::WideDamaged | ParseError::WideInMllp => "charset-unsupported",
            ParseError::NotAnAcknowledgement => "ack-invalid",
        }
    }

    /// Where in the message.
    pub fn location(&self) -> &'static str {
        match self {
            ParseError::Empty | ParseError::TooLarge { .. } | ParseError::TooManySegments { .. } => "message",
            ParseError::MshMissing => "MSH",
            ParseError::SeparatorInvalid => "MSH-1",
            ParseError::DelimitersInvalid => "MSH-2",
            ParseError::WideDamaged | ParseError::WideInMllp => "MSH-18",
            ParseError::NotAnAcknowledgement => "MSA-1",
        }
    }

    /// The same as an issue: what the ledger keeps and the sender is told.
    pub fn to_issue(&self) -> Issue {
        Issue {
            severity: Severity::Error,
            code: Cow::Borrowed(self.code()),
            location: self.location().to_owned(),
            text: self.to_string(),
        }
    }
}
