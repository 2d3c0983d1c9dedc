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

    /// C2SP verifier keys of every site that takes or took part, one a line: what a verifier brings along.
    pub fn verifier_keys(&self) -> String {
        self.inner.keys.verifier_keys()
    }

    /// The authority's word for every site that joined after the founding, one a line: for verifiers who have its key.
    pub fn admissions(&self) -> String {
        self.inner.keys.admissions()
    }

    /// Has entries applied by the latest rules that every voter's release knows, from an entry on. Nobody goes back:
    /// a release that does not know them is let in no more. Returns the version, once this site applies by it; any site
    /// may ask.
    ///
    /// # Errors
    /// `Refused` names the voter whose release knows no later rules, or that cannot be reached to be asked.
    /// `Unavailable` without a leader, or when a majority did not confirm in time.
    pub async fn upgrade(&self) -> Result<u32, LedgerError> {
        self.inner.membership.ask(Request::Upgrade).await?;
        self.catch_up().await?;
        Ok(self.status().apply_version)
    }

    /// Until this site was found to have another disk than the others know it by: closed and opened again, the ledger
    /// goes on as a new node, which can be added.
    pub async fn outdated(&self) {
        let mut outdated = self.inner.standing.watch_outdated();
        // An error means that this ledger is closed.
        let _ = outdated.wait_for(|outdated| *outdated).await;
    }
}
