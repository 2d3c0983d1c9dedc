//! Signed notes (C2SP signed-note, "Format").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const MAX_BYTES: usize = 1 << 20;

pub(crate) struct Note<'a> {
    /// What is signed: with its last newline, without the blank line.
    pub(crate) text: &'a str,
    pub(crate) signatures: Vec<Signature<'a>>,
}

pub(crate) struct Signature<'a> {
    pub(crate) name: &'a str,
    pub(crate) key_id: [u8; 4],
    pub(crate) bytes: Vec<u8>,
}

impl<'a> Note<'a> {
    pub(crate) fn parse(note: &'a str) -> Option<Note<'a>> {
        if note.len() > MAX_BYTES || note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return None;
        }
        let (text, lines) = note.rsplit_once("\n\n")?;
        let text = note.get(..text.len() + 1)?;
        let signatures: Option<Vec<_>> =
            lines.strip_suffix('\n')?.split('\n').map(Signature::parse).collect();
        Some(Note { text, signatures: signatures? })
    }
}

impl<'a> Signature<'a> {
    fn parse(line: &'a str) -> Option<Signature<'a>> {
        let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let all = STANDARD.decode(encoded).ok()?;
        let (key_id, bytes) = all.split_first_chunk::<4>()?;
        if name.is_empty() || name.contains('+') || name.contains(char::is_whitespace) {
            return None;
        }
        Some(Signature { name, key_id: *key_id, bytes: bytes.to_vec() })
    }
}
