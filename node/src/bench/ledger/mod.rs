//! `medulla bench ledger`: what the ledger alone carries, everything on; beside it an etcd that is driven alike.

mod clients;
mod etcd;
mod grow;
mod grpc;
mod probe;
mod report;
mod sites;
mod steps;

pub use grow::{Growth, run as run_growth};
pub use steps::{Plan, run as run_steps};
