//! Tests: rings of founders that sign batches and nothing else.

use std::sync::Arc;

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::KeyRing;
use super::authority::authority_vkey;
use super::public::{Consortium, SitePublic, batch_vkey, vkey};
use crate::checkpoint::{COSIGNATURE, ED25519};

type Sites<'a> = [(&'a str, VerifyingKey)];

impl KeyRing {
    /// Of the consortium "tests", whose authority is [`KeyRing::test_authority`].
    pub(crate) fn of_batches(sites: &Sites<'_>) -> Arc<KeyRing> {
        let authority = Some(KeyRing::test_authority());
        KeyRing::new(consortium("tests", sites, authority.as_ref())).unwrap()
    }

    pub(crate) fn test_authority() -> SigningKey {
        SigningKey::from_bytes(&[9; 32])
    }

    pub(crate) fn without_authority(sites: &Sites<'_>) -> Arc<KeyRing> {
        KeyRing::new(consortium("tests", sites, None)).unwrap()
    }

    /// Of a consortium that goes on with the ledger of "tests".
    pub(crate) fn after_tests(sites: &Sites<'_>) -> Arc<KeyRing> {
        let own = SigningKey::from_bytes(&[8; 32]);
        let mut next = consortium("after-tests", sites, Some(&own));
        next.former_authority_keys.push(authority_vkey("tests", &KeyRing::test_authority().verifying_key()));
        KeyRing::new(next).unwrap()
    }
}

fn consortium(name: &str, sites: &Sites<'_>, authority: Option<&SigningKey>) -> Consortium {
    let origin = format!("{name}/group/1");
    let site = |(site, key): &(&str, VerifyingKey)| SitePublic {
        name: (*site).to_owned(),
        host: String::new(),
        batch_key: batch_vkey(&format!("{name}/site/{site}"), key),
        log_key: vkey(&origin, &[ED25519], key),
        cosigner_key: vkey(&format!("{name}/site/{site}"), &[COSIGNATURE], key),
    };
    Consortium {
        version: 1,
        sites: sites.iter().map(site).collect(),
        origin,
        group_id: 1,
        former_batch_keys: Vec::new(),
        authority_key: authority.map(|key| authority_vkey(name, &key.verifying_key())),
        former_authority_keys: Vec::new(),
    }
}
