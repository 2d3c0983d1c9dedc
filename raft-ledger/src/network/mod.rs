//! Sites talk to sites over mutually authenticated TLS, in bounded frames with request ids.
//!
//! A connection belongs to the side that opened it: it asks, the other answers. Each pair of sites has three in
//! each direction, so that neither a large append nor a snapshot holds up votes and heartbeats.

mod acknowledged;
mod append;
mod client;
mod forward;
mod frame;
mod hello;
mod lane;
mod payloads;
mod peers;
mod server;
mod signers;
#[cfg(any(test, feature = "sim"))]
pub(crate) mod simulated;
mod snapshot;
mod tls;
mod tls_reload;

pub(crate) use client::Network;
pub(crate) use hello::{Hello, Identity};
pub(crate) use lane::{RpcError, probe};
pub(crate) use peers::{Peer, Peers};
pub(crate) use server::{Served, Service, listen};
pub(crate) use snapshot::Landing;
pub(crate) use tls::Tls;
pub(crate) use tls_reload::Reload;
