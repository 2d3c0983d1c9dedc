//! ISO 8859, whose 0x80 to 0x9F are controls: encoding_rs, as the web does, has Microsoft's larger tables for some parts.

use encoding_rs::{
    Encoding, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6, ISO_8859_7, ISO_8859_8,
    ISO_8859_10, ISO_8859_13, ISO_8859_14, ISO_8859_15, ISO_8859_16, WINDOWS_874, WINDOWS_1250, WINDOWS_1252,
    WINDOWS_1253, WINDOWS_1254, WINDOWS_1255, WINDOWS_1257,
};

use super::runs::{Bad, decode_by_runs};

/// A part of ISO 8859, by its number.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Part(u8);

impl Part {
    pub const ONE: Part = Part(1);
    pub const NINE: Part = Part(9);
    pub const ELEVEN: Part = Part(11);

    /// There is no part 12.
    pub fn numbered(number: &str) -> Option<Part> {
        number.parse().ok().filter(|number| matches!(number, 1..=11 | 13..=16)).map(Part)
    }

    pub fn of(encoding: &'static Encoding) -> Option<Part> {
        (1..=11).chain(13..=16).map(Part).find(|part| part.name() == encoding.name())
    }

    pub fn name(self) -> &'static str {
        match self.0 {
            1 => "ISO-8859-1",
            9 => "ISO-8859-9",
            11 => "ISO-8859-11",
            _ => self.table().name(),
        }
    }

    /// A table that has ISO's characters from 0xA0 on.
    fn table(self) -> &'static Encoding {
        match self.0 {
            2 => ISO_8859_2,
            3 => ISO_8859_3,
            4 => ISO_8859_4,
            5 => ISO_8859_5,
            6 => ISO_8859_6,
            7 => ISO_8859_7,
            8 => ISO_8859_8,
            9 => WINDOWS_1254,
            10 => ISO_8859_10,
            11 => WINDOWS_874,
            13 => ISO_8859_13,
            14 => ISO_8859_14,
            15 => ISO_8859_15,
            16 => ISO_8859_16,
            _ => WINDOWS_1252,
        }
    }

    /// Whether each byte from 0xA0 on is a character.
    pub fn has_no_gaps(self) -> bool {
        !matches!(self.0, 3 | 6 | 7 | 8 | 11)
    }

    /// Microsoft's charset for the same languages, with most letters in the same places: what bytes that are none of
    /// ISO's mostly are. The others have none: 0x80 to 0x9F say little of what else the bytes are.
    pub fn windows(self) -> Option<&'static Encoding> {
        match self.0 {
            1 | 15 => Some(WINDOWS_1252),
            2 => Some(WINDOWS_1250),
            7 => Some(WINDOWS_1253),
            8 => Some(WINDOWS_1255),
            9 => Some(WINDOWS_1254),
            11 => Some(WINDOWS_874),
            13 => Some(WINDOWS_1257),
            _ => None,
        }
    }

    /// Whether bytes that hold some of 0x80 to 0x9F are Microsoft's from first to last: its charset knows them all and
    /// finds no fewer letters among them. windows-1250 and ISO 8859-2 have `ą` and `š` in one place.
    pub fn is_windows_throughout(self, bytes: &[u8]) -> bool {
        // Part 15 has `€` and letters where windows-1252 has what nobody sends.
        let Some(windows) = self.windows().filter(|_| self != Part(15)) else { return false };
        let Some(theirs) = windows.decode_without_bom_handling_and_without_replacement(bytes) else {
            return false;
        };
        let letters = |text: &str| text.chars().filter(|c| !c.is_ascii() && c.is_alphabetic()).count();
        letters(&theirs) >= letters(&self.decode_by_runs(None, bytes, &mut |_, _| {}))
    }

    /// `controls`: whose 0x80 to 0x9F are meant, if not ISO's.
    pub fn decode_by_runs(self, controls: Option<&'static Encoding>, bytes: &[u8], bad: Bad) -> String {
        let mut text = String::with_capacity(bytes.len() * 2);
        for run in bytes.chunk_by(|a, b| is_control(*a) == is_control(*b)) {
            match controls {
                _ if !run.iter().any(|b| is_control(*b)) => decode_by_runs(self.table(), run, &mut text, bad),
                Some(windows) => decode_by_runs(windows, run, &mut text, bad),
                None => text.extend(run.iter().map(|b| char::from(*b))),
            }
        }
        text
    }
}

/// Nobody sends these: such bytes come from a larger charset or UTF-8.
pub(super) fn is_control(byte: u8) -> bool {
    matches!(byte, 0x80..=0x9F)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(part: Part, controls: Option<&'static Encoding>, bytes: &[u8]) -> (String, usize) {
        let mut bad = 0;
        (part.decode_by_runs(controls, bytes, &mut |_, _| bad += 1), bad)
    }

    #[test]
    fn parts_are_those_of_iso() {
        assert_eq!(read(Part(1), None, b"\xA4\xE9\x85"), ("¤é\u{85}".to_owned(), 0));
        assert_eq!(read(Part(9), None, b"\xDEi\xFEli \xD0\xDD\xF0\xFD"), ("Şişli Ğİğı".to_owned(), 0));
        assert_eq!(read(Part(11), None, b"\xA1\xDF\xFB"), ("ก฿๛".to_owned(), 0));
        assert_eq!(read(Part(11), None, b"\xDB\xFF").1, 2);
        assert_eq!(read(Part(15), Some(WINDOWS_1252), b"\x80\x93\xA4"), ("€“€".to_owned(), 0));
        let there: Vec<u8> = (0..=20).filter(|n: &u8| Part::numbered(&n.to_string()).is_some()).collect();
        assert_eq!(there, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16]);
        for part in there.into_iter().map(Part) {
            assert_eq!(part.name(), format!("ISO-8859-{}", part.0));
            let all: Vec<u8> = (0xA0..=0xFF).collect();
            assert_eq!(part.has_no_gaps(), read(part, None, &all).1 == 0, "{}", part.name());
        }
    }

    /// Letters of both stand in the same places, but for those of parts 2 and 7, which are told apart by their number.
    #[test]
    fn windows_has_the_same_letters() {
        for part in [1, 2, 7, 8, 9, 11, 13].map(Part) {
            let windows = part.windows().unwrap();
            for byte in 0xA0..=0xFF {
                let bytes = [byte];
                let theirs = windows.decode_without_bom_handling_and_without_replacement(&bytes);
                let ours = read(part, None, &bytes);
                let letter = ours.1 == 0 && ours.0.chars().all(char::is_alphabetic);
                let apart = matches!((part.0, byte), (2, 0xA1..=0xBF) | (7, 0xAA | 0xB6));
                assert!(!letter || apart || theirs.as_deref() == Some(&ours.0), "{} {byte:X}", part.name());
            }
        }
        assert!(Part(2).is_windows_throughout(b"\x8Cliwa D\xB9browski"));
        assert!(!Part(2).is_windows_throughout(b"\xA9afr\xE1nek \x96 Tom\xE1\xB9 \xAEid"));
    }
}
