//! A batch that the leader does not propose. Its site asks others to pass it on: then it reaches the ledger, or it is
//! seen for certain that the leader took it and left it out.
//!
//! Certain because of a marker, a command without effect: whoever passes the batch on has the leader take first the batch
//! and then the marker. An honest leader proposes in the order in which it took; so a marker that comes within the term
//! in which both were taken, and no batch before it, convicts. Three times, since a leader that is being replaced takes
//! nothing for a moment, and another site's word is asked for beside one's own (`cosign/testimony.rs`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::cosign::{Accusation, Deed};
use crate::keys::SiteKeys;
use crate::network::{Peer, Peers};
use crate::observer::Observer;
use crate::raft::{Entry, GROUP, Payload, Types};
use crate::record::{Command, OpenEpoch, sha256};
use crate::store::state_machine::StateMachine;
use crate::tasks::Tasks;

/// Batches that are looked for at a time.
const SOUGHT_MAX: usize = 16;
/// Markers of one batch that have not come yet.
const MARKERS_MAX: usize = 32;
/// Markers that came without the batch.
const MISSED_MAX: u32 = 3;
/// After the answer with the marker, so that whoever asked looks for it before it can come.
const PAUSE: Duration = Duration::from_millis(500);

/// To a peer that does not lead.
#[derive(Serialize, Deserialize)]
pub(crate) struct PassOn {
    /// A batch of the asking site, which the leader has taken in this term.
    pub(crate) command: Bytes,
    pub(crate) term: u64,
}

/// What was taken and has not come yet.
#[derive(Default)]
pub(crate) struct Sought {
    any: AtomicBool,
    batches: Mutex<Vec<Batch>>,
}

struct Batch {
    leader: String,
    term: u64,
    command: Bytes,
    markers: Vec<Bytes>,
    missed: u32,
}

impl Sought {
    /// The leader of the term has taken the batch, or will have when it is handed the marker.
    fn add(&self, leader: &str, term: u64, command: Bytes, marker: Bytes) {
        let mut batches = self.lock();
        let of_same = |batch: &&mut Batch| batch.term == term && batch.command == command;
        if let Some(batch) = batches.iter_mut().find(of_same) {
            if batch.markers.len() < MARKERS_MAX {
                batch.markers.push(marker);
            }
        } else {
            if batches.len() == SOUGHT_MAX {
                batches.remove(0);
            }
            let leader = leader.to_owned();
            batches.push(Batch { leader, term, command, markers: vec![marker], missed: 0 });
        }
        self.any.store(true, Ordering::Relaxed);
    }

