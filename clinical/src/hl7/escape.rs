//! Escape sequences (HL7 v2.9 ch. 2 §2.7).

use std::borrow::Cow;

use super::charset::Switch;
use super::{Charset, Delimiters};

/// Decodes a value: escapes to what they stand for, then bytes to text.
///
/// `\F\ \S\ \T\ \R\ \E\ \P\` become the message's own delimiters, `\Xdd..\` bytes, `\.br\` and the other
/// line breaks a newline, `\.sk n\` blanks; highlighting and layout (`\H\ \N\ \.in\ \.ti\ \.fi\ \.nf\`)
/// say nothing in plain text and go. `\Cxxyy\` and `\Mxxyyzz\` switch the character set up to the next switch or
/// the value's end. Everything else stays as it is written: `\Zdd\`, switches to sets that are not known or that
/// the bytes do not fit, unknown and unterminated sequences.
pub(super) fn decode<'b>(bytes: &'b [u8], delimiters: &Delimiters, charset: Charset) -> Cow<'b, str> {
    let step = charset.step();
    if delimiters.escape.is_none_or(|escape| step.find(bytes, escape).is_none()) {
        return charset.decode(bytes);
    }
    Cow::Owned(unescape(bytes, delimiters, charset).0)
}

/// Whether the value switches to a set that is not known, or that its bytes do not fit.
pub(super) fn has_bad_switch(bytes: &[u8], delimiters: &Delimiters, charset: Charset) -> bool {
    unescape(bytes, delimiters, charset).1
}

fn unescape(bytes: &[u8], delimiters: &Delimiters, charset: Charset) -> (String, bool) {
    let step = charset.step();
    let mut text = Text {
        charset,
        done: String::new(),
        open: Vec::with_capacity(bytes.len()),
        switch: None,
        bad: false,
    };
    let mut rest = bytes;
    let Some(escape) = delimiters.escape else { return (charset.decode(bytes).into_owned(), false) };
    while let Some((plain, after)) = split_once(rest, step.find(rest, escape)) {
        text.open.extend_from_slice(plain);
        let Some((sequence, following)) = split_once(after, step.find(after, escape)) else {
            text.open.push(escape);
            rest = after;
            break;
        };
        rest = following;
        if replace(sequence, delimiters, &mut text.open) {
            continue;
        }
        let written = [&[escape], sequence, &[escape]].concat();
        if let Some(switch) = Switch::read(sequence) {
            text.close();
            text.switch = Some((switch, written));
        } else if is_local(sequence) {
            text.bad |= sequence.first() != Some(&b'Z');
            text.open.extend_from_slice(&written);
        } else {
            // No escape sequence at all: what looked like its end may open the next one.
            text.open.push(escape);
            text.open.extend_from_slice(sequence);
            rest = after.get(sequence.len()..).unwrap_or_default();
        }
    }
    text.open.extend_from_slice(rest);
    text.close();
    (text.done, text.bad)
}

/// A value on its way from bytes to text.
struct Text {
    charset: Charset,
    done: String,
    /// Bytes since the last switch of the character set, and that switch as it was written.
    open: Vec<u8>,
    switch: Option<(Switch, Vec<u8>)>,
    bad: bool,
}

impl Text {
    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        match self.switch.take() {
            None => self.done.push_str(&self.charset.decode(&open)),
            Some((switch, written)) => match switch.decode(&open, self.charset) {
                Some(text) => self.done.push_str(&text),
                None => {
                    self.bad = true;
                    self.done.push_str(&self.charset.decode(&[written, open].concat()));
                }
            },
        }
    }
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

/// Sequences with a meaning that only sender and receiver know, or that switch to a character set not known here.
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
            (r"\Z01\\C2A42\\M30A142\", r"\Z01\\C2A42\\M30A142\"),
            (r"Anna \M2442\;3ED\C2842\ Muster", "Anna 山田 Muster"),
            (r"\M2442\;3E", r"\M2442\;3E"),
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
    fn character_sets_are_switched_within_a_value() {
        let read = |bytes: &[u8]| {
            let standard = Delimiters::STANDARD;
            let text = decode(bytes, &standard, Charset::UTF_8).into_owned();
            (text, has_bad_switch(bytes, &standard, Charset::UTF_8))
        };
        assert_eq!(read(b"Zo\\C2D41\\\xEB, \\T\\"), ("Zoë, &".to_owned(), false));
        assert_eq!(read(b"\\C2D4C\\\\XB8D2D0DD\\\\C2842\\ Zo\xC3\xAB"), ("Иван Zoë".to_owned(), false));
        assert_eq!(read(b"\\C2A7A\\abc"), ("\\C2A7A\\abc".to_owned(), true));
        assert_eq!(read(b"\\M2442\\;"), ("\\M2442\\;".to_owned(), true));
        assert_eq!(read(b"\\Z01\\"), ("\\Z01\\".to_owned(), false));
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
