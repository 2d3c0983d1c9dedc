//! Whole sites as processes, for tests that treat Medulla as its users do: configuration files, sockets, signals.

mod consortium;
mod expect;
mod messages;
mod process;
mod program;
mod site;

pub use consortium::Consortium;
pub use expect::{eventually, skip};
pub use messages::control_ids;
pub use process::Process;
pub use program::{medulla, shared, workspace_root};
pub use site::{Site, SiteOptions, free_port};
