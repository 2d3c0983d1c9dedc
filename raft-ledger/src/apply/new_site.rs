//! Keys of sites that are none of the founders, by entries. They stay for good: what a site has signed is judged by them
//! after it has left, too.

use std::collections::HashMap;

use ed25519_dalek::VerifyingKey;

use super::{Applier, Effect, Refusal, refused};
use crate::LedgerError;
use crate::keys::{KeyRing, SitePublic, VerifierKeys};
use crate::raft::GROUP;
use crate::record::{NewSite, SiteName};
use crate::rules::NEW_SITES;
use crate::store::applied::encode;
use crate::store::db::WriteBatch;
use crate::store::generation::{Family, Generation, key};

const JOINED: &[u8] = b"joined/";
/// Batch keys of sites that had joined a former consortium whose ledger this one goes on with.
const FORMER: &[u8] = b"joined-former/";

impl Applier {
    pub(super) fn new_site(&mut self, out: &mut WriteBatch, new: &NewSite) -> Result<Effect, LedgerError> {
        if self.applied.apply_version < NEW_SITES {
            // As a release does that does not know it.
            return Ok(Effect::Nothing);
        }
        let refuse = |refusal| Ok(refused(Some(new.by.clone()), None, refusal));
        if new.group_id != GROUP {
            return refuse(Refusal::OtherGroup);
        }
        let Some(by) = self.key_of(&new.by) else {
            return refuse(Refusal::UnknownSite);
        };
        if !new.verify(by) {
            return refuse(Refusal::Forged);
        }
        let (Some(public), Ok(batch_key)) = (self.ring.name(new), VerifyingKey::from_bytes(&new.batch_key))
        else {
            return refuse(Refusal::Unreadable);
        };
        if self.key_of(&new.site).is_some() {
            let known = self.db.get(Family::Meta, &name_key(JOINED, &new.site))?;
            return match known == Some(encode(&public)?) {
                true => Ok(Effect::Nothing),
                false => refuse(Refusal::NameTaken),
            };
        }
        // Else what one site signs could be shown as the word of two: most of what is signed names no signer.
        let known = listed(&self.db, JOINED)?;
        if self.ring.genesis().sites.iter().chain(&known).any(|other| public.shares_a_key_with(other)) {
            return refuse(Refusal::KeyTaken);
        }
        tracing::info!(site = %new.site, by = %new.by, "the ledger brings the keys of a new site");
        self.db.put(out, Family::Meta, &name_key(JOINED, &new.site), &encode(&public)?)?;
        self.joined.insert(new.site.clone(), batch_key);
        self.ring.learn([public], [])?;
        Ok(Effect::Nothing)
    }
}

/// Batch keys of the sites that the ledger in `db` has brought; the ring learns everything of them.
///
/// # Errors
/// `Keys`: this very site has others. What it signed the other sites would take for forged.
pub(super) fn load(db: &Generation, ring: &KeyRing) -> Result<HashMap<SiteName, VerifyingKey>, LedgerError> {
    let (joined, former) = (listed(db, JOINED)?, listed(db, FORMER)?);
    if let Some(site) = joined.iter().find(|site| !ring.agrees(site)) {
        return Err(LedgerError::Keys(format!(
            "the ledger knows site {} by other keys than those in its folder of keys; put the right files back",
            site.name
        )));
    }
    ring.learn(joined.clone(), former.into_iter().map(|site| site.batch_key))?;
    let keys = joined.iter().map(|site| VerifierKeys::parse(&site.batch_key).map(|keys| keys.batches));
    Ok(keys.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// What a new consortium goes on with: those who had joined the former one sign nothing more.
pub(crate) fn are_former(db: &Generation, out: &mut WriteBatch) -> Result<(), LedgerError> {
    for site in listed(db, JOINED)? {
        // By its key, not by its name: another may have had that before.
        db.put(out, Family::Meta, &key(&[FORMER, site.batch_key.as_bytes()].concat()), &encode(&site)?)?;
    }
    db.delete_prefix(out, Family::Meta, &key(JOINED))
}

fn listed(db: &Generation, prefix: &[u8]) -> Result<Vec<SitePublic>, LedgerError> {
    let (from, mut listed) = (key(prefix), Vec::new());
    db.scan(Family::Meta, &from, &[&from[..], &[0xff; 64]].concat(), |_, value| {
        let damaged = |e| LedgerError::Damaged(format!("the keys of a site that joined: {e}"));
        listed.push(rmp_serde::from_slice(value).map_err(damaged)?);
        Ok(true)
    })?;
    Ok(listed)
}

fn name_key(prefix: &[u8], site: &SiteName) -> Vec<u8> {
    key(&[prefix, site.as_str().as_bytes()].concat())
}
