//! What the pipeline itself writes to the ledger: alerts, deliveries, answers, ticks, models.

use std::time::Duration;

use bytes::Bytes;
use clinical::Time;
use raft_ledger::{AppendError, Draft, Ledger, Outcome};

use crate::clock;
use crate::entry::Kind;

/// Pause before a draft that found no quorum is offered again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// An entry of this site's own, about `subject`, that happened `at`.
pub(crate) fn draft(ledger: &Ledger, kind: Kind, subject: &[u8], payload: Bytes, at: Time) -> Draft {
    let now = clock::now().0;
    Draft {
        kind: kind as u16,
        subject: ledger.subject(subject),
        tags: vec![ledger.tag("kind", kind.tag())],
        dedupe: None,
        event_time_ms: at.0,
        message_time_ms: now,
        received_time_ms: now,
        payload,
    }
}

/// Appends until it is committed. The draft's dedupe key makes repeating it harmless. `None`: the ledger is
/// closed, or will never take this draft.
pub(crate) async fn append(ledger: &Ledger, draft: Draft) -> Option<Outcome> {
    loop {
        match ledger.append(vec![draft.clone()]).await {
            Ok(outcomes) => return outcomes.first().copied(),
            Err(AppendError::Closed) => return None,
            Err(error @ AppendError::TooLarge { .. }) => {
                tracing::error!(%error, kind = draft.kind, "an entry of our own was refused");
                return None;
            }
            Err(error) => {
                tracing::warn!(%error, kind = draft.kind, "not committed yet; trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}
