//! Whether this site takes part, and if not, what its operator can do about it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::store::LogStore;

pub(crate) struct Standing {
    log: LogStore,
    /// This node's number is one of those that founders have.
    is_founder: bool,
    notices: Mutex<Notices>,
    is_outsider: AtomicBool,
    outdated: watch::Sender<bool>,
}

#[derive(Default)]
struct Notices {
    removed: Option<String>,
    /// By the site that refuses this one: another may let it in that knows less.
    refused: BTreeMap<String, String>,
}

impl Standing {
    pub(crate) fn new(log: LogStore, is_founder: bool) -> Standing {
        let (notices, outdated) = (Mutex::default(), watch::Sender::new(false));
        Standing { log, is_founder, notices, is_outsider: AtomicBool::new(false), outdated }
    }

    /// What to do, for the operator.
    pub(crate) fn notice(&self) -> Option<String> {
        let notices = self.lock();
        notices.removed.as_ref().or(notices.refused.values().next()).cloned()
    }

    /// The others know of no member that this node is.
    pub(crate) fn is_outsider(&self) -> bool {
        self.is_outsider.load(Ordering::Relaxed)
    }

    /// True once this ledger must be opened again to go on as another node.
    pub(crate) fn watch_outdated(&self) -> watch::Receiver<bool> {
        self.outdated.subscribe()
    }

    pub(crate) fn is_member(&self) {
        self.is_outsider.store(false, Ordering::Relaxed);
        *self.lock() = Notices::default();
    }

    /// The site `by` lets this node take part.
    pub(crate) fn was_admitted(&self, by: &str) {
        let mut notices = self.lock();
        notices.removed = None;
        notices.refused.remove(by);
        self.is_outsider.store(false, Ordering::Relaxed);
    }

    /// The site `by` does not let this node take part, for this reason.
    pub(crate) fn must_rejoin(&self, by: &str, why: &str) {
        self.is_outsider.store(true, Ordering::Relaxed);
        if self.lock().refused.insert(by.to_owned(), why.to_owned()).as_deref() == Some(why) {
            return;
        }
        tracing::error!(%why, %by, "another site does not let this one take part");
        // A disk that holds nothing yet cannot be what the others know this founder by.
        if !self.is_founder || !self.log.is_unheard() || *self.outdated.borrow() {
            return;
        }
        match self.log.mark_outdated() {
            Ok(()) => {
                tracing::warn!("this site's disk is new: it starts again as a new node, which can be added");
                self.outdated.send_replace(true);
            }
            Err(error) => tracing::error!(%error, "this site cannot become a new node"),
        }
    }

    /// The others have gone on to rules that this site's release does not know.
    pub(crate) fn must_upgrade(&self, by: &str, why: &str) {
        if self.lock().refused.insert(by.to_owned(), why.to_owned()).as_deref() != Some(why) {
            tracing::error!(%why, %by, "another site does not let this one take part");
        }
    }

    pub(crate) fn was_removed(&self, site: &str) {
        let text = format!(
            "site {site} was removed from the consortium: it votes and writes no more, what it holds stays readable; \
             to let it join again: `medulla site add {site}` at any member"
        );
        tracing::error!("{text}");
        self.lock().removed = Some(text);
    }

    fn lock(&self) -> MutexGuard<'_, Notices> {
        // Each use is one assignment or one map operation.
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
