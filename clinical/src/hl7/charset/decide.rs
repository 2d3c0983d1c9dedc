//! The charset of a message: what it says of itself, what its feed says, and what its bytes say.

use std::borrow::Cow;

use super::evidence::Evidence;
use super::names::is_ascii;
use super::{Charset, Kind};
use crate::{Issue, Severity};

/// What was decided, and what to tell about it.
pub(in crate::hl7) struct Decision {
    pub charset: Charset,
    pub issue: Option<Issue>,
}

/// Decides how `bytes` are read: `declared` are MSH-18's repetitions that say something, `fallback` the feed's
/// charset.
pub(in crate::hl7) fn decide(declared: &[String], fallback: Option<&str>, bytes: &[u8]) -> Decision {
    let (ascii, escapes) = (bytes.is_ascii(), memchr::memchr(0x1B, bytes).is_some());
    if ascii && !escapes {
        let known = declared.is_empty() || declared.iter().any(|name| Charset::named(name).is_some());
        return if known { fine(Charset::UTF_8) } else { warned(Charset::UTF_8, unknown()) };
    }
    let said = Said::of(declared, fallback, ascii);
    // Escape sequences belong to ISO 2022, whichever repetition names it.
    if escapes && said.named.contains(&Charset::ISO_2022_JP) && Charset::ISO_2022_JP.fits(bytes) {
        return fine(Charset::ISO_2022_JP);
    }
    let utf8 = !ascii && std::str::from_utf8(bytes).is_ok();
    let first = said.named.first().copied();
    // Said or not: most messages go no further.
    if utf8 && first.or(said.fallback).is_none_or(|said| said == Charset::UTF_8) {
        return said.told(Charset::UTF_8, true);
    }
    let evidence = Evidence::of_utf8(bytes);
    let charset = match first {
        Some(first) if evidence.outweighs_one(first.is_multibyte()) => Charset::UTF_8,
        _ => match said.named.iter().find(|charset| charset.fits(bytes)) {
            Some(charset) => return fine(*charset),
            None => said.by_evidence(evidence, utf8, bytes),
        },
    };
    said.told(charset, charset.fits(bytes))
}

/// What MSH-18 and the feed say that bytes may be.
struct Said<'n> {
    declared: &'n [String],
    /// What can be read of `declared`. ASCII, which is read as UTF-8, is not among them where the bytes are not ASCII: it
    /// says of them what is not so.
    named: Vec<Charset>,
    /// The feed's, likewise.
    fallback: Option<Charset>,
    /// The feed says ASCII, and that is not so.
    feed_denies: bool,
}

impl<'n> Said<'n> {
    fn of(declared: &'n [String], fallback: Option<&str>, ascii: bool) -> Said<'n> {
        let denied = |name: &str| !ascii && is_ascii(name);
        let read = |name: &str| Charset::named(name).filter(|_| !denied(name));
        Said {
            declared,
            named: declared.iter().filter_map(|name| read(name)).collect(),
            fallback: fallback.and_then(read),
            feed_denies: fallback.is_some_and(denied),
        }
    }

    /// What bytes are that fit nothing they are called.
    fn by_evidence(&self, evidence: Evidence, utf8: bool, bytes: &[u8]) -> Charset {
        let Said { named, fallback, .. } = self;
        if named.contains(&Charset::UTF_8) && evidence.is_mostly() {
            return Charset::UTF_8;
        }
        let fitting =
            fallback.filter(|charset| charset.fits(bytes) && !evidence.outweighs_one(charset.is_multibyte()));
        if let Some(charset) = fitting.filter(|charset| charset.is_multibyte()) {
            return charset;
        }
        let damaged = |charset: &&Charset| !utf8 && charset.is_multibyte() && charset.is_mostly(bytes);
        if let Some(charset) = named.iter().find(damaged).copied().or(fitting) {
            return charset;
        }
        if utf8 || evidence.is_mostly() {
            return Charset::UTF_8;
        }
        let larger = named.first().map(|first| first.larger(bytes));
        let known = |charset: &Charset| charset.fits(bytes) || charset.is_mostly(bytes);
        fallback
            .filter(|charset| charset.is_mostly(bytes))
            .or(larger.filter(known))
            .unwrap_or(Charset::WINDOWS_1252)
    }

    /// With what is to be told where `charset` is not what the message says, or not all of its bytes (`whole`).
    fn told(self, charset: Charset, whole: bool) -> Decision {
        let Said { declared, named, fallback, feed_denies } = self;
        let charset = match fallback.filter(|fallback| !whole && !fallback.is_multibyte()) {
            Some(fallback) if fallback.kind != Kind::UTF_8 => Charset { spare: fallback.kind, ..charset },
            _ => charset,
        };
        let issue = match declared.first() {
            Some(_) if whole && named.contains(&charset) => None,
            Some(_) if declared.iter().any(|name| Charset::named(name).is_some()) => {
                Some(mislabelled(&read_as(charset, whole)))
            }
            Some(name) if is_refused(name) => Some(refused()),
            Some(_) => Some(unknown()),
            None if whole && fallback == Some(charset) => None,
            None if feed_denies => {
                Some(undeclared("ASCII, as the feed's charset says", &read_as(charset, whole)))
            }
            None if whole && charset == Charset::UTF_8 => None,
            None => Some(undeclared("UTF-8 throughout", &read_as(charset, whole))),
        };
        Decision { charset, issue }
    }
}

/// Where bytes do not fit: what they were read as.
fn read_as(charset: Charset, whole: bool) -> String {
    let name = charset.name();
    match charset.kind {
        Kind::Iso8859(_) if !whole => format!("{name}, with controls for 0x80 to 0x9F"),
        Kind::Extended(part) => {
            let windows = part.windows().map_or(name, |windows| windows.name());
            format!("{name}, with {windows}'s characters for 0x80 to 0x9F")
        }
        _ if !whole => format!("{name}, damaged bytes as {}", charset.spare.name()),
        _ => name.to_owned(),
    }
}

fn is_refused(name: &str) -> bool {
    name.trim().to_ascii_uppercase().starts_with("CNS")
}

fn fine(charset: Charset) -> Decision {
    Decision { charset, issue: None }
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
        &format!(
            "the bytes do not fit MSH-18 and were read as {read_as}: correct MSH-18, or what cuts or mixes the text"
        ),
    )
}

