//! Keys of a site that none of the founders knew: into the ledger, before it is let in. This site, which leads, only passes
//! on what the authority has signed; what it has not signed no site takes, and an honest leader proposes none of it.

use super::change::{Done, refuse};
use super::{Membership, Refusal};
use crate::keys::{SitePublic, parse_admission, requested};
use crate::record::{Command, NewSite};
use crate::rules::NEW_SITES;

impl Membership {
    /// `given`: the admission that the operator brought. `shown`: what the site says of itself.
    pub(super) async fn bring_keys(&self, site: &str, given: Option<&str>, shown: Option<&str>) -> Done {
        let is_known = self.keys.ring.knows(site);
        let Some(given) = given else {
            if is_known {
                return self.shows_known(site, shown);
            }
            self.has_authority()?;
            return refuse(format!(
                "the keys of site {site} are neither in public.json nor in the ledger; give the file that `medulla keys \
                 admit` made of its site-keys.txt with --keys"
            ));
        };
        self.has_authority()?;
        let (new, keys) = self.admission(site, given)?;
        if is_known {
            return match self.are_known(&keys) {
                true => self.shows_known(site, shown),
                false => refuse(format!(
                    "site {site} is known with other keys, and a name keeps its keys; let it join under another name"
                )),
            };
        }
        if shown != Some(keys.as_str()) {
            return refuse(
                "the site that answers says that it has other keys than those that the file admits; start it with the \
                 folder of keys that they were made in",
            );
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
        match self.are_known(&keys) {
            true => Ok(()),
            false => refuse(format!(
                "the ledger did not take the keys of site {site}; look into the log of the leader"
            )),
        }
    }

    fn has_authority(&self) -> Done {
        self.keys.ring.authority().map(drop).or_else(refuse)
    }

    /// What the authority has signed, and the verifier keys in it, one a line.
    fn admission(&self, site: &str, given: &str) -> Result<(NewSite, String), Refusal> {
        let Some(new) = parse_admission(given) else {
            return match requested(given).is_some() {
                true => refuse(format!(
                    "the file holds the keys of site {site} without the authority's signature; have it signed with \
                     `medulla keys admit`, and give the file that it makes"
                )),
                false => {
                    refuse("the file holds something else than the admission that `medulla keys admit` makes")
                }
            };
        };
        if let Err(why) = self.keys.ring.admits(&new) {
            return refuse(format!("the admission is not good here: {why}"));
        }
        match SitePublic::of(&new) {
            Some(public) if public.name == site => Ok((new, public.verifier_keys())),
            _ => refuse(format!("the file admits site {}, not site {site}", new.site)),
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
}
