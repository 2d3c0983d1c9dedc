//! Single-byte charsets that encoding_rs, as the web does, reads as Microsoft's larger ones.

use encoding_rs::{Encoding, WINDOWS_874, WINDOWS_1252, WINDOWS_1254};

/// A part of ISO 8859 as ISO has it: 0x80 to 0x9F are controls.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Part {
    /// ISO 8859-1: Western Europe.
    One,
    /// ISO 8859-9: Turkish.
    Nine,
    /// ISO 8859-11: Thai.
    Eleven,
}

impl Part {
    pub(super) fn name(self) -> &'static str {
        match self {
            Part::One => "ISO-8859-1",
            Part::Nine => "ISO-8859-9",
            Part::Eleven => "ISO-8859-11",
        }
    }

    /// Microsoft's charset with the same letters and more: what bytes that are none of ISO's mostly are.
    pub(super) fn larger(self) -> &'static Encoding {
        match self {
            Part::One => WINDOWS_1252,
            Part::Nine => WINDOWS_1254,
            Part::Eleven => WINDOWS_874,
        }
    }

    /// Whether text has this byte. Controls are not text: nobody sends them.
    pub(super) fn has(self, byte: u8) -> bool {
        match byte {
            0x80..=0x9F => false,
            0xDB..=0xDE | 0xFC.. => self != Part::Eleven,
            _ => true,
        }
    }

    pub(super) fn decode(self, byte: u8) -> char {
        match (self, byte) {
            (Part::Nine, 0xD0) => 'Ğ',
            (Part::Nine, 0xDD) => 'İ',
            (Part::Nine, 0xDE) => 'Ş',
            (Part::Nine, 0xF0) => 'ğ',
            (Part::Nine, 0xFD) => 'ı',
            (Part::Nine, 0xFE) => 'ş',
            (Part::Eleven, 0xA1..=0xDA | 0xDF..=0xFB) => {
                char::from_u32(0x0E00 + u32::from(byte) - 0xA0).unwrap_or(char::from(byte))
            }
            _ => char::from(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where both have a letter, Microsoft's table has the same.
    #[test]
    fn agrees_with_the_larger_charset() {
        for part in [Part::One, Part::Nine, Part::Eleven] {
            for byte in (0..=0xFF).filter(|b| part.has(*b)) {
                let theirs = part
                    .larger()
                    .decode_without_bom_handling_and_without_replacement(&[byte])
                    .unwrap()
                    .into_owned();
                assert_eq!(part.decode(byte).to_string(), theirs, "{} {byte:X}", part.name());
            }
        }
        assert!(!Part::One.has(0x85) && !Part::Eleven.has(0xDB) && !Part::Eleven.has(0xFF));
    }
}
