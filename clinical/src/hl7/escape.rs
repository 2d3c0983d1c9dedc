//! Escape sequences (HL7 v2.9 ch. 2 §2.7).

use std::borrow::Cow;

use super::{Charset, Delimiters};

/// Decodes a value: escapes to what they stand for, then bytes to text.
///
/// `\F\ \S\ \T\ \R\ \E\ \P\` become the message's own delimiters, `\Xdd..\` bytes, `\.br\` and the other
/// line breaks a newline, `\.sk n\` blanks; highlighting and layout (`\H\ \N\ \.in\ \.ti\ \.fi\ \.nf\`)
/// say nothing in plain text and go. Everything else stays as it is written: `\Zdd\`, `\Cxxyy\` and
/// `\Mxxyyzz\`, unknown and unterminated sequences.
pub(super) fn decode<'b>(bytes: &'b [u8], delimiters: &Delimiters, charset: Charset) -> Cow<'b, str> {
    let step = charset.step();
    let Some(escape) = delimiters.escape.filter(|&e| step.find(bytes, e).is_some()) else {
        return charset.decode(bytes);
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((plain, after)) = split_once(rest, step.find(rest, escape)) {
        out.extend_from_slice(plain);
        let Some((sequence, following)) = split_once(after, step.find(after, escape)) else {
            out.push(escape);
            rest = after;
            break;
        };
        rest = following;
        if replace(sequence, delimiters, &mut out) {
            continue;
        }
        out.push(escape);
        out.extend_from_slice(sequence);
        if is_local(sequence) {
            out.push(escape);
        } else {
            // No escape sequence at all: what looked like its end may open the next one.
            rest = after.get(sequence.len()..).unwrap_or_default();
        }
    }
    out.extend_from_slice(rest);
    Cow::Owned(charset.decode(&out).into_owned())
}

/// Writes `text` so that it stands as one value between these delimiters; line breaks become `\.br\`.
/// Delimiters that the message does not use cannot occur in it as such; without an escape character the
/// ones it does use become blanks.
pub(super) fn encode(text: &str, delimiters: &Delimiters) -> String {
    let names = [
        (Some(delimiters.field), "F"),
        (delimiters.component, "S"),
        (delimiters.subcomponent, "T"),
        (delimiters.repetition, "R"),
        (delimiters.escape, "E"),
        (Some(b'\r'), ".br"),
        (Some(b'\n'), ".br"),
    ];
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let special = names.iter().find(|(d, _)| d.map(char::from) == Some(c));
        match (special, delimiters.escape.map(char::from)) {
            (None, _) => out.push(c),
            (Some(_), None) => out.push(' '),
            (Some((_, name)), Some(escape)) => {
                out.push(escape);
                out.push_str(name);
                out.push(escape);
            }
        }
    }
    out
}

