//! Appends what the feeds brought, in order, and settles each receipt with what the site's own apply says.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use connectors::{Receipt, Refusal, Reply};
use raft_ledger::{AppendError, Draft, Ledger, Outcome};

use crate::metrics::Metrics;
use crate::window::Place;

/// How long a message waits for its ack point before its sender is asked to send it again.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// One message on its way into the ledger. A batch file is one of these with many drafts.
pub(crate) struct Prepared {
    pub drafts: Vec<Draft>,
    pub receipt: Receipt,
    pub answer: Answer,
    pub labels: Labels,
    pub received: Instant,
    /// In the feed's window; held until the message is answered.
    pub place: Place,
}

#[derive(Clone)]
pub(crate) struct Labels {
    pub feed: Arc<str>,
    /// A known message type, or `unknown`: bounded, whatever senders write.
    pub type_: String,
    /// The sender's: never a label.
    pub control_id: String,
    /// Stable codes of the issues that it was taken with.
    pub codes: Vec<Cow<'static, str>>,
    /// Codes of its entries that were refused where others were taken: a FHIR batch.
    pub refused: Vec<String>,
}

/// Writes the positive answer, which may name the ledger indices.
pub(crate) type WriteAnswer = Box<dyn FnOnce(&[Outcome]) -> Accepted + Send>;

/// What the sender hears once its message is where the feed's ack point asks.
pub(crate) enum Answer {
    Accept(WriteAnswer),
    Refuse(Refusal, Reply),
    /// Refused, but nothing goes to a dead-letter queue: it waits in the ledger for a person.
    Hold(Refusal, Reply),
}

pub(crate) struct Accepted {
    /// HL7 enhanced mode asks for two answers: this one (CA) goes first.
    pub first: Option<Reply>,
    pub last: Reply,
    /// The last one is enhanced mode's AA: whatever the feed's ack point, it means that a quorum has the message.
    pub last_at_quorum: bool,
}

#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Commit(pub Vec<Prepared>);

pub(crate) struct Committer {
    ledger: Ledger,
    metrics: Metrics,
    refused: Refused,
}

/// When the ledger last took nothing from a feed.
#[derive(Default)]
struct Refused(HashMap<Arc<str>, Instant>);

impl Refused {
    /// Whether the feed handed it over before it could know that one before it is to come again. It must not overtake that
    /// one, though there may be room by now; its sender sends it again behind it.
    fn holds_back(&self, feed: &str, handed_over: Instant) -> bool {
        self.0.get(feed).is_some_and(|refused| handed_over <= *refused)
    }
}

impl Committer {
    pub fn new(ledger: Ledger, metrics: Metrics) -> Committer {
        Committer { ledger, metrics, refused: Refused::default() }
    }
}

impl Actor for Committer {
    type Context = Context<Self>;
}

impl Handler<Commit> for Committer {
    /// Atomic: the next message is not looked at before this one is in the ledger's queue, so order is kept.
    /// Its commit is awaited on the side, so many are in flight.
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Commit(prepared): Commit, _: &mut Self::Context) -> Self::Result {
        let (ledger, metrics) = (self.ledger.clone(), self.metrics.clone());
        let holds_back = |p: &Prepared| self.refused.holds_back(&p.labels.feed, p.place.handed_over);
        let (held_back, prepared): (Vec<_>, Vec<_>) = prepared.into_iter().partition(holds_back);
        ask_again(held_back, &"one before it was not committed", &metrics);
        let submit = async move {
            let feed = prepared.first()?.labels.feed.clone();
            match submit(&ledger, &prepared).await {
                Ok(outcomes) => {
                    actix::spawn(async move { settle(prepared, outcomes.await, &metrics) });
                    None
                }
                Err(error) => {
                    ask_again(prepared, &error, &metrics);
                    // Now that its source knows: what it hands over from here on comes after them.
                    Some((feed, Instant::now()))
                }
            }
        };
        let submit = submit.into_actor(self).map(|refused, committer, _| committer.refused.0.extend(refused));
        AtomicResponse::new(Box::pin(submit))
    }
}

/// A feed may have been `ack = "site"` before a restart or a reload: what it left in the outbox goes first.
async fn after_left_over(ledger: &Ledger, prepared: &[Prepared]) -> Result<(), AppendError> {
    let Some(oldest) = prepared.first() else { return Ok(()) };
    let until = tokio::time::Instant::from_std(oldest.received + ANSWER_WAIT);
    let left_over = tokio::time::timeout_at(until, ledger.outbox().left_over_committed());
    let waited_ms = || u64::try_from(oldest.received.elapsed().as_millis()).unwrap_or(u64::MAX);
    left_over.await.map_err(|_| AppendError::Unavailable { waited_ms: waited_ms() })
}

