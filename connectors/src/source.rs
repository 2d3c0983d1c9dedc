//! Where messages come from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Receipt;

/// What the transport says the bytes are; `None` in [`Inbound::format`] means "look".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Hl7v2,
    FhirJson,
}

/// One message as it came, and the promise that goes with it.
#[derive(Debug)]
pub struct Inbound {
    /// Order is kept among messages of one key: a Kafka partition, an MLLP connection, a file.
    pub key: Arc<str>,
    /// Where it stood, for people: `topic/3@1722`, `10.1.2.3:41022#17`, `adt.hl7@5120`.
    pub position: String,
    pub payload: Bytes,
    pub format: Option<Format>,
    /// FHIR REST: `POST /fhir/{Type}`; Kafka and AMQP: headers as sent.
    pub headers: BTreeMap<String, String>,
    pub received_at: SystemTime,
    pub receipt: Receipt,
}

/// One configured feed's way in.
#[async_trait]
pub trait Source: Send {
    /// The next message; waits for it. `None`: a file came to its end, or `stop` was called.
    /// Reading stops while nobody calls this: that is the backpressure.
    async fn next(&mut self) -> Option<Inbound>;

    /// Takes no further messages. Receipts that are still out may be settled until `finish`.
    async fn stop(&mut self);

    /// Waits until every settled receipt has reached the sender (offsets stored, acks written), then closes.
    async fn finish(&mut self);

    fn status(&self) -> Arc<SourceStatus>;
}

/// What the feeds page and the metrics show; written by the source, read by anybody.
#[derive(Debug, Default)]
pub struct SourceStatus {
    pub received: AtomicU64,
    /// Messages waiting at the sender's side, where the transport can tell (Kafka lag, AMQP queue depth).
    pub lag: AtomicU64,
    state: std::sync::Mutex<(SourceState, Option<String>)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceState {
    #[default]
    Connecting,
    Running,
    /// Backpressure: the ledger is not taking more.
    Paused,
    Stopped,
}

impl SourceStatus {
    pub fn set(&self, state: SourceState) {
        self.state.lock().expect("status lock").0 = state;
    }

    /// Keeps the last error for people; holds no patient data.
    pub fn error(&self, text: impl Into<String>) {
        self.state.lock().expect("status lock").1 = Some(text.into());
    }

    pub fn get(&self) -> (SourceState, Option<String>) {
        self.state.lock().expect("status lock").clone()
    }

    pub fn count(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }
}
