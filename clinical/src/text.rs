//! What both standards do with text.

use std::borrow::Cow;

/// Without white space around it; nothing is copied that was not.
#[inline]
pub(crate) fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    if is_trim(&text) { text } else { trim_what_is_not(text) }
}

/// As `str::trim`.
#[inline]
pub(crate) fn trimmed(text: &str) -> &str {
    if is_trim(text) { text } else { text.trim() }
}

/// Most text has nothing to trim: a look at two bytes. `false`: it may have.
#[inline]
fn is_trim(text: &str) -> bool {
    matches!(
        (text.as_bytes().first(), text.as_bytes().last()),
        (Some(b'!'..=b'~'), Some(b'!'..=b'~')) | (None, _)
    )
}

#[cold]
fn trim_what_is_not(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// Eight bytes at once, whichever they are.
pub(crate) const ONES: u64 = 0x0101_0101_0101_0101;
/// What marks a byte of eight: its highest bit.
pub(crate) const HIGH: u64 = 0x80 * ONES;

/// Marks a byte of eight if one is `byte`; above the first such one it may mark others.
#[inline]
pub(crate) fn is(word: u64, byte: u8) -> u64 {
    let differs = word ^ (u64::from(byte) * ONES);
    differs.wrapping_sub(ONES) & !differs & HIGH
}

/// Marks a byte of eight if one is below `byte`, which is ASCII; above the first such one it may mark others.
#[inline]
pub(crate) fn is_below(word: u64, byte: u8) -> u64 {
    word.wrapping_sub(u64::from(byte) * ONES) & !word & HIGH
}

/// Whether `marks` marks any byte. It is given eight at a time; fewer, or the last ones, may be given twice.
#[inline]
pub(crate) fn any_byte(bytes: &[u8], marks: impl Fn(u64) -> u64) -> bool {
    let word = u64::from_le_bytes;
    let last = match (bytes.last_chunk(), bytes.first_chunk(), bytes.last_chunk()) {
        (Some(last), _, _) => word(*last),
        (None, Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => {
            let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
            word([first, bytes[bytes.len() / 2], last, first, first, first, first, first])
        }
    };
    bytes.as_chunks().0.iter().fold(marks(last), |found, eight| found | marks(word(*eight))) != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn eight_bytes_at_once_say_what_each_says(bytes in "[ -~\u{0}-\u{ff}]{0,20}", byte in 0_u8..128) {
            let bytes = bytes.as_bytes();
            prop_assert_eq!(any_byte(bytes, |word| is(word, byte)), bytes.contains(&byte));
            prop_assert_eq!(any_byte(bytes, |word| is_below(word, byte)), bytes.iter().any(|b| *b < byte));
        }

        #[test]
        fn what_is_trimmed(text in "[ \u{a0}\ta]{0,4}") {
            prop_assert_eq!(trimmed(&text), text.trim());
            prop_assert_eq!(trim(Cow::Borrowed(&text)), text.trim());
            prop_assert_eq!(trim(Cow::Owned(text.clone())), text.trim());
        }
    }
}