/// Hands the drafts to the ledger, waiting out its pushback; the returned future is their commit. With an error it took none.
async fn submit(
    ledger: &Ledger,
    prepared: &[Prepared],
) -> Result<impl Future<Output = Result<Vec<Outcome>, AppendError>> + use<>, AppendError> {
    after_left_over(ledger, prepared).await?;
    let drafts: Vec<Draft> = prepared.iter().flat_map(|p| p.drafts.iter().cloned()).collect();
    loop {
        match ledger.submit(drafts.clone()) {
            Err(AppendError::Pushback { .. }) => tokio::time::sleep(Duration::from_millis(2)).await,
            taken => return taken,
        }
    }
}

fn settle(prepared: Vec<Prepared>, outcomes: Result<Vec<Outcome>, AppendError>, metrics: &Metrics) {
    match outcomes {
        Ok(outcomes) => {
            let mut rest = &outcomes[..];
            for message in prepared {
                let (own, others) = rest.split_at(message.drafts.len().min(rest.len()));
                rest = others;
                message.settle(own, metrics);
            }
        }
        Err(error) => ask_again(prepared, &error, metrics),
    }
}

fn ask_again(prepared: Vec<Prepared>, reason: &dyn Display, metrics: &Metrics) {
    if prepared.is_empty() {
        return;
    }
    tracing::warn!(%reason, messages = prepared.len(), "not committed; senders are asked to send again");
    for message in prepared {
        message.count("retry", metrics);
        message.tell("retry", None, &[], metrics);
        message.receipt.retry(reason.to_string());
    }
}

impl Labels {
    /// Refused, with its code.
    pub fn count_refusal(&self, refusal: &Refusal, received: Instant, metrics: &Metrics) {
        metrics.rejected.with_label_values(&[&*self.feed, &refusal.code]).inc();
        self.count("rejected", received, metrics);
    }

    pub fn count(&self, outcome: &str, received: Instant, metrics: &Metrics) {
        metrics.messages.with_label_values(&[&*self.feed, &self.type_, outcome]).inc();
        if matches!(outcome, "committed" | "stored") {
            for code in &self.codes {
                metrics.issues.with_label_values(&[&*self.feed, code]).inc();
            }
            for code in &self.refused {
                metrics.rejected.with_label_values(&[&*self.feed, code]).inc();
            }
        }
        metrics.commit_seconds.with_label_values(&[&*self.feed]).observe(received.elapsed().as_secs_f64());
    }
}

impl Prepared {
    fn count(&self, outcome: &str, metrics: &Metrics) {
        self.labels.count(outcome, self.received, metrics);
    }

    fn tell(&self, outcome: &'static str, code: Option<&str>, outcomes: &[Outcome], metrics: &Metrics) {
        metrics.tap.tell(&self.labels, self.received, outcome, code, outcomes);
    }

    fn settle(self, outcomes: &[Outcome], metrics: &Metrics) {
        let duplicate = !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.duplicate);
        match &self.answer {
            Answer::Refuse(refusal, _) | Answer::Hold(refusal, _) => {
                self.labels.count_refusal(refusal, self.received, metrics);
                self.tell("rejected", Some(&refusal.code), outcomes, metrics);
            }
            Answer::Accept(_) => {
                let outcome = if duplicate { "duplicate" } else { "committed" };
                self.count(outcome, metrics);
                self.tell(outcome, None, outcomes, metrics);
            }
        }
        let mut receipt = self.receipt;
        match self.answer {
            Answer::Accept(reply) => {
                let accepted = reply(outcomes);
                if let Some(first) = accepted.first {
                    receipt.stored(first);
                }
                receipt.committed(accepted.last);
            }
            Answer::Refuse(refusal, reply) => receipt.rejected(refusal, reply),
            Answer::Hold(_, reply) => receipt.committed(reply),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_over_before_a_refusal_stays_behind_what_was_refused() {
        let at = |ms| Instant::now() + Duration::from_secs(60) + Duration::from_millis(ms);
        let (before, refused_at, after) = (at(0), at(1000), at(2000));
        let mut refused = Refused::default();
        assert!(!refused.holds_back("lab", before));
        refused.0.insert("lab".into(), refused_at);
        assert!(refused.holds_back("lab", before) && refused.holds_back("lab", refused_at));
        assert!(!refused.holds_back("lab", after), "it comes after what was sent again");
        assert!(!refused.holds_back("adt", before), "another feed's senders wait for nothing");
    }
}
