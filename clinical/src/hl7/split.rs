//! Messages in a file: one, many, or a batch (HL7 v2.9 ch. 2 §2.10.3 FHS/BHS/BTS/FTS), with or without
//! MLLP framing. The pieces cover the file: put together they are its bytes.

use bytes::Bytes;

use super::charset::Wide;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A run of a file's bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Piece {
    pub kind: PieceKind,
    /// Where `bytes` begin in the file.
    pub offset: usize,
    pub bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// From MSH to the next message, envelope or the end.
    Message,
    /// One of FHS, BHS, BTS, FTS.
    Envelope,
    /// Byte order mark, framing bytes, blank lines.
    Blank,
    /// Anything else: it belongs to no message, and to report it is the caller's duty.
    Stray,
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Piece({:?} at {}, {} bytes)", self.kind, self.offset, self.bytes.len())
    }
}

/// Splits a file. A message starts at a line (or an MLLP start block) with `MSH` and a separator. Lazy and
/// zero-copy; every byte is looked at once.
pub fn split(bytes: Bytes) -> impl Iterator<Item = Piece> {
    let mut at = 0;
    // UTF-16 and UTF-32 have no lines that bytes could tell: such a file is one message.
    let wide = Wide::of(&bytes).is_some();
    let mut next = if wide { Some((0, PieceKind::Message)) } else { start_after(&bytes, None) };
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let (end, kind) = match next {
            Some((from, _)) if from > at => (from, None),
            Some((from, kind)) => {
                next = if wide { None } else { start_after(&bytes, Some(from)) };
                (next.map_or(bytes.len(), |(from, _)| from), Some(kind))
            }
            None => (bytes.len(), None),
        };
        // An envelope is its line; what comes between it and the next start is no part of it.
        let end = match kind {
            Some(PieceKind::Envelope) => line_end(&bytes, at).min(end),
            _ => end,
        };
        let piece = bytes.slice(at..end);
        let kind = kind.unwrap_or(if is_blank(&piece) { PieceKind::Blank } else { PieceKind::Stray });
        let offset = std::mem::replace(&mut at, end);
        Some(Piece { kind, offset, bytes: piece })
    })
}

/// Only the messages.
pub fn messages(bytes: Bytes) -> impl Iterator<Item = Piece> {
    split(bytes).filter(|piece| piece.kind == PieceKind::Message)
}

/// The first start at or after the file's beginning (`None`) or after the one at `after`.
fn start_after(bytes: &[u8], after: Option<usize>) -> Option<(usize, PieceKind)> {
    let first = bytes.len() - without_marks(bytes).len();
    if after.is_none()
        && let Some(kind) = kind_at(bytes, first)
    {
        return Some((first, kind));
    }
    let from = after.map_or(0, |at| at + 3);
    let line_ends = memchr::memchr3_iter(b'\r', b'\n', 0x0B, bytes.get(from..)?);
    line_ends.map(|at| from + at + 1).find_map(|at| {
        let rest = bytes.get(at..)?;
        let at = at + rest.iter().take_while(|b| matches!(**b, b' ' | b'\t')).count();
        Some((at, kind_at(bytes, at)?))
    })
}

fn kind_at(bytes: &[u8], at: usize) -> Option<PieceKind> {
    // A trailer may have no field at all, and end the file.
    let (name, separator) = (bytes.get(at..at + 3)?, bytes.get(at + 3).unwrap_or(&b'\n'));
    let kind = match name {
        b"MSH" => PieceKind::Message,
        b"FHS" | b"BHS" => PieceKind::Envelope,
        b"BTS" | b"FTS" if matches!(separator, b'\r' | b'\n') => return Some(PieceKind::Envelope),
        b"BTS" | b"FTS" => PieceKind::Envelope,
        _ => return None,
    };
    (separator.is_ascii_punctuation() || separator.is_ascii_control() && !matches!(separator, b'\r' | b'\n'))
        .then_some(kind)
}

/// Behind the line that begins at `from`, its CR, LF or CRLF included.
fn line_end(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let Some(at) = memchr::memchr2(b'\r', b'\n', rest) else { return bytes.len() };
    let crlf = rest.get(at..).is_some_and(|r| r.starts_with(b"\r\n"));
    from + at + if crlf { 2 } else { 1 }
}

/// What follows UTF-8's byte order marks; some senders write more than one.
pub fn without_marks(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(BOM) {
        bytes = rest;
    }
    bytes
}

fn is_blank(bytes: &[u8]) -> bool {
    without_marks(bytes).iter().all(|b| matches!(b, b'\r' | b'\n' | b' ' | b'\t' | 0x0B | 0x1C | 0x1A | 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(bytes: &'static [u8]) -> Vec<(PieceKind, usize, &'static [u8])> {
        let whole = Bytes::from_static(bytes);
        let pieces: Vec<_> = split(whole).collect();
        pieces.iter().map(|p| (p.kind, p.offset, &bytes[p.offset..p.offset + p.bytes.len()])).collect()
    }

    #[test]
    fn a_batch_comes_apart() {
        use PieceKind::{Envelope, Message};
        assert_eq!(
            pieces(b"FHS|^~\\&\rBHS|^~\\&\rMSH|a\rPID|1\rMSH|b\rBTS|2\rFTS"),
            [
                (Envelope, 0, &b"FHS|^~\\&\r"[..]),
                (Envelope, 9, b"BHS|^~\\&\r"),
                (Message, 18, b"MSH|a\rPID|1\r"),
                (Message, 30, b"MSH|b\r"),
                (Envelope, 36, b"BTS|2\r"),
                (Envelope, 42, b"FTS"),
            ]
        );
    }

    #[test]
    fn framing_and_strays_are_told_apart() {
        use PieceKind::{Blank, Message, Stray};
        assert_eq!(
            pieces(b"\xEF\xBB\xBFMSH|a\r\n\x1c\r\x0bMSH|b\r\x1c\r"),
            [
                (Blank, 0, &b"\xEF\xBB\xBF"[..]),
                (Message, 3, b"MSH|a\r\n\x1c\r\x0b"),
                (Message, 13, b"MSH|b\r\x1c\r")
            ]
        );
        assert_eq!(
            pieces(b"hello\n\nMSH|a|MSH|\n MSH*b"),
            [(Stray, 0, &b"hello\n\n"[..]), (Message, 7, b"MSH|a|MSH|\n "), (Message, 19, b"MSH*b")]
        );
        assert_eq!(
            pieces(b"\xEF\xBB\xBF\xEF\xBB\xBFMSH|a\r"),
            [(Blank, 0, &b"\xEF\xBB\xBF\xEF\xBB\xBF"[..]), (Message, 6, b"MSH|a\r")]
        );
        assert_eq!(pieces(b""), []);
        assert_eq!(pieces(b"\r\n"), [(Blank, 0, &b"\r\n"[..])]);
    }

    proptest! {
        #[test]
        fn pieces_are_the_file(parts in proptest::collection::vec("MSH|BHS|FTS|\\||\r|\n|\u{b}|\u{1c}| |x", 0..60)) {
            let file = parts.concat().into_bytes();
            let mut at = 0;
            for piece in split(Bytes::from(file.clone())) {
                prop_assert_eq!(piece.offset, at);
                prop_assert!(!piece.bytes.is_empty());
                prop_assert_eq!(&piece.bytes[..], &file[at..at + piece.bytes.len()]);
                at += piece.bytes.len();
            }
            prop_assert_eq!(at, file.len());
        }
    }
}
