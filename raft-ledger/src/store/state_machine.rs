//! openraft's state machine: hands committed entries to apply, makes and installs snapshots.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};

use super::fatal::end_process;
use super::ledger_store::{LedgerStore, SnapshotDir};
use super::log_store::LogStore;
use crate::LedgerError;
use crate::apply::Applier;
use crate::keys::KeyRing;
use crate::observer::Observer;
use crate::raft::{CommittedLeaderId, LogId, Member, SnapshotMeta, StoredMembership, Types};
use crate::rules::Rules;

pub(crate) struct StateMachine {
    store: Arc<LedgerStore>,
    ring: Arc<KeyRing>,
    rules: Arc<Rules>,
    applier: Applier,
    observer: Arc<Observer>,
    /// A snapshot came in and nothing was applied since.
    #[cfg(any(test, feature = "sim"))]
    installed: bool,
}

pub(crate) type SnapshotOf = Snapshot<CommittedLeaderId, u64, Member, Arc<SnapshotDir>>;

impl StateMachine {
    pub(crate) fn open(
        store: Arc<LedgerStore>,
        log: &LogStore,
        ring: Arc<KeyRing>,
        rules: Arc<Rules>,
        observer: Arc<Observer>,
    ) -> Result<StateMachine, LedgerError> {
        let applier = Applier::load(store.generation(), ring.clone(), rules.clone())?;
        store.renew_snapshot(log.gone(applier.applied().last.as_ref()).as_ref())?;
        observer.loaded(applier.applied());
        #[cfg(any(test, feature = "sim"))]
        crate::sim::loaded(applier.applied());
        Ok(StateMachine {
            store,
            ring,
            rules,
            applier,
            observer,
            #[cfg(any(test, feature = "sim"))]
            installed: false,
        })
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Arc<SnapshotDir>;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let applied = self.applier.applied();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            #[cfg(any(test, feature = "sim"))]
            crate::sim::applying(&entry);
            #[cfg(any(test, feature = "sim"))]
            if crate::sim::planted(crate::sim::Plant::AppliedTwice) && std::mem::take(&mut self.installed) {
                let _ = self.applier.apply(&entry);
            }
            match self.applier.apply(&entry) {
                Ok(effect) => {
                    #[cfg(any(test, feature = "sim"))]
                    crate::sim::applied(&entry, &effect, self.applier.applied());
                    self.observer.applied(&entry, self.applier.applied(), effect);
                }
                // It is healed by a new start; until then consensus stands still here.
                Err(LedgerError::Damaged(text)) => {
                    self.store.damage().tell(&text);
                    return Err(io::Error::other(LedgerError::Damaged(text)));
                }
                // Consensus stands still here, too, until a later release is started.
                Err(error @ LedgerError::OldRelease { .. }) => {
                    tracing::error!(%error, "this site's release was left behind; it applies no more entries");
                    return Err(io::Error::other(error));
                }
                // A write that failed may have failed anywhere.
                Err(error) => end_process("apply to the ledger", &error),
            }
            if let Some(responder) = responder {
                responder.send(());
            }
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { store: self.store.clone() }
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta,
        snapshot: Arc<SnapshotDir>,
    ) -> Result<(), io::Error> {
        let generation = self.store.install(&snapshot).map_err(io::Error::other)?;
        let applier = Applier::load(generation, self.ring.clone(), self.rules.clone());
        self.applier = applier.map_err(io::Error::other)?;
        self.store.take_snapshot().map_err(io::Error::other)?;
        self.observer.installed(self.applier.applied());
        #[cfg(any(test, feature = "sim"))]
        {
            crate::sim::loaded(self.applier.applied());
            self.installed = true;
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf>, io::Error> {
        Ok(self.store.snapshot().map(as_snapshot))
    }
}

pub(crate) struct SnapshotBuilder {
    store: Arc<LedgerStore>,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = Arc<SnapshotDir>;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf, io::Error> {
        let store = self.store.clone();
        let taken = crate::blocking::run(move || store.take_snapshot()).await.map_err(io::Error::other)?;
        taken.map(as_snapshot).map_err(io::Error::other)
    }
}

fn as_snapshot(snapshot: Arc<SnapshotDir>) -> SnapshotOf {
    Snapshot { meta: snapshot.meta.clone(), snapshot }
}
