//! MSH-18 (HL7 table 0211) and what its bytes really are.
//!
//! Policy: what MSH-18 names is used if the bytes fit it; else the feed's fallback, else UTF-8, else
//! windows-1252, with an issue. A value is never filled with U+FFFD.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use super::scan::Step;
use crate::{Issue, Severity};

/// How the bytes of a message become text.
#[derive(Clone, Copy, PartialEq)]
pub struct Charset(Kind);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// ISO 8859-1 itself: encoding_rs, as the web does, reads it as windows-1252.
    Latin1,
    Table(&'static Encoding),
}

/// What was decided, and what to tell about it.
pub(super) struct Decision {
    pub charset: Charset,
    pub issue: Option<Issue>,
}

impl Charset {
    pub const UTF_8: Charset = Charset(Kind::Table(UTF_8));
    pub const LATIN_1: Charset = Charset(Kind::Latin1);
    pub const WINDOWS_1252: Charset = Charset(Kind::Table(WINDOWS_1252));

    /// Reads a name as MSH-18 or a configuration spells it: `8859/1`, `UNICODE UTF-8`, `windows-1252`.
    /// `None`: unknown, or one whose bytes cannot be read beside delimiters (UTF-16, UTF-32, CNS 11643).
    pub fn named(name: &str) -> Option<Charset> {
        let mut key: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        key.make_ascii_uppercase();
        let key = key.strip_prefix("ISO").unwrap_or(&key);
        let label = match key {
            "" => return None,
            "88591" | "LATIN1" | "IR100" => return Some(Self::LATIN_1),
            "ASCII" | "USASCII" | "IR6" | "UNICODE" | "UNICODEUTF8" | "UTF8" => "utf-8",
            "IR14" | "SHIFTJIS" | "SJIS" => "shift_jis",
            "IR87" | "IR159" | "2022JP" => "iso-2022-jp",
            "GB180302000" | "GB18030" | "GB2312" => "gb18030",
            "KSX1001" | "KSC5601" => "euc-kr",
            "BIG5" => "big5",
            "UTF16" | "UTF16LE" | "UTF16BE" | "UNICODEUTF16" => return None,
            _ => {
                return match key.strip_prefix("8859") {
                    Some(part) => Encoding::for_label(format!("iso-8859-{part}").as_bytes()),
                    None => Encoding::for_label(name.trim().as_bytes()),
                }
                .filter(|found| found.is_ascii_compatible() || *found == encoding_rs::ISO_2022_JP)
                .map(|found| Charset(Kind::Table(found)));
            }
        };
        Encoding::for_label(label.as_bytes()).map(|found| Charset(Kind::Table(found)))
    }

    /// IANA's name.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Latin1 => "ISO-8859-1",
            Kind::Table(encoding) => encoding.name(),
        }
    }

    /// Text of a value. Bytes that do not fit (a cut character, an `\X..\` escape) are read as
    /// windows-1252, which knows them all.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        self.decode_strictly(bytes).unwrap_or_else(|| WINDOWS_1252.decode_without_bom_handling(bytes).0)
    }

    fn decode_strictly(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self.0 {
            Kind::Latin1 if bytes.is_ascii() => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Kind::Latin1 => Some(Cow::Owned(bytes.iter().map(|&b| char::from(b)).collect())),
            Kind::Table(encoding) if encoding == UTF_8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Kind::Table(encoding) => encoding.decode_without_bom_handling_and_without_replacement(bytes),
        }
    }

    fn fits(self, bytes: &[u8]) -> bool {
        match self.0 {
            // 0x80 to 0x9F are controls that nobody sends: such bytes come from windows-1252 or UTF-8.
            Kind::Latin1 => !bytes.iter().any(|b| (0x80..=0x9F).contains(b)),
            Kind::Table(_) => self.decode_strictly(bytes).is_some(),
        }
    }

    pub(super) fn step(self) -> Step {
        match self.0 {
            Kind::Table(e) if e == encoding_rs::SHIFT_JIS => Step::ShiftJis,
            Kind::Table(e) if e == encoding_rs::ISO_2022_JP => Step::Iso2022,
            Kind::Table(e)
                if e == encoding_rs::GB18030 || e == encoding_rs::GBK || e == encoding_rs::BIG5 =>
            {
                Step::Pair
            }
            _ => Step::Byte,
        }
    }
}

impl std::fmt::Debug for Charset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Decides how `bytes` are read: `declared` is MSH-18's first repetition (empty if absent), `fallback`
/// the feed's charset.
pub(super) fn decide(declared: &str, fallback: Option<&str>, bytes: &[u8]) -> Decision {
    let named = Charset::named(declared);
    if bytes.is_ascii() && !bytes.contains(&0x1B) {
        return match (named, declared.is_empty()) {
            (None, false) => warned(Charset::UTF_8, unknown()),
            _ => Decision { charset: Charset::UTF_8, issue: None },
        };
    }
    let utf8 = std::str::from_utf8(bytes).is_ok() && !bytes.is_ascii();
    let fallback = fallback.and_then(Charset::named);
    match named {
        // Text in a single-byte charset is practically never valid UTF-8 by chance.
        Some(charset) if utf8 && charset != Charset::UTF_8 && charset.step() == Step::Byte => {
            warned(Charset::UTF_8, mislabelled("UTF-8"))
        }
        Some(charset) if charset.fits(bytes) => Decision { charset, issue: None },
        Some(_) => {
            let charset = by_evidence(fallback, utf8, bytes);
            warned(charset, mislabelled(charset.name()))
        }
        None if !declared.is_empty() => warned(by_evidence(fallback, utf8, bytes), unknown()),
        None => undeclared(fallback, utf8, bytes),
    }
}

