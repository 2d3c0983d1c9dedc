//! What a leader did by the word of a majority of the sites, who saw it: it proposed in another site's name what that site
//! did not make, or left out what a site handed it to propose.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Evidence, read};
use crate::Refusal;
use crate::keys::{Keys, verifies};

#[derive(Deserialize)]
struct Testimony {
    site: String,
    signature: String,
}

#[derive(Deserialize)]
struct File {
    site: String,
    term: u64,
    /// SHA-256 of the command as it was proposed or handed over, lowercase hex.
    command: String,
    testimonies: Vec<Testimony>,
}

const FORM: &str = "the evidence holds something else than testimonies of what a leader did";

/// `kind`: of the evidence.
pub(super) fn testified(
    kind: &str,
    value: Value,
    keys: &Keys,
    votes: Option<usize>,
) -> Result<Evidence, Refusal> {
    let file: File = read(value, FORM)?;
    let statement = file.statement(kind).ok_or(Refusal::Form { what: FORM })?;
    // Sites and those of them that testify, by the consortium that their batch keys are of.
    let mut consortia: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (site, of_site) in &keys.batches {
        for (consortium, key) in of_site {
            let testifies = |testimony: &Testimony| {
                let signature = hex::decode(&testimony.signature).unwrap_or_default();
                testimony.site == *site && verifies(key, &statement, &signature)
            };
            let (sites, words) = consortia.entry(consortium).or_default();
            *sites += 1;
            *words += usize::from(file.testimonies.iter().any(testifies));
        }
    }
    let accused = keys.batches.get(&file.site);
    let accused =
        accused.ok_or(Refusal::Form { what: "you brought no batch key of the site that it accuses" })?;
    let of_accused = consortia.into_iter().filter(|(consortium, _)| accused.contains_key(*consortium));
    let (sites, found) =
        of_accused.map(|(_, counts)| counts).max_by_key(|(_, words)| *words).unwrap_or_default();
    let needed = votes.unwrap_or(sites / 2 + 1);
    if found < needed {
        return Err(Refusal::TooFewCosigners { found, needed });
    }
    let File { site, term, command, .. } = file;
    let against = vec![site];
    match kind {
        "forged" => Ok(Evidence::Forged { term, command, against }),
        _ => Ok(Evidence::PassedOver { term, command, against }),
    }
}

impl File {
    /// What each witness signs: `raft-ledger/src/cosign/testimony.rs`.
    fn statement(&self, kind: &str) -> Option<Vec<u8>> {
        let File { site, term, command, .. } = self;
        let is_hash = command.len() == 64 && command.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_name = !site.contains(char::is_control);
        (is_hash && is_name)
            .then(|| format!("medulla testimony v1\n{kind}\n{site}\n{term}\n{command}\n").into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use serde_json::json;

    use super::super::signing::batch_keys;
    use super::*;
    use crate::judge_evidence;

    /// Sites a, b and c.
    fn keys() -> (Keys, [SigningKey; 3]) {
        let signers = [1, 2, 3].map(|n| SigningKey::from_bytes(&[n; 32]));
        let [a, b, c] = &signers;
        (Keys::parse(&batch_keys(&[("a", a), ("b", b), ("c", c)])).unwrap(), signers)
    }

    #[test]
    fn only_a_majority_of_those_who_saw_it_convicts() {
        let (keys, [a, b, c]) = keys();
        let command = "07".repeat(32);
        let statement = format!("medulla testimony v1\nforged\nc\n4\n{command}\n");
        let word = |site: &str, key: &SigningKey, statement: &str| json!({ "site": site, "signature": hex::encode(key.sign(statement.as_bytes()).to_bytes()) });
        let judged_as = |kind: &str, site: &str, testimonies: Vec<Value>| {
            let file = json!({ "evidence": kind, "site": site, "term": 4, "command": command,
                               "testimonies": testimonies });
            judge_evidence(file.to_string().as_bytes(), &keys, None)
        };
        let judged = |site: &str, testimonies| judged_as("forged", site, testimonies);
        let found = judged("c", vec![word("a", &a, &statement), word("b", &b, &statement)]).unwrap();
        assert!(matches!(&found, Evidence::Forged { term: 4, against, .. } if against == &["c"]), "{found}");
        let other = statement.replace("\n4\n", "\n5\n");
        for testimonies in [
            vec![word("a", &a, &statement)],
            vec![word("a", &a, &statement), word("a", &a, &statement)],
            vec![word("a", &a, &statement), word("b", &a, &statement)],
            vec![word("a", &a, &statement), word("b", &b, &other)],
            vec![word("a", &a, &statement), word("d", &b, &statement)],
        ] {
            assert!(judged("c", testimonies).is_err());
        }
        let both = |statement: &str| vec![word("a", &a, statement), word("b", &b, statement)];
        let passed_over =
            judged_as("passed-over", "c", both(&statement.replace("forged", "passed-over"))).unwrap();
        assert!(matches!(passed_over, Evidence::PassedOver { term: 4, .. }), "{passed_over}");
        assert!(judged_as("passed-over", "c", both(&statement)).is_err(), "that was something else");
        let against_another = statement.replace("\nc\n", "\nd\n");
        assert!(judged("d", vec![word("a", &a, &against_another), word("b", &b, &against_another)]).is_err());
        assert!(judged("b", vec![word("a", &a, &statement), word("c", &c, &statement)]).is_err());
    }
}
