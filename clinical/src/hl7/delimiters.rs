//! The characters that structure one message (HL7 v2.9 ch. 2 §2.5.4): each message brings its own.

use super::ParseError;

/// MSH-1 and MSH-2. What a short MSH-2 leaves out is `None`: that message does not use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiters {
    pub field: u8,
    pub component: Option<u8>,
    pub repetition: Option<u8>,
    pub escape: Option<u8>,
    pub subcomponent: Option<u8>,
    /// MSH-2's fifth character, from v2.7 on: stands at the end of a value that was cut.
    pub truncation: Option<u8>,
}

impl Delimiters {
    /// `|^~\&`, what the standard recommends; taken where MSH-2 is empty.
    pub const STANDARD: Delimiters = Delimiters {
        field: b'|',
        component: Some(b'^'),
        repetition: Some(b'~'),
        escape: Some(b'\\'),
        subcomponent: Some(b'&'),
        truncation: None,
    };

    /// Reads MSH-1 (one byte) and MSH-2. More than five characters, or repeated
    /// ones, are left to the structure check.
    pub(super) fn read(field: u8, encoding: &[u8]) -> Result<Delimiters, ParseError> {
        if !is_delimiter(field) {
            return Err(ParseError::SeparatorInvalid);
        }
        if encoding.is_empty() {
            return Ok(Delimiters { field, ..Self::STANDARD });
        }
        let encoding = encoding.get(..5).unwrap_or(encoding);
        if !encoding.iter().all(|&b| is_delimiter(b)) {
            return Err(ParseError::DelimitersInvalid);
        }
        // `^~\\\\&`, escaped once too often, is met in the wild: a character keeps its first meaning.
        let nth = |at: usize| {
            let found = *encoding.get(at)?;
            let before = encoding.get(..at).unwrap_or_default();
            (!before.contains(&found)).then_some(found)
        };
        Ok(Delimiters {
            field,
            component: nth(0),
            repetition: nth(1),
            escape: nth(2),
            subcomponent: nth(3),
            truncation: nth(4),
        })
    }
}

/// ASCII that cannot be taken for text: no letter, digit, blank, CR, LF or other control but the
/// separators that ASCII has (0x1C to 0x1F) and tab.
fn is_delimiter(byte: u8) -> bool {
    byte.is_ascii_punctuation() || byte == b'\t' || (0x1C..=0x1F).contains(&byte)
}
