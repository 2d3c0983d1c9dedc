//! Where alerts go.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

/// One message out. Receivers deduplicate by `id`.
#[derive(Clone)]
pub struct Outbound {
    pub id: String,
    /// Order is kept per key (Kafka record key).
    pub key: String,
    pub content_type: &'static str,
    pub body: Bytes,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbound {{ id: {}, {} bytes of {} }}", self.id, self.body.len(), self.content_type)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The receiver is away or busy: try again later, in order.
    #[error("{0}; it is sent again until it is taken")]
    Unreachable(String),
    /// The receiver took the bytes, and no answer to them that can be read came in time. It may never give one.
    #[error("unanswered: {0}")]
    Unanswered(String),
    /// The receiver answered that it does not want this message; sending it again will not help.
    #[error("refused by the receiver: {0}")]
    Refused(String),
    /// The broker is there and has no place for it; it has one again once somebody has mended that.
    #[error("no place for it: {0}")]
    Unroutable(String),
}

#[async_trait]
pub trait Sink: Send {
    /// Returns when the receiver has confirmed it (Kafka acks=all, AMQP publisher confirm, HTTP 2xx, MSA-1 AA/CA).
    async fn deliver(&mut self, message: &Outbound) -> Result<(), SinkError>;
}
