//! Batches (HL7 v2.9 ch. 2 §2.10.3): what FHS, BHS, BTS and FTS promise, held against what is there.

use std::borrow::Cow;

use bytes::Bytes;

use super::split::{Piece, PieceKind, split};
use crate::{Issue, Severity};

/// A message, or what belongs to none, with what is wrong about the envelopes around it.
#[derive(Clone, Debug)]
pub struct BatchPart {
    pub piece: Piece,
    pub issues: Vec<Issue>,
}

/// What a file or another payload holds, its envelopes held against it. What is wrong with one is told of the message
/// before it, else of the one behind it. It makes no message worse, but for one that ends amid a line where its batch was
/// cut off: an Error, since what is left of a value reads as another.
///
/// Where there are envelopes alone, the whole is one part of kind `Envelope`. That is right (§2.10.3.1: a batch may hold no
/// message), and told as such, unless the envelopes say otherwise: then what is wrong with them is an Error, for there is
/// nothing to take. Where there is nothing at all, there is no part.
pub fn batch_parts(bytes: Bytes) -> Vec<BatchPart> {
    let mut batches = Batches::default();
    let (mut parts, mut early): (Vec<BatchPart>, Vec<Issue>) = (Vec::new(), Vec::new());
    for piece in split(bytes.clone()) {
        let wrong = batches.piece(&piece);
        if matches!(piece.kind, PieceKind::Message | PieceKind::Stray) {
            parts.push(BatchPart { piece, issues: std::mem::take(&mut early) });
        }
        match parts.last_mut() {
            Some(last) => last.issues.extend(wrong),
            None => early.extend(wrong),
        }
    }
    let Some(last) = parts.last_mut() else {
        early.extend(batches.end());
        early.iter_mut().for_each(|issue| issue.severity = Severity::Error);
        let issues = if early.is_empty() { Vec::from_iter(without_messages(&bytes)) } else { early };
        if issues.is_empty() {
            return Vec::new();
        }
        return vec![BatchPart { piece: Piece { kind: PieceKind::Envelope, offset: 0, bytes }, issues }];
    };
    if let Some(mut cut) = batches.end() {
        if !matches!(last.piece.bytes.last(), Some(b'\r' | b'\n')) {
            cut.severity = Severity::Error;
        }
        last.issues.push(cut);
    }
    parts
}

/// Walks over a file's pieces and tells where its envelopes are wrong.
#[derive(Default)]
struct Batches {
    /// Messages since the last BHS, batches since the last FHS; `None` where none is open.
    messages: Option<u64>,
    batches: Option<u64>,
}

