//! Batches (HL7 v2.9 ch. 2 §2.10.3): what FHS, BHS, BTS and FTS promise, held against what is there.

use std::borrow::Cow;

use super::split::{Piece, PieceKind};
use crate::{Issue, Severity};

/// Walks over a file's pieces and tells where its envelopes are wrong. A wrong envelope makes no message worse:
/// each is read for itself.
#[derive(Default)]
pub struct Batches {
    /// Messages since the last BHS, batches since the last FHS; `None` where none is open.
    messages: Option<u64>,
    batches: Option<u64>,
}

impl Batches {
    /// The next piece of the file, and what is wrong with it as an envelope.
    pub fn piece(&mut self, piece: &Piece) -> Option<Issue> {
        match (piece.kind, piece.bytes.get(..3).unwrap_or_default()) {
            (PieceKind::Message, _) => {
                self.messages = self.messages.map(|count| count + 1);
                None
            }
            (PieceKind::Envelope, b"FHS") => {
                let open = self.batches.replace(0).is_some() || self.messages.take().is_some();
                open.then(|| {
                    issue("batch-unclosed", "FHS", "a file begins before the one before it has ended")
                })
            }
            (PieceKind::Envelope, b"BHS") => {
                self.batches = self.batches.map(|count| count + 1);
                let open = self.messages.replace(0).is_some();
                open.then(|| {
                    issue("batch-unclosed", "BHS", "a batch begins before the one before it has ended")
                })
            }
            (PieceKind::Envelope, b"BTS") => closed(self.messages.take(), piece, "BTS", "messages"),
            (PieceKind::Envelope, _) => {
                let unclosed = self.messages.take().is_some();
                let closed = closed(self.batches.take(), piece, "FTS", "batches");
                let text = "the file ends before its last batch has ended";
                if unclosed { Some(issue("batch-unclosed", "FTS", text)) } else { closed }
            }
            _ => None,
        }
    }

    /// The file's end: a batch that is still open was cut off.
    pub fn end(self) -> Option<Issue> {
        let open = self.messages.is_some() || self.batches.is_some();
        let text = "the file ends within a batch: it was cut off; have it sent again";
        open.then(|| issue("batch-truncated", "BTS", text))
    }
}

/// What a trailer says it closes against what came.
fn closed(counted: Option<u64>, trailer: &Piece, place: &'static str, things: &str) -> Option<Issue> {
    let Some(counted) = counted else {
        return Some(issue("batch-unopened", place, "a trailer without its header"));
    };
    match count_of(&trailer.bytes) {
        None => None,
        Some(Some(told)) if told == counted => None,
        Some(Some(told)) => {
            let text =
                format!("the trailer counts {told} {things} and {counted} came; have the rest sent again");
            Some(issue("batch-count-mismatch", &format!("{place}-1"), &text))
        }
        Some(None) => {
            Some(issue("batch-count-invalid", &format!("{place}-1"), "the trailer's count is no number"))
        }
    }
}

/// The trailer's first field: `None` where it is empty, `Some(None)` where it is no number.
fn count_of(trailer: &[u8]) -> Option<Option<u64>> {
    let separator = trailer.get(3).filter(|byte| !matches!(**byte, b'\r' | b'\n'))?;
    let field = trailer.get(4..)?.split(|byte| byte == separator || matches!(*byte, b'\r' | b'\n')).next()?;
    let field = field.trim_ascii();
    if field.is_empty() || field == b"\"\"" {
        return None;
    }
    Some(std::str::from_utf8(field).ok().and_then(|text| text.parse().ok()))
}

fn issue(code: &'static str, location: &str, text: &str) -> Issue {
    Issue {
        severity: Severity::Warning,
        code: Cow::Borrowed(code),
        location: location.to_owned(),
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::split;
    use super::*;

    fn check(file: &'static str, expected: &[&str]) {
        let mut batches = Batches::default();
        let mut told: Vec<Issue> =
            split(Bytes::from_static(file.as_bytes())).filter_map(|piece| batches.piece(&piece)).collect();
        told.extend(batches.end());
        let told: Vec<String> = told.iter().map(|i| format!("{} {}", i.code, i.location)).collect();
        assert_eq!(told, expected, "{file}");
    }

    #[test]
    fn envelopes_are_held_against_what_came() {
        check("MSH|a\rMSH|b\r", &[]);
        check("FHS|^~\\&\rBHS|^~\\&\rMSH|a\rMSH|b\rBTS|2\rFTS|1\r", &[]);
        check("BHS|^~\\&\rMSH|a\rMSH|b\rBTS|\r", &[]);
        check("BHS|^~\\&\rMSH|a\rBTS", &[]);
        check("BHS|^~\\&\rMSH|a\rBTS|2|rest\r", &["batch-count-mismatch BTS-1"]);
        check("FHS|^~\\&\rBHS|^~\\&\rMSH|a\rBTS|1\rFTS|2\r", &["batch-count-mismatch FTS-1"]);
        check("BHS|^~\\&\rMSH|a\rBTS|one\r", &["batch-count-invalid BTS-1"]);
        check("FHS|^~\\&\rBHS|^~\\&\rMSH|a\rMS", &["batch-truncated BTS"]);
        check("MSH|a\rBTS|1\r", &["batch-unopened BTS"]);
        check("BHS|^~\\&\rMSH|a\rBHS|^~\\&\rMSH|b\rBTS|1\r", &["batch-unclosed BHS"]);
        check("FHS|^~\\&\rBHS|^~\\&\rMSH|a\rFTS|1\r", &["batch-unclosed FTS"]);
    }
}
