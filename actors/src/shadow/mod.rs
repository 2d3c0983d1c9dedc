//! Models in shadow: they score as live ones do and alert nobody. What one would have done goes through the alert policy
//! as alerts do, and is counted beside what alerts for the same task.
//!
//! `seen.rs` is kept with each patient, `tally.rs` for the site. Shards decide what concerns one patient; the tail counts
//! in the order of the ledger, so a ledger that is folded again comes to the same figures.

mod begin;
mod gauges;
mod report;
mod seen;
mod tally;

pub(crate) use gauges::{HASH_DIGITS, show};
pub use report::{ShadowAgainst, ShadowAgreement, ShadowReport, ShadowThreshold};
pub(crate) use seen::{Live, ShadowSaid, ShadowSeen};
pub(crate) use tally::Tallies;
