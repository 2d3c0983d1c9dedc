//! MSH-18 (HL7 table 0211) and what its bytes really are.
//!
//! Policy: the first charset that MSH-18 names and the bytes fit is used; else the feed's fallback, else UTF-8,
//! else windows-1252 (or Microsoft's larger form of what was named), with an issue. A value is never filled with
//! U+FFFD.

mod iso2022;
mod switch;
mod table;
mod wide;

use std::borrow::Cow;

use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, WINDOWS_1252};

use super::scan::Step;
use crate::{Issue, Severity};
pub(super) use switch::Switch;
use table::Part;
pub(super) use wide::Wide;

/// How the bytes of a message become text.
#[derive(Clone, Copy, PartialEq)]
pub struct Charset(Kind);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// ISO's own table, where encoding_rs has only Microsoft's.
    Iso8859(Part),
    /// Read here, for JIS X 0212.
    Iso2022Jp,
    Table(&'static Encoding),
}

/// What was decided, and what to tell about it.
pub(super) struct Decision {
    pub charset: Charset,
    pub issue: Option<Issue>,
}

impl Charset {
    pub const UTF_8: Charset = Charset(Kind::Table(UTF_8));
    pub const LATIN_1: Charset = Charset(Kind::Iso8859(Part::One));
    pub const WINDOWS_1252: Charset = Charset(Kind::Table(WINDOWS_1252));
    const ISO_2022_JP: Charset = Charset(Kind::Iso2022Jp);

    /// Reads a name as MSH-18 or a configuration spells it: `8859/1`, `UNICODE UTF-8`, `windows-1252`.
    /// `None`: unknown, or one whose bytes cannot be read beside delimiters (UTF-16, UTF-32, CNS 11643).
    pub fn named(name: &str) -> Option<Charset> {
        let mut key: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        key.make_ascii_uppercase();
        let key = key.strip_prefix("ISO").unwrap_or(&key);
        let label = match key {
            "" => return None,
            "88591" | "8859" | "LATIN1" | "L1" | "IR100" => return Some(Self::LATIN_1),
            "88599" | "LATIN5" | "L5" | "IR148" => return Some(Charset(Kind::Iso8859(Part::Nine))),
            "885911" | "IR166" | "TIS620" => return Some(Charset(Kind::Iso8859(Part::Eleven))),
            "IR87" | "IR159" | "2022JP" | "2022JP1" | "2022JP2" => return Some(Self::ISO_2022_JP),
            "ASCII" | "USASCII" | "IR6" | "646" | "UNICODE" | "UNICODEUTF8" | "UTF8" => "utf-8",
            "IR14" | "SHIFTJIS" | "SJIS" | "MS932" | "CP932" => "shift_jis",
            "GB180302000" | "GB180302005" | "GB18030" | "GB2312" | "GBK" | "CP936" => "gb18030",
            "KSX1001" | "KSX10011997" | "KSC5601" | "EUCKR" | "CP949" => "euc-kr",
            "BIG5" | "BIG5HKSCS" | "CP950" => "big5",
            _ if is_unreadable(key) => return None,
            _ => {
                let label = match key.strip_prefix("8859") {
                    Some(part) => format!("iso-8859-{part}"),
                    None => match digits_of_windows(key) {
                        Some(page) => format!("windows-{page}"),
                        None => name.trim().to_owned(),
                    },
                };
                return Encoding::for_label(label.as_bytes())
                    .filter(|found| found.is_ascii_compatible() || *found == ISO_2022_JP)
                    .map(|found| {
                        Charset(if found == ISO_2022_JP { Kind::Iso2022Jp } else { Kind::Table(found) })
                    });
            }
        };
        Encoding::for_label(label.as_bytes()).map(|found| Charset(Kind::Table(found)))
    }

    fn of(encoding: &'static Encoding) -> Charset {
        Charset(Kind::Table(encoding))
    }

