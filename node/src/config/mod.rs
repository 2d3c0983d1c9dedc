//! One site's configuration file: TOML, unknown fields refused, `${ENV}` filled in, every mistake named.
//!
//! `medulla validate` and `medulla run` read it through the same [`load`], so what one accepts the other does.

mod check;
mod env;
mod feed;
mod finding;
mod http;
mod load;
mod master;
mod refusal;
mod secret;
mod sink;
mod table;
mod types;

#[cfg(test)]
mod tests;

pub use feed::MESSAGE_BYTES_MAX;
pub use load::{Place, alerts, load, place};
pub use master::MASTER_TIMEOUT_S;
pub use secret::Secret;
pub use types::{
    Ack, Config, Feed, FeedKind, Http, Log, OnError, OnNack, Peer, Role, Scoring, Sink, SinkKind, Site, Tls,
    Token, User,
};
