//! Keeps alerts: each is a ledger entry before anybody hears of it.

use actix::prelude::*;
use clinical::AlertFacts;
use raft_ledger::Ledger;

use crate::entry::{self, Alert, Kind};
use crate::metrics::Metrics;
use crate::told::Told;
use crate::{clock, outgoing, reading};

/// Alerts that the policy decided on, oldest first. Answered when all of them are committed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Keep(pub Vec<Alert>);

pub(crate) struct Alerter {
    ledger: Ledger,
    told: Told,
    metrics: Metrics,
}

impl Alerter {
    pub fn new(ledger: Ledger, told: Told, metrics: Metrics) -> Alerter {
        Alerter { ledger, told, metrics }
    }
}

impl Actor for Alerter {
    type Context = Context<Self>;
}

impl Handler<Keep> for Alerter {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Keep(alerts): Keep, _: &mut Self::Context) -> Self::Result {
        let (ledger, told, metrics) = (self.ledger.clone(), self.told.clone(), self.metrics.clone());
        let keep = async move {
            let kept = alerts.into_iter().map(|alert| keep(&ledger, &told, &metrics, alert));
            futures_util::future::join_all(kept).await;
        };
        AtomicResponse::new(Box::pin(keep.into_actor(self)))
    }
}

async fn keep(ledger: &Ledger, told: &Told, metrics: &Metrics, alert: Alert) {
    let facts = &alert.facts;
    // The home site keeps its alert in any case: its own people answer it. Who was first decides who delivers
    // (`delivery.rs`), and only the places of the entries say that for certain.
    if facts.takeover_for.is_some() {
        match told.is_told(facts, ledger.size()) {
            Ok(false) => {}
            Ok(true) => return tracing::info!(task = %facts.task, "the site itself has told of this already"),
            Err(error) => tracing::error!(%error, "whether the site itself was first cannot be told"),
        }
    }
    let subject = reading::subject_key(&facts.patient);
    let mut draft = outgoing::draft(ledger, Kind::Alert, &subject, entry::encode(&alert, b""), facts.at);
    // One that is void because its site's lease was over must not swallow the home site's.
    let domain = if facts.takeover_for.is_some() { "takeover-alert" } else { "alert" };
    draft.dedupe = Some(ledger.keyed_hash(domain, &[facts.id.as_bytes()]));
    draft.tags.extend([ledger.tag("alert", facts.id.as_bytes()), ledger.tag("patient", &subject)]);
    draft.tags.extend(told.tag(facts));
    // After a restart the same trigger is met again: the ledger knows the alert, and it is not counted twice.
    let Some(outcome) = outgoing::append(ledger, draft).await else { return };
    if !outcome.duplicate {
        metrics.alerts.with_label_values(&[&facts.model, &facts.tier]).inc();
        // A person brought it back, however long after it had come.
        if alert.again {
            return;
        }
        let waited_ms = clock::now().0.saturating_sub(alert.received_at.0).max(0);
        metrics.alert_seconds.observe(waited_ms as f64 / 1000.0);
    }
}

/// hash(model, patient, trigger index): the same alert has the same id however often it is decided.
pub(crate) fn alert_id(ledger: &Ledger, facts: &AlertFacts, trigger: u64) -> String {
    let subject = reading::subject_key(&facts.patient);
    let id = ledger.keyed_hash("alert-id", &[facts.model_hash.as_bytes(), &subject, &trigger.to_be_bytes()]);
    hex::encode(&id[..16])
}
