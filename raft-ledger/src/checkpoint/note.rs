//! C2SP signed notes and their keys (signed-note; cosignatures: tlog-cosignature).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::keys::vkey;
use crate::record::sha256;

/// Ed25519 over the note's text: log keys.
pub(crate) const ED25519: u8 = 0x01;
/// Ed25519 over a timestamped note: cosigner keys (tlog-cosignature v1).
pub(crate) const COSIGNATURE: u8 = 0x04;
const MAX_NOTE_BYTES: usize = 64 << 10;

/// A private key of a C2SP note: `PRIVATE+KEY+name+id+base64(type ‖ seed)`.
#[derive(Clone)]
pub(crate) struct NoteKey {
    name: String,
    alg: u8,
    key: SigningKey,
}

/// The public half of a [`NoteKey`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NoteVerifier {
    name: String,
    alg: u8,
    key: VerifyingKey,
}

/// A note taken apart; nothing in it is verified yet.
pub(crate) struct Note<'a> {
    /// What is signed.
    pub(crate) text: &'a str,
    pub(crate) signatures: Vec<NoteSignature<'a>>,
}

pub(crate) struct NoteSignature<'a> {
    /// Without the newline.
    pub(crate) line: &'a str,
    name: &'a str,
    id: u32,
    bytes: Vec<u8>,
}

impl<'a> Note<'a> {
    /// `None` if `note` has another form (C2SP signed-note, "Format").
    pub(crate) fn parse(note: &'a [u8]) -> Option<Note<'a>> {
        let note = std::str::from_utf8(note).ok()?;
        if note.len() > MAX_NOTE_BYTES || note.contains(|c: char| c < ' ' && c != '\n') {
            return None;
        }
        let blank = note.rfind("\n\n")?;
        let (text, lines) = (note.get(..blank + 1)?, note.get(blank + 2..)?);
        let signatures = NoteSignature::parse_lines(lines)?;
        Some(Note { text, signatures })
    }
}

impl<'a> NoteSignature<'a> {
    /// Signature lines alone, as a cosigner returns them.
    pub(crate) fn parse_lines(lines: &'a str) -> Option<Vec<NoteSignature<'a>>> {
        lines.strip_suffix('\n')?.split('\n').map(NoteSignature::parse).collect()
    }

    /// `— name base64(key id ‖ signature)`.
    fn parse(line: &'a str) -> Option<NoteSignature<'a>> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded).ok()?;
        let (id, bytes) = decoded.split_first_chunk::<4>()?;
        Some(NoteSignature { line, name, id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
    }

    pub(crate) fn is_by(&self, key: &NoteVerifier) -> bool {
        self.name == key.name && self.id == key.id()
    }

    /// Whether it is the signature of `key` over `text`.
    pub(crate) fn verifies(&self, key: &NoteVerifier, text: &str) -> bool {
        self.is_by(key) && key.verifies(text, &self.bytes)
    }
}

impl NoteKey {
    pub(crate) fn new(name: &str, alg: u8, key: SigningKey) -> NoteKey {
        NoteKey { name: name.to_owned(), alg, key }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn alg(&self) -> u8 {
        self.alg
    }

    pub(crate) fn verifier(&self) -> NoteVerifier {
        NoteVerifier { name: self.name.clone(), alg: self.alg, key: self.key.verifying_key() }
    }

    /// The signature line with its newline: type 0x01, of a log key.
    pub(crate) fn sign(&self, text: &str) -> String {
        self.line(&self.key.sign(text.as_bytes()).to_bytes())
    }

    /// The same, type 0x04, of a cosigner key: that at `time_s` (Unix time) this was the largest consistent
    /// tree it knew.
    pub(crate) fn cosign(&self, text: &str, time_s: u64) -> String {
        let signature = self.key.sign(cosigned(text, time_s).as_bytes()).to_bytes();
        self.line(&[&time_s.to_be_bytes(), signature.as_slice()].concat())
    }

    fn line(&self, signature: &[u8]) -> String {
        let encoded = STANDARD.encode([&self.verifier().id().to_be_bytes(), signature].concat());
        format!("— {} {encoded}\n", self.name)
    }

    pub(crate) fn encode(&self) -> Zeroizing<String> {
        let seed = Zeroizing::new([&[self.alg], self.key.as_bytes().as_slice()].concat());
        let encoded = Zeroizing::new(STANDARD.encode(&*seed));
        Zeroizing::new(format!("PRIVATE+KEY+{}+{:08x}+{}", self.name, self.verifier().id(), &*encoded))
    }

    /// `None` if `text` is no such key, or its id is another's.
    pub(crate) fn parse(text: &str) -> Option<NoteKey> {
        let mut parts = text.strip_prefix("PRIVATE+KEY+")?.splitn(3, '+');
        let (name, id, typed) = (parts.next()?, parts.next()?, parts.next()?);
        let typed = Zeroizing::new(STANDARD.decode(typed).ok()?);
        let (alg, seed) = typed.split_first()?;
        let seed = Zeroizing::new(<[u8; 32]>::try_from(seed).ok()?);
        let key = NoteKey::new(name, *alg, SigningKey::from_bytes(&seed));
        (id == format!("{:08x}", key.verifier().id())).then_some(key)
    }
}

impl NoteVerifier {
    pub(crate) fn new(name: &str, alg: u8, key: VerifyingKey) -> NoteVerifier {
        NoteVerifier { name: name.to_owned(), alg, key }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn id(&self) -> u32 {
        key_id(&self.name, &[&[self.alg], self.key.as_bytes().as_slice()].concat())
    }

    pub(crate) fn public_key(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// `name+id+base64(type ‖ public key)`.
    pub(crate) fn vkey(&self) -> String {
        vkey(&self.name, &[self.alg], &self.key)
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        let holds = |text: &str, signature: &[u8]| {
            let signature = <[u8; 64]>::try_from(signature).map(|bytes| Signature::from_bytes(&bytes));
            signature.is_ok_and(|signature| self.key.verify_strict(text.as_bytes(), &signature).is_ok())
        };
        match (self.alg, signature.split_first_chunk::<8>()) {
            (ED25519, _) => holds(text, signature),
            (COSIGNATURE, Some((time_s, signature))) => {
                holds(&cosigned(text, u64::from_be_bytes(*time_s)), signature)
            }
            _ => false,
        }
    }
}

/// C2SP tlog-cosignature, "Ed25519 signed message".
fn cosigned(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

/// C2SP signed-note: the first four bytes of SHA-256(name ‖ "\n" ‖ type ‖ public key).
pub(crate) fn key_id(name: &str, typed_key: &[u8]) -> u32 {
    let [a, b, c, d, ..] = sha256(&[name.as_bytes(), b"\n", typed_key]);
    u32::from_be_bytes([a, b, c, d])
}

impl fmt::Debug for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteKey({})", self.verifier().vkey())
    }
}