fn undeclared(not: &str, read_as: &str) -> Issue {
    issue(
        "charset-undeclared",
        &format!(
            "MSH-18 is empty and the bytes are not {not}; they were read as {read_as}: name the charset in MSH-18 or in \
             the feed's charset"
        ),
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

    /// The text and the code of what is told.
    fn check(declared: &str, fallback: Option<&str>, bytes: &[u8]) -> (String, Option<String>) {
        let declared: Vec<String> =
            declared.split('~').filter(|name: &&str| !name.is_empty()).map(str::to_owned).collect();
        let decision = decide(&declared, fallback, bytes);
        let text = decision.charset.decode(bytes).into_owned();
        assert!(!text.contains('\u{FFFD}'));
        (text, decision.issue.map(|i| i.code.into_owned()))
    }

    fn fine(text: &str) -> (String, Option<String>) {
        (text.to_owned(), None)
    }

    fn told(text: &str, code: &str) -> (String, Option<String>) {
        (text.to_owned(), Some(code.to_owned()))
    }

    #[test]
    fn bytes_decide_against_a_wrong_label() {
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
    fn what_is_called_ascii_and_is_not_is_told() {
        let (zoe, wrong) = ("Zoë".as_bytes(), "charset-mislabelled");
        for ascii in ["ASCII", "US-ASCII", "ISO IR6", "ISO 646", "ANSI_X3.4-1968"] {
            assert_eq!(check(ascii, None, b"Zoe"), fine("Zoe"), "{ascii}");
            assert_eq!(check(ascii, None, zoe), told("Zoë", wrong), "{ascii}");
            assert_eq!(check(ascii, None, b"Zo\xEB"), told("Zoë", wrong), "{ascii}");
            assert_eq!(check("", Some(ascii), b"Zoe"), fine("Zoe"), "{ascii}");
            assert_eq!(check("", Some(ascii), zoe), told("Zoë", "charset-undeclared"), "{ascii}");
            assert_eq!(check("", Some(ascii), b"Zo\xEB"), told("Zoë", "charset-undeclared"), "{ascii}");
        }
        // Beside a name that the bytes are as well, it says nothing wrong.
        assert_eq!(check("ASCII~UNICODE UTF-8", None, zoe), fine("Zoë"));
        assert_eq!(check("ASCII~8859/1", None, b"Zo\xEB"), fine("Zoë"));
        assert_eq!(check("ASCII~8859/1", None, zoe), told("Zoë", wrong));
        assert_eq!(check("ASCII", Some("UTF-8"), zoe), told("Zoë", wrong));
        let texts = [decide(&["ASCII".into()], None, zoe), decide(&[], Some("ASCII"), zoe)];
        let texts = texts.map(|decision| decision.issue.unwrap().text);
        assert!(texts[0].contains("do not fit MSH-18 and were read as UTF-8"), "{texts:?}");
        assert!(
            texts[1].contains("not ASCII, as the feed's charset says; they were read as UTF-8"),
            "{texts:?}"
        );
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
    fn one_bad_byte_does_not_turn_a_message() {
        let wrong = "charset-mislabelled";
        let cut = b"M\xC3\xBCller|gro\xC3";
        assert_eq!(check("UNICODE UTF-8", None, cut), told("Müller|groÃ", wrong));
        assert_eq!(
            check("UNICODE UTF-8~8859/1", None, b"M\xC3\xBCller \xC3\xA4\xC3\xB6\xC3\xBC|gro\xC3").0,
            "Müller äöü|groÃ"
        );
        assert_eq!(check("", None, cut), told("Müller|groÃ", "charset-undeclared"));
        assert_eq!(check("UNICODE UTF-8", Some("windows-1252"), cut), told("Müller|groÃ", wrong));
        assert_eq!(
            check("8859/1", None, b"M\xC3\xBCller, \xC3\xA4\xC3\xB6\xC3\xBC|gro\xC3"),
            told("Müller, äöü|groÃ", wrong)
        );
        let name = |declared: &str, bytes: &[u8]| decide(&[declared.to_owned()], None, bytes).charset.name();
        for (declared, bytes) in [
            ("GB 18030-2000", &b"\x81\x7C\x81\x5E\x81\x7E^Anna|\xFF"[..]),
            ("ISO IR14", b"\x83\x7C\x83\x5E\x83\x7E^Anna|\xFF"),
            ("BIG-5", b"\xA5\x5C\xB3\x5C^Anna|\xFF"),
            ("KS X 1001", b"\xB1\xE8\xC3\xB6^Anna|\xFF"),
            ("ISO IR87", b"\x1B$B;|E^\x1B(B^Anna|\xE9"),
        ] {
            assert_eq!(name(declared, bytes), Charset::named(declared).unwrap().name());
            assert_eq!(check(declared, None, bytes).1.as_deref(), Some(wrong), "{declared}");
        }
        assert_eq!(check("8859/7", None, b"\xC1\xE8\xDE\xED\xE1 \xD2"), told("Αθήνα Ò", wrong));
        // What is none of the charset stays with what it is: no multi-byte sequence, or by chance.
        assert_eq!(check("UNICODE UTF-8", None, b"J\xE4ger, \x84Spa\xDF\x93"), told("Jäger, „Spaß“", wrong));
        assert_eq!(check("UNICODE UTF-8", Some("windows-1250"), b"\xAF\xD3\xA3\xC6"), told("ŻÓŁĆ", wrong));
        assert_eq!(check("ISO IR87", None, b"Zo\xEB"), told("Zoë", wrong));
    }

    #[test]
    fn windows_is_read_where_iso_has_controls() {
        let wrong = "charset-mislabelled";
        assert_eq!(check("8859/2", None, b"\x8Akoda"), told("Škoda", wrong));
        assert_eq!(check("8859/2", None, b"\x8Cliwa D\xB9browski"), told("Śliwa Dąbrowski", wrong));
        assert_eq!(check("8859/2", None, b"\xA9af\xE1r\xB9 \x96"), told("Šafárš –", wrong));
        assert_eq!(check("8859/15", None, b"\x80 \x93\xA4"), told("€ “€", wrong));
        assert_eq!(check("8859/13", None, b"\x94 \xE0"), told("” ą", wrong));
        assert_eq!(check("8859/7", None, b"\x93\xC1\xE8\xDE\xED\xE1\x94"), told("“Αθήνα”", wrong));
        assert_eq!(check("8859/8", None, b"\x93\xE0"), told("“א", wrong));
        assert_eq!(check("8859/5", None, b"\xB8\xD2\xD0\xDD\x85"), told("Иван\u{85}", wrong));
        assert_eq!(check("8859/6", None, b"\xC7\x90\xC8"), told("ا\u{90}ب", wrong));
        assert_eq!(check("8859/2", None, b"\xA9afr\xE1nek"), fine("Šafránek"));
        // `ŮŽ` is also a character of two bytes in UTF-8.
        assert_eq!(check("8859/2", None, b"R\xD9\xAEENA"), fine("RŮŽENA"));
        assert_eq!(check("windows-1250", None, b"R\xD9\x8EENA"), fine("RŮŽENA"));
        assert_eq!(check("", Some("windows-1250"), b"R\xD9\x8EENA"), fine("RŮŽENA"));
    }

    #[test]
    fn utf8_is_told_from_charsets_that_take_its_bytes() {
        let wrong = "charset-mislabelled";
        for label in ["GB 18030-2000", "ISO IR14", "BIG-5", "KS X 1001"] {
            assert_eq!(check(label, None, "许功^Anna".as_bytes()), told("许功^Anna", wrong), "{label}");
            assert_eq!(
                check(label, None, "山田太郎^Anna".as_bytes()),
                told("山田太郎^Anna", wrong),
                "{label}"
            );
        }
        assert_eq!(check("", Some("GB18030"), "许功^Anna".as_bytes()), fine("许功^Anna"));
        // Characters whose bytes are UTF-8 by chance.
        assert_eq!(check("KS X 1001", None, b"\xC3\xB5"), fine("천"));
        assert_eq!(check("GB 18030-2000", None, b"\xC2\xB3"), fine("鲁"));
        assert_eq!(check("", Some("GB18030"), b"\xC2\xB3\xC2\xB3"), fine("鲁鲁"));
    }
}
