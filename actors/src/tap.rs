//! What feeds bring, told one by one to whoever listens, once the sender has its answer.

use std::sync::Arc;
use std::time::Instant;

use raft_ledger::Outcome;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::clock;
use crate::committer::Labels;

/// How far a listener may fall behind before it misses some.
const KEPT: usize = 1024;
/// Senders write what they like.
const CONTROL_ID_CHARS: usize = 64;

/// One message and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tapped {
    pub feed: String,
    /// When it came in, milliseconds since the Unix epoch.
    pub at_ms: i64,
    #[serde(rename = "type")]
    pub type_: String,
    pub control_id: String,
    /// `committed`, `stored`, `duplicate`, `rejected` or `retry`.
    pub outcome: &'static str,
    /// Of a refused message: its stable code.
    pub code: Option<String>,
    /// Its entry, where it has one already; of a duplicate the first one's.
    pub index: Option<u64>,
    /// From receipt to the feed's ack point.
    pub ms: f64,
}

#[derive(Clone)]
pub(crate) struct Tap(broadcast::Sender<Arc<Tapped>>);

impl Default for Tap {
    fn default() -> Tap {
        Tap(broadcast::channel(KEPT).0)
    }
}

impl Tap {
    pub fn listen(&self) -> broadcast::Receiver<Arc<Tapped>> {
        self.0.subscribe()
    }

    pub fn tell(
        &self,
        labels: &Labels,
        received: Instant,
        outcome: &'static str,
        code: Option<&str>,
        outcomes: &[Outcome],
    ) {
        // Most of the time nobody listens: then it costs this.
        if self.0.receiver_count() == 0 {
            return;
        }
        let waited = received.elapsed();
        let waited_ms = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
        let tapped = Tapped {
            feed: labels.feed.to_string(),
            at_ms: clock::now().0.saturating_sub(waited_ms),
            type_: labels.type_.clone(),
            control_id: labels.control_id.chars().take(CONTROL_ID_CHARS).collect(),
            outcome,
            code: code.map(str::to_owned),
            index: outcomes.first().map(|outcome| outcome.index),
            ms: waited.as_secs_f64() * 1000.0,
        };
        // Whoever listened has gone meanwhile.
        let _ = self.0.send(Arc::new(tapped));
    }
}
