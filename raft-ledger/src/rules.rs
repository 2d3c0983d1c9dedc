//! Apply versions: the rules by which committed entries become a ledger. Sites of different releases keep equal roots
//! because all apply by the version that the last raising entry names, whatever later ones their releases know.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::LedgerError;

/// The latest rules that this release knows; 0 are the first ones. Whatever changes what an entry does raises it, and
/// apply goes on doing as before until `Applied::apply_version` has come to it.
pub(crate) const APPLY_VERSION: u32 = NEW_SITES;

/// From here on the ledger brings the keys of sites that are none of the founders ([`crate::record::NewSite`]).
pub(crate) const NEW_SITES: u32 = 1;

/// Those of a release that does not exist, for tests of what happens when one does: duplicates are known for
/// [`NEXT_DEDUPE_WINDOW`] leaves.
#[cfg(any(test, feature = "sim"))]
pub(crate) const NEXT: u32 = APPLY_VERSION + 1;
#[cfg(any(test, feature = "sim"))]
pub(crate) const NEXT_DEDUPE_WINDOW: u64 = 8;

/// Shorter than the `former` one in any case: what compaction has dropped by that is out of this one.
#[cfg(any(test, feature = "sim"))]
pub(crate) fn next_dedupe_window(former: u64) -> u64 {
    NEXT_DEDUPE_WINDOW.min(former / 2)
}

/// What this release knows, and what the consortium applies by as far as this site has heard.
pub(crate) struct Rules {
    known: u32,
    applied: AtomicU32,
}

impl Rules {
    pub(crate) fn up_to(known: u32) -> Arc<Rules> {
        Arc::new(Rules { known, applied: AtomicU32::new(0) })
    }

    pub(crate) fn known(&self) -> u32 {
        self.known
    }

    pub(crate) fn applied(&self) -> u32 {
        self.applied.load(Ordering::Relaxed)
    }

    /// The consortium applies by `version`.
    ///
    /// # Errors
    /// `OldRelease`: whoever went on by other rules would hold another ledger than the others.
    pub(crate) fn are(&self, version: u32) -> Result<(), LedgerError> {
        let applied = self.applied.fetch_max(version, Ordering::Relaxed).max(version);
        #[cfg(any(test, feature = "sim"))]
        if crate::sim::planted(crate::sim::Plant::OldReleaseGoesOn) {
            return Ok(());
        }
        match applied > self.known {
            true => Err(LedgerError::OldRelease { applied, known: self.known }),
            false => Ok(()),
        }
    }

    /// For the operator of a site whose release was left behind.
    pub(crate) fn notice(&self) -> Option<String> {
        self.are(0).err().map(|error| error.to_string())
    }
}