    /// IANA's name.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Iso8859(part) => part.name(),
            Kind::Iso2022Jp => "ISO-2022-JP",
            Kind::Table(encoding) => encoding.name(),
        }
    }

    /// Text of a value. Bytes that do not fit (a cut character, an `\X..\` escape) are read as
    /// windows-1252, which knows them all.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        // Most text; and in each charset that can be read beside delimiters ASCII is itself, but for ISO 2022.
        if self.0 != Kind::Iso2022Jp
            && let Ok(text) = std::str::from_utf8(bytes)
            && (self == Self::UTF_8 || text.is_ascii())
        {
            return Cow::Borrowed(text);
        }
        self.decode_strictly(bytes).unwrap_or_else(|| WINDOWS_1252.decode_without_bom_handling(bytes).0)
    }

    fn decode_strictly(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self.0 {
            Kind::Iso8859(_) if bytes.is_ascii() => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Kind::Iso8859(part) => Some(Cow::Owned(bytes.iter().map(|&b| part.decode(b)).collect())),
            Kind::Iso2022Jp => iso2022::decode(bytes).map(Cow::Owned),
            Kind::Table(encoding) if encoding == UTF_8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Kind::Table(encoding) => encoding.decode_without_bom_handling_and_without_replacement(bytes),
        }
    }

    fn fits(self, bytes: &[u8]) -> bool {
        match self.0 {
            // 0x80 to 0x9F are controls that nobody sends: such bytes come from a larger charset or UTF-8.
            Kind::Iso8859(part) => bytes.iter().all(|b| part.has(*b)),
            _ => self.decode_strictly(bytes).is_some(),
        }
    }

    /// What bytes that this charset was named for, and that do not fit it, mostly are.
    fn larger(self) -> Charset {
        match self.0 {
            Kind::Iso8859(part) => Charset(Kind::Table(part.larger())),
            _ => Self::WINDOWS_1252,
        }
    }

    pub(super) fn step(self) -> Step {
        match self.0 {
            Kind::Iso2022Jp => Step::Iso2022,
            Kind::Table(e) if e == UTF_8 => Step::Byte,
            Kind::Table(e) if e == encoding_rs::SHIFT_JIS => Step::ShiftJis,
            Kind::Table(e)
                if e == encoding_rs::GB18030 || e == encoding_rs::GBK || e == encoding_rs::BIG5 =>
            {
                Step::Pair
            }
            _ => Step::Byte,
        }
    }
}

/// Charsets of table 0211 whose bytes cannot be told from delimiters, or that nothing here reads.
fn is_unreadable(key: &str) -> bool {
    ["UTF16", "UTF32", "UNICODEUTF16", "UNICODEUTF32", "UCS", "CNS"].iter().any(|k| key.starts_with(k))
}

/// `CP1252`, `WIN1252`, `WINDOWS1252`, `ANSI1252` → `1252`.
fn digits_of_windows(key: &str) -> Option<&str> {
    let page = ["CP", "WINDOWS", "WIN", "ANSI"].iter().find_map(|prefix| key.strip_prefix(prefix))?;
    (page.len() == 4 && page.starts_with("125")).then_some(page)
}

impl std::fmt::Debug for Charset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Decides how `bytes` are read: `declared` are MSH-18's repetitions that say something, `fallback` the feed's
/// charset.
pub(super) fn decide(declared: &[String], fallback: Option<&str>, bytes: &[u8]) -> Decision {
    let named: Vec<Charset> = declared.iter().filter_map(|name| Charset::named(name)).collect();
    let escapes = memchr::memchr(0x1B, bytes).is_some();
    if bytes.is_ascii() && !escapes {
        return match (declared.first(), named.is_empty()) {
            (Some(_), true) => warned(Charset::UTF_8, unknown()),
            _ => Decision { charset: Charset::UTF_8, issue: None },
        };
    }
    let utf8 = std::str::from_utf8(bytes).is_ok() && !bytes.is_ascii();
    let fallback = fallback.and_then(Charset::named);
    // Escape sequences belong to ISO 2022, whichever repetition names it.
    if escapes && named.contains(&Charset::ISO_2022_JP) && Charset::ISO_2022_JP.fits(bytes) {
        return Decision { charset: Charset::ISO_2022_JP, issue: None };
    }
    match named.first() {
        // Text in a single-byte charset is practically never valid UTF-8 by chance.
        Some(charset) if utf8 && *charset != Charset::UTF_8 && charset.step() == Step::Byte => {
            match named.contains(&Charset::UTF_8) {
                true => Decision { charset: Charset::UTF_8, issue: None },
                false => warned(Charset::UTF_8, mislabelled("UTF-8")),
            }
        }
        Some(first) => match named.iter().find(|charset| charset.fits(bytes)) {
            Some(charset) => Decision { charset: *charset, issue: None },
            None => {
                let charset = by_evidence(fallback, utf8, first.larger(), bytes);
                warned(charset, mislabelled(charset.name()))
            }
        },
        None => match declared.first() {
            Some(name) if is_refused(name) => {
                let charset = by_evidence(fallback, utf8, Charset::WINDOWS_1252, bytes);
                Decision { charset, issue: Some(refused()) }
            }
            Some(_) => warned(by_evidence(fallback, utf8, Charset::WINDOWS_1252, bytes), unknown()),
            None => undeclared(fallback, utf8, bytes),
        },
    }
}

