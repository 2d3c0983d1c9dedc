//! openraft's own tests of a log store and a state machine.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::LogStore;
use super::ledger_store::LedgerStore;
use super::state_machine::StateMachine;
use crate::cold::Cold;
use crate::keys::KeyRing;
use crate::observer::Observer;
use crate::raft::Types;
use crate::record::SiteName;
use crate::rules::{APPLY_VERSION, Rules};

struct Builder;

impl StoreBuilder<Types, LogStore, StateMachine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, StateMachine), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::open(&dir.path().join("raftdb")).unwrap();
        let store =
            Arc::new(LedgerStore::open(&dir.path().join("ledgerdb"), Cold::open(None, dir.path())).unwrap());
        let (observer, _events) = Observer::new(SiteName::new("a").unwrap());
        let machine =
            StateMachine::open(store, &log, KeyRing::of_batches(&[]), Rules::up_to(APPLY_VERSION), observer)
                .unwrap();
        Ok((dir, log, machine))
    }
}

#[tokio::test]
async fn the_stores_keep_openrafts_rules() {
    Suite::test_all(Builder).await.unwrap();
}
