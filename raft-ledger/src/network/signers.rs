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

const KEY: &[u8] = b"signs-sent/";

pub(crate) struct Signers {
    site_db: Arc<SiteDb>,
    roster: Arc<Roster>,
    known: Mutex<BTreeSet<u64>>,
}

impl Signers {
    pub(super) fn open(site_db: &Arc<SiteDb>, roster: &Arc<Roster>) -> Result<Signers, LedgerError> {
        let node = |key: &[u8]| key[KEY.len()..].try_into().ok().map(u64::from_be_bytes);
        let damaged = || LedgerError::Damaged("sitedb: which nodes sign what they send".into());
        let known: Option<_> = site_db.scan(KEY)?.iter().map(|(key, _)| node(key)).collect();
        let known = Mutex::new(known.ok_or_else(damaged)?);
        Ok(Signers { site_db: site_db.clone(), roster: roster.clone(), known })
    }

    /// A member that signs. Synced with whatever is synced next.
    pub(super) fn note(&self, node: u64) -> Result<(), String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(&node) {
            let key = [KEY, &node.to_be_bytes()].concat();
            self.site_db.put(&key, &[], false).map_err(|error| error.to_string())?;
            known.insert(node);
        }
        Ok(())
    }

    /// Whether the member `node` must sign.
    pub(super) fn bind(&self, node: u64) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let signs = |voter: &u64| *voter == self.roster.node || known.contains(voter);
        known.contains(&node) && self.roster.get().voters.iter().all(signs)
    }

    /// Whether the member `node` may say that of itself. Remembers what it says.
    pub(super) fn admit(&self, site: &str, node: u64, signs_sent: bool) -> Result<(), String> {
        match signs_sent {
            true => self.note(node),
            false if !self.bind(node) => Ok(()),
            false => Err(format!(
                "site {site} signed what it sends when it led, and its release does not any more: run the release there \
                 that it ran before, or a later one; or, to stay with this one, stop it, move its directory `raftdb` \
                 away and start it again, then let it join as the new node that it is: `medulla site add {site}` at any \
                 member, and `medulla site promote {site}` once it has caught up"
            )),
        }
    }
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
        let members = [(0, "a"), (1, "b"), (2, "c")].map(|(id, name)| (id, Member::founder(name)));
        let membership =
            openraft::Membership::new(vec![BTreeSet::from([0, 1, 2])], BTreeMap::from(members)).unwrap();
        let roster = Arc::new(Roster::new(0, &StoredMembership::new(Some(log_id(1, 5)), membership)));
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
        }
    }
}
