//! Keys of sites that are none of the founders, by entries that the consortium's authority has signed. They stay for good:
//! what a site has signed is judged by them after it has left, too.

use std::collections::HashMap;

use ed25519_dalek::VerifyingKey;

use super::{Applier, Effect, Refusal, refused};
use crate::LedgerError;
use crate::keys::{KeyRing, SitePublic};
use crate::record::{NewSite, SiteName};
use crate::rules::NEW_SITES;
use crate::store::db::WriteBatch;
use crate::store::generation::{Family, Generation, key};

/// As they were signed: whoever gets the ledger in any other way than by entries checks them anew.
pub(super) const JOINED: &[u8] = b"joined/";
/// Of sites that had joined a former consortium whose ledger this one goes on with.
pub(super) const FORMER: &[u8] = b"joined-former/";

impl Applier {
    pub(super) fn new_site(&mut self, out: &mut WriteBatch, new: &NewSite) -> Result<Effect, LedgerError> {
        if self.applied.apply_version < NEW_SITES {
            // As a release does that does not know it.
            return Ok(Effect::Nothing);
        }
        // Of no site: nobody but the leader proposes it.
        let refuse = |refusal| Ok(refused(None, None, refusal));
        if let Err(why) = self.ring.admits(new) {
            tracing::warn!(site = %new.site, %why, "a leader has proposed a site that nobody has admitted");
            return refuse(Refusal::Forged);
        }
        let (Some(public), Ok(batch_key)) = (SitePublic::of(new), VerifyingKey::from_bytes(&new.batch_key))
        else {
            return refuse(Refusal::Unreadable);
        };
        let known: Vec<SitePublic> = listed(&self.db, JOINED)?.iter().filter_map(SitePublic::of).collect();
        if self.key_of(&new.site).is_some() {
            return match known.contains(&public) {
                true => Ok(Effect::Nothing),
                false => refuse(Refusal::NameTaken),
            };
        }
        // Else what one site signs could be shown as the word of two: most of what is signed names no signer.
        if self.ring.genesis().sites.iter().chain(&known).any(|other| public.shares_a_key_with(other)) {
            return refuse(Refusal::KeyTaken);
        }
        tracing::info!(site = %new.site, "the ledger brings the keys of a site that the authority has admitted");
        self.db.put(out, Family::Meta, &name_key(JOINED, &new.site), &new.encode())?;
        self.joined.insert(new.site.clone(), batch_key);
        self.ring.learn_admitted(std::slice::from_ref(new), &[])?;
        Ok(Effect::Nothing)
    }
}

/// Batch keys of the sites that the ledger in `db` has brought; the ring learns everything of them.
///
/// # Errors
/// `Damaged`: the authority has not admitted one of them. `Keys`: this very site has others; what it signed the other
/// sites would take for forged.
pub(super) fn load(db: &Generation, ring: &KeyRing) -> Result<HashMap<SiteName, VerifyingKey>, LedgerError> {
    check_admissions(db, ring)?;
    let (joined, former) = (listed(db, JOINED)?, listed(db, FORMER)?);
    if let Some(site) = joined.iter().filter_map(SitePublic::of).find(|site| !ring.agrees(site)) {
        return Err(LedgerError::Keys(format!(
            "the ledger knows site {} by other keys than those in its folder of keys; put the right files back",
            site.name
        )));
    }
    ring.learn_admitted(&joined, &former)?;
    let key = |new: &NewSite| Some((new.site.clone(), VerifyingKey::from_bytes(&new.batch_key).ok()?));
    Ok(joined.iter().filter_map(key).collect())
}

/// Whether the authority has admitted each site that the ledger in `db` says has joined: one that comes from a peer or a
/// backup may say anything, and nothing else in it proves that.
///
/// # Errors
/// `Damaged`: one was admitted by nobody. `Keys`: this site's keys name no authority, so it cannot know.
pub(crate) fn check_admissions(db: &Generation, ring: &KeyRing) -> Result<(), LedgerError> {
    let damaged = |why| LedgerError::Damaged(format!("a site in the ledger was admitted by nobody: {why}"));
    let joined = listed(db, JOINED)?;
    if !joined.is_empty() {
        // Not damage: a ledger that is made again with the wrong keys would be another than the others'.
        ring.authority().map_err(|_| {
            let text = "public.json names no authority, and one has admitted sites that are in the ledger; put the \
                        right files back";
            LedgerError::Keys(text.into())
        })?;
    }
    for new in joined {
        ring.admits(&new).map_err(damaged)?;
    }
    for new in listed(db, FORMER)? {
        ring.had_admitted(&new).map_err(damaged)?;
    }
    Ok(())
}

/// What a new consortium goes on with: those who had joined the former one sign nothing more.
pub(crate) fn are_former(db: &Generation, out: &mut WriteBatch) -> Result<(), LedgerError> {
    for new in listed(db, JOINED)? {
        // By its key, not by its name: another may have had that before.
        db.put(out, Family::Meta, &key(&[FORMER, &new.batch_key].concat()), &new.encode())?;
    }
    db.delete_prefix(out, Family::Meta, &key(JOINED))
}

pub(super) fn listed(db: &Generation, prefix: &[u8]) -> Result<Vec<NewSite>, LedgerError> {
    let (from, mut listed) = (key(prefix), Vec::new());
    db.scan(Family::Meta, &from, &[&from[..], &[0xff; 64]].concat(), |_, value| {
        let damaged = |e| LedgerError::Damaged(format!("the keys of a site that joined: {e}"));
        listed.push(NewSite::decode(value.to_vec().into()).map_err(damaged)?);
        Ok(true)
    })?;
    Ok(listed)
}

pub(super) fn name_key(prefix: &[u8], site: &SiteName) -> Vec<u8> {
    key(&[prefix, site.as_str().as_bytes()].concat())
}
