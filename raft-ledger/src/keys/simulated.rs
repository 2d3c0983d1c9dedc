//! Keys of sites that never leave a simulation: as [`super::init`] makes them, without certificates.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::public::{Consortium, SitePublic};
use super::{IndexKey, KeyRing, Secret, SiteKeys};
use crate::checkpoint::{COSIGNATURE, ED25519, NoteKey};
use crate::record::SiteName;
use crate::{LedgerError, random};

const ORIGIN: &str = "simulated/group/1";

/// Keys of `count` sites, `site-0` and on; they follow from the seed.
pub(crate) fn simulated(count: usize) -> Result<Vec<SiteKeys>, LedgerError> {
    let index: [u8; 32] = random::bytes();
    let none = KeyRing::new(consortium(ORIGIN, Vec::new()))?;
    let mut sites: Vec<SiteKeys> = (0..count)
        .filter_map(|n| SiteName::new(&format!("site-{n}")))
        .map(|site| one(site, index, &none))
        .collect();
    let public = sites.iter().map(SiteKeys::public).collect();
    let consortium = consortium(ORIGIN, public);
    for site in &mut sites {
        site.ring = KeyRing::new(consortium.clone())?;
    }
    Ok(sites)
}

fn consortium(origin: &str, sites: Vec<SitePublic>) -> Consortium {
    Consortium {
        version: 1,
        origin: origin.to_owned(),
        group_id: 1,
        sites,
        former_batch_keys: Vec::new(),
        // The simulation has no sites but its founders.
        authority_key: None,
        former_authority_keys: Vec::new(),
    }
}

fn one(site: SiteName, index: [u8; 32], ring: &Arc<KeyRing>) -> SiteKeys {
    let key = || SigningKey::from_bytes(&random::bytes());
    SiteKeys {
        batch: key(),
        log: NoteKey::new(ORIGIN, ED25519, key()),
        cosigner: NoteKey::new(&format!("simulated/site/{site}"), COSIGNATURE, key()),
        index: IndexKey::new(&Secret::new(index)),
        ca_cert: CertificateDer::from(Vec::new()),
        tls_cert: CertificateDer::from(Vec::new()),
        tls_key: PrivateKeyDer::Pkcs8(Vec::new().into()),
        ring: ring.clone(),
        site,
    }
}
