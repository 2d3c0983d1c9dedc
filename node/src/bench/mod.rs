//! `medulla bench`: what whole sites carry, measured from outside, and what the ledger alone carries.

mod consortium;
mod histogram;
pub mod ledger;
mod load;
mod message;
mod pipeline;
mod proc;
mod report;

pub use load::{Load, run as run_load};
pub use pipeline::{Plan, run as run_pipeline};
