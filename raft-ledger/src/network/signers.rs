//! Which members sign what they send as leaders. Each says so in its hello; one that has said it or done it is not
//! believed any more that it does not, or it could lie unsigned whenever it likes. That holds from when every voter has
//! signed: until then a site whose upgrade shows something wrong may go back, as in any rolling upgrade.
//!
//! By node, because a node is one disk with its history: whoever really must go back to a build that does not sign lets
//! the site join as a new one, which is an entry that everybody sees. Not by the apply version: that says what entries
//! do, operators raise it, and a consortium that never does would stay without this.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::LedgerError;
use crate::roster::Roster;
use crate::store::SiteDb;

const SIGNS: &[u8] = b"signs-sent/";
const BOUND: &[u8] = b"must-sign/";

pub(crate) struct Signers {
    site_db: Arc<SiteDb>,
    roster: Arc<Roster>,
    known: Mutex<Known>,
}

/// By node.
struct Known {
    signs: BTreeSet<u64>,
    bound: BTreeSet<u64>,
}

impl Signers {
    pub(super) fn open(site_db: &Arc<SiteDb>, roster: &Arc<Roster>) -> Result<Signers, LedgerError> {
        let known = Known { signs: nodes(site_db, SIGNS)?, bound: nodes(site_db, BOUND)? };
        Ok(Signers { site_db: site_db.clone(), roster: roster.clone(), known: Mutex::new(known) })
    }

    /// A member that signs. Synced with whatever is synced next.
    pub(super) fn note(&self, node: u64) -> Result<(), String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.signs.insert(node) {
            self.site_db.put(&key(SIGNS, node), &[], false).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Whether the member `node` must sign. What has once held for it holds for good: else whoever brings in a voter that
    /// does not sign would free all.
    pub(super) fn bind(&self, node: u64) -> Result<bool, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let signs = |voter: &u64| *voter == self.roster.node || known.signs.contains(voter);
        let binds = known.signs.contains(&node) && self.roster.get().voters.iter().all(signs);
        if binds && known.bound.insert(node) {
            self.site_db.put(&key(BOUND, node), &[], false).map_err(|error| error.to_string())?;
        }
        Ok(known.bound.contains(&node))
    }

    /// Whether the member `node` may say that of itself. Remembers what it says.
    pub(super) fn admit(&self, site: &str, node: u64, signs_sent: bool) -> Result<(), String> {
        match signs_sent {
            true => self.note(node),
            false if !self.bind(node)? => Ok(()),
            false => Err(format!(
                "site {site} signed what it sends when it led, and its release does not any more: run the release there \
                 that it ran before, or a later one; or, to stay with this one, stop it, move its directory `raftdb` \
                 away and start it again, then let it join as the new node that it is: `medulla site add {site}` at any \
                 member, and `medulla site promote {site}` once it has caught up"
            )),
        }
    }
}

fn key(family: &[u8], node: u64) -> Vec<u8> {
    [family, &node.to_be_bytes()].concat()
}

fn nodes(site_db: &SiteDb, family: &[u8]) -> Result<BTreeSet<u64>, LedgerError> {
    let node = |key: &[u8]| key[family.len()..].try_into().ok().map(u64::from_be_bytes);
    let damaged = || LedgerError::Damaged("sitedb: which nodes sign what they send".into());
    site_db.scan(family)?.iter().map(|(key, _)| node(key).ok_or_else(damaged)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::raft::{Member, StoredMembership, log_id};

    #[test]
    fn once_all_voters_have_signed_none_is_believed_that_it_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let site_db = Arc::new(SiteDb::open(&dir.path().join("sitedb")).unwrap());
        let members = |index: u64, voters: &[u64]| {
            let named = voters.iter().map(|id| (*id, Member::founder(&format!("site-{id}"))));
            let voters = BTreeSet::from_iter(voters.iter().copied());
            let membership = openraft::Membership::new(vec![voters], BTreeMap::from_iter(named)).unwrap();
            StoredMembership::new(Some(log_id(1, index)), membership)
        };
        let roster = Arc::new(Roster::new(0, &members(5, &[0, 1, 2])));
        let known = Signers::open(&site_db, &roster).unwrap();
        known.admit("b", 1, false).unwrap();
        known.admit("b", 1, true).unwrap();
        known.admit("b", 1, false).expect("c is still of an earlier build, and b may go back to it");
        known.note(2).unwrap();
        for known in [&known, &Signers::open(&site_db, &roster).unwrap()] {
            for (site, node) in [("b", 1), ("c", 2)] {
                let why = known.admit(site, node, false).unwrap_err();
                assert!(why.contains(&format!("medulla site add {site}")), "{why}");
                known.admit(site, node, true).unwrap();
            }
            // The same site as a new node.
            known.admit("b", 5, false).unwrap();
            roster.set(&members(6, &[0, 1, 2, 5]));
            known.admit("c", 2, false).expect_err("a voter more, who has not signed, frees nobody");
            roster.set(&members(7, &[0, 1, 2]));
        }
    }
}
