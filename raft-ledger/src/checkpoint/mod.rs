//! C2SP checkpoints (tlog-checkpoint): what size and root a site vouches for, as a signed note.

mod note;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::record::Hash;
use crate::types::LedgerError;

pub(crate) use self::note::{COSIGNATURE, ED25519, Note, NoteKey, NoteSignature, NoteVerifier, key_id};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    pub(crate) fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// The signed note. The key's name must be the checkpoint's origin.
    pub(crate) fn sign(&self, key: &NoteKey) -> Result<String, LedgerError> {
        Ok(format!("{}\n{}", self.text(), self.signature(key)?))
    }

    /// The signature line of that note.
    pub(crate) fn signature(&self, key: &NoteKey) -> Result<String, LedgerError> {
        if key.alg() != ED25519 || key.name() != self.origin {
            return Err(LedgerError::Keys(format!(
                "the log key is one of {}, not of {}",
                key.name(),
                self.origin
            )));
        }
        Ok(key.sign(&self.text()))
    }

    /// Reads a signed note and checks every signature on it that is by one of `keys`; there must be one.
    /// Returns the checkpoint and how many signatures no key of `keys` explains.
    pub(crate) fn verify(note: &[u8], keys: &[NoteVerifier]) -> Result<(Checkpoint, usize), LedgerError> {
        let damaged = |what: &str| LedgerError::Damaged(format!("checkpoint: {what}"));
        let note = Note::parse(note).ok_or_else(|| damaged("not a signed note"))?;
        let (mut good, mut unknown) = (0, 0);
        for signature in &note.signatures {
            match keys.iter().find(|key| signature.is_by(key)) {
                None => unknown += 1,
                Some(key) if signature.verifies(key, note.text) => good += 1,
                Some(key) => return Err(damaged(&format!("the signature of {} is wrong", key.vkey()))),
            }
        }
        if good == 0 {
            return Err(damaged("no signature by a known log key"));
        }
        Ok((Checkpoint::parse(note.text).ok_or_else(|| damaged("not origin, size and root"))?, unknown))
    }

    /// The text of a note; nothing is verified.
    pub(crate) fn parse(text: &str) -> Option<Checkpoint> {
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: size.parse().ok()?, root };
        // One form only: no extension lines yet, no leading zeros.
        (checkpoint.text() == text).then_some(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use signed_note::{StandardVerifier, VerifierList};

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
        assert_eq!(note, include_str!("golden.txt"));
        assert_eq!(Checkpoint::verify(note.as_bytes(), &[key().verifier()]).unwrap(), (checkpoint(), 0));
        // The signed_note crate's own verifier, from the printed key.
        let theirs = StandardVerifier::new(&key().verifier().vkey()).unwrap();
        let parsed = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
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
        let judged = |text: &str| {
            let note = format!("{text}\n{}", key().sign(text));
            Checkpoint::verify(note.as_bytes(), &[key().verifier()])
        };
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

    /// The example of C2SP tlog-cosignature: a line that others made.
    #[test]
    fn a_cosignature_has_the_form_of_the_specification() {
        let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
            — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
            — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
        let parsed = Note::parse(note.as_bytes()).unwrap();
        assert_eq!(parsed.signatures.len(), 2);
        let ours = NoteKey::new("witness.example.com/w1", COSIGNATURE, SigningKey::from_bytes(&[6; 32]));
        let line = ours.cosign(parsed.text, 1_679_315_147);
        assert_eq!(line.len(), parsed.signatures[1].line.len() + 1);
        let signature = &NoteSignature::parse_lines(&line).unwrap()[0];
        assert!(signature.verifies(&ours.verifier(), parsed.text));
        let golden = ours.cosign(&checkpoint().text(), 1_679_315_147);
        assert_eq!(golden, include_str!("golden_cosignature.txt"));
    }

    #[test]
    fn every_flipped_byte_of_a_cosignature_is_refused() {
        let key = NoteKey::new("medulla-0/site/a", COSIGNATURE, SigningKey::from_bytes(&[6; 32]));
        let text = checkpoint().text();
        let line = key.cosign(&text, 1_679_315_147).into_bytes();
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut flipped = line.clone();
                flipped[at] ^= 1 << bit;
                let accepted = std::str::from_utf8(&flipped).ok().and_then(NoteSignature::parse_lines);
                let accepted =
                    accepted.is_some_and(|all| all.iter().any(|s| s.verifies(&key.verifier(), &text)));
                assert!(!accepted, "byte {at} bit {bit}");
            }
        }
        // A cosigner's key does not sign as a log, nor the other way round.
        let log = NoteKey::new("medulla-0/site/a", ED25519, SigningKey::from_bytes(&[6; 32]));
        let plain = log.sign(&text);
        assert!(!NoteSignature::parse_lines(&plain).unwrap()[0].verifies(&key.verifier(), &text));
    }
}
