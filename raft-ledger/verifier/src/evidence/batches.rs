//! Two batches of one site that both claim to follow the same batch.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Evidence, read};
use crate::Refusal;
use crate::keys::{Keys, verifies};
use crate::leaf::Fields;
use crate::merkle::Hash;

/// What the site signed: the hashed bytes of a batch (`raft-ledger/src/record/mod.rs`, "batch hash") and its
/// signature, both in hex.
#[derive(Deserialize)]
struct Batch {
    hashed: String,
    signature: String,
}

#[derive(Deserialize)]
struct File {
    batches: [Batch; 2],
}

const FORM: &str = "the evidence holds something else than two signed batches";

struct Signed {
    /// A site's keys differ by consortium, and one that goes on from another's backup may number as that one does.
    consortium: String,
    site: String,
    group_id: u32,
    epoch: u64,
    previous: Hash,
    hash: Hash,
}

pub(super) fn two_batches(value: Value, keys: &Keys) -> Result<Evidence, Refusal> {
    let form = |what| Refusal::Form { what };
    let File { batches: [first, second] } = read(value, FORM)?;
    let (Some(first), Some(second)) = (first.judge(keys), second.judge(keys)) else {
        return Err(form("not two batches that sites signed whose batch keys you brought"));
    };
    let of = |batch: &Signed| (batch.consortium.clone(), batch.site.clone());
    let place = |batch: &Signed| (of(batch), batch.group_id, batch.epoch, batch.previous);
    if place(&first) != place(&second) || first.hash == second.hash {
        return Err(form("the two batches do not contradict each other"));
    }
    Ok(Evidence::TwoBatches {
        epoch: first.epoch,
        batches: [first.hash, second.hash].map(hex::encode),
        against: vec![first.site],
    })
}

impl Batch {
    /// `None` if it is no such thing, or its signature does not hold.
    fn judge(&self, keys: &Keys) -> Option<Signed> {
        let hashed = hex::decode(&self.hashed).ok()?;
        let mut fields = Fields(hashed.strip_prefix(b"medulla batch v1\n")?);
        if fields.u8()? != 1 {
            return None;
        }
        let (group_id, site) = (fields.u32()?, fields.site()?.to_owned());
        let (epoch, _first_site_seq, _items) = (fields.u64()?, fields.u64()?, fields.u32()?);
        let previous = fields.array()?;
        let hash: Hash = Sha256::digest(&hashed).into();
        let signed = [b"medulla batch signature v1\n".as_slice(), &hash].concat();
        let signature = hex::decode(&self.signature).ok()?;
        let signer = keys.batches.get(&site)?.iter().find(|(_, key)| verifies(key, &signed, &signature))?;
        Some(Signed { consortium: signer.0.clone(), site, group_id, epoch, previous, hash })
    }
}
