//! Text of bytes that a charset does not know to the last: what it knows is read, the rest is handed out.

use encoding_rs::{DecoderResult, Encoding};

/// Gets bytes that are none of the charset, and the text to which what they stand for is added.
pub(super) type Bad<'f> = &'f mut dyn FnMut(&[u8], &mut String);

/// Appends to `text`.
pub(super) fn decode_by_runs(encoding: &'static Encoding, bytes: &[u8], text: &mut String, bad: Bad) {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    text.reserve(decoder.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(bytes.len()));
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let (result, read) = decoder.decode_to_string_without_replacement(rest, text, true);
        at += read;
        match result {
            DecoderResult::InputEmpty => return,
            DecoderResult::OutputFull => text.reserve(16 + 3 * (rest.len() - read)),
            DecoderResult::Malformed(len, after) => {
                let end = at.saturating_sub(usize::from(after));
                bad(bytes.get(end.saturating_sub(usize::from(len))..end).unwrap_or_default(), text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{BIG5, EUC_KR, GB18030, SHIFT_JIS, UTF_8, WINDOWS_1253};
    use proptest::prelude::*;

    use super::*;

    fn read(encoding: &'static Encoding, bytes: &[u8]) -> String {
        let mut text = String::new();
        decode_by_runs(encoding, bytes, &mut text, &mut |bad, text| {
            text.push_str(&format!("<{}>", hex(bad)));
        });
        text
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02X}")).collect()
    }

    #[test]
    fn what_is_known_is_read() {
        assert_eq!(read(GB18030, b"\xD0\xED\xFFa\xB9\xA6\x81"), "许<FF>a功<81>");
        assert_eq!(read(GB18030, b"\x81\x30 \x81\x30\x81"), "<81>0 <813081>");
        assert_eq!(read(SHIFT_JIS, b"\x8ER\xA0\x93c"), "山<A0>田");
        assert_eq!(read(BIG5, b"\xA5\x5C\xFF"), "功<FF>");
        assert_eq!(read(WINDOWS_1253, b"\xC1\xD2\xC1"), "Α<D2>Α");
    }

    proptest! {
        /// No byte is lost, and none is read twice.
        #[test]
        fn good_and_bad_are_the_whole(bytes: Vec<u8>) {
            for encoding in [GB18030, SHIFT_JIS, BIG5, EUC_KR, WINDOWS_1253, UTF_8] {
                let mut text = String::new();
                let mut bad = 0;
                decode_by_runs(encoding, &bytes, &mut text, &mut |run, _| bad += run.len());
                prop_assert!(bad <= bytes.len());
                prop_assert_eq!(bad == 0, encoding.decode_without_bom_handling_and_without_replacement(&bytes).is_some());
                let ascii = bytes.iter().filter(|b| b.is_ascii()).count();
                prop_assert!(text.chars().filter(char::is_ascii).count() <= ascii);
            }
        }
    }
}
