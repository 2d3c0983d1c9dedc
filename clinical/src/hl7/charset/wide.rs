//! UTF-16 and UTF-32: no delimiter can be found in their bytes, so such a file is read as UTF-8 and written back.
//! They cannot travel in MLLP frames, whose bytes they contain.

/// Whether these bytes are UTF-16 or UTF-32, which no MLLP frame can hold: its end block is among their bytes.
pub fn is_wide(bytes: &[u8]) -> bool {
    Wide::of(bytes).is_some()
}

/// The form of a file's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Wide {
    /// Bytes of a unit: 2 or 4.
    size: usize,
    big_endian: bool,
}

impl Wide {
    /// Told by a byte order mark, or by the zeros around the letters of MSH.
    pub(in super::super) fn of(bytes: &[u8]) -> Option<Wide> {
        let begins = |start: &[u8]| bytes.starts_with(start);
        let wide = |size, big_endian| Some(Wide { size, big_endian });
        match () {
            () if begins(b"\xFF\xFE\0\0") || begins(b"M\0\0\0S\0\0\0") => wide(4, false),
            () if begins(b"\0\0\xFE\xFF") || begins(b"\0\0\0M\0\0\0S") => wide(4, true),
            () if begins(b"\xFF\xFE") || begins(b"M\0S\0") => wide(2, false),
            () if begins(b"\xFE\xFF") || begins(b"\0M\0S") => wide(2, true),
            () => None,
        }
    }

    pub(in super::super) fn name(self) -> &'static str {
        match (self.size, self.big_endian) {
            (2, true) => "UTF-16BE",
            (2, false) => "UTF-16LE",
            (_, true) => "UTF-32BE",
            (_, false) => "UTF-32LE",
        }
    }

    /// The same text in UTF-8; `None` where it is none, or cut.
    pub(in super::super) fn decode(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (units, cut) = (bytes.chunks_exact(self.size), bytes.len() % self.size);
        let unit = |chunk: &[u8]| {
            let fold = |unit: u32, byte: &u8| unit << 8 | u32::from(*byte);
            if self.big_endian { chunk.iter().fold(0, fold) } else { chunk.iter().rev().fold(0, fold) }
        };
        if cut != 0 {
            return None;
        }
        let text: Option<String> = match self.size {
            2 => char::decode_utf16(units.map(|c| unit(c) as u16)).map(Result::ok).collect(),
            _ => units.map(|c| char::from_u32(unit(c))).collect(),
        };
        text.map(String::into_bytes)
    }

    /// The way back.
    pub(in super::super) fn encode(self, utf8: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(utf8.len() * self.size);
        let mut push = |unit: u32| {
            let bytes = unit.to_be_bytes();
            let unit = &bytes[4 - self.size..];
            if self.big_endian { out.extend(unit) } else { out.extend(unit.iter().rev()) }
        };
        for c in String::from_utf8_lossy(utf8).chars() {
            match self.size {
                2 => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| push(u32::from(*unit))),
                _ => push(u32::from(c)),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_are_told_apart() {
        for wide in
            [(2, false), (2, true), (4, false), (4, true)].map(|(size, big_endian)| Wide { size, big_endian })
        {
            for text in ["MSH|^~\\&|😀", "\u{FEFF}MSH|^~\\&|ü"] {
                let bytes = wide.encode(text.as_bytes());
                assert_eq!(Wide::of(&bytes), Some(wide), "{}", wide.name());
                assert_eq!(wide.decode(&bytes).as_deref(), Some(text.as_bytes()));
                assert_eq!(wide.decode(&bytes[..bytes.len() - 1]), None);
            }
        }
        assert_eq!(Wide::of(b"MSH|"), None);
        assert_eq!(Wide::of(b"M\0S\0").unwrap().decode(b"M\0\0\xD8"), None);
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same(bytes: Vec<u8>, size in prop_oneof![Just(2), Just(4)], big_endian: bool) {
            let wide = Wide { size, big_endian };
            if let Some(text) = wide.decode(&bytes) {
                prop_assert_eq!(wide.encode(&text), bytes);
            }
        }
    }
}
