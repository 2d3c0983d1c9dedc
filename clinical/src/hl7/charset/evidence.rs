//! How far bytes are text of a charset. A label is wrong more often than bytes are by chance what they are not.

use super::Kind;

/// What speaks for a charset and against it.
#[derive(Clone, Copy)]
pub(super) struct Evidence {
    /// Characters beyond ASCII, weighed by how seldom other text has their bytes.
    good: usize,
    /// Of these: those of three and four bytes of UTF-8.
    long: usize,
    /// Runs of bytes that are none.
    bad: usize,
}

impl Evidence {
    pub fn of(kind: Kind, bytes: &[u8]) -> Evidence {
        if kind == Kind::UTF_8 {
            return Evidence::of_utf8(bytes);
        }
        let mut evidence = Evidence { good: 0, long: 0, bad: 0 };
        let text = kind.decode_by_runs(bytes, &mut |_, _| evidence.bad += 1);
        let weight = if kind.is_multibyte() { 3 } else { 1 };
        for c in text.chars() {
            match c {
                '\0'..='\x7F' => {}
                '\u{80}'..='\u{9F}' => evidence.bad += 1,
                // Half-width katakana have one byte.
                '\u{FF61}'..='\u{FF9F}' => evidence.good += 1,
                _ => evidence.good += weight,
            }
        }
        evidence
    }

    pub fn of_utf8(bytes: &[u8]) -> Evidence {
        let mut evidence = Evidence { good: 0, long: 0, bad: 0 };
        for chunk in bytes.utf8_chunks() {
            evidence.bad += usize::from(!chunk.invalid().is_empty());
            for c in chunk.valid().chars().filter(|c| !c.is_ascii()) {
                evidence.long += usize::from(c >= '\u{800}');
                evidence.good += weight_in_utf8(c);
            }
        }
        evidence
    }

    /// Text of that charset with some damage, rather than none of it.
    pub fn is_mostly(self) -> bool {
        self.good > self.bad
    }

    /// Whether bytes with this evidence for UTF-8 are that, and not text of a charset that was named and that they may
    /// fit as well. Two bytes of UTF-8 are often two letters or a character elsewhere; twice three bytes are not.
    pub fn outweighs_one(self, of_multibyte: bool) -> bool {
        let enough = if of_multibyte { self.long >= 2 } else { self.good >= 3 };
        enough && self.good > 8 * self.bad
    }
}

/// Its two bytes in a single-byte charset are a capital with a mark and then mostly a symbol: text has few of them.
fn weight_in_utf8(c: char) -> usize {
    match c {
        // Accents, Romanian, Greek; whatever has three bytes.
        '\u{80}'..='\u{17F}' | '\u{218}'..='\u{21B}' | '\u{370}'..='\u{3FF}' | '\u{800}'.. => 3,
        // Cyrillic, Hebrew, Arabic. `ŮŽ` of windows-1250 is one of these.
        '\u{400}'..='\u{47F}' | '\u{5C0}'..='\u{6FF}' => 1,
        // `ß“` of windows-1252, `ÓŁ` of windows-1250.
        _ => 0,
    }
}
