//! Builds a message's index: one pass over the bytes, four bytes a field.

use std::sync::OnceLock;

use bytes::Bytes;

use super::charset::{self, Charset, Decision, Wide};
use super::message::Message;
use super::scan::Step;
use super::{Delimiters, Limits, ParseError};

const VT: u8 = 0x0B;
const FS: u8 = 0x1C;

/// One segment. The bytes from `end` to `next` end it.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
    pub next: u32,
    /// Its field separators are the `stops` ones from `stop` on.
    pub stop: u32,
    pub stops: u32,
}

/// Indexes `bytes`; `fallback` is the feed's charset.
pub(super) fn index(bytes: Bytes, limits: &Limits, fallback: Option<&str>) -> Result<Message, ParseError> {
    let bytes_max = limits.bytes_max.min(u32::MAX as usize);
    if bytes.len() > bytes_max {
        return Err(ParseError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    let wide = Wide::of(&bytes);
    let bytes = match wide {
        Some(wide) => wide.decode(&bytes).ok_or(ParseError::WideDamaged)?.into(),
        None => bytes,
    };
    let (start, end) = trim(&bytes);
    let text = bytes.get(start..end).filter(|t| !t.is_empty()).ok_or(ParseError::Empty)?;
    let rest = text.strip_prefix(b"MSH").ok_or(ParseError::MshMissing)?;
    let (&field, rest) = rest.split_first().ok_or(ParseError::MshMissing)?;
    let header_end = memchr::memchr2(b'\r', b'\n', rest);
    let header = rest.get(..header_end.unwrap_or(rest.len())).unwrap_or_default();
    let encoding = header.split(|&b| b == field).next().unwrap_or_default();
    let delimiters = Delimiters::read(field, encoding)?;
    let decision = match wide {
        Some(_) => Decision { charset: Charset::UTF_8, issue: None },
        None => decide(header, &delimiters, fallback, &bytes),
    };
    let lf = header_end.and_then(|at| rest.get(at)) == Some(&b'\n');
    let mut indexer = Indexer {
        text,
        base: start,
        field,
        line_end: if lf { b'\n' } else { b'\r' },
        from: 0,
        first_stop: 0,
        stops: Vec::with_capacity(text.len() / 5),
        segments: Vec::with_capacity(text.len() / 64 + 1),
        segments_max: limits.segments_max,
    };
    let step = decision.charset.step();
    step.stops(text, field, |at, byte| indexer.stop(at, byte));
    indexer.close(text.len());
    let (mut segments, stops) = (indexer.segments, indexer.stops);
    if segments.len() > limits.segments_max {
        return Err(ParseError::TooManySegments { segments_max: limits.segments_max });
    }
    account(&mut segments, bytes.len());
    let Decision { charset, issue } = decision;
    Ok(Message {
        bytes,
        delimiters,
        segments,
        stops,
        charset,
        step,
        charset_issue: issue,
        wide,
        plain: OnceLock::new(),
    })
}

struct Indexer<'b> {
    text: &'b [u8],
    /// Where `text` begins in the message's bytes.
    base: usize,
    field: u8,
    line_end: u8,
    /// Where the open segment begins in `text`.
    from: usize,
    first_stop: usize,
    stops: Vec<u32>,
    segments: Vec<Span>,
    segments_max: usize,
}

impl Indexer<'_> {
    #[inline]
    fn stop(&mut self, at: usize, byte: u8) {
        if byte == self.field {
            self.stops.push((self.base + at) as u32);
        } else if (byte == b'\r' || byte == b'\n') && self.ends_segment(at, byte) {
            self.close(at);
        }
    }

    /// A CR or LF of the other kind ends a segment only if that is empty (it belongs to a CRLF or a blank
    /// line), at a CRLF, or before what can be nothing but another segment.
    fn ends_segment(&self, at: usize, byte: u8) -> bool {
        byte == self.line_end || at == self.from || {
            let rest = self.text.get(at + 1..).unwrap_or_default();
            (byte == b'\r' && rest.first() == Some(&b'\n')) || begins_segment(rest, self.field)
        }
    }

    /// Closes the open segment before `at` and opens the next one behind it. Blank lines make none.
    fn close(&mut self, at: usize) {
        let line = self.text.get(self.from..at).unwrap_or_default();
        let blank = line.iter().take_while(|&&b| (b == b' ' || b == b'\t') && b != self.field).count();
        if blank < line.len() && self.segments.len() <= self.segments_max {
            self.segments.push(Span {
                start: (self.base + self.from + blank) as u32,
                end: (self.base + at) as u32,
                next: 0,
                stop: self.first_stop as u32,
                stops: (self.stops.len() - self.first_stop) as u32,
            });
        }
        self.first_stop = self.stops.len();
        self.from = at + 1;
    }
}

