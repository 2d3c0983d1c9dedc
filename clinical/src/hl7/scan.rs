//! Finds delimiters in bytes, whatever charset the text between them has.

use crate::text::{HIGH, ONES, is};

const LOW: u64 = 0x7F * ONES;
/// Added to seven bits, sets the eighth where they are above CR.
const ABOVE_CR: u64 = (0x80 - (b'\r' as u64 + 1)) * ONES;

/// How to walk from character to character, as far as delimiters need to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// ASCII bytes stand for themselves alone: ASCII, ISO 8859, windows-125x, UTF-8, EUC.
    Byte,
    /// GB 18030, Big5: a byte from 0x81 takes the next one with it, which may look like a delimiter.
    Pair,
    /// Shift_JIS: as `Pair`, but 0xA0 to 0xDF stand alone.
    ShiftJis,
    /// ISO 2022-JP: `ESC $` turns two-byte characters on, `ESC (` off.
    Iso2022,
}

impl Step {
    /// Calls `hit` in order with the place of every field separator and every byte up to CR (0x0D) that
    /// is a character of its own. One pass.
    pub(super) fn stops(self, bytes: &[u8], separator: u8, mut hit: impl FnMut(usize, u8)) {
        if self != Step::Byte {
            let mut walk = Walk::new(self);
            for (at, &byte) in bytes.iter().enumerate() {
                if walk.alone(byte) && (byte == separator || byte <= b'\r') {
                    hit(at, byte);
                }
            }
            return;
        }
        let pattern = u64::from(separator) * ONES;
        let (words, tail) = bytes.as_chunks::<8>();
        for (nth, word) in words.iter().enumerate() {
            let mut hits = stops_in(u64::from_le_bytes(*word), pattern);
            while hits != 0 {
                let at = (hits.trailing_zeros() / 8) as usize;
                hit(nth * 8 + at, word[at & 7]);
                hits &= hits - 1;
            }
        }
        let from = bytes.len() - tail.len();
        for (at, &byte) in tail.iter().enumerate() {
            if byte == separator || byte <= b'\r' {
                hit(from + at, byte);
            }
        }
    }

    /// What stands before and after the first character of its own that is one of these delimiters.
    #[inline]
    pub(super) fn split<const N: usize>(
        self,
        bytes: &[u8],
        delimiters: [Option<u8>; N],
    ) -> Option<(&[u8], &[u8])> {
        let at = match self {
            Step::Byte => first_of(bytes, delimiters),
            _ => {
                let mut walk = Walk::new(self);
                bytes.iter().position(|&byte| walk.alone(byte) && delimiters.contains(&Some(byte)))
            }
        }?;
        Some((bytes.get(..at)?, bytes.get(at + 1..)?))
    }

    /// Where `delimiter` first stands as a character of its own.
    pub(super) fn find(self, bytes: &[u8], delimiter: u8) -> Option<usize> {
        match self {
            // What is as short as most fields is looked through before a search is set up.
            Step::Byte if bytes.len() < 32 => return bytes.iter().position(|&byte| byte == delimiter),
            Step::Byte => return memchr::memchr(delimiter, bytes),
            _ => {}
        }
        let mut walk = Walk::new(self);
        bytes.iter().position(|&byte| walk.alone(byte) && byte == delimiter)
    }
}

/// A bit (the byte's highest) for each byte of `word` that is the separator or at most CR. Exact: no
/// carry crosses a byte.
fn stops_in(word: u64, pattern: u64) -> u64 {
    let differs = word ^ pattern;
    let not_separator = ((differs & LOW) + LOW) | differs;
    let above_cr = ((word & LOW) + ABOVE_CR) | word;
    !(not_separator & above_cr) & HIGH
}