fn is_refused(name: &str) -> bool {
    name.trim().to_ascii_uppercase().starts_with("CNS")
}

fn undeclared(fallback: Option<Charset>, utf8: bool, bytes: &[u8]) -> Decision {
    let charset = by_evidence(fallback, utf8, Charset::WINDOWS_1252, bytes);
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

fn by_evidence(fallback: Option<Charset>, utf8: bool, last: Charset, bytes: &[u8]) -> Charset {
    match fallback {
        Some(charset) if charset.fits(bytes) && (!utf8 || charset.step() != Step::Byte) => charset,
        _ if utf8 => Charset::UTF_8,
        _ if last.fits(bytes) => last,
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

fn refused() -> Issue {
    let text =
        "the charset that MSH-18 names cannot be read: send UNICODE UTF-8 or BIG-5; the bytes are kept";
    Issue { severity: Severity::Error, ..issue("charset-unsupported", text) }
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
            ("ISO IR159", "ISO-2022-JP"),
            ("windows-1252", "windows-1252"),
            ("CP1252", "windows-1252"),
            ("WIN-1254", "windows-1254"),
            ("8859/9", "ISO-8859-9"),
            ("ISO_8859-11", "ISO-8859-11"),
            ("TIS-620", "ISO-8859-11"),
            ("8859/10", "ISO-8859-10"),
            ("ISO8859-14", "ISO-8859-14"),
            ("KS C 5601", "EUC-KR"),
            ("ISO IR6", "UTF-8"),
        ] {
            assert_eq!(Charset::named(name).map(Charset::name), Some(iana), "{name}");
        }
        for name in ["", "UNICODE UTF-16", "UTF-16", "UNICODE UTF-32", "8859/12", "CNS 11643-1992", "KLINGON"]
        {
            assert_eq!(Charset::named(name), None, "{name}");
        }
    }

    #[test]
    fn bytes_decide_against_a_wrong_label() {
        let check = |declared: &str, fallback, bytes: &[u8]| {
            let declared: Vec<String> =
                declared.split('~').filter(|name: &&str| !name.is_empty()).map(str::to_owned).collect();
            let decision = decide(&declared, fallback, bytes);
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
        assert_eq!(check("8859/9", None, b"\xDEi\xFEli"), fine("Şişli"));
        assert_eq!(check("8859/9", None, b"\x80 \xDEi"), told("€ Şi", "charset-mislabelled"));
        assert_eq!(check("8859/11", None, b"\xA1\xA2"), fine("กข"));
        assert_eq!(check("CNS 11643-1992", None, b"\xA4\xA4").1.as_deref(), Some("charset-unsupported"));
        assert_eq!(check("CNS 11643-1992", None, b"plain"), told("plain", "charset-unknown"));
    }

    #[test]
    fn every_repetition_counts() {
        let name = |declared: &[&str], bytes: &[u8]| {
            let declared: Vec<String> = declared.iter().map(|name| (*name).to_owned()).collect();
            let decision = decide(&declared, None, bytes);
            (decision.charset.name(), decision.issue.is_some())
        };
        assert_eq!(name(&["ASCII", "ISO IR87"], b"\x1B$B;3ED\x1B(B"), ("ISO-2022-JP", false));
        assert_eq!(name(&["ISO IR14", "ISO IR87"], b"\x1B$B;3ED\x1B(B"), ("ISO-2022-JP", false));
        assert_eq!(name(&["ASCII", "8859/1"], b"Zo\xEB"), ("ISO-8859-1", false));
        assert_eq!(name(&["8859/1", "UNICODE UTF-8"], "Zoë".as_bytes()), ("UTF-8", false));
        assert_eq!(name(&["ASCII", "KLINGON"], b"Zo\xEB"), ("windows-1252", true));
        assert_eq!(name(&["UNICODE UTF-16"], b"Zoe"), ("UTF-8", true));
    }

    #[test]
    fn latin_1_is_not_windows_1252() {
        assert_eq!(Charset::LATIN_1.decode(b"\xA4\xE9"), "¤é");
        assert_eq!(Charset::LATIN_1.decode(b"\x85"), "\u{85}");
    }
}
