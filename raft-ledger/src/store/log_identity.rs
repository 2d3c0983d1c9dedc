//! Whose log it is: the store id that a wiped disk cannot show again, and the node that follows from it.

use super::db::{Wal, WriteBatch};
use super::log_store::{LOG, LogStore, META, State, log_key, meta_key, storage};
use crate::LedgerError;
use crate::raft::StoreId;

/// Founders are numbered from 0.
const NEW_NODES_FROM: u64 = 1_000;

impl LogStore {
    /// Made at the first call.
    pub(crate) fn store_id(&self) -> Result<StoreId, LedgerError> {
        let (db, key) = (&self.inner.db, meta_key("store_id"));
        if let Some(found) = db.get(META, &key).map_err(storage)? {
            return found
                .try_into()
                .map_err(|_| LedgerError::Damaged("raftdb: store id is not 16 bytes".into()));
        }
        let id: StoreId = crate::random::bytes();
        self.put_synced("store_id", &id)?;
        Ok(id)
    }

    /// The number that this log is a node under, if it is not a founder's.
    pub(crate) fn node_id(&self) -> Result<Option<u64>, LedgerError> {
        let found = self.inner.db.get(META, &meta_key("node_id")).map_err(storage)?;
        found
            .map(|bytes| bytes.try_into().map(u64::from_be_bytes))
            .transpose()
            .map_err(|_| LedgerError::Damaged("raftdb: node id is not 8 bytes".into()))
    }

    /// From now on this log is that of a new node, whose number follows from the store id.
    pub(crate) fn set_new_node(&self) -> Result<u64, LedgerError> {
        let id = new_node_id(&self.store_id()?);
        self.put_synced("node_id", &id.to_be_bytes())?;
        Ok(id)
    }

    /// Nothing was ever voted, acknowledged or committed with it.
    pub(crate) fn is_blank(&self) -> bool {
        let state = self.inner.state();
        state.vote.is_none() && state.last.is_none()
    }

    /// At most what a founder writes by itself before it has heard from anybody: the consortium's first entry, which is
    /// of no term. In one that goes on from a backup it stands behind the entries of the former one.
    pub(crate) fn is_unheard(&self) -> bool {
        let state = self.inner.state();
        let known = [&state.committed, &state.purged, &state.last];
        known.into_iter().flatten().all(|id| id.leader_id.term == 0)
    }

    /// At the next start this log is emptied and becomes a new node's: see [`LogStore::renew`].
    pub(crate) fn mark_outdated(&self) -> Result<(), LedgerError> {
        self.put_synced("outdated", &[1])
    }

    /// If the log was marked as outdated: forgets what is in it and takes another store id. For the time before
    /// consensus starts.
    pub(crate) fn renew(&self) -> Result<(), LedgerError> {
        let db = &self.inner.db;
        if db.get(META, &meta_key("outdated")).map_err(storage)?.is_none() {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        if !self.is_unheard() {
            // Others took it for a member after all: what it acknowledged since must stay.
            db.delete(&mut batch, META, &meta_key("outdated")).map_err(storage)?;
            db.write(batch, Wal::On).map_err(storage)?;
            return db.sync_wal().map_err(storage);
        }
        for name in ["vote", "committed", "purged", "outdated"] {
            db.delete(&mut batch, META, &meta_key(name)).map_err(storage)?;
        }
        let id: StoreId = crate::random::bytes();
        db.put(&mut batch, META, &meta_key("store_id"), &id).map_err(storage)?;
        db.put(&mut batch, META, &meta_key("node_id"), &new_node_id(&id).to_be_bytes()).map_err(storage)?;
        db.delete_range(&mut batch, LOG, &log_key(0), &log_key(u64::MAX)).map_err(storage)?;
        db.write(batch, Wal::On).map_err(storage)?;
        db.sync_wal().map_err(storage)?;
        *self.inner.state() = State::default();
        Ok(())
    }

    fn put_synced(&self, name: &str, value: &[u8]) -> Result<(), LedgerError> {
        let mut batch = WriteBatch::default();
        self.inner.db.put(&mut batch, META, &meta_key(name), value).map_err(storage)?;
        self.inner.db.write(batch, Wal::On).map_err(storage)?;
        self.inner.db.sync_wal().map_err(storage)
    }
}

fn new_node_id(store: &StoreId) -> u64 {
    let [a, b, c, d, ..] = *store;
    NEW_NODES_FROM + u64::from(u32::from_be_bytes([a, b, c, d]))
}
