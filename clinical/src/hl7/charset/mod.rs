//! MSH-18 (HL7 table 0211) and what its bytes really are.
//!
//! Policy: the first charset that MSH-18 names and the bytes fit is used, unless they are plainly UTF-8; else the one that
//! they mostly fit, the feed's fallback, UTF-8, windows-1252 (or Microsoft's larger form of what was named), with an
//! issue. A value is never filled with U+FFFD, and one that is damaged spoils no other.

mod decide;
mod evidence;
mod iso2022;
mod names;
mod runs;
mod switch;
mod table;
mod wide;

use std::borrow::Cow;

use encoding_rs::{Encoding, SHIFT_JIS, UTF_8, WINDOWS_1252};

use super::scan::Step;
pub(super) use decide::{Decision, decide};
use evidence::Evidence;
use runs::Bad;
pub(super) use switch::Switch;
use table::Part;
pub(super) use wide::Wide;
pub use wide::is_wide;

/// How the bytes of a message become text.
#[derive(Clone, Copy, PartialEq)]
pub struct Charset {
    kind: Kind,
    /// What bytes are read as that are none of `kind`.
    spare: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// ISO's own table, where encoding_rs has only Microsoft's.
    Iso8859(Part),
    /// The same with Microsoft's characters for 0x80 to 0x9F.
    Extended(Part),
    /// Read here, for JIS X 0212.
    Iso2022Jp,
    Table(&'static Encoding),
}

impl Charset {
    pub const UTF_8: Charset = Charset::of_kind(Kind::UTF_8);
    pub const LATIN_1: Charset = Charset::of_kind(Kind::Iso8859(Part::ONE));
    pub const WINDOWS_1252: Charset = Charset::of_kind(Kind::WINDOWS_1252);
    const ISO_2022_JP: Charset = Charset::of_kind(Kind::Iso2022Jp);

    const fn of_kind(kind: Kind) -> Charset {
        Charset { kind, spare: Kind::WINDOWS_1252 }
    }

    fn of(encoding: &'static Encoding) -> Charset {
        Charset::of_kind(Kind::Table(encoding))
    }

    /// IANA's name.
    pub fn name(self) -> &'static str {
        self.kind.name()
    }

    /// Text of a value. Where bytes do not fit (a cut character, an `\X..\` escape) they alone are read as windows-1252,
    /// which knows them all, or as the feed's charset; the whole value is, where hardly any of it fits.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        // Most text; and in each charset that can be read beside delimiters ASCII is itself, but for ISO 2022.
        if self.kind != Kind::Iso2022Jp
            && let Ok(text) = std::str::from_utf8(bytes)
            && (self.kind == Kind::UTF_8 || text.is_ascii())
        {
            return Cow::Borrowed(text);
        }
        if let Some(text) = self.decode_strictly(bytes) {
            return text;
        }
        if !Evidence::of(self.kind, bytes).is_mostly() {
            return self.decode_as_spare(bytes);
        }
        let mut bad = |run: &[u8], text: &mut String| text.push_str(&self.decode_as_spare(run));
        Cow::Owned(self.kind.decode_by_runs(bytes, &mut bad))
    }

    fn decode_as_spare(self, bytes: &[u8]) -> Cow<'_, str> {
        let text = self.spare.decode_strictly(bytes);
        text.unwrap_or_else(|| WINDOWS_1252.decode_without_bom_handling(bytes).0)
    }

    fn decode_strictly(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        self.kind.decode_strictly(bytes)
    }

    fn fits(self, bytes: &[u8]) -> bool {
        match self.kind {
            Kind::Iso8859(_) if bytes.iter().any(|b| table::is_control(*b)) => false,
            Kind::Iso8859(part) if part.has_no_gaps() => true,
            _ => self.decode_strictly(bytes).is_some(),
        }
    }

    fn is_mostly(self, bytes: &[u8]) -> bool {
        Evidence::of(self.kind, bytes).is_mostly()
    }

    /// What bytes that this charset was named for, and that do not fit it, mostly are.
    fn larger(self, bytes: &[u8]) -> Charset {
        let Kind::Iso8859(part) = self.kind else { return self };
        Charset::of_kind(match part.windows() {
            Some(windows) if part.is_windows_throughout(bytes) => Kind::Table(windows),
            Some(_) => Kind::Extended(part),
            None => self.kind,
        })
    }

    /// Characters of more than one byte, UTF-8 apart.
    fn is_multibyte(self) -> bool {
        self.kind.is_multibyte()
    }

    pub(super) fn step(self) -> Step {
        match self.kind {
            Kind::Iso2022Jp => Step::Iso2022,
            Kind::Table(e) if e == SHIFT_JIS => Step::ShiftJis,
            Kind::Table(e)
                if e == encoding_rs::GB18030 || e == encoding_rs::GBK || e == encoding_rs::BIG5 =>
            {
                Step::Pair
            }
            _ => Step::Byte,
        }
    }
}

