//! `medulla bench`: what whole sites carry, measured from outside, what the ledger alone carries, how fast HL7 v2 is
//! read, and how fast messages are found.

mod consortium;
mod histogram;
mod hl7;
pub mod ledger;
mod load;
mod message;
mod pipeline;
mod proc;
mod report;
pub mod search;

pub use hl7::run as run_hl7;
pub use load::{Load, run as run_load};
pub use pipeline::{Plan, run as run_pipeline};
