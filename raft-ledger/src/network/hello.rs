//! The first exchange of a connection: who is there, with which store. Before it nothing else is served.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::LedgerError;
use crate::raft::GROUP;
use crate::store::SiteDb;

pub(super) const PROTOCOL: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    pub(super) group: u32,
    pub(super) site: String,
    pub(super) store_id: [u8; 16],
}

/// Who this site is and whom it knows by which store.
pub(crate) struct Identity {
    pub(crate) site: String,
    pub(crate) store_id: [u8; 16],
    pub(crate) site_db: Arc<SiteDb>,
}

impl Identity {
    pub(super) fn hello(&self) -> Hello {
        Hello { protocol: PROTOCOL, group: GROUP, site: self.site.clone(), store_id: self.store_id }
    }

    /// Whether the peer may go on: the expected site, with the store it has always had.
    /// A wiped disk has lost the votes it gave and the entries it acknowledged; as the old voter it could let
    /// a committed entry be lost.
    pub(super) fn check(&self, hello: &Hello, expected: &str) -> Result<(), String> {
        if hello.protocol != PROTOCOL || hello.group != GROUP {
            return Err(format!(
                "site {expected} speaks protocol {} for group {}; this site speaks {PROTOCOL} for {GROUP}",
                hello.protocol, hello.group
            ));
        }
        if hello.site != expected {
            return Err(format!("expected site {expected}, found {:?}", hello.site));
        }
        let known = self.remembered(expected, &hello.store_id).map_err(|e| e.to_string())?;
        if known == hello.store_id {
            return Ok(());
        }
        Err(format!(
            "site {expected} comes with another raft log than before (store {}, known {}): a wiped or replaced \
             disk must not vote as the old member; put its data back or let it join as a new node",
            hex::encode(hello.store_id),
            hex::encode(known)
        ))
    }

    fn remembered(&self, site: &str, fresh: &[u8; 16]) -> Result<[u8; 16], LedgerError> {
        let key = format!("peer-store/{site}");
        match self.site_db.get(key.as_bytes())? {
            Some(known) => known
                .try_into()
                .map_err(|_| LedgerError::Damaged("sitedb: a store id is not 16 bytes".into())),
            None => {
                self.site_db.put(key.as_bytes(), fresh, true)?;
                Ok(*fresh)
            }
        }
    }
}