/// Where the first of these delimiters stands.
#[inline]
fn first_of<const N: usize>(bytes: &[u8], delimiters: [Option<u8>; N]) -> Option<usize> {
    let any = *delimiters.iter().flatten().next()?;
    let delimiters = delimiters.map(|delimiter| delimiter.unwrap_or(any));
    let (words, tail) = bytes.as_chunks::<8>();
    for (nth, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let hits = delimiters.iter().fold(0, |hits, delimiter| hits | is(word, *delimiter));
        if hits != 0 {
            return Some(nth * 8 + (hits.trailing_zeros() / 8) as usize);
        }
    }
    let at = tail.iter().position(|byte| delimiters.contains(byte))?;
    Some(bytes.len() - tail.len() + at)
}

/// Tells, byte by byte, which ones are the later part of a character.
struct Walk {
    step: Step,
    inside: bool,
    /// ISO 2022-JP: bytes of the escape sequence seen so far, and whether two-byte characters are on.
    escape: u8,
    double: bool,
}

impl Walk {
    fn new(step: Step) -> Self {
        Walk { step, inside: false, escape: 0, double: false }
    }

    fn alone(&mut self, byte: u8) -> bool {
        // A line break ends every mode: a damaged character must not swallow the next segment.
        if byte == b'\r' || byte == b'\n' {
            *self = Walk::new(self.step);
            return true;
        }
        match self.step {
            Step::Byte => true,
            Step::Pair => self.pair(matches!(byte, 0x81..=0xFE), matches!(byte, 0x30..=0x39 | 0x40..=0xFE)),
            Step::ShiftJis => {
                self.pair(matches!(byte, 0x81..=0x9F | 0xE0..=0xFC), matches!(byte, 0x40..=0xFC))
            }
            Step::Iso2022 => self.shifted(byte),
        }
    }

    /// What can be no second byte is none: a first one that was cut takes nothing with it.
    fn pair(&mut self, leads: bool, follows: bool) -> bool {
        let alone = !(self.inside && follows);
        self.inside = alone && leads;
        alone
    }

    fn shifted(&mut self, byte: u8) -> bool {
        match (self.escape, byte) {
            (_, 0x1B) => {
                self.escape = 1;
                self.inside = false;
                return true;
            }
            (1, b'$') => (self.escape, self.double) = (2, true),
            (1, b'(') => (self.escape, self.double) = (2, false),
            // `ESC $ ( D`: one more byte follows.
            (2, b'(') if self.double => {}
            (1 | 2, _) => self.escape = 0,
            _ if self.double => self.inside = !self.inside,
            _ => return true,
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stops(step: Step, bytes: &[u8], separator: u8) -> Vec<(usize, u8)> {
        let mut found = Vec::new();
        step.stops(bytes, separator, |at, byte| found.push((at, byte)));
        found
    }

    proptest! {
        #[test]
        fn words_find_what_bytes_find(bytes: Vec<u8>, separator: u8) {
            let plain: Vec<_> = bytes.iter().copied().enumerate()
                .filter(|&(_, b)| b == separator || b <= b'\r').collect();
            prop_assert_eq!(stops(Step::Byte, &bytes, separator), plain);
        }
    }

    #[test]
    fn second_bytes_are_no_delimiters() {
        assert_eq!(stops(Step::Pair, b"a|\xB2\x7C|", b'|'), [(1, b'|'), (4, b'|')]);
        assert_eq!(stops(Step::ShiftJis, b"\xB2|\x83\x7C|", b'|'), [(1, b'|'), (4, b'|')]);
        assert_eq!(stops(Step::Iso2022, b"\x1B$B;3\x7C\x7C\x1B(B|", b'|'), [(10, b'|')]);
        assert_eq!(stops(Step::Iso2022, b"\x1B$(D\x30\x7C|\x7C\x1B(B|", b'|'), [(11, b'|')]);
        assert_eq!(Step::Pair.find(b"\xA5\x5E^", b'^'), Some(2));
        assert_eq!(stops(Step::Pair, b"\x81\r|", b'|'), [(1, b'\r'), (2, b'|')]);
        assert_eq!(Step::Pair.find(b"\x81&", b'&'), Some(1));
        assert_eq!(Step::ShiftJis.find(b"\x8E*\x8E\x2A", b'*'), Some(1));
    }
}
