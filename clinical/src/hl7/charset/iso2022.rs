//! Japanese text in seven bits: ISO 2022 with JIS X 0201, 0208 and 0212 (HL7 table 0211: ISO IR14, IR87, IR159).
//! encoding_rs's ISO-2022-JP, as the web's, knows no JIS X 0212; its EUC-JP does, and the codes are the same.

use encoding_rs::EUC_JP;

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
    let mut set = Set::Ascii;
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        if byte == 0x1B {
            let (next, len) = designated(after)?;
            set = next;
            rest = after.get(len..)?;
            continue;
        }
        // A line's end ends every mode.
        if matches!(byte, b'\r' | b'\n') {
            set = Set::Ascii;
        }
        rest = match set {
            // Eight bits: the katakana of JIS X 0201's right half.
            Set::Ascii if byte >= 0x80 => {
                euc.extend([0x8E, byte]);
                after
            }
            Set::Ascii => {
                euc.push(byte);
                after
            }
            Set::Katakana => {
                euc.extend([0x8E, byte | 0x80]);
                after
            }
            Set::Kanji | Set::Supplement => {
                let (&second, after) = after.split_first()?;
                if set == Set::Supplement {
                    euc.push(0x8F);
                }
                euc.extend([byte | 0x80, second | 0x80]);
                after
            }
        };
    }
    EUC_JP.decode_without_bom_handling_and_without_replacement(&euc).map(|text| text.into_owned())
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
}