/// Whether a segment name and a field separator stand here.
fn begins_segment(bytes: &[u8], field: u8) -> bool {
    matches!(bytes, [a, b, c, d, ..] if a.is_ascii_uppercase() && is_name(*b) && is_name(*c) && *d == field)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

/// Gives every byte between two segments to the one before.
fn account(segments: &mut [Span], len: usize) {
    let mut next = len as u32;
    for span in segments.iter_mut().rev() {
        span.next = next;
        next = span.start;
    }
}

/// Where the message stands between byte order mark, framing, blank lines.
fn trim(bytes: &[u8]) -> (usize, usize) {
    const BOM: &[u8] = b"\xEF\xBB\xBF";
    let outside = |b: &u8| matches!(*b, b'\r' | b'\n' | b' ' | b'\t' | VT);
    let mut start = bytes.iter().take_while(|b| outside(b)).count();
    // What puts files together puts marks together.
    while bytes.get(start..).is_some_and(|rest| rest.starts_with(BOM)) {
        start += BOM.len();
        start += bytes.iter().skip(start).take_while(|b| outside(b)).count();
    }
    let after = bytes.iter().rev().take_while(|b| matches!(**b, b'\r' | b'\n' | VT | FS)).count();
    (start, bytes.len().saturating_sub(after).max(start))
}

fn decide(header: &[u8], delimiters: &Delimiters, fallback: Option<&str>, bytes: &[u8]) -> Decision {
    charset::decide(&declared(header, delimiters), fallback, bytes)
}

/// MSH-18's repetitions that say something. Where the fields before it are in a multi-byte charset, a byte of theirs may
/// look like a separator: then that charset's own steps lead to its name.
fn declared(header: &[u8], delimiters: &Delimiters) -> Vec<String> {
    let names = names(header, delimiters, Step::Byte);
    let steps = |names: &[String]| -> Vec<Step> {
        names.iter().filter_map(|name| Charset::named(name)).map(Charset::step).collect()
    };
    let plain = header.is_ascii() && memchr::memchr(0x1B, header).is_none();
    if plain || !steps(&names).is_empty() {
        return names;
    }
    let others = [Step::Pair, Step::ShiftJis, Step::Iso2022].into_iter().find_map(|step| {
        let others = self::names(header, delimiters, step);
        steps(&others).contains(&step).then_some(others)
    });
    others.unwrap_or(names)
}

fn names(header: &[u8], delimiters: &Delimiters, step: Step) -> Vec<String> {
    let separator = [Some(delimiters.field)];
    let mut rest = Some(header);
    for _ in 0..16 {
        rest = rest.and_then(|rest| step.split(rest, separator)).map(|(_, after)| after);
    }
    let rest = rest.unwrap_or_default();
    let field = step.split(rest, separator).map_or(rest, |(field, _)| field);
    let names = field.split(|&b| delimiters.repetition == Some(b));
    let names = names.map(|name| Charset::WINDOWS_1252.decode(name).trim().to_owned());
    names.filter(|name| !name.is_empty() && name != "\"\"").collect()
}
