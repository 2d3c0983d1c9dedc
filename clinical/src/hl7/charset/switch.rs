//! Character sets that an escape sequence switches to inside a value (HL7 v2.9 ch. 2 §2.7.2: `\Cxxyy\` and
//! `\Mxxyyzz\`; xx, yy and zz are what follows ESC in ISO 2022).

use encoding_rs::{EUC_KR, GBK};

use super::{Charset, iso2022};

/// The rest of the value, up to the next switch, is in this set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::hl7) enum Switch {
    /// Back to the message's own.
    Own,
    /// An upper half: a part of ISO 8859, KS X 1001 or GB 2312.
    Upper(Charset),
    /// JIS, by the bytes after ESC.
    Jis([u8; 3], usize),
}

impl Switch {
    /// Reads a sequence without its escape characters. `None`: no switch, or to a set that is not known here.
    pub(in crate::hl7) fn read(sequence: &[u8]) -> Option<Switch> {
        let (kind, hex) = sequence.split_first()?;
        let (pairs, rest) = hex.as_chunks::<2>();
        if !rest.is_empty() || !(2..=3).contains(&pairs.len()) {
            return None;
        }
        let mut bytes = [0; 3];
        for (to, [high, low]) in bytes.iter_mut().zip(pairs) {
            let digit = |d: u8| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok());
            *to = digit(*high)? << 4 | digit(*low)?;
        }
        match (kind, bytes.get(..pairs.len())?) {
            (b'C', b"(B") => Some(Switch::Own),
            (b'C', [b'-', part]) => Some(Switch::Upper(Charset::named(iso_8859(*part)?)?)),
            (b'C', b"(J" | b"(I" | b")I") | (b'M', b"$@" | b"$B" | b"$(D") => {
                Some(Switch::Jis(bytes, pairs.len()))
            }
            (b'M', b"$)C") => Some(Switch::Upper(Charset::of(EUC_KR))),
            (b'M', b"$)A") => Some(Switch::Upper(Charset::of(GBK))),
            _ => None,
        }
    }

    /// The text of these bytes; `None` where they are none of the set's.
    pub(in crate::hl7) fn decode(self, bytes: &[u8], own: Charset) -> Option<String> {
        match self {
            Switch::Own => Some(own.decode(bytes).into_owned()),
            Switch::Upper(charset) => charset.decode_strictly(bytes).map(|text| text.into_owned()),
            Switch::Jis(after_escape, len) => {
                let escaped = [b"\x1B", after_escape.get(..len)?, bytes].concat();
                iso2022::decode(&escaped)
            }
        }
    }
}

/// The final byte of ISO 2022 for the upper half of a part of ISO 8859 (96 characters, in G1).
fn iso_8859(last: u8) -> Option<&'static str> {
    Some(match last {
        b'A' => "8859/1",
        b'B' => "8859/2",
        b'C' => "8859/3",
        b'D' => "8859/4",
        b'L' => "8859/5",
        b'G' => "8859/6",
        b'F' => "8859/7",
        b'H' => "8859/8",
        b'M' => "8859/9",
        b'V' => "8859/10",
        b'T' => "8859/11",
        b'Y' => "8859/13",
        b'_' => "8859/14",
        b'b' => "8859/15",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_of_chapter_2() {
        for (sequence, bytes, text) in [
            ("C2842", &b"abc"[..], "abc"),
            ("C2D41", b"Zo\xEB", "Zoë"),
            ("C2D42", b"\xB3", "ł"),
            ("C2D4C", b"\xB8\xD2\xD0\xDD", "Иван"),
            ("C2D46", b"\xC1", "Α"),
            ("C2D48", b"\xE0", "א"),
            ("C2D4D", b"\xDE", "Ş"),
            ("C2949", b"\xD4\xCF", "ﾔﾏ"),
            ("C284A", b"Taro", "Taro"),
            ("M2442", b";3ED", "山田"),
            ("M242844", b"\x30\x21", "丂"),
            ("M242943", b"\xB1\xE8", "김"),
            ("M242941", b"\xCD\xF5", "王"),
        ] {
            let switch = Switch::read(sequence.as_bytes()).unwrap_or_else(|| panic!("{sequence}"));
            assert_eq!(switch.decode(bytes, Charset::UTF_8).as_deref(), Some(text), "{sequence}");
        }
        for unknown in
            ["C", "C28", "C2A7A", "C2842422", "M2443", "Z2842", "C2 42", "CZZZZ", "M24284", "C2D5A"]
        {
            assert_eq!(Switch::read(unknown.as_bytes()), None, "{unknown}");
        }
        let kanji = Switch::read(b"M2442").unwrap();
        assert_eq!(kanji.decode(b";", Charset::UTF_8), None, "half a character");
    }
}