impl Batches {
    /// The next piece of the file, and what is wrong with it as an envelope.
    fn piece(&mut self, piece: &Piece) -> Option<Issue> {
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
    fn end(self) -> Option<Issue> {
        let open = self.messages.is_some() || self.batches.is_some();
        let text = "the batch ends without its trailer: it was cut off; have it sent again";
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

/// Of envelopes alone, in which nothing is wrong: whether they say that there is no message. Uncounted, a batch may have lost
/// all that it held. `None`: there is no envelope either.
fn without_messages(bytes: &Bytes) -> Option<Issue> {
    let envelopes: Vec<Piece> =
        split(bytes.clone()).filter(|piece| piece.kind == PieceKind::Envelope).collect();
    envelopes.first()?;
    let counts = |name: &'static [u8]| {
        envelopes.iter().filter(move |e| e.bytes.starts_with(name)).map(|e| count_of(&e.bytes))
    };
    let says_none = counts(b"BTS").chain(counts(b"FTS")).any(|count| count == Some(Some(0)));
    if says_none && counts(b"BTS").all(|count| count.is_some()) {
        let text = "a batch of no messages, as its envelopes say; nothing came that could be kept";
        return Some(Issue { severity: Severity::Information, ..issue("batch-empty", "BHS", text) });
    }
    let text =
        "no message came, and no count says that none was sent: send BTS-1 as 0, or the messages again";
    Some(Issue { severity: Severity::Error, ..issue("batch-count-missing", "BTS-1", text) })
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
    use super::*;

    fn check(file: &'static str, expected: &[&str]) {
        let parts = batch_parts(Bytes::from_static(file.as_bytes()));
        let told = parts.iter().flat_map(|part| &part.issues);
        let told: Vec<String> = told.map(|i| format!("{} {}", i.code, i.location)).collect();
        assert_eq!(told, expected, "{file}");
    }

    #[test]
    fn what_is_wrong_is_told_of_a_message_beside_it() {
        let check = |file: &'static str, expected: &[(&str, &[&str])]| {
            let parts = batch_parts(Bytes::from_static(file.as_bytes()));
            let codes = |part: &BatchPart| part.issues.iter().map(|i| i.code.to_string()).collect::<Vec<_>>();
            let told: Vec<(&[u8], Vec<String>)> =
                parts.iter().map(|part| (&part.piece.bytes[..], codes(part))).collect();
            let expected: Vec<(&[u8], Vec<String>)> = expected
                .iter()
                .map(|(bytes, codes)| (bytes.as_bytes(), codes.iter().map(|c| (*c).to_owned()).collect()))
                .collect();
            assert_eq!(told, expected, "{file}");
        };
        check(
            "BHS|^~\\&\rMSH|a\rMSH|b\rBTS|3\r",
            &[("MSH|a\r", &[]), ("MSH|b\r", &["batch-count-mismatch"])],
        );
        check("BTS|1\rMSH|a\r", &[("MSH|a\r", &["batch-unopened"])]);
        check("junk\rMSH|a\r", &[("junk\r", &[]), ("MSH|a\r", &[])]);
    }

    #[test]
    fn a_batch_of_no_messages_is_right_where_it_says_so() {
        let check = |file: &'static str, severity: Severity, code: &str| {
            let parts = batch_parts(Bytes::from_static(file.as_bytes()));
            let [BatchPart { piece, issues }] = parts.as_slice() else { panic!("{file}: {parts:?}") };
            assert_eq!((piece.kind, &piece.bytes[..]), (PieceKind::Envelope, file.as_bytes()));
            let told: Vec<_> = issues.iter().map(|issue| (issue.severity, &*issue.code)).collect();
            assert_eq!(told, [(severity, code)], "{file}");
        };
        for right in ["BHS|^~\\&\rBTS|0\r", "FHS|^~\\&\rBHS|^~\\&\rBTS|0\rFTS|1\r", "FHS|^~\\&\rFTS|0\r"] {
            check(right, Severity::Information, "batch-empty");
        }
        for uncounted in
            ["BHS|^~\\&\rBTS\r", "FHS|^~\\&\rFTS\r", "FHS|^~\\&\rBHS|^~\\&\rBTS|0\rBHS|^~\\&\rBTS|\rFTS|2\r"]
        {
            check(uncounted, Severity::Error, "batch-count-missing");
        }
        // One that lost all of its messages is not.
        check("BHS|^~\\&\rBTS|5\r", Severity::Error, "batch-count-mismatch");
        check("FHS|^~\\&\rBHS|^~\\&\rBTS|0\rFTS|2\r", Severity::Error, "batch-count-mismatch");
        check("BHS|^~\\&\rBTS|none\r", Severity::Error, "batch-count-invalid");
        check("BHS|^~\\&\r", Severity::Error, "batch-truncated");
        check("BTS|0\r", Severity::Error, "batch-unopened");
        assert!(batch_parts(Bytes::from_static(b"\r\n ")).is_empty());
    }

    #[test]
    fn a_message_that_was_cut_off_is_not_taken_for_whole() {
        let severity = |file: &'static str| {
            let parts = batch_parts(Bytes::from_static(file.as_bytes()));
            parts.last().unwrap().issues.first().map(|issue| issue.severity)
        };
        assert_eq!(severity("BHS|^~\\&\rMSH|a\rOBX|1|NM|8867-4||14"), Some(Severity::Error));
        // Of whole lines any number may be lost, and no value is another.
        assert_eq!(severity("BHS|^~\\&\rMSH|a\rOBX|1|NM|8867-4||140\r"), Some(Severity::Warning));
        assert_eq!(
            severity("MSH|a\rOBX|1|NM|8867-4||14"),
            None,
            "no batch: nothing says that more was to come"
        );
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
