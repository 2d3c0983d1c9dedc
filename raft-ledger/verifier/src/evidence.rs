//! Evidence against a site: two checkpoints of one size with two roots, both signed by one key.

use serde::{Deserialize, Serialize};

use crate::Refusal;
use crate::checkpoint::parse;
use crate::keys::{Key, Keys};
use crate::note::Note;

/// Evidence that holds.
#[derive(Debug, Serialize)]
pub struct Evidence {
    pub origin: String,
    /// Leaves of both trees.
    pub size: u64,
    /// The two roots, lowercase hex.
    pub roots: [String; 2],
    /// Verifier keys that signed both: name and key id. Whose they are, who brought the keys knows.
    pub signed_both: Vec<String>,
}

/// As a site writes it: `evidence` in its data folder. Only the notes prove.
#[derive(Deserialize)]
struct File {
    notes: [String; 2],
}

/// Judges an evidence file by `keys`.
///
/// # Errors
/// It proves nothing: another form, equal roots, other sizes or logs, or no key signed both.
pub fn judge_evidence(file: &[u8], keys: &Keys) -> Result<Evidence, Refusal> {
    let form = |what| Refusal::Form { what };
    let File { notes } =
        serde_json::from_slice(file).map_err(|_| form("not an evidence file with two notes"))?;
    let [first, second] = &notes;
    let (Some(first), Some(second)) = (Note::parse(first), Note::parse(second)) else {
        return Err(form("the evidence holds something else than two signed notes"));
    };
    let (Some((origin, size, root)), Some(other)) = (parse(first.text), parse(second.text)) else {
        return Err(form("the evidence holds something else than two checkpoints"));
    };
    if (origin, size) != (other.0, other.1) || root == other.2 {
        return Err(form("the two checkpoints do not contradict each other"));
    }
    let notes = [&first, &second];
    let logs =
        keys.logs.iter().filter(|key| key.name == origin && notes.iter().all(|note| signed(key, note)));
    let cosigners = keys.cosigners.iter().filter(|key| notes.iter().all(|note| cosigned(key, note)));
    let signed_both: Vec<String> = logs.chain(cosigners).map(Key::label).collect();
    if signed_both.is_empty() {
        return Err(form("no key that you brought signed both checkpoints"));
    }
    let roots = [root, other.2].map(hex::encode);
    Ok(Evidence { origin: origin.to_owned(), size, roots, signed_both })
}

fn signed(key: &Key, note: &Note) -> bool {
    note.signatures.iter().any(|s| key.is_of(s) && key.signed(note.text, &s.bytes))
}

fn cosigned(key: &Key, note: &Note) -> bool {
    note.signatures.iter().any(|s| key.is_of(s) && key.cosigned(note.text, &s.bytes))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use ed25519_dalek::{Signer, SigningKey};
    use serde_json::json;
    use sha2::{Digest, Sha256};

    use super::*;

    const ORIGIN: &str = "c/group/1";

    fn id(key: &SigningKey) -> Vec<u8> {
        let typed = [&[1], key.verifying_key().as_bytes().as_slice()].concat();
        Sha256::digest([ORIGIN.as_bytes(), b"\n", &typed].concat())[..4].to_vec()
    }

    fn keys(signers: &[&SigningKey]) -> Keys {
        let line = |key: &&SigningKey| {
            let typed = STANDARD.encode([&[1], key.verifying_key().as_bytes().as_slice()].concat());
            format!("{ORIGIN}+{}+{typed}\n", hex::encode(id(key)))
        };
        Keys::parse(&signers.iter().map(line).collect::<String>()).unwrap()
    }

    fn note(key: &SigningKey, size: u64, root: u8) -> String {
        let text = format!("{ORIGIN}\n{size}\n{}\n", STANDARD.encode([root; 32]));
        let line = [id(key), key.sign(text.as_bytes()).to_bytes().to_vec()].concat();
        format!("{text}\n\u{2014} {ORIGIN} {}\n", STANDARD.encode(line))
    }

    #[test]
    fn only_two_roots_under_one_key_are_evidence() {
        let (a, b) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let brought = keys(&[&a, &b]);
        let judged = |first: String, second: String| {
            judge_evidence(json!({ "site": "a", "notes": [first, second] }).to_string().as_bytes(), &brought)
        };
        let holds = judged(note(&a, 7, 1), note(&a, 7, 2)).unwrap();
        assert_eq!((holds.size, holds.signed_both.len()), (7, 1));
        assert!(holds.signed_both[0].ends_with(&hex::encode(id(&a))));
        for (first, second) in [
            (note(&a, 7, 1), note(&a, 7, 1)),
            (note(&a, 7, 1), note(&a, 8, 2)),
            (note(&a, 7, 1), note(&b, 7, 2)),
            (note(&a, 7, 1), "nonsense".into()),
            (note(&a, 7, 1), note(&a, 7, 2).replace("\n7\n", "\n07\n")),
        ] {
            assert!(judged(first, second).is_err());
        }
        let good = json!({ "notes": [note(&a, 7, 1), note(&a, 7, 2)] }).to_string();
        assert!(judge_evidence(good.as_bytes(), &keys(&[&b])).is_err(), "by keys that one did not bring");
        assert!(judge_evidence(b"{}", &brought).is_err());
    }
}
