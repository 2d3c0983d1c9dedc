//! Keys of a site that none of the founders knew: into the ledger, before it is let in.

use super::Membership;
use super::change::{Done, refuse};
use crate::keys::VerifierKeys;
use crate::raft::GROUP;
use crate::record::{Command, NewSite, SiteName};
use crate::rules::NEW_SITES;

impl Membership {
    /// `given`: what the operator brought, by another way than the network. `shown`: what the site says of itself.
    pub(super) async fn bring_keys(&self, site: &str, given: Option<&str>, shown: Option<&str>) -> Done {
        let is_known = self.keys.ring.knows(site);
        let Some(given) = given else {
            return match is_known {
                true => self.shows_known(site, shown),
                false => refuse(format!(
                    "the keys of site {site} are neither in public.json nor in the ledger; give the file that `medulla \
                     keys init --join` made with --keys"
                )),
            };
        };
        let Some(new) = self.new_site(site, given) else {
            return refuse(format!(
                "the file holds something else than the three verifier keys of site {site} in this consortium; give \
                 its site-keys.txt"
            ));
        };
        if is_known {
            return match self.are_known(given) {
                true => self.shows_known(site, shown),
                false => refuse(format!(
                    "site {site} is known with other keys, and a name keeps its keys; let it join under another name"
                )),
            };
        }
        if shown != Some(given) {
            return refuse(format!(
                "the site that answers says that it has other keys than those in the file; take the file from the \
                 folder of keys that site {site} runs with"
            ));
        }
        if self.rules.applied() < NEW_SITES {
            return refuse(format!(
                "keys of further sites need the rules of version {NEW_SITES}, and entries are applied by version {}: \
                 `medulla ledger upgrade` first",
                self.rules.applied()
            ));
        }
        self.write(Command::NewSite(new)).await?;
        // Not by the name alone: another one of that name may have come before.
        match self.are_known(given) {
            true => Ok(()),
            false => refuse(format!(
                "the ledger did not take the keys of site {site}; look into the log of the leader"
            )),
        }
    }

    /// What it signed with other keys the sites would take for forged. A founder shows none: it starts with none but those
    /// in public.json.
    fn shows_known(&self, site: &str, shown: Option<&str>) -> Done {
        match shown.is_none_or(|shown| self.are_known(shown)) {
            true => Ok(()),
            false => refuse(format!(
                "the site that answers says that it has other keys than the ledger knows of site {site}; start it with \
                 the folder of keys that it had"
            )),
        }
    }

    fn are_known(&self, keys: &str) -> bool {
        let known = self.keys.ring.verifier_keys();
        keys.lines().all(|line| known.lines().any(|known| known == line))
    }

    /// Vouched for by this site, which leads.
    fn new_site(&self, site: &str, given: &str) -> Option<NewSite> {
        let (site, keys) = (SiteName::new(site)?, VerifierKeys::parse(given).ok()?);
        let ([log], [cosigner]) = (&keys.logs[..], &keys.cosigners[..]) else {
            return None;
        };
        let new = NewSite {
            group_id: GROUP,
            by: self.keys.site.clone(),
            batch_key: keys.batches.get(&site)?.to_bytes(),
            log_key: log.public_key(),
            cosigner_key: cosigner.public_key(),
            site,
            signature: [0; 64],
        };
        // Names and ids of the keys, too, must be those that everybody will make of them.
        let named = self.keys.ring.name(&new)?;
        (named.verifier_keys() == given).then(|| new.sign(&self.keys.batch))
    }
}
