//! Cuts a file into messages: HL7 v2 messages and batches, one FHIR JSON document, or NDJSON.

use bytes::Bytes;
use clinical::hl7::{self, BatchPart, PieceKind};
use clinical::{Issue, Severity};
use connectors::file::Piece;
use connectors::{Format, Refusal};
use serde_json::value::RawValue;

/// What belongs to no message comes out as well, so that it is refused with its bytes and not passed over.
pub fn split(bytes: &Bytes) -> Vec<Piece> {
    let first = bytes.iter().position(|byte| !byte.is_ascii_whitespace());
    match first.and_then(|at| bytes.get(at)) {
        Some(b'{' | b'[') => json(bytes),
        _ => hl7::batch_parts(bytes.clone()).into_iter().map(of_batch).collect(),
    }
}

fn of_batch(BatchPart { piece, issues }: BatchPart) -> Piece {
    let worst = issues.into_iter().max_by_key(|issue| issue.severity);
    // Of envelopes alone the reader finds the same again.
    let is_cut = |issue: &Issue| issue.severity == Severity::Error && piece.kind == PieceKind::Message;
    let is_fault = worst.as_ref().is_some_and(is_cut);
    let told = worst.map(|Issue { code, text, .. }| Refusal { code: code.into_owned(), reason: text });
    let (fault, doubt) = if is_fault { (told, None) } else { (None, told) };
    Piece { offset: piece.offset, bytes: piece.bytes, format: Some(Format::Hl7v2), fault, doubt }
}

fn json(bytes: &Bytes) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(start) =
        bytes[at..].iter().position(|byte| !byte.is_ascii_whitespace()).map(|skip| at + skip)
    {
        let mut values = serde_json::Deserializer::from_slice(&bytes[start..]).into_iter::<&RawValue>();
        let whole = matches!(values.next(), Some(Ok(_)));
        let end = if whole { start + values.byte_offset() } else { end_of_broken(bytes, start) };
        // A value of no bytes would be found for ever.
        let end = end.max(start + 1);
        pieces.push(Piece {
            offset: start,
            bytes: bytes.slice(start..end),
            format: Some(Format::FhirJson),
            fault: None,
            doubt: None,
        });
        at = end;
    }
    pieces
}

/// NDJSON: its line, when the next line begins a document of its own. Otherwise all the rest.
fn end_of_broken(bytes: &[u8], start: usize) -> usize {
    let rest = &bytes[start..];
    let Some(line) = rest.iter().position(|byte| *byte == b'\n') else { return bytes.len() };
    if rest.get(line + 1) == Some(&b'{') { start + line } else { bytes.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, &str)]) {
        let pieces = split(&Bytes::copy_from_slice(text.as_bytes()));
        let found: Vec<(usize, &str)> = pieces
            .iter()
            .map(|piece| (piece.offset, std::str::from_utf8(&piece.bytes).expect("text")))
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn files_come_apart() {
        check("", &[]);
        check(" \n", &[]);
        check("{\n \"a\": 1\n}\n", &[(0, "{\n \"a\": 1\n}")]);
        check("{\"a\":1}\n\n{\"b\":2}", &[(0, "{\"a\":1}"), (9, "{\"b\":2}")]);
        check("{\"a\":\n{\"b\":2}\n", &[(0, "{\"a\":"), (6, "{\"b\":2}")]);
        check("{\"a\": [1,\n 2\n", &[(0, "{\"a\": [1,\n 2\n")]);
        check("FHS|^~\\&\rMSH|^~\\&|A\rPID|1\rFTS\r", &[(9, "MSH|^~\\&|A\rPID|1\r")]);
        check("noise\nMSH|^~\\&|A\r", &[(0, "noise\n"), (6, "MSH|^~\\&|A\r")]);
    }

    #[test]
    fn a_batch_that_lost_something_says_so() {
        let told = |text: &'static str| {
            let code = |told: Option<Refusal>| told.map_or(String::new(), |told| told.code);
            let pieces = split(&Bytes::from_static(text.as_bytes())).into_iter();
            pieces.map(|piece| (code(piece.fault), code(piece.doubt))).collect::<Vec<_>>()
        };
        let none = || (String::new(), String::new());
        assert_eq!(
            told("BHS|^~\\&\rMSH|^~\\&|A\rMSH|^~\\&|B\rBTS|3\r"),
            [none(), (String::new(), "batch-count-mismatch".into())]
        );
        assert_eq!(
            told("BHS|^~\\&\rMSH|^~\\&|A\rMSH|^~\\&|B"),
            [none(), ("batch-truncated".into(), String::new())]
        );
        assert_eq!(told("BHS|^~\\&\rBTS|3\r"), [(String::new(), "batch-count-mismatch".into())]);
        assert_eq!(
            told("BHS|^~\\&\rBTS|0\r"),
            [(String::new(), "batch-empty".into())],
            "handed on, not passed over"
        );
    }
}
