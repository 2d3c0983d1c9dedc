//! Who takes part: what callers may ask and change.

use crate::ledger::Ledger;
use crate::membership::Request;
use crate::{LedgerError, MemberChange, MemberStatus};

impl Ledger {
    /// The members as the leader sees them; as this site does when there is no leader.
    pub async fn members(&self) -> Vec<MemberStatus> {
        let asked = self.inner.membership.ask(Request::List).await;
        asked.unwrap_or_else(|_| self.inner.membership.list())
    }

    /// Returns the members after it. One change at a time; any site may ask.
    ///
    /// # Errors
    /// `Refused` says what stands against it: among others, a change after which no majority of the voters would
    /// answer. `Unavailable` without a leader, or when a majority did not confirm in time.
    pub async fn change_members(&self, change: MemberChange) -> Result<Vec<MemberStatus>, LedgerError> {
        self.inner.membership.ask(Request::Change(change)).await
    }

    /// Until this site was found to have another disk than the others know it by: closed and opened again, the ledger
    /// goes on as a new node, which can be added.
    pub async fn outdated(&self) {
        let mut outdated = self.inner.standing.watch_outdated();
        // An error means that this ledger is closed.
        let _ = outdated.wait_for(|outdated| *outdated).await;
    }
}
