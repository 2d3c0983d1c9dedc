//! What MSH-18 and configurations call charsets.

use encoding_rs::{Encoding, ISO_2022_JP};

use super::table::Part;
use super::{Charset, Kind};

impl Charset {
    /// Reads a name as MSH-18 or a configuration spells it: `8859/1`, `UNICODE UTF-8`, `windows-1252`.
    /// `None`: unknown, or one whose bytes cannot be read beside delimiters (UTF-16, UTF-32, CNS 11643).
    pub fn named(name: &str) -> Option<Charset> {
        let key = key_of(name);
        let key = key.as_str();
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
        let label = match key {
            "" => return None,
            "8859" | "LATIN1" | "L1" | "IR100" => return Some(Self::LATIN_1),
            "LATIN5" | "L5" | "IR148" => return Some(Self::of_kind(Kind::Iso8859(Part::NINE))),
            "IR166" | "TIS620" => return Some(Self::of_kind(Kind::Iso8859(Part::ELEVEN))),
            "IR87" | "IR159" | "2022JP" | "2022JP1" | "2022JP2" => return Some(Self::ISO_2022_JP),
            "UNICODE" | "UNICODEUTF8" | "UTF8" | "10646" | "IR192" => "utf-8",
            _ if ASCII.contains(&key) => "utf-8",
            "IR13" | "IR14" | "SHIFTJIS" | "SJIS" | "MS932" | "CP932" => "shift_jis",
            "EUCKR" | "CP949" | "IR149" => "euc-kr",
            "BIG5" | "BIG5HKSCS" | "CP950" => "big5",
            "IR101" => "iso-8859-2",
            "IR109" => "iso-8859-3",
            "IR110" => "iso-8859-4",
            "IR144" => "iso-8859-5",
            "IR127" => "iso-8859-6",
            "IR126" => "iso-8859-7",
            "IR138" => "iso-8859-8",
            "IR203" => "iso-8859-15",
            _ if begins(&["GB18030", "GB2312", "GBK", "CP936"]) => "gb18030",
            _ if begins(&["KSX1001", "KSC5601"]) => "euc-kr",
            _ if begins(&UNREADABLE) => return None,
            _ => {
                if let Some(part) = key.strip_prefix("8859").and_then(Part::numbered) {
                    return Some(Self::of_kind(Kind::Iso8859(part)));
                }
                match page_of_windows(key) {
                    Some(page) => return Self::labelled(&format!("windows-{page}")),
                    None => name.trim(),
                }
            }
        };
        Self::labelled(label)
    }

    /// By a name of the web's.
    fn labelled(label: &str) -> Option<Charset> {
        let found = Encoding::for_label(label.as_bytes())?;
        match Part::of(found) {
            _ if found == ISO_2022_JP => Some(Self::ISO_2022_JP),
            Some(part) => Some(Self::of_kind(Kind::Iso8859(part))),
            None => Some(Self::of(found)).filter(|_| found.is_ascii_compatible()),
        }
    }
}

/// ASCII under its names, by their keys. It is read as UTF-8, of which it is a part.
const ASCII: [&str; 8] = ["ASCII", "USASCII", "IR6", "646", "646US", "646IRV", "ANSIX341968", "ANSIX341986"];

/// Whether the name says that no byte is above 0x7F.
pub(super) fn is_ascii(name: &str) -> bool {
    ASCII.contains(&key_of(name).as_str())
}

/// What is compared of a name: letters and digits, without the publishers of standards.
fn key_of(name: &str) -> String {
    let mut key: String = without_year(name).chars().filter(char::is_ascii_alphanumeric).collect();
    key.make_ascii_uppercase();
    let rest = key.strip_prefix("ISO").unwrap_or(&key);
    let rest = rest.strip_prefix("IEC").unwrap_or(rest);
    // DICOM's names of sets that escape sequences switch to.
    let rest = rest.strip_prefix("2022").filter(|rest| rest.starts_with("IR")).unwrap_or(rest);
    rest.to_owned()
}

/// Charsets of table 0211 whose bytes cannot be told from delimiters, or that nothing here reads.
const UNREADABLE: [&str; 6] = ["UTF16", "UTF32", "UNICODEUTF16", "UNICODEUTF32", "UCS", "CNS"];

/// The year of an edition says nothing of the bytes: `ISO_8859-2:1987`.
fn without_year(name: &str) -> &str {
    match name.trim().rsplit_once(':') {
        Some((base, year)) if year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => name,
    }
}

/// `CP1252`, `WIN1252`, `WINDOWS1252`, `ANSI1252`, `1252` → `1252`.
fn page_of_windows(key: &str) -> Option<&str> {
    let page = ["CP", "WINDOWS", "WIN", "ANSI"].iter().find_map(|prefix| key.strip_prefix(prefix));
    let page = page.unwrap_or(key);
    (page == "874" || page.len() == 4 && page.starts_with("125")).then_some(page)
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
            ("ISO 10646", "UTF-8"),
            ("ISO IR192", "UTF-8"),
            ("KS X 1001:1992", "EUC-KR"),
            ("KS C 5601-1987", "EUC-KR"),
            ("ISO IR149", "EUC-KR"),
            ("ISO 2022 IR 149", "EUC-KR"),
            ("GB 2312-80", "gb18030"),
            ("GB 18030-2022", "gb18030"),
            ("ISO_8859-2:1987", "ISO-8859-2"),
            ("ISO_IR 101", "ISO-8859-2"),
            ("ISO/IEC 8859-15", "ISO-8859-15"),
            ("latin2", "ISO-8859-2"),
            ("ISO_IR 13", "Shift_JIS"),
            ("1252", "windows-1252"),
            ("CP874", "windows-874"),
            ("KOI8-R", "KOI8-R"),
        ] {
            assert_eq!(Charset::named(name).map(Charset::name), Some(iana), "{name}");
        }
        for name in [
            "",
            "UNICODE UTF-16",
            "UTF-16",
            "UNICODE UTF-32",
            "8859/12",
            "CNS 11643-1992",
            "KLINGON",
            "ISO-10646-UCS-2",
            "1987",
        ] {
            assert_eq!(Charset::named(name), None, "{name}");
        }
    }
}
