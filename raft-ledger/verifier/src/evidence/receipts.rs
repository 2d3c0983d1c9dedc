//! Two receipts of one index with two entries.

use serde::Deserialize;
use serde_json::{Value, json};

use super::notes::signed_both;
use super::{Evidence, read};
use crate::Refusal;
use crate::checkpoint::parse;
use crate::keys::Keys;
use crate::merkle::leaf_hash;
use crate::note::Note;
use crate::receipt::Parts;

#[derive(Deserialize)]
struct File {
    receipts: [String; 2],
}

const FORM: &str = "the evidence holds something else than two receipts";

/// What makes of two receipts a file that [`crate::judge_evidence`] judges.
pub fn evidence_of(first: &str, second: &str) -> Value {
    json!({ "evidence": "rewritten-entry", "receipts": [first, second] })
}

pub(super) fn rewritten_entry(value: Value, keys: &Keys) -> Result<Evidence, Refusal> {
    let form = |what| Refusal::Form { what };
    let File { receipts: [first, second] } = read(value, FORM)?;
    let (Some(first), Some(second)) = (Parts::read(&first), Parts::read(&second)) else {
        return Err(form(FORM));
    };
    let (Some(one), Some(other)) = (Note::parse(first.checkpoint), Note::parse(second.checkpoint)) else {
        return Err(form(FORM));
    };
    let (Some((origin, size, root)), Some(newer)) = (parse(one.text), parse(other.text)) else {
        return Err(form(FORM));
    };
    if !first.leads_to(size, &root) || !second.leads_to(newer.1, &newer.2) {
        return Err(Refusal::NotIncluded);
    }
    if origin != newer.0 || first.index != second.index || first.record == second.record {
        return Err(form("the two receipts do not contradict each other"));
    }
    let leaves = [&first, &second].map(|receipt| hex::encode(leaf_hash(&receipt.record)));
    Ok(Evidence::RewrittenEntry {
        origin: origin.to_owned(),
        index: first.index,
        sizes: [size, newer.1],
        leaves,
        against: signed_both(keys, origin, &[one, other])?,
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use ed25519_dalek::SigningKey;

    use super::super::signing::{keys, note};
    use super::*;
    use crate::judge_evidence;
    use crate::merkle::node_hash;

    fn receipt(record: &str, path: &str, checkpoint: &str) -> String {
        format!("c2sp.org/tlog-proof@v1\nextra {}\nindex 0\n{path}\n{checkpoint}", STANDARD.encode(record))
    }

    /// In a tree of one entry.
    fn old(signer: &SigningKey, record: &str) -> String {
        receipt(record, "", &note(&[signer], 1, leaf_hash(record.as_bytes())))
    }

    /// In a tree of two.
    fn new(signer: &SigningKey, record: &str) -> String {
        let next = leaf_hash(b"next");
        let root = node_hash(&leaf_hash(record.as_bytes()), &next);
        receipt(record, &format!("{}\n", STANDARD.encode(next)), &note(&[signer], 2, root))
    }

    #[test]
    fn two_stories_of_one_entry_convict_who_signed_both() {
        let (a, b) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let brought = keys(&[&a, &b]);
        let judge = |first: String, second: String| {
            judge_evidence(evidence_of(&first, &second).to_string().as_bytes(), &brought, None)
        };
        let found = judge(old(&a, "one"), new(&a, "another")).unwrap();
        assert!(matches!(&found, Evidence::RewrittenEntry { index: 0, sizes: [1, 2], .. }), "{found}");
        assert_eq!(found.against().len(), 1);
        for (first, second) in [
            (old(&a, "one"), new(&a, "one")),
            (old(&a, "one"), new(&b, "another")),
            (old(&a, "one"), new(&a, "another").replace("index 0", "index 1")),
            (
                old(&a, "one"),
                new(&a, "another").replace(&STANDARD.encode("another"), &STANDARD.encode("a third")),
            ),
            (old(&a, "one"), "nonsense".into()),
        ] {
            assert!(judge(first, second).is_err());
        }
    }
}