impl Kind {
    const UTF_8: Kind = Kind::Table(UTF_8);
    const WINDOWS_1252: Kind = Kind::Table(WINDOWS_1252);

    fn name(self) -> &'static str {
        match self {
            Kind::Iso8859(part) | Kind::Extended(part) => part.name(),
            Kind::Iso2022Jp => "ISO-2022-JP",
            Kind::Table(encoding) => encoding.name(),
        }
    }

    fn is_multibyte(self) -> bool {
        match self {
            Kind::Iso8859(_) | Kind::Extended(_) => false,
            Kind::Iso2022Jp => true,
            Kind::Table(encoding) => encoding != UTF_8 && !encoding.is_single_byte(),
        }
    }

    fn decode_strictly(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Kind::Iso2022Jp => iso2022::decode(bytes).map(Cow::Owned),
            Kind::Table(encoding) if encoding == UTF_8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Kind::Table(encoding) => encoding.decode_without_bom_handling_and_without_replacement(bytes),
            Kind::Iso8859(_) | Kind::Extended(_) => {
                let mut whole = true;
                let text = self.decode_by_runs(bytes, &mut |_, _| whole = false);
                whole.then_some(Cow::Owned(text))
            }
        }
    }

    /// Bytes that are none of this charset go to `bad`.
    fn decode_by_runs(self, bytes: &[u8], bad: Bad) -> String {
        match self {
            Kind::Iso8859(part) => part.decode_by_runs(None, bytes, bad),
            Kind::Extended(part) => part.decode_by_runs(part.windows(), bytes, bad),
            Kind::Iso2022Jp => iso2022::decode_by_runs(bytes, bad),
            Kind::Table(encoding) => {
                let mut text = String::new();
                runs::decode_by_runs(encoding, bytes, &mut text, bad);
                text
            }
        }
    }
}

impl std::fmt::Debug for Charset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin_1_is_not_windows_1252() {
        assert_eq!(Charset::LATIN_1.decode(b"\xA4\xE9"), "¤é");
        assert_eq!(Charset::LATIN_1.decode(b"\x85"), "\u{85}");
    }

    #[test]
    fn what_is_damaged_spoils_nothing_else() {
        let read = |name: &str, bytes: &[u8]| Charset::named(name).unwrap().decode(bytes).into_owned();
        assert_eq!(read("UTF-8", b"Gro\xC3\x9Fer M\xC3"), "Großer MÃ");
        assert_eq!(read("UTF-8", b"gr\xF6\xDFer, \xFCbel"), "größer, übel");
        assert_eq!(read("UTF-8", b"\x84Spa\xDF\x93"), "„Spaß“");
        assert_eq!(read("GB18030", b"\xD0\xED\xB9\xA6\xFF"), "许功ÿ");
        assert_eq!(read("ISO IR87", b"\x1B$B;3ED\x1B(B \xE9"), "山田 é");
        assert_eq!(read("8859/7", b"\xC1\xE8\xDE\xED\xE1 \xD2"), "Αθήνα Ò");
        let polish = Charset { spare: Kind::Table(encoding_rs::WINDOWS_1250), ..Charset::UTF_8 };
        assert_eq!(polish.decode(b"\x8Cliwa"), "Śliwa");
    }
}
