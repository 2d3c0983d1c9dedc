//! The authority's word for a site that joined after the founding (`raft-ledger/src/record/mod.rs`, "NewSite").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;

use crate::keys::verifies;
use crate::leaf::Fields;

/// Before the base64 of the record.
const LINE: &str = "medulla admission v1 ";
const DOMAIN: &[u8] = b"medulla admission v1\n";
/// The only generation of a name's keys that is known here.
const FIRST: u32 = 1;

pub(crate) struct Admission {
    pub(crate) consortium: String,
    pub(crate) group_id: u32,
    pub(crate) site: String,
    pub(crate) batch_key: VerifyingKey,
    pub(crate) log_key: VerifyingKey,
    pub(crate) cosigner_key: VerifyingKey,
    signed: Vec<u8>,
    signature: [u8; 64],
}

pub(crate) fn is_line(line: &str) -> bool {
    line.starts_with(LINE)
}

impl Admission {
    /// Nothing of it is verified yet. `None`: another form, or a generation that is not known here.
    pub(crate) fn read(line: &str) -> Option<Admission> {
        let record = STANDARD.decode(line.strip_prefix(LINE)?).ok()?;
        let mut fields = Fields(&record);
        if fields.u8()? != 1 {
            return None;
        }
        let length = usize::from(fields.u8()?);
        let consortium = std::str::from_utf8(fields.take(length)?).ok()?.to_owned();
        let (group_id, site, generation) = (fields.u32()?, fields.site()?.to_owned(), fields.u32()?);
        let mut key = || VerifyingKey::from_bytes(&fields.array()?).ok();
        let (batch_key, log_key, cosigner_key) = (key()?, key()?, key()?);
        let signature = fields.array()?;
        if generation != FIRST || !fields.0.is_empty() {
            return None;
        }
        let signed = [DOMAIN, record.get(..record.len() - signature.len())?].concat();
        Some(Admission { consortium, group_id, site, batch_key, log_key, cosigner_key, signed, signature })
    }

    pub(crate) fn is_signed_by(&self, authority: &VerifyingKey) -> bool {
        verifies(authority, &self.signed, &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::Keys;

    const AUTHORITY: [u8; 32] = [9; 32];

    /// Written as the specification says.
    fn record(consortium: &str, site: &str, generation: u32, authority: [u8; 32]) -> Vec<u8> {
        let key = |n: u8| SigningKey::from_bytes(&[n; 32]).verifying_key().to_bytes();
        let mut record = vec![1, consortium.len() as u8];
        record.extend(consortium.as_bytes());
        record.extend([0, 0, 0, 1, site.len() as u8]);
        record.extend(site.as_bytes());
        record.extend(generation.to_be_bytes());
        record.extend([key(1), key(2), key(3)].concat());
        let signature = SigningKey::from_bytes(&authority).sign(&[DOMAIN, &record].concat());
        [record, signature.to_vec()].concat()
    }

    fn line(record: &[u8]) -> String {
        format!("{LINE}{}", STANDARD.encode(record))
    }

    fn vkey(name: &str, kind: &[u8], seed: [u8; 32]) -> String {
        let typed = [kind, SigningKey::from_bytes(&seed).verifying_key().as_bytes()].concat();
        let id = Sha256::digest([name.as_bytes(), b"\n", &typed].concat());
        format!("{name}+{}+{}", hex::encode(&id[..4]), STANDARD.encode(typed))
    }

    fn authority() -> String {
        vkey("c/authority", b"\xffmedulla-authority-v1", AUTHORITY)
    }

    #[test]
    fn a_site_has_the_keys_that_the_authority_has_signed() {
        let good = line(&record("c", "d", 1, AUTHORITY));
        // Before or behind the authority's key, and beside the same keys.
        let own = [
            vkey("c/group/1", &[1], [2; 32]),
            vkey("c/site/d", &[4], [3; 32]),
            vkey("c/site/d", b"\xffmedulla-batch-v1", [1; 32]),
        ];
        let alone = Keys::parse(&own.join("\n")).unwrap();
        for text in [
            format!("{good}\n{}\n", authority()),
            format!("{}\n{good}\n{good}\n", authority()),
            format!("{}\n{}\n{good}\n", authority(), own.join("\n")),
        ] {
            let keys = Keys::parse(&text).unwrap();
            assert_eq!(format!("{:?}", keys.batches), format!("{:?}", alone.batches));
            assert_eq!(format!("{:?}", keys.logs), format!("{:?}", alone.logs));
            assert_eq!(format!("{:?}", keys.cosigners), format!("{:?}", alone.cosigners));
        }
        let mut keys = alone;
        assert_eq!(keys.admit(&good), Ok(None), "who does not have the authority's key cannot judge");
    }

    #[test]
    fn what_the_authority_has_not_signed_is_refused() {
        let refused = |line: &str| assert!(Keys::parse(&format!("{}\n{line}\n", authority())).is_err());
        let good = record("c", "d", 1, AUTHORITY);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            refused(&line(&bad));
            refused(&line(&good[..at]));
        }
        refused(&line(&[&good[..], b"x"].concat()));
        refused(&line(&record("c", "d", 1, [8; 32])));
        refused(&line(&record("c", "d", 2, AUTHORITY)));
        refused(&line(&record("other", "d", 1, AUTHORITY)));
        let batch = vkey("c/site/d", b"\xffmedulla-batch-v1", [4; 32]);
        refused(&format!("{batch}\n{}", line(&good)));
        assert!(Keys::parse(&line(&good)).is_err(), "without the authority's key");
    }

    /// Who goes on with the ledger of another consortium has its sites' batches, and not its cosigners.
    #[test]
    fn a_site_of_a_former_consortium_signs_batches_alone() {
        let present = [
            vkey("new/group/1", &[1], [1; 32]),
            vkey("new/site/a", &[4], [2; 32]),
            vkey("new/site/b", &[4], [3; 32]),
            vkey("new/site/a", b"\xffmedulla-batch-v1", [4; 32]),
        ];
        let alone = Keys::parse(&present.join("\n")).unwrap();
        let former = ["d", "e", "f"].map(|site| line(&record("c", site, 1, AUTHORITY)));
        let text = format!("{}\n{}\n{}\n", present.join("\n"), authority(), former.join("\n"));
        let keys = Keys::parse(&text).unwrap();
        assert_eq!((keys.majority(), alone.majority()), (2, 2));
        assert_eq!((keys.cosigners.len(), keys.logs.len()), (2, 1));
        assert!(["d", "e", "f"].iter().all(|site| keys.batches[*site].contains_key("c")));
    }
}
