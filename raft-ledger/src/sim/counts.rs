//! How much a simulation did: of one seed, or of many together.

use std::fmt;

use serde::Serialize;

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// Deliveries, applied entries, votes, answers, faults.
    pub events: u64,
    pub simulated_ms: u64,
    pub leaves: u64,
    pub acknowledged: u64,
    /// Sizes that sites signed checkpoints of.
    pub checkpoints: u64,
    /// Taken and judged.
    pub receipts: u64,
    pub crashes: u64,
    pub disk_steps: u64,
    /// Of the members, and of the leader by request.
    pub changes: u64,
    /// Cold files that were made.
    pub archived: u64,
    /// How often the members went on to later rules of apply.
    pub raised: u64,
    /// How often a site stopped because its release did not know them.
    pub left_behind: u64,
    /// Damage that was done to ledger databases.
    pub damaged: u64,
    /// How often a site had others make its ledger again.
    pub healed: u64,
    /// Entries that a site signed again, as leader of a later term.
    pub signed_again: u64,
    /// The same where another leader had replaced the entry meanwhile.
    pub replaced: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.events += other.events;
        self.simulated_ms += other.simulated_ms;
        self.leaves += other.leaves;
        self.acknowledged += other.acknowledged;
        self.checkpoints += other.checkpoints;
        self.receipts += other.receipts;
        self.crashes += other.crashes;
        self.disk_steps += other.disk_steps;
        self.changes += other.changes;
        self.archived += other.archived;
        self.raised += other.raised;
        self.left_behind += other.left_behind;
        self.damaged += other.damaged;
        self.healed += other.healed;
        self.signed_again += other.signed_again;
        self.replaced += other.replaced;
    }
}

/// What is counted beside events and time.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { acknowledged, leaves, checkpoints, receipts, .. } = self;
        let Counts { crashes, disk_steps, changes, archived, raised, left_behind, damaged, healed, .. } =
            self;
        let Counts { signed_again, replaced, .. } = self;
        write!(
            f,
            "{acknowledged} messages acknowledged, {leaves} leaves, {checkpoints} checkpoints, {receipts} receipts, \
             {crashes} crashes, {changes} changes of the members, {archived} cold files, {raised} raises of the rules, \
             {left_behind} releases left behind, {damaged} times damage, {healed} ledgers from peers, {signed_again} entries signed in another term, \
             {replaced} replaced between two, {disk_steps} disk steps"
        )
    }
}
