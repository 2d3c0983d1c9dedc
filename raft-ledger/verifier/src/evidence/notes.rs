//! Two checkpoints of one size with two roots.

use serde::Deserialize;
use serde_json::Value;

use super::{Evidence, proven, read};
use crate::Refusal;
use crate::checkpoint::parse;
use crate::keys::{Key, Keys};
use crate::merkle::Hash;
use crate::note::Note;

#[derive(Deserialize)]
struct File {
    notes: [String; 2],
}

struct Two<'a> {
    origin: &'a str,
    size: u64,
    roots: [Hash; 2],
    notes: [Note<'a>; 2],
}

const FORM: &str = "the evidence holds something else than two signed checkpoints";

pub(super) fn split_view(value: Value, keys: &Keys) -> Result<Evidence, Refusal> {
    let file: File = read(value, FORM)?;
    let two = Two::parse(&file)?;
    let against = signed_both(keys, two.origin, &two.notes)?;
    Ok(Evidence::SplitView { origin: two.origin.into(), size: two.size, roots: two.hex(), against })
}

/// The first note is the accused's, the second the majority's.
pub(super) fn outvoted(value: Value, keys: &Keys, votes: Option<usize>) -> Result<Evidence, Refusal> {
    let file: File = read(value, FORM)?;
    let two = Two::parse(&file)?;
    let logs: Vec<&Key> = keys.logs.iter().filter(|key| key.name == two.origin).collect();
    let [alone, others] = &two.notes;
    let (found, needed) =
        (logs.iter().filter(|key| signed(key, others)).count(), votes.unwrap_or(logs.len() / 2 + 1));
    if found < needed {
        return Err(Refusal::TooFewCosigners { found, needed });
    }
    let against = logs.iter().filter(|key| signed(key, alone)).map(|key| key.owner()).collect();
    let against = proven(against, "no key that you brought signed the first checkpoint")?;
    Ok(Evidence::Outvoted { origin: two.origin.into(), size: two.size, roots: two.hex(), against })
}

impl Two<'_> {
    fn parse(file: &File) -> Result<Two<'_>, Refusal> {
        let form = |what| Refusal::Form { what };
        let [first, second] = &file.notes;
        let (Some(first), Some(second)) = (Note::parse(first), Note::parse(second)) else {
            return Err(form(FORM));
        };
        let (Some((origin, size, root)), Some(other)) = (parse(first.text), parse(second.text)) else {
            return Err(form(FORM));
        };
        if (origin, size) != (other.0, other.1) || root == other.2 {
            return Err(form("the two checkpoints do not contradict each other"));
        }
        Ok(Two { origin, size, roots: [root, other.2], notes: [first, second] })
    }

    fn hex(&self) -> [String; 2] {
        self.roots.map(hex::encode)
    }
}

/// The keys that signed or cosigned both checkpoints of the log `origin`.
pub(super) fn signed_both(keys: &Keys, origin: &str, notes: &[Note; 2]) -> Result<Vec<String>, Refusal> {
    let signed = |key: &&Key| key.name == origin && notes.iter().all(|note| signed(key, note));
    let cosigned = |key: &&Key| notes.iter().all(|note| cosigned(key, note));
    let logs = keys.logs.iter().filter(signed);
    let against = logs.chain(keys.cosigners.iter().filter(cosigned)).map(Key::owner).collect();
    proven(against, "no key that you brought signed both checkpoints")
}

fn signed(key: &Key, note: &Note) -> bool {
    note.signatures.iter().any(|s| key.is_of(s) && key.signed(note.text, &s.bytes))
}