fn split_once(bytes: &[u8], at: Option<usize>) -> Option<(&[u8], &[u8])> {
    let at = at?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// Appends what `sequence` (without its escape characters) stands for; `false` if it is none we know.
fn replace(sequence: &[u8], delimiters: &Delimiters, out: &mut Vec<u8>) -> bool {
    let delimiter = match sequence {
        b"F" => Some(delimiters.field),
        b"S" => delimiters.component,
        b"T" => delimiters.subcomponent,
        b"R" => delimiters.repetition,
        b"E" => delimiters.escape,
        b"P" => delimiters.truncation,
        b"H" | b"N" => return true,
        [b'X', hex @ ..] => return append_hex(hex, out),
        [b'.', command @ ..] => return format(command, out),
        _ => None,
    };
    out.extend(delimiter);
    delimiter.is_some()
}

fn append_hex(hex: &[u8], out: &mut Vec<u8>) -> bool {
    let (pairs, odd) = hex.as_chunks::<2>();
    let digit = |b: u8| char::from(b).to_digit(16);
    if pairs.is_empty() || !odd.is_empty() || !hex.iter().all(u8::is_ascii_hexdigit) {
        return false;
    }
    out.extend(pairs.iter().filter_map(|&[high, low]| u8::try_from(digit(high)? * 16 + digit(low)?).ok()));
    true
}

/// Formatting commands of FT (HL7 v2.9 ch. 2 §2.7.6). Counts above 99 are not believed.
fn format(command: &[u8], out: &mut Vec<u8>) -> bool {
    let Some((name, count)) = command.split_at_checked(2) else { return false };
    let count = count.strip_prefix(b"+").or(count.strip_prefix(b"-")).unwrap_or(count).trim_ascii();
    if count.len() > 2 || !count.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let count = count.iter().fold(0, |n, d| n * 10 + usize::from(d - b'0')).max(1);
    match name {
        b"br" | b"ce" => out.push(b'\n'),
        b"sp" => out.extend(std::iter::repeat_n(b'\n', count)),
        b"sk" => out.extend(std::iter::repeat_n(b' ', count)),
        b"in" | b"ti" | b"fi" | b"nf" => {}
        _ => return false,
    }
    true
}

/// Sequences with a meaning that only sender and receiver know, or that switch character sets.
fn is_local(sequence: &[u8]) -> bool {
    match sequence {
        [b'Z', rest @ ..] => rest.iter().all(u8::is_ascii_alphanumeric),
        [b'C', hex @ ..] => hex.len() == 4 && hex.iter().all(u8::is_ascii_hexdigit),
        [b'M', hex @ ..] => matches!(hex.len(), 4 | 6) && hex.iter().all(u8::is_ascii_hexdigit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8]) -> String {
        let delimiters = Delimiters { truncation: Some(b'#'), ..Delimiters::STANDARD };
        decode(bytes, &delimiters, Charset::UTF_8).into_owned()
    }

    #[test]
    fn escapes_of_chapter_2() {
        for (written, meant) in [
            (r"a\F\b\S\c\T\d\R\e\E\f\P\g", r"a|b^c&d~e\f#g"),
            (r"Zo\XC3AB\", "Zoë"),
            (r"\X0D0A\", "\r\n"),
            (r"one\.br\two\.sp2\three\.sk3\four", "one\ntwo\n\nthree   four"),
            (r"\H\loud\N\ \.in+4\\.ti-2\calm", "loud calm"),
            (r"\Z01\\C2842\\M30A142\", r"\Z01\\C2842\\M30A142\"),
            (r"C:\temp\F\x", r"C:\temp|x"),
            (r"\X4\ \XGG\ \X\ \.xx\ \.sp999\", r"\X4\ \XGG\ \X\ \.xx\ \.sp999\"),
            (r"open \T", r"open \T"),
            (r"\\", r"\\"),
            (r"\", r"\"),
            ("", ""),
        ] {
            assert_eq!(text(written.as_bytes()), meant, "{written}");
        }
    }

    #[test]
    fn without_an_escape_character_nothing_is_one() {
        let short = Delimiters { escape: None, subcomponent: None, ..Delimiters::STANDARD };
        assert_eq!(decode(br"a\F\b", &short, Charset::UTF_8), r"a\F\b");
        assert_eq!(encode("a|b&c^d", &short), "a b&c d");
    }

    #[test]
    fn a_second_byte_is_no_escape_character() {
        let big5 = Charset::named("BIG-5").unwrap();
        assert_eq!(decode(b"\xA5\x5C\\F\\", &Delimiters::STANDARD, big5), "功|");
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(value in "[ -~\u{e0}-\u{ff}]*") {
            let written = encode(&value, &Delimiters::STANDARD);
            prop_assert!(!written.contains(['|', '^', '~', '&']));
            prop_assert_eq!(decode(written.as_bytes(), &Delimiters::STANDARD, Charset::UTF_8), value);
        }

        #[test]
        fn no_byte_is_lost_without_an_escape(bytes in "[^\\\\]*") {
            prop_assert_eq!(text(bytes.as_bytes()), bytes);
        }
    }
}
