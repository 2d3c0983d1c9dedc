//! Where messages come from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Receipt, Refusal, Verdict};

/// What the transport says the bytes are; `None` in [`Inbound::format`] means "look".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Hl7v2,
    FhirJson,
}

impl Format {
    /// By media type, whatever its parameters; `None` if it does not say.
    pub(crate) fn of_media_type(text: &str) -> Option<Format> {
        let media_type = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.as_str() {
            "application/fhir+json" => Some(Format::FhirJson),
            "application/hl7-v2" | "application/hl7-v2+er7" | "x-application/hl7-v2+er7" => {
                Some(Format::Hl7v2)
            }
            _ => None,
        }
    }
}

/// One message as it came, and the promise that goes with it.
pub struct Inbound {
    /// Order is kept among messages of one key: a Kafka partition, an MLLP connection, a file.
    pub key: Arc<str>,
    /// Where it stood, for people: `topic/3@1722`, `10.1.2.3:41022#17`, `adt.hl7@5120`.
    pub position: String,
    pub payload: Bytes,
    pub format: Option<Format>,
    /// The transport knows already that this cannot be read whole (a frame cut short, a message too large):
    /// `payload` holds what came, up to a bound. To be kept as refused, with this reason, and answered so.
    pub fault: Option<Refusal>,
    /// What came around it does not agree with it (a batch's count): it is taken, and its entry says so.
    pub doubt: Option<Refusal>,
    /// FHIR REST: `POST /fhir/{Type}`; Kafka and AMQP: headers as sent.
    pub headers: BTreeMap<String, String>,
    pub received_at: SystemTime,
    pub receipt: Receipt,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbound {{ position: {}, payload: {} bytes }}", self.position, self.payload.len())
    }
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
    /// Messages waiting at the sender's side, where the transport can tell: of Kafka what could be read and is not settled
    /// (nothing of an open transaction), of AMQP the queue and what is under way, the files of a folder.
    pub lag: AtomicU64,
    /// Taken and not yet answered.
    pub in_flight: AtomicU64,
    pub committed: AtomicU64,
    pub rejected: AtomicU64,
    /// Given back to the sender to be sent again.
    pub retried: AtomicU64,
    /// Faults of the transport itself that were survived: bad frames, lost connections.
    pub faults: AtomicU64,
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
        self.lock().0 = state;
    }

    /// Keeps the last error for people; holds no patient data.
    pub fn error(&self, text: impl Into<String>) {
        self.lock().1 = Some(text.into());
    }

    pub fn get(&self) -> (SourceState, Option<String>) {
        self.lock().clone()
    }

    /// A message came in whole and is on its way to the pipeline.
    pub(crate) fn count(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// The final verdict on a counted message has come.
    pub(crate) fn settle(&self, verdict: &Verdict) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let counter = match verdict {
            Verdict::Stored(_) | Verdict::Committed(_) => &self.committed,
            Verdict::Rejected(..) => &self.rejected,
            Verdict::Retry(_) => &self.retried,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts and keeps a fault of the transport.
    pub(crate) fn fault(&self, text: impl Into<String>) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        self.error(text);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (SourceState, Option<String>)> {
        // Two plain values: whole even where a writer panicked.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