fn cosigned(key: &Key, note: &Note) -> bool {
    note.signatures.iter().any(|s| key.is_of(s) && key.cosigned(note.text, &s.bytes))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use serde_json::json;

    use super::super::signing::{ORIGIN, cosigner_key, id, keys, log_key, note as note_of};
    use super::*;
    use crate::judge_evidence;

    fn note(signers: &[&SigningKey], size: u64, root: u8) -> String {
        note_of(signers, size, [root; 32])
    }

    fn judged(kind: &str, notes: [String; 2], keys: &Keys) -> Result<Evidence, Refusal> {
        judge_evidence(json!({ "evidence": kind, "notes": notes }).to_string().as_bytes(), keys, None)
    }

    #[test]
    fn a_log_key_names_the_site_whose_cosigner_follows_it() {
        let (a, b) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let text = [log_key(&a), cosigner_key("x", &a), log_key(&b)].concat();
        let brought = Keys::parse(&text).unwrap();
        let of = |key: &SigningKey| judged("split-view", [note(&[key], 7, 1), note(&[key], 7, 2)], &brought);
        assert_eq!(of(&a).unwrap().against(), [format!("{ORIGIN}+{} (site x)", hex::encode(id(&a)))]);
        assert_eq!(of(&b).unwrap().against(), [format!("{ORIGIN}+{}", hex::encode(id(&b)))]);
    }

    #[test]
    fn only_two_roots_under_one_key_are_a_split_view() {
        let (a, b) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let brought = keys(&[&a, &b]);
        let good = || [note(&[&a], 7, 1), note(&[&a], 7, 2)];
        let holds = judged("split-view", good(), &brought).unwrap();
        assert!(matches!(&holds, Evidence::SplitView { size: 7, .. }));
        assert_eq!(holds.against(), [format!("{ORIGIN}+{}", hex::encode(id(&a)))]);
        for notes in [
            [note(&[&a], 7, 1), note(&[&a], 7, 1)],
            [note(&[&a], 7, 1), note(&[&a], 8, 2)],
            [note(&[&a], 7, 1), note(&[&b], 7, 2)],
            [note(&[&a], 7, 1), "nonsense".into()],
            [note(&[&a], 7, 1), note(&[&a], 7, 2).replace("\n7\n", "\n07\n")],
        ] {
            assert!(judged("split-view", notes, &brought).is_err());
        }
        assert!(judged("split-view", good(), &keys(&[&b])).is_err(), "by keys that one did not bring");
        assert!(judged("gossip", good(), &brought).is_err());
        assert!(judge_evidence(b"{}", &brought, None).is_err());
    }

    #[test]
    fn only_a_majority_outvotes() {
        let [a, b, c] = [1, 2, 3].map(|n| SigningKey::from_bytes(&[n; 32]));
        let brought = keys(&[&a, &b, &c]);
        let holds = judged("outvoted", [note(&[&a], 7, 1), note(&[&b, &c], 7, 2)], &brought).unwrap();
        assert_eq!(holds.against(), [format!("{ORIGIN}+{}", hex::encode(id(&a)))]);
        for notes in [
            // Two against two, one of whom said both; one alone; the other way round; at another size; agreeing.
            [note(&[&b, &c], 7, 1), note(&[&a], 7, 2)],
            [note(&[&a], 7, 1), note(&[&b], 7, 2)],
            [note(&[&a], 7, 1), note(&[&b, &b], 7, 2)],
            [note(&[&a], 8, 1), note(&[&b, &c], 7, 2)],
            [note(&[&a], 7, 1), note(&[&b, &c], 7, 1)],
        ] {
            assert!(judged("outvoted", notes, &brought).is_err());
        }
        // Sites d and e do not vote: who brings their keys, too, says how many are a majority.
        let [d, e] = [4, 5].map(|n| SigningKey::from_bytes(&[n; 32]));
        let all = keys(&[&a, &b, &c, &d, &e]);
        let file = json!({ "evidence": "outvoted", "notes": [note(&[&a], 7, 1), note(&[&b, &c], 7, 2)] });
        let file = file.to_string();
        assert!(judge_evidence(file.as_bytes(), &all, None).is_err());
        assert!(judge_evidence(file.as_bytes(), &all, Some(2)).is_ok());
        assert!(judge_evidence(file.as_bytes(), &all, Some(3)).is_err());
        let stranger = SigningKey::from_bytes(&[9; 32]);
        assert!(judged("outvoted", [note(&[&stranger], 7, 1), note(&[&b, &c], 7, 2)], &brought).is_err());
    }
}
