//! Japanese text in seven bits: ISO 2022 with JIS X 0201, 0208 and 0212 (HL7 table 0211: ISO IR14, IR87, IR159).
//! encoding_rs's ISO-2022-JP, as the web's, knows no JIS X 0212; its EUC-JP does, and the codes are the same.

use encoding_rs::EUC_JP;

use super::runs::Bad;

#[derive(Clone, Copy, PartialEq)]
enum Set {
    Ascii,
    Katakana,
    Kanji,
    Supplement,
}

/// The text, or `None` where the bytes are none.
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let mut euc = Vec::with_capacity(bytes.len() * 2);
    let mut whole = true;
    characters(bytes, |_, code| {
        whole &= !code.is_empty();
        euc.extend(code);
    });
    let text = EUC_JP.decode_without_bom_handling_and_without_replacement(&euc).filter(|_| whole)?;
    Some(text.into_owned())
}

/// As [`decode`]; bytes that are none go to `bad`.
pub(super) fn decode_by_runs(bytes: &[u8], bad: Bad) -> String {
    let mut text = String::with_capacity(bytes.len());
    characters(bytes, |raw, code| match code {
        [ascii] if ascii.is_ascii() => text.push(char::from(*ascii)),
        [] => bad(raw, &mut text),
        _ => match EUC_JP.decode_without_bom_handling_and_without_replacement(code) {
            Some(character) => text.push_str(&character),
            None => bad(raw, &mut text),
        },
    });
    text
}

/// Hands over each character's bytes and what EUC-JP has for them: nothing where they are none.
fn characters(bytes: &[u8], mut each: impl FnMut(&[u8], &[u8])) {
    let mut set = Set::Ascii;
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        if byte == 0x1B {
            match designated(after) {
                Some((next, len)) => {
                    set = next;
                    rest = after.get(len..).unwrap_or_default();
                }
                None => {
                    each(&[byte], &[]);
                    rest = after;
                }
            }
            continue;
        }
        // A line's end ends every mode.
        if matches!(byte, b'\r' | b'\n') {
            set = Set::Ascii;
        }
        rest = after;
        match set {
            // Eight bits: the katakana of JIS X 0201's right half.
            Set::Ascii if byte >= 0x80 => each(&[byte], &[0x8E, byte]),
            Set::Ascii => each(&[byte], &[byte]),
            Set::Katakana => each(&[byte], &[0x8E, byte | 0x80]),
            Set::Kanji | Set::Supplement => match after.split_first() {
                Some((&second, after)) if !matches!(second, 0x1B | b'\r' | b'\n') => {
                    let code = [0x8F, byte | 0x80, second | 0x80];
                    each(&[byte, second], if set == Set::Supplement { &code } else { &code[1..] });
                    rest = after;
                }
                _ => each(&[byte], &[]),
            },
        }
    }
}

/// The set that an escape sequence turns on, and the sequence's length without ESC.
fn designated(sequence: &[u8]) -> Option<(Set, usize)> {
    match sequence {
        [b'(', b'B' | b'J', ..] => Some((Set::Ascii, 2)),
        [b'(' | b')', b'I', ..] => Some((Set::Katakana, 2)),
        [b'$', b'@' | b'B', ..] => Some((Set::Kanji, 2)),
        [b'$', b'(', b'D', ..] => Some((Set::Supplement, 3)),
        [b'$', b'(', b'@' | b'B', ..] => Some((Set::Kanji, 3)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_switched() {
        assert_eq!(decode(b"Yamada^\x1B$B;3ED\x1B(B^Taro").as_deref(), Some("Yamada^山田^Taro"));
        assert_eq!(decode(b"\x1B(I\x54\x5F\x1B(B").as_deref(), Some("ﾔﾟ"));
        assert_eq!(decode(b"\xD4\xCF\xC0\xDE").as_deref(), Some("ﾔﾏﾀﾞ"));
        // JIS X 0212 row 16 cell 1.
        assert_eq!(decode(b"\x1B$(D\x30\x21\x1B(B").as_deref(), Some("丂"));
        assert_eq!(decode(b"\x1B$B;3\r|A").as_deref(), Some("山\r|A"));
        for cut in [&b"\x1B$B;"[..], b"\x1B", b"\x1B%G", b"\x1B$B\x7F\x7F"] {
            assert_eq!(decode(cut), None);
        }
    }

    #[test]
    fn what_is_damaged_is_told_apart() {
        let read = |bytes: &[u8]| {
            let mut bad = Vec::new();
            let text = decode_by_runs(bytes, &mut |run, _| bad.extend_from_slice(run));
            (text, bad)
        };
        assert_eq!(read(b"\x1B$B;3E\x1B(B^\xE9x"), ("山^x".to_owned(), b"E\xE9".to_vec()));
        assert_eq!(read(b"\x1B%G\xD4"), ("%Gﾔ".to_owned(), b"\x1B".to_vec()));
        assert_eq!(read(b"\x1B$(D\x30\x21\x30\r|"), ("丂\r|".to_owned(), b"\x30".to_vec()));
    }
}
