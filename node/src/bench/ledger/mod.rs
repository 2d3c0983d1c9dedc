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
pub(super) use grow::{filled, sizes};
pub(super) use sites::Sites;
pub(super) use steps::Removed;
pub use steps::{Plan, run as run_steps};
