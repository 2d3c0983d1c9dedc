//! From apply to those who wait: outcomes, the size of the ledger, and what the writer must know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::Outcome;
use crate::apply::{Effect, Refusal};
use crate::authors::Authors;
use crate::call::Place;
use crate::cosign::{Accusation, Deed, Suspicion};
use crate::passed_over::Sought;
use crate::raft::{Entry, Payload};
use crate::record::{Hash, SiteName, sha256};
use crate::store::applied::Applied;

/// What became of this site's own proposals.
#[derive(Debug)]
pub(crate) enum Event {
    Applied {
        batch_hash: Hash,
    },
    Refused {
        batch_hash: Option<Hash>,
        refusal: Refusal,
    },
    EpochOpened {
        nonce: [u8; 16],
        epoch: u64,
    },
    /// Entries were applied without passing here, as part of a snapshot.
    SnapshotInstalled,
}

/// The applied state as others may read it.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
}

pub(crate) struct Observer {
    own: SiteName,
    pub(crate) authors: Authors,
    pub(crate) sought: Sought,
    /// Whose batches this site, if it leads, takes and does not propose.
    #[cfg(test)]
    pub(crate) left_out: Mutex<Option<SiteName>>,
    size: watch::Sender<u64>,
    view: Mutex<View>,
    waiting: Mutex<HashMap<Hash, Vec<Place>>>,
    // Unbounded, but each event answers a proposal of this site, and those in flight are bounded.
    events: mpsc::UnboundedSender<Event>,
    suspicions: mpsc::Sender<Suspicion>,
    suspected: Mutex<Option<mpsc::Receiver<Suspicion>>>,
}

/// What is suspected beyond that is left out: one piece of evidence convicts.
const SUSPICIONS_MAX: usize = 16;

impl Observer {
    pub(crate) fn new(own: SiteName) -> (Arc<Observer>, mpsc::UnboundedReceiver<Event>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let (suspicions, suspected) = mpsc::channel(SUSPICIONS_MAX);
        let observer = Observer {
            own,
            authors: Authors::default(),
            sought: Sought::default(),
            #[cfg(test)]
            left_out: Mutex::default(),
            size: watch::Sender::new(0),
            view: Mutex::default(),
            waiting: Mutex::default(),
            events,
            suspicions,
            suspected: Mutex::new(Some(suspected)),
        };
        (Arc::new(observer), receiver)
    }

    pub(crate) fn view(&self) -> View {
        lock(&self.view).clone()
    }

    pub(crate) fn watch_size(&self) -> watch::Receiver<u64> {
        self.size.subscribe()
    }

    /// To be looked into by whoever took [`Observer::suspicions`].
    pub(crate) fn suspect(&self, suspicion: Suspicion) {
        let _ = self.suspicions.try_send(suspicion);
    }

    /// `None` if somebody has them already.
    pub(crate) fn suspicions(&self) -> Option<mpsc::Receiver<Suspicion>> {
        lock(&self.suspected).take()
    }

