//! C2SP checkpoints (tlog-checkpoint): what size and root a site vouches for, as a signed note.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::keys::vkey;
use crate::record::{Hash, sha256};
use crate::types::LedgerError;

/// Ed25519 over the note's text: log keys.
pub(crate) const ED25519: u8 = 0x01;
/// Ed25519 over a timestamped note: cosigner keys (tlog-cosignature v1).
pub(crate) const COSIGNATURE: u8 = 0x04;
const MAX_NOTE_BYTES: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

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

impl Checkpoint {
    /// The text that is signed.
    pub(crate) fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// The signed note. The key's name must be the checkpoint's origin.
    pub(crate) fn sign(&self, key: &NoteKey) -> Result<String, LedgerError> {
        if key.alg != ED25519 || key.name != self.origin {
            return Err(LedgerError::Keys(format!(
                "the log key is one of {}, not of {}",
                key.name, self.origin
            )));
        }
        Ok(key.sign(&self.text()))
    }

    /// Reads a signed note and checks every signature on it that is by one of `keys`; there must be one.
    /// Returns the checkpoint and how many signatures no key of `keys` explains.
    pub(crate) fn verify(note: &[u8], keys: &[NoteVerifier]) -> Result<(Checkpoint, usize), LedgerError> {
        let damaged = |what: &str| LedgerError::Damaged(format!("checkpoint: {what}"));
        let (text, signatures) = split_note(note).ok_or_else(|| damaged("not a signed note"))?;
        let (mut good, mut unknown) = (0, 0);
        for line in signatures.lines() {
            let (name, id, signature) =
                parse_signature(line).ok_or_else(|| damaged("not a signature line"))?;
            match keys.iter().find(|key| key.name == name && key.id() == id) {
                None => unknown += 1,
                Some(key) if key.verifies(text.as_bytes(), &signature) => good += 1,
                Some(key) => return Err(damaged(&format!("the signature of {} is wrong", key.vkey()))),
            }
        }
        if good == 0 {
            return Err(damaged("no signature by a known log key"));
        }
        Ok((Checkpoint::parse(text).ok_or_else(|| damaged("not origin, size and root"))?, unknown))
    }

    fn parse(text: &str) -> Option<Checkpoint> {
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: size.parse().ok()?, root };
        // One form only: no extension lines yet, no leading zeros.
        (checkpoint.text() == text).then_some(checkpoint)
    }
}

/// The signed text, and the signature lines after the blank line (C2SP signed-note, "Format").
fn split_note(note: &[u8]) -> Option<(&str, &str)> {
    let note = std::str::from_utf8(note).ok()?;
    if note.len() > MAX_NOTE_BYTES || note.contains(|c: char| c < ' ' && c != '\n') {
        return None;
    }
    let blank = note.rfind("\n\n")?;
    let signatures = note.get(blank + 2..)?;
    (signatures.ends_with('\n')).then_some((note.get(..blank + 1)?, signatures))
}

/// `— name base64(key id ‖ signature)`.
fn parse_signature(line: &str) -> Option<(&str, u32, Vec<u8>)> {
    let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
    let decoded = STANDARD.decode(encoded).ok()?;
    let (id, signature) = decoded.split_first_chunk::<4>()?;
    Some((name, u32::from_be_bytes(*id), signature.to_vec()))
}

impl NoteKey {
    pub(crate) fn new(name: &str, alg: u8, key: SigningKey) -> NoteKey {
        NoteKey { name: name.to_owned(), alg, key }
    }

    pub(crate) fn verifier(&self) -> NoteVerifier {
        NoteVerifier { name: self.name.clone(), alg: self.alg, key: self.key.verifying_key() }
    }

    /// The note: text, blank line, signature line.
    fn sign(&self, text: &str) -> String {
        let mut signature = self.verifier().id().to_be_bytes().to_vec();
        signature.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n— {} {}\n", self.name, STANDARD.encode(signature))
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

    /// `name+id+base64(type ‖ public key)`.
    pub(crate) fn vkey(&self) -> String {
        vkey(&self.name, &[self.alg], &self.key)
    }

    fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = <[u8; 64]>::try_from(signature) else { return false };
        self.alg == ED25519 && self.key.verify_strict(text, &Signature::from_bytes(&signature)).is_ok()
    }
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

#[cfg(test)]
mod tests {
    use signed_note::{Note, StandardVerifier, VerifierList};

    use super::*;

    fn key() -> NoteKey {
        NoteKey::new("medulla-0/group/1", ED25519, SigningKey::from_bytes(&[5; 32]))
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "medulla-0/group/1".into(), size: 20_852_163, root: [0x5a; 32] }
    }

    #[test]
    fn a_checkpoint_is_the_golden_note_and_others_accept_it() {
        let note = checkpoint().sign(&key()).unwrap();
        assert_eq!(note, include_str!("checkpoint.golden.txt"));
        assert_eq!(Checkpoint::verify(note.as_bytes(), &[key().verifier()]).unwrap(), (checkpoint(), 0));
        // The signed_note crate's own verifier, from the printed key.
        let theirs = StandardVerifier::new(&key().verifier().vkey()).unwrap();
        let parsed = Note::from_bytes(note.as_bytes()).unwrap();
        let (verified, _) = parsed.verify(&VerifierList::new(vec![Box::new(theirs)])).unwrap();
        assert_eq!(verified.len(), 1);
    }

    #[test]
    fn every_flipped_byte_is_refused() {
        let note = checkpoint().sign(&key()).unwrap().into_bytes();
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut flipped = note.clone();
                flipped[at] ^= 1 << bit;
                assert!(Checkpoint::verify(&flipped, &[key().verifier()]).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_signed_text_of_another_form_is_no_checkpoint() {
        let text = checkpoint().text();
        let judged = |text: &str| Checkpoint::verify(key().sign(text).as_bytes(), &[key().verifier()]);
        assert!(judged(&text).is_ok());
        for other in [text.replace("\n20", "\n020"), text.clone() + "more\n", "a\nb\n".into()] {
            assert!(judged(&other).is_err(), "{other}");
        }
    }

    #[test]
    fn keys_are_read_again_and_never_printed() {
        let read = NoteKey::parse(&key().encode()).unwrap();
        assert_eq!(read.verifier(), key().verifier());
        assert!(!format!("{read:?}").contains("PRIVATE"));
        assert!(NoteKey::parse(&key().encode().replace("group/1", "group/2")).is_none());
        let cosigner = NoteKey::new("medulla-0/group/1", COSIGNATURE, SigningKey::from_bytes(&[5; 32]));
        assert!(checkpoint().sign(&cosigner).is_err());
        let other = NoteKey::new("medulla-0/group/1", ED25519, SigningKey::from_bytes(&[6; 32]));
        let note = checkpoint().sign(&key()).unwrap();
        assert!(Checkpoint::verify(note.as_bytes(), &[other.verifier()]).is_err());
    }
}
