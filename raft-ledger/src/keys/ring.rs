//! Whose public keys are known: those that the consortium was founded with (`public.json`), and those of sites that have
//! joined since, which the ledger brings. None is ever forgotten: a site that leaves has signed what stays.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use ed25519_dalek::VerifyingKey;

use super::public::{Consortium, SitePublic, VerifierKeys, batch_vkey, vkey};
use crate::checkpoint::{COSIGNATURE, ED25519};
use crate::record::{NewSite, SiteName};
use crate::types::LedgerError;

pub(crate) struct KeyRing {
    genesis: Consortium,
    /// Of the genesis.
    batches: BTreeMap<SiteName, VerifyingKey>,
    known: RwLock<Known>,
}

#[derive(Clone)]
struct Known {
    sites: Vec<SitePublic>,
    former_batch_keys: Vec<String>,
    verifiers: Arc<VerifierKeys>,
}

impl KeyRing {
    pub(crate) fn new(genesis: Consortium) -> Result<Arc<KeyRing>, LedgerError> {
        let known = Known::of(genesis.sites.clone(), genesis.former_batch_keys.clone())?;
        let batches = known.verifiers.batches.clone();
        Ok(Arc::new(KeyRing { genesis, batches, known: RwLock::new(known) }))
    }

    pub(crate) fn genesis(&self) -> &Consortium {
        &self.genesis
    }

    /// Founding sites and their batch keys.
    pub(crate) fn founders(&self) -> &BTreeMap<SiteName, VerifyingKey> {
        &self.batches
    }

    pub(crate) fn verifiers(&self) -> Arc<VerifierKeys> {
        self.known().verifiers
    }

    /// Of every site that is or was: what `medulla ledger keys` prints.
    pub(crate) fn verifier_keys(&self) -> String {
        let known = self.known();
        verifier_keys(&known.sites, &known.former_batch_keys)
    }

    pub(crate) fn knows(&self, site: &str) -> bool {
        self.known().sites.iter().any(|known| known.name == site)
    }

    /// Whose log or cosigner key it is.
    pub(crate) fn owner_of(&self, key: &str) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut sites = known.sites.iter();
        sites.find(|site| site.log_key == key || site.cosigner_key == key).map(|site| site.name.clone())
    }

    /// Whether nothing else is known of the site: it knows its own keys before the ledger brings them.
    pub(crate) fn agrees(&self, site: &SitePublic) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut named = known.sites.iter().filter(|known| known.name == site.name);
        named.all(|known| known.verifier_keys() == site.verifier_keys())
    }

    /// Sites that have joined, and batch keys of former consortia; what is known already stays as it is.
    pub(crate) fn learn(
        &self,
        joined: impl IntoIterator<Item = SitePublic>,
        former: impl IntoIterator<Item = String>,
    ) -> Result<(), LedgerError> {
        let Known { mut sites, mut former_batch_keys, .. } = self.known();
        for site in joined {
            if !sites.iter().any(|known| known.name == site.name) {
                sites.push(site);
            }
        }
        for key in former {
            if !former_batch_keys.contains(&key) {
                former_batch_keys.push(key);
            }
        }
        let next = Known::of(sites, former_batch_keys)?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// The verifier keys of a site that joins, as this consortium names them. `None`: not three Ed25519 keys.
    pub(crate) fn name(&self, new: &NewSite) -> Option<SitePublic> {
        let key = |bytes: &[u8; 32]| VerifyingKey::from_bytes(bytes).ok();
        let named = format!("{}/site/{}", self.genesis.name(), new.site);
        Some(SitePublic {
            name: new.site.to_string(),
            host: String::new(),
            batch_key: batch_vkey(&named, &key(&new.batch_key)?),
            log_key: vkey(&self.genesis.origin, &[ED25519], &key(&new.log_key)?),
            cosigner_key: vkey(&named, &[COSIGNATURE], &key(&new.cosigner_key)?),
        })
    }

    /// Of founders that sign batches and nothing else.
    #[cfg(test)]
    pub(crate) fn of_batches(sites: &[(&str, VerifyingKey)]) -> Arc<KeyRing> {
        let (origin, version, group_id) = ("tests/group/1".to_owned(), 1, 1);
        let site = |(name, key): &(&str, VerifyingKey)| SitePublic {
            name: (*name).to_owned(),
            host: String::new(),
            batch_key: batch_vkey(&format!("tests/site/{name}"), key),
            log_key: vkey(&origin, &[ED25519], key),
            cosigner_key: vkey(&format!("tests/site/{name}"), &[COSIGNATURE], key),
        };
        let sites = sites.iter().map(site).collect();
        KeyRing::new(Consortium { version, origin, group_id, sites, former_batch_keys: Vec::new() }).unwrap()
    }

    /// As if the ledger had brought the keys of `other`.
    #[cfg(test)]
    pub(crate) fn meet(&self, other: &super::SiteKeys) {
        self.learn([other.public()], []).unwrap();
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Known {
    fn of(sites: Vec<SitePublic>, former_batch_keys: Vec<String>) -> Result<Known, LedgerError> {
        let verifiers = Arc::new(VerifierKeys::parse(&verifier_keys(&sites, &former_batch_keys))?);
        Ok(Known { sites, former_batch_keys, verifiers })
    }
}

fn verifier_keys(sites: &[SitePublic], former_batch_keys: &[String]) -> String {
    let keys = |site: &SitePublic| site.verifier_keys();
    let former = former_batch_keys.iter().map(|line| format!("{line}\n"));
    sites.iter().map(keys).chain(former).collect()
}
