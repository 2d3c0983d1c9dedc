//! Once a second: how far this site's raft log has reached, and what the others' have acknowledged to whoever leads, is
//! kept, so that a log which comes back shorter is found out (`store/reached.rs`, `network/acknowledged.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use tokio::time::MissedTickBehavior;

use crate::LedgerError;
use crate::network::{Identity, Peers};
use crate::raft::Types;
use crate::store::LogStore;
use crate::store::state_machine::StateMachine;
use crate::tasks::Tasks;

const PERIOD: Duration = Duration::from_secs(1);

/// Until the task is dropped.
pub(crate) async fn run(
    log: LogStore,
    identity: Arc<Identity>,
    raft: Raft<Types, StateMachine>,
    peers: Peers,
    tasks: Tasks,
) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let kept = match log.keep_reached(&tasks).await {
            Ok(()) => note(&identity, &raft),
            Err(error) => Err(error),
        };
        match kept {
            Ok(true) => pass_on(&identity, &peers).await,
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "what raft logs have reached could not be kept"),
        }
    }
}

async fn pass_on(identity: &Identity, peers: &Peers) {
    let known = identity.acknowledged.all();
    // Whoever is away hears it the next time.
    let told = peers.all().into_iter().map(|(_, peer)| {
        let known = known.clone();
        async move { peer.acknowledged(&known).await.is_ok() }
    });
    futures_util::future::join_all(told).await;
}

/// What the others have acknowledged to this site. False: it does not lead.
fn note(identity: &Identity, raft: &Raft<Types, StateMachine>) -> Result<bool, LedgerError> {
    let metrics = raft.metrics().borrow_watched().clone();
    let known = identity.roster.get();
    if known.is_joint || known.index.is_none() {
        return Ok(false);
    }
    let mut stores = BTreeMap::new();
    for (node, member) in &known.members {
        let store = if *node == identity.roster.node {
            Some(identity.store_id)
        } else {
            identity.store_of(member)?
        };
        stores.extend(store.map(|store| (store, *node)));
    }
    // Also where this site only hears it: a leader that lies tells of any.
    identity.acknowledged.retain(|store| stores.contains_key(store))?;
    if metrics.state != openraft::ServerState::Leader {
        return Ok(false);
    }
    for (store, node) in stores.iter().filter(|(_, node)| **node != identity.roster.node) {
        let matched = metrics.replication.as_ref().and_then(|all| all.get(node).copied().flatten());
        if let Some(last) = matched {
            identity.acknowledged.note(store, metrics.current_term, last, metrics.last_applied)?;
        }
    }
    Ok(true)
}