fn undeclared(fallback: Option<Charset>, utf8: bool, bytes: &[u8]) -> Decision {
    let charset = by_evidence(fallback, utf8, bytes);
    match fallback {
        Some(configured) if configured == charset => Decision { charset, issue: None },
        _ if charset == Charset::UTF_8 => Decision { charset, issue: None },
        _ => warned(
            charset,
            issue(
                "charset-undeclared",
                "MSH-18 is empty and the bytes are not UTF-8: name the charset in MSH-18 or in the feed's charset",
            ),
        ),
    }
}

fn by_evidence(fallback: Option<Charset>, utf8: bool, bytes: &[u8]) -> Charset {
    match fallback {
        Some(charset) if charset.fits(bytes) && (!utf8 || charset.step() != Step::Byte) => charset,
        _ if utf8 => Charset::UTF_8,
        _ => Charset::WINDOWS_1252,
    }
}

fn warned(charset: Charset, issue: Issue) -> Decision {
    Decision { charset, issue: Some(issue) }
}

fn unknown() -> Issue {
    issue(
        "charset-unknown",
        "MSH-18 names no charset that can be read: use a name of HL7 table 0211 such as UNICODE UTF-8",
    )
}

fn mislabelled(read_as: &str) -> Issue {
    issue(
        "charset-mislabelled",
        &format!("the bytes do not fit MSH-18 and were read as {read_as}: correct MSH-18"),
    )
}

fn issue(code: &'static str, text: &str) -> Issue {
    Issue {
        severity: Severity::Warning,
        code: Cow::Borrowed(code),
        location: "MSH-18".to_owned(),
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_table_0211_and_of_the_wild() {
        for (name, iana) in [
            ("8859/1", "ISO-8859-1"),
            ("ISO-8859-1", "ISO-8859-1"),
            ("8859/15", "ISO-8859-15"),
            ("8859/2", "ISO-8859-2"),
            ("UNICODE UTF-8", "UTF-8"),
            ("utf8", "UTF-8"),
            ("ASCII", "UTF-8"),
            ("ISO IR87", "ISO-2022-JP"),
            ("ISO IR14", "Shift_JIS"),
            ("GB 18030-2000", "gb18030"),
            ("KS X 1001", "EUC-KR"),
            ("BIG-5", "Big5"),
            ("windows-1252", "windows-1252"),
        ] {
            assert_eq!(Charset::named(name).map(Charset::name), Some(iana), "{name}");
        }
        for name in ["", "UNICODE UTF-16", "UTF-16", "CNS 11643-1992", "KLINGON"] {
            assert_eq!(Charset::named(name), None, "{name}");
        }
    }

    #[test]
    fn bytes_decide_against_a_wrong_label() {
        let check = |declared, fallback, bytes: &[u8]| {
            let decision = decide(declared, fallback, bytes);
            let text = decision.charset.decode(bytes).into_owned();
            assert!(!text.contains('\u{FFFD}'));
            (text, decision.issue.map(|i| i.code.into_owned()))
        };
        let fine = |text: &str| (text.to_owned(), None);
        let told = |text: &str, code: &str| (text.to_owned(), Some(code.to_owned()));
        assert_eq!(check("UNICODE UTF-8", None, "Zoë".as_bytes()), fine("Zoë"));
        assert_eq!(check("", None, "Zoë".as_bytes()), fine("Zoë"));
        assert_eq!(check("8859/1", None, b"Zo\xEB"), fine("Zoë"));
        assert_eq!(check("", Some("windows-1252"), b"\x80 Zo\xEB"), fine("€ Zoë"));
        assert_eq!(check("8859/5", None, b"\xB8\xD2\xD0\xDD"), fine("Иван"));
        assert_eq!(check("UNICODE UTF-8", None, b"Zo\xEB"), told("Zoë", "charset-mislabelled"));
        assert_eq!(check("8859/1", None, b"\x80 Zo\xEB"), told("€ Zoë", "charset-mislabelled"));
        assert_eq!(check("8859/1", None, "Zoë".as_bytes()), told("Zoë", "charset-mislabelled"));
        assert_eq!(check("ASCII", Some("8859/5"), b"\xB8\xD2\xD0\xDD"), told("Иван", "charset-mislabelled"));
        assert_eq!(check("", None, b"Zo\xEB"), told("Zoë", "charset-undeclared"));
        assert_eq!(check("KLINGON", None, b"Zo\xEB"), told("Zoë", "charset-unknown"));
        assert_eq!(check("KLINGON", None, b"Zoe"), told("Zoe", "charset-unknown"));
    }

    #[test]
    fn latin_1_is_not_windows_1252() {
        assert_eq!(Charset::LATIN_1.decode(b"\xA4\xE9"), "¤é");
        assert_eq!(Charset::LATIN_1.decode(b"\x85"), "\u{85}");
    }
}