    /// What this entry, which is applied now, says against whoever led.
    pub(crate) fn applied(&self, entry: &Entry) -> Option<Accusation> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let Payload::Normal(proposal) = &entry.payload else { return None };
        let mut batches = self.lock();
        batches.retain(|batch| batch.command != proposal.0);
        let mut convicted = None;
        for (nth, batch) in batches.iter_mut().enumerate() {
            let known = batch.markers.len();
            batch.markers.retain(|marker| *marker != proposal.0);
            if batch.markers.len() < known && batch.term == entry.log_id.leader_id.term {
                batch.missed += 1;
                convicted = convicted.or((batch.missed == MISSED_MAX).then_some(nth));
            }
        }
        let convicted = convicted.map(|nth| batches.remove(nth));
        self.any.store(!batches.is_empty(), Ordering::Relaxed);
        convicted.map(|batch| Accusation {
            deed: Deed::PassedOver,
            leader: batch.leader,
            term: batch.term,
            command: sha256(&[&batch.command]),
        })
    }

    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Batch>> {
        // Each use is one operation on the list.
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another site leads, as far as this one knows.
#[derive(Clone)]
struct Lead {
    node: u64,
    term: u64,
    peer: Peer,
}

/// Passes batches on, and asks others to.
#[derive(Clone)]
pub(crate) struct PassingOn {
    keys: Arc<SiteKeys>,
    raft: Raft<Types, StateMachine>,
    peers: Peers,
    observer: Arc<Observer>,
    tasks: Tasks,
    /// For others one at a time, and one of its own.
    for_others: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

impl PassingOn {
    pub(crate) fn new(
        keys: &Arc<SiteKeys>,
        raft: &Raft<Types, StateMachine>,
        peers: &Peers,
        observer: &Arc<Observer>,
        tasks: &Tasks,
    ) -> PassingOn {
        PassingOn {
            keys: keys.clone(),
            raft: raft.clone(),
            peers: peers.clone(),
            observer: observer.clone(),
            tasks: tasks.clone(),
            for_others: Arc::new(Semaphore::new(1)),
            own: Arc::new(Semaphore::new(1)),
        }
    }

    /// Has the others pass on a batch of this site, in the background.
    pub(crate) fn ask(&self, command: Bytes) {
        let Ok(permit) = self.own.clone().try_acquire_owned() else { return };
        let passing = self.clone();
        self.tasks.spawn(async move {
            passing.ask_all(command).await;
            drop(permit);
        });
    }

    async fn ask_all(&self, command: Bytes) {
        let Some(lead) = self.lead() else { return };
        let taken = lead.peer.forward(command.clone()).await.await;
        if taken.is_err() || !self.still(&lead) {
            return;
        }
        tracing::warn!(
            leader = lead.peer.name,
            "the leader does not propose what this site hands it; asking others"
        );
        for (node, peer) in self.peers.all() {
            if node == lead.node || !peer.is_connected() {
                continue;
            }
            match peer.pass_on(&PassOn { command: command.clone(), term: lead.term }).await {
                Ok(marker) => self.observer.sought.add(&lead.peer.name, lead.term, command.clone(), marker),
                Err(error) => tracing::debug!(%error, "a batch of this site is not passed on"),
            }
        }
    }

    /// Passes on what another site has signed; the answer is the marker that follows it.
    pub(crate) fn pass(&self, asked: PassOn) -> Result<Bytes, String> {
        let busy = |_| "this site passes something else on".to_owned();
        let permit = self.for_others.clone().try_acquire_owned().map_err(busy)?;
        let lead = self.lead().filter(|lead| lead.term == asked.term);
        let lead = lead.ok_or("this site knows of no other that leads in that term")?;
        let marker = self.marker();
        self.observer.sought.add(&lead.peer.name, lead.term, asked.command.clone(), marker.clone());
        let (passing, answer) = (self.clone(), marker.clone());
        self.tasks.spawn(async move {
            tokio::time::sleep(PAUSE).await;
            // What is not taken is followed by no marker.
            if lead.peer.forward(asked.command).await.await.is_ok() && passing.still(&lead) {
                let _ = lead.peer.forward(marker).await.await;
            }
            drop(permit);
        });
        Ok(answer)
    }

    /// Asks for an epoch that follows none of this site's: apply refuses that.
    fn marker(&self) -> Bytes {
        let nonce = crate::random::bytes();
        let open = OpenEpoch::sign(GROUP, self.keys.site.clone(), u64::MAX, nonce, &self.keys.batch);
        Command::OpenEpoch(open).encode()
    }

    fn lead(&self) -> Option<Lead> {
        let (node, term) = self.leader()?;
        Some(Lead { node, term, peer: self.peers.get(node)? })
    }

    fn still(&self, lead: &Lead) -> bool {
        self.leader() == Some((lead.node, lead.term))
    }

    fn leader(&self) -> Option<(u64, u64)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        Some((metrics.current_leader?, metrics.current_term))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Proposal, log_id};

    fn entry(term: u64, command: &'static [u8]) -> Entry {
        let payload = Payload::Normal(Proposal(Bytes::from_static(command)));
        Entry { log_id: log_id(term, 1), payload }
    }

    fn sought(markers: &[&'static [u8]]) -> Sought {
        let sought = Sought::default();
        for marker in markers {
            sought.add("c", 4, Bytes::from_static(b"batch"), Bytes::from_static(marker));
        }
        sought
    }

    #[test]
    fn three_markers_of_one_term_without_the_batch_convict() {
        let all: [&[u8]; 4] = [b"1", b"2", b"3", b"4"];
        let of = |entries: &[(u64, &'static [u8])]| {
            let sought = sought(&all);
            entries.iter().find_map(|(term, command)| sought.applied(&entry(*term, command)))
        };
        let found = of(&[(4, b"1"), (4, b"other"), (4, b"2"), (4, b"4")]).unwrap();
        let command = sha256(&[b"batch"]);
        assert_eq!(found, Accusation { deed: Deed::PassedOver, leader: "c".into(), term: 4, command });
        for innocent in [
            &[(4, b"1".as_slice()), (4, b"2"), (4, b"1"), (4, b"2")][..],
            &[(4, b"1"), (4, b"2"), (5, b"3"), (5, b"4")],
            &[(4, b"1"), (4, b"2"), (4, b"batch"), (4, b"3"), (4, b"4")],
        ] {
            assert_eq!(of(innocent), None);
        }
        let forgetful = sought(&all);
        forgetful.forget();
        assert!(all.iter().all(|marker| forgetful.applied(&entry(4, marker)).is_none()));
    }

    #[test]
    fn what_is_sought_is_bounded() {
        let sought = Sought::default();
        for n in 0..SOUGHT_MAX as u8 + 1 {
            (0..MARKERS_MAX + 1)
                .for_each(|_| sought.add("c", 4, Bytes::from(vec![n]), Bytes::from_static(b"m")));
        }
        let batches = sought.lock();
        assert_eq!((batches.len(), batches[0].command.as_ref()), (SOUGHT_MAX, [1].as_slice()));
        assert!(batches.iter().all(|batch| batch.markers.len() == MARKERS_MAX));
    }
}