    /// Until so many leaves are applied here.
    pub(crate) async fn reaches(&self, size: u64) {
        #[cfg(any(test, feature = "sim"))]
        if crate::sim::is_running() {
            // The watch channel wakes those who wait in a random order.
            while self.view().size < size {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            return;
        }
        // An error means that this ledger is closed, and then nothing is waited for.
        let _ = self.watch_size().wait_for(|known| *known >= size).await;
    }

    /// Who waits for the batch; told by its hash once it is applied here.
    pub(crate) fn wait_for(&self, batch_hash: Hash, places: Vec<Place>) {
        lock(&self.waiting).insert(batch_hash, places);
    }

    /// Who waits for a batch that will never be applied. Dropped, they learn that nothing is known.
    pub(crate) fn take_back(&self, batch_hash: &Hash) -> Vec<Place> {
        lock(&self.waiting).remove(batch_hash).unwrap_or_default()
    }

    pub(crate) fn resolve(&self, batch_hash: &Hash, outcomes: &[Outcome]) {
        let waiting = lock(&self.waiting).remove(batch_hash);
        for (place, outcome) in waiting.into_iter().flatten().zip(outcomes) {
            place.resolve(*outcome);
        }
    }

    pub(crate) fn loaded(&self, applied: &Applied) {
        self.show(applied);
    }

    pub(crate) fn installed(&self, applied: &Applied) {
        self.show(applied);
        // What came with it was not looked at.
        self.sought.forget();
        self.tell(Event::SnapshotInstalled);
    }

    pub(crate) fn applied(&self, entry: &Entry, applied: &Applied, effect: Effect) {
        self.show(applied);
        if let Some(passed_over) = self.sought.applied(entry) {
            self.suspect(Suspicion::Testified(passed_over));
        }
        match effect {
            Effect::Nothing => {}
            Effect::Applied { site, batch_hash, outcomes } if site == self.own => {
                self.resolve(&batch_hash, &outcomes);
                self.tell(Event::Applied { batch_hash });
            }
            Effect::EpochOpened { site, nonce, epoch } if site == self.own => {
                self.tell(Event::EpochOpened { nonce, epoch });
            }
            Effect::Applied { .. } | Effect::EpochOpened { .. } => {}
            Effect::Refused { site, batch_hash, refusal, contradiction } => {
                if let Some(found) = contradiction {
                    self.suspect(Suspicion::TwoBatches(*found));
                }
                if refusal == Refusal::Forged {
                    self.forged(entry);
                }
                self.refused(site, batch_hash, refusal);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn leaves_out(&self, command: &bytes::Bytes) -> bool {
        let Ok(crate::record::Command::Batch(batch)) = crate::record::Command::decode(command.clone()) else {
            return false;
        };
        lock(&self.left_out).as_ref() == Some(&batch.head.site)
    }

    /// Held against whoever led, if that is certain.
    fn forged(&self, entry: &Entry) {
        let (id, Payload::Normal(proposal)) = (&entry.log_id, &entry.payload) else { return };
        if let Some(leader) = self.authors.of(entry) {
            let command = sha256(&[&proposal.0]);
            let (deed, term) = (Deed::Forged, id.leader_id.term);
            self.suspect(Suspicion::Testified(Accusation { deed, leader, term, command }));
        }
    }

    fn refused(&self, site: Option<SiteName>, batch_hash: Option<Hash>, refusal: Refusal) {
        let name = site.as_ref().map_or("unknown", SiteName::as_str);
        match refusal {
            // Ordinary after a leader change: the same signed batch was sent again.
            Refusal::Replay | Refusal::Gap | Refusal::WrongEpoch => {
                tracing::debug!(site = name, ?refusal, "an entry was refused");
            }
            _ => tracing::warn!(site = name, ?refusal, "an entry was refused"),
        }
        // What is forged is no proposal of this site's, and there may be any number of it.
        if site.as_ref() == Some(&self.own) && refusal != Refusal::Forged {
            self.tell(Event::Refused { batch_hash, refusal });
        }
    }

    fn show(&self, applied: &Applied) {
        *lock(&self.view) = View {
            size: applied.size,
            root: applied.root,
            duplicates: applied.duplicates,
            refused: applied.refused,
        };
        self.size.send_if_modified(|size| std::mem::replace(size, applied.size) != applied.size);
    }

    fn tell(&self, event: Event) {
        // Nobody listens once the ledger is closing.
        let _ = self.events.send(event);
    }
}

/// A panic while one of these is held leaves it whole: each use is one assignment or one map operation.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;
    use crate::raft::log_id;

    #[test]
    fn what_others_forge_in_this_sites_name_is_not_told_to_its_writer() {
        let own = SiteName::new("a").unwrap();
        let (observer, mut events) = Observer::new(own.clone());
        let mut refuse = |refusal| {
            let effect =
                Effect::Refused { site: Some(own.clone()), batch_hash: None, refusal, contradiction: None };
            let entry = Entry { log_id: log_id(1, 1), payload: EntryPayload::Blank };
            observer.applied(&entry, &Applied::default(), effect);
            events.try_recv().is_ok()
        };
        assert!(!refuse(Refusal::Forged));
        assert!(refuse(Refusal::WrongEpoch), "an epoch that it asked for in vain");
    }
}
