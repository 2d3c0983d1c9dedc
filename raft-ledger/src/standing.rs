//! Whether this site takes part, and if not, what its operator can do about it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::store::LogStore;

pub(crate) struct Standing {
    log: LogStore,
    /// This node's number is one of those that founders have.
    is_founder: bool,
    notice: Mutex<Option<String>>,
    outdated: watch::Sender<bool>,
}

impl Standing {
    pub(crate) fn new(log: LogStore, is_founder: bool) -> Standing {
        Standing { log, is_founder, notice: Mutex::default(), outdated: watch::Sender::new(false) }
    }

    /// What to do, for the operator.
    pub(crate) fn notice(&self) -> Option<String> {
        self.lock().clone()
    }

    /// True once this ledger must be opened again to go on as another node.
    pub(crate) fn watch_outdated(&self) -> watch::Receiver<bool> {
        self.outdated.subscribe()
    }

    pub(crate) fn is_member(&self) {
        *self.lock() = None;
    }

    /// The others do not let this node take part, for this reason.
    pub(crate) fn must_rejoin(&self, why: &str) {
        if self.lock().replace(why.to_owned()).as_deref() == Some(why) {
            return;
        }
        tracing::error!(%why, "the other sites do not let this one take part");
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

    pub(crate) fn was_removed(&self, site: &str) {
        let text = format!(
            "site {site} was removed from the consortium: it votes and writes no more, what it holds stays readable; \
             to let it join again: `medulla site add {site}` at any member"
        );
        tracing::error!("{text}");
        *self.lock() = Some(text);
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        // Each use is one assignment.
        self.notice.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
