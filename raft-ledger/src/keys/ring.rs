//! Whose public keys are known: those that the consortium was founded with (`public.json`), and those of sites that have
//! joined since, which the ledger brings and the authority has admitted. None is ever forgotten: a site that leaves has
//! signed what stays.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use ed25519_dalek::VerifyingKey;

use super::admission;
use super::public::{Consortium, SitePublic, VerifierKeys};
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
    /// Of this consortium and of former ones, as the ledger brought them.
    admitted: Vec<NewSite>,
    verifiers: Arc<VerifierKeys>,
}

/// Nobody is admitted to a consortium whose founding keys name no authority: one that was put there later would be no
/// authority of the sites that have not heard of it, and their ledgers would differ.
pub(super) const NO_AUTHORITY: &str = "public.json names no authority: an early release made these keys, and nobody can admit further sites. Go on as a new \
     consortium that has one: `medulla ledger backup`, `medulla keys init --continue`, `medulla ledger restore \
     --new-consortium`";

impl KeyRing {
    pub(crate) fn new(genesis: Consortium) -> Result<Arc<KeyRing>, LedgerError> {
        let known =
            Known::of(&genesis, genesis.sites.clone(), genesis.former_batch_keys.clone(), Vec::new())?;
        let has_authority = known.verifiers.authorities.contains_key(genesis.name());
        if genesis.authority_key.is_some() && !has_authority {
            return Err(LedgerError::Keys("the authority's key is under another consortium's name".into()));
        }
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
        verifier_keys(&self.genesis, &known.sites, &known.former_batch_keys)
    }

    /// Of every site that the ledger has brought: the authority's word, one a line.
    pub(crate) fn admissions(&self) -> String {
        self.known().admitted.iter().map(admission::line).collect()
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

    /// Sites that are about to join; what is known already stays as it is.
    pub(crate) fn learn(&self, sites: impl IntoIterator<Item = SitePublic>) -> Result<(), LedgerError> {
        self.learn_all(sites, Vec::new(), Vec::new())
    }

    /// Sites that the ledger has brought, checked by [`KeyRing::admits`] or [`KeyRing::had_admitted`].
    pub(crate) fn learn_admitted(&self, joined: &[NewSite], former: &[NewSite]) -> Result<(), LedgerError> {
        let keys = former.iter().filter_map(|new| Some(SitePublic::of(new)?.batch_key)).collect();
        let admitted = joined.iter().chain(former).cloned().collect();
        self.learn_all(joined.iter().filter_map(SitePublic::of), keys, admitted)
    }

    fn learn_all(
        &self,
        joined: impl IntoIterator<Item = SitePublic>,
        former: Vec<String>,
        new: Vec<NewSite>,
    ) -> Result<(), LedgerError> {
        let Known { mut sites, mut former_batch_keys, mut admitted, .. } = self.known();
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
        for new in new {
            if !admitted.contains(&new) {
                admitted.push(new);
            }
        }
        let next = Known::of(&self.genesis, sites, former_batch_keys, admitted)?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// The consortium whose authority admits its sites.
    ///
    /// # Errors
    /// What to do where there is none.
    pub(crate) fn authority(&self) -> Result<&str, String> {
        self.genesis
            .authority_key
            .as_ref()
            .map(|_| self.genesis.name())
            .ok_or_else(|| NO_AUTHORITY.to_owned())
    }

    /// Its verifier key; empty where there is none.
    pub(crate) fn authority_key(&self) -> String {
        self.genesis.authority_key.clone().unwrap_or_default()
    }

    /// Whether this consortium's authority admits the site with these keys. Says the same at every site: it follows from
    /// public.json alone. Else why not, and what to do.
    pub(crate) fn admits(&self, new: &NewSite) -> Result<(), String> {
        let own = self.authority()?;
        if new.origin() != self.genesis.origin {
            let to = new.origin();
            return Err(format!("it admits site {} to {to}, and this is {}", new.site, self.genesis.origin));
        }
        self.has_signed(own, new)
    }

    /// Whether the authority of a former consortium had admitted it there.
    pub(crate) fn had_admitted(&self, new: &NewSite) -> Result<(), String> {
        match new.consortium == self.genesis.name() {
            true => Err(format!("site {} was admitted to this consortium, to no former one", new.site)),
            false => self.has_signed(&new.consortium, new),
        }
    }

    fn has_signed(&self, consortium: &str, new: &NewSite) -> Result<(), String> {
        if new.generation != NewSite::FIRST {
            let (site, generation) = (&new.site, new.generation);
            return Err(format!("generation {generation} of the keys of site {site} needs a later release"));
        }
        let verifiers = self.verifiers();
        match verifiers.authorities.get(consortium).is_some_and(|authority| new.verify(authority)) {
            true => Ok(()),
            false => Err(format!(
                "the authority of {consortium} has not signed it; `medulla keys admit` does, with the \
                 authority-key.txt that was made with this consortium's keys"
            )),
        }
    }

    /// As if the ledger had brought the keys of `other`.
    #[cfg(test)]
    pub(crate) fn meet(&self, other: &super::SiteKeys) {
        self.learn([other.public()]).unwrap();
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Known {
    fn of(
        genesis: &Consortium,
        sites: Vec<SitePublic>,
        former_batch_keys: Vec<String>,
        admitted: Vec<NewSite>,
    ) -> Result<Known, LedgerError> {
        let verifiers = VerifierKeys::parse(&verifier_keys(genesis, &sites, &former_batch_keys))?;
        Ok(Known { sites, former_batch_keys, admitted, verifiers: Arc::new(verifiers) })
    }
}

fn verifier_keys(genesis: &Consortium, sites: &[SitePublic], former_batch_keys: &[String]) -> String {
    let keys = |site: &SitePublic| site.verifier_keys();
    let authorities = genesis.authority_key.iter().chain(&genesis.former_authority_keys);
    let others = former_batch_keys.iter().chain(authorities).map(|line| format!("{line}\n"));
    sites.iter().map(keys).chain(others).collect()
}
