//! `medulla bench pipeline`: what whole sites carry, measured from outside.

mod consortium;
mod histogram;
mod load;
mod message;
mod pipeline;
mod proc;
mod report;

pub use load::{Load, run as run_load};
pub use pipeline::{Plan, run as run_pipeline};
