//! What callers keep in this site's own store about a subject, sealed under its key: shredded with it.

use crate::ledger::Ledger;
use crate::{LedgerError, Subject};

impl Ledger {
    /// Seals what [`Ledger::site_write`] shall keep at `place`. Blocks if the subject has no key yet.
    pub fn seal_aside(&self, subject: &Subject, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, LedgerError> {
        self.inner.sealer.seal_aside(subject, &callers(place), plain, &mut crate::random::rng())
    }

    /// What [`Ledger::seal_aside`] sealed for this place. `None` if it is damaged or its subject was shredded.
    pub fn open_aside(&self, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.inner.sealer.open_aside(&callers(place), sealed).map(|(_, plain)| plain)
    }

    /// Removes every value whose key begins with `prefix`, also from the files that the store has written before.
    /// Blocks for as long as that takes.
    pub fn site_forget(&self, prefix: &[u8]) -> Result<(), LedgerError> {
        let found = self.site_scan(prefix)?;
        self.site_write(found.into_iter().map(|(key, _)| (key, None)).collect())?;
        self.site_compact(prefix);
        Ok(())
    }
}

fn callers(place: &[u8]) -> Vec<u8> {
    [b"caller\n".as_slice(), place].concat()
}
