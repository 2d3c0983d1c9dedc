//! A batch that the leader does not propose. Its site asks others to pass it on: then it reaches the ledger, or it is
//! seen for certain that the leader took it and left it out.
//!
//! Certain because of a marker, a command without effect: whoever passes the batch on has the leader take first the batch
//! and then, once it says that it has, the marker. An honest leader says so of what is in its log (`network/forward.rs`),
//! and refuses the rest: it takes nothing while no majority answers, or while the lead goes elsewhere. So a marker that is
//! committed in the term in which both were taken, and no batch before it, convicts: three times, and another site's
//! word is asked for beside one's own (`cosign/testimony.rs`). Earlier builds may drop what they say to have taken, and
//! are not judged.

use std::collections::BTreeSet;
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

/// Batches of one site that are looked for at a time.
const SOUGHT_MAX: usize = 4;
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
    /// Whose it is.
    site: String,
    leader: String,
    term: u64,
    command: Bytes,
    markers: Vec<Bytes>,
    missed: u32,
}

impl Sought {
    /// A batch of the site that the leader of the term is handed from now on.
    fn seek(&self, site: &str, leader: &str, term: u64, command: &Bytes) {
        let mut batches = self.lock();
        if batches.iter().any(|batch| batch.is(term, command)) {
            return;
        }
        if batches.iter().filter(|batch| batch.site == site).count() == SOUGHT_MAX
            && let Some(oldest) = batches.iter().position(|batch| batch.site == site)
        {
            batches.remove(oldest);
        }
        let (site, leader, command) = (site.to_owned(), leader.to_owned(), command.clone());
        batches.push(Batch { site, leader, term, command, markers: Vec::new(), missed: 0 });
        self.any.store(true, Ordering::Relaxed);
    }

    /// The leader is handed this behind the batch. Nothing if that has come meanwhile.
    fn follows(&self, term: u64, command: &Bytes, marker: Bytes) {
        let mut batches = self.lock();
        if let Some(batch) = batches.iter_mut().find(|batch| batch.is(term, command))
            && batch.markers.len() < MARKERS_MAX
        {
            batch.markers.push(marker);
        }
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

impl Batch {
    fn is(&self, term: u64, command: &Bytes) -> bool {
        self.term == term && self.command == *command
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
    own: Arc<Semaphore>,
    for_others: Slots,
}

/// One for each site that asks: none keeps it from the others.
#[derive(Clone, Default)]
struct Slots(Arc<Mutex<BTreeSet<String>>>);

/// Free again when it is dropped.
struct Slot {
    site: String,
    slots: Slots,
}

impl Slots {
    fn take(&self, site: &str) -> Option<Slot> {
        let is_free = self.lock().insert(site.to_owned());
        is_free.then(|| Slot { site: site.to_owned(), slots: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Each use is one operation on the set.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().remove(&self.site);
    }
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
            own: Arc::new(Semaphore::new(1)),
            for_others: Slots::default(),
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
        // Before it is handed to anybody: what comes of that is seen.
        self.observer.sought.seek(self.keys.site.as_str(), &lead.peer.name, lead.term, &command);
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
                Ok(marker) => self.observer.sought.follows(lead.term, &command, marker),
                Err(error) => tracing::debug!(%error, "a batch of this site is not passed on"),
            }
        }
    }

    /// Passes on what the site that asks has signed; the answer is the marker that follows it.
    pub(crate) fn pass(&self, asked: PassOn, site: &str) -> Result<Bytes, String> {
        let slot = self.for_others.take(site);
        let slot = slot.ok_or_else(|| format!("this site passes something else on for site {site}"))?;
        let lead = self.lead().filter(|lead| lead.term == asked.term);
        let lead = lead.ok_or(
            "this site knows of no other that leads in that term, or that answers for what it takes",
        )?;
        let (marker, sought) = (self.marker(), &self.observer.sought);
        sought.seek(site, &lead.peer.name, lead.term, &asked.command);
        sought.follows(lead.term, &asked.command, marker.clone());
        let (passing, answer) = (self.clone(), marker.clone());
        self.tasks.spawn(async move {
            tokio::time::sleep(PAUSE).await;
            // What is not taken is followed by no marker.
            if lead.peer.forward(asked.command).await.await.is_ok() && passing.still(&lead) {
                let _ = lead.peer.forward(marker).await.await;
            }
            drop(slot);
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
        let peer = self.peers.get(node).filter(Peer::answers_for_it)?;
        Some(Lead { node, term, peer })
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
        let (sought, batch) = (Sought::default(), Bytes::from_static(b"batch"));
        sought.seek("a", "c", 4, &batch);
        markers.iter().for_each(|marker| sought.follows(4, &batch, Bytes::from_static(marker)));
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
    fn markers_that_are_told_of_after_the_batch_has_come_say_nothing() {
        let (sought, batch) = (Sought::default(), Bytes::from_static(b"batch"));
        sought.seek("a", "c", 4, &batch);
        assert!(sought.applied(&entry(4, b"batch")).is_none());
        for marker in [b"1", b"2", b"3"] {
            sought.follows(4, &batch, Bytes::from_static(marker));
            assert!(sought.applied(&entry(4, marker)).is_none());
        }
    }

    #[test]
    fn what_is_sought_is_bounded_for_each_site() {
        let (sought, own) = (Sought::default(), Bytes::from_static(b"own"));
        sought.seek("b", "c", 4, &own);
        for n in 0..SOUGHT_MAX as u8 + 1 {
            let command = Bytes::from(vec![n]);
            sought.seek("a", "c", 4, &command);
            (0..MARKERS_MAX + 1).for_each(|_| sought.follows(4, &command, Bytes::from_static(b"m")));
        }
        let batches = sought.lock();
        let of = |site| batches.iter().filter(move |batch| batch.site == site);
        assert_eq!((of("b").count(), of("a").count()), (1, SOUGHT_MAX), "none crowds out another's");
        assert_eq!(of("a").next().unwrap().command.as_ref(), [1]);
        assert!(of("a").all(|batch| batch.markers.len() == MARKERS_MAX));
    }

    #[test]
    fn who_asks_for_much_keeps_no_other_from_asking() {
        let slots = Slots::default();
        let (a, _b) = (slots.take("a").unwrap(), slots.take("b").unwrap());
        assert!(slots.take("a").is_none());
        drop(a);
        assert!(slots.take("a").is_some() && slots.take("b").is_none());
    }
}
