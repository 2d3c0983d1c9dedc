//! A leader that sent two entries for one place of the raft log: it signs which entries it sends, and where in its term
//! they stand.

use serde::Deserialize;
use serde_json::Value;

use super::{Evidence, read};
use crate::Refusal;
use crate::keys::{Keys, verifies};

#[derive(Deserialize)]
struct Sending {
    /// Raft index of the first entry.
    first: u64,
    /// SHA-256 of each entry as it is sent (its format, term, index, kind and content), lowercase hex.
    entries: Vec<String>,
    signature: String,
}

#[derive(Deserialize)]
struct File {
    site: String,
    term: u64,
    index: u64,
    sendings: [Sending; 2],
}

const FORM: &str = "the evidence holds something else than what a leader sent, twice";

pub(super) fn two_entries(value: Value, keys: &Keys) -> Result<Evidence, Refusal> {
    let form = |what| Refusal::Form { what };
    let File { site, term, index, sendings } = read(value, FORM)?;
    let at = |sending: &Sending| {
        let nth = index.checked_sub(sending.first).and_then(|nth| usize::try_from(nth).ok())?;
        sending.entries.get(nth).cloned()
    };
    let [Some(first), Some(second)] = sendings.each_ref().map(at) else { return Err(form(FORM)) };
    if first == second {
        return Err(form("the two sendings do not contradict each other"));
    }
    let accused = keys.batches.get(&site);
    let accused = accused.ok_or(form("you brought no batch key of the site that it accuses"))?;
    let statements = sendings.each_ref().map(|sending| sending.statement(&site, term));
    let [Some(one), Some(other)] = &statements else { return Err(form(FORM)) };
    let signed = |key, statement: &[u8], sending: &Sending| {
        hex::decode(&sending.signature).is_ok_and(|signature| verifies(key, statement, &signature))
    };
    let signed_both =
        accused.values().any(|key| signed(key, one, &sendings[0]) && signed(key, other, &sendings[1]));
    match signed_both {
        true => Ok(Evidence::TwoEntries { term, index, entries: [first, second], against: vec![site] }),
        false => Err(form("the batch key that you brought of the accused has not signed both sendings")),
    }
}

impl Sending {
    /// What the leader signs: `raft-ledger/src/authors/sending.rs`.
    fn statement(&self, site: &str, term: u64) -> Option<Vec<u8>> {
        let is_hash =
            |hash: &String| hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if site.contains(char::is_control) || !self.entries.iter().all(is_hash) {
            return None;
        }
        let mut text = format!("medulla sent v1\n{site}\n{term}\n{}\n", self.first);
        self.entries.iter().for_each(|hash| text.extend([hash.as_str(), "\n"]));
        Some(text.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use serde_json::json;

    use super::super::signing::batch_keys;
    use super::*;
    use crate::judge_evidence;

    fn sending(key: &SigningKey, term: u64, first: u64, entries: &[u8]) -> Value {
        let entries: Vec<String> = entries.iter().map(|n| hex::encode([*n; 32])).collect();
        let lines: String = entries.iter().map(|hash| format!("{hash}\n")).collect();
        let statement = format!("medulla sent v1\nc\n{term}\n{first}\n{lines}");
        let signature = hex::encode(key.sign(statement.as_bytes()).to_bytes());
        json!({ "first": first, "entries": entries, "signature": signature })
    }

    #[test]
    fn only_two_entries_at_one_place_under_one_key_convict() {
        let [a, c] = [1, 3].map(|n| SigningKey::from_bytes(&[n; 32]));
        let keys = Keys::parse(&batch_keys(&[("a", &a), ("c", &c)])).unwrap();
        let judged = |site: &str, index: u64, sendings: [Value; 2]| {
            let file = json!({ "evidence": "two-entries", "site": site, "term": 4, "index": index,
                               "sendings": sendings });
            judge_evidence(file.to_string().as_bytes(), &keys, None)
        };
        let found = judged("c", 6, [sending(&c, 4, 5, &[1, 2]), sending(&c, 4, 6, &[3])]).unwrap();
        assert!(
            matches!(&found, Evidence::TwoEntries { term: 4, index: 6, against, .. } if against == &["c"]),
            "{found}"
        );
        for (index, other) in [
            (6, sending(&c, 4, 6, &[2])),
            (5, sending(&c, 4, 6, &[3])),
            (7, sending(&c, 4, 6, &[3, 4])),
            (6, sending(&c, 5, 6, &[3])),
            (6, sending(&a, 4, 6, &[3])),
        ] {
            assert!(judged("c", index, [sending(&c, 4, 5, &[1, 2]), other]).is_err());
        }
        for site in ["a", "d"] {
            assert!(judged(site, 6, [sending(&c, 4, 5, &[1, 2]), sending(&c, 4, 6, &[3])]).is_err());
        }
    }
}
