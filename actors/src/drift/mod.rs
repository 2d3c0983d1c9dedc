//! Whether this site's patients, and how often they are measured, are still those that its models were trained on, while
//! it runs.
//!
//! Shards hand over each hour of a patient once it has closed (`closed.rs`); the tail counts them for every model that
//! scores here, in the order of the ledger (`window.rs`), and saves the counts with its cursor. So a restart and a ledger
//! that is folded again come to the same figures.

mod closed;
mod report;
mod window;

pub(crate) use closed::{ClosedHour, Counted};
pub(crate) use report::show;
pub use report::{DriftFinding, DriftReport, DriftStatus};
pub(crate) use window::Windows;
