//! One site's configuration file: TOML, unknown fields refused, `${ENV}` filled in, every mistake named.
//!
//! `medulla validate`, `medulla run` and a reload read it through the same [`load`], so what one accepts the others do.

mod amqp;
mod changes;
mod check;
mod contents;
mod env;
mod feed;
mod finding;
mod http;
mod kafka;
mod load;
mod master;
mod receiver;
mod refusal;
mod secret;
mod sink;
mod table;
mod token;
mod types;

#[cfg(test)]
mod tests;

pub use changes::{Change, Difference, Subject};
pub use feed::MESSAGE_BYTES_MAX;
pub use finding::Finding;
pub use load::{Place, alerts, load, load_hashed, place};
pub use master::MASTER_TIMEOUT_S;
pub use secret::Secret;
pub use types::{
    Ack, Config, Feed, FeedKind, Http, Log, OnError, OnNack, Peer, Receiver, ReceiverTls, Role, Scoring,
    Sink, SinkKind, Site, Tls, Token, User,
};
