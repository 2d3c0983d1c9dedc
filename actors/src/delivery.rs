//! Brings kept alerts to one sink, in order, until its receiver has confirmed each.

mod after;
mod hold;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use clinical::{AlertFacts, Parties};
use connectors::{Outbound, SinkError};
use raft_ledger::{Entry, Ledger, LedgerError, Payload};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::after::{After, after};
pub(crate) use self::hold::Held;
pub use self::hold::ReleaseError;
use crate::breaker::Breaker;
use crate::entry::{self, Alert, Delivered, Kind, Release};
use crate::metrics::Metrics;
use crate::parts::{Sink, SinkForm};
use crate::told::Told;
use crate::{clock, outgoing};

/// Tries to read an alert, and between two.
const READS: u32 = 30;
const READ_PAUSE: Duration = Duration::from_secs(1);
const PAGE: usize = 64;

/// What people see of a sink.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub delivered: u64,
    pub refused: u64,
    pub last_error: Option<String>,
    /// The last tries have failed, one after the other.
    pub waits: bool,
    pub held: Option<Held>,
}

pub(crate) struct Delivery {
    /// What its run takes along.
    sink: Option<(Sink, oneshot::Sender<()>)>,
    common: Common,
    progress: Arc<Mutex<Progress>>,
    stop: CancellationToken,
}

/// What the deliveries of all sinks need.
#[derive(Clone)]
pub(crate) struct Common {
    pub ledger: Ledger,
    pub told: Told,
    pub site: String,
    /// Raised by the tail whenever an alert of this site was committed.
    pub alerts: watch::Receiver<u64>,
    pub metrics: Metrics,
}

impl Delivery {
    /// `ended` fires after `stop`, once nothing is sent any more.
    pub fn new(
        sink: Sink,
        common: Common,
        progress: Arc<Mutex<Progress>>,
        stop: CancellationToken,
        ended: oneshot::Sender<()>,
    ) -> Delivery {
        Delivery { sink: Some((sink, ended)), common, progress, stop }
    }
}

impl Actor for Delivery {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let Some((sink, ended)) = self.sink.take() else { return };
        let Common { ledger, told, site, alerts, metrics } = self.common.clone();
        let run = Run {
            cursor_key: cursor_key(&sink.name),
            sink,
            ledger,
            told,
            site,
            progress: self.progress.clone(),
            metrics,
            breaker: Breaker::default(),
            stop: self.stop.clone(),
        };
        let run = async move {
            run.run(alerts).await;
            drop(ended);
        };
        context.spawn(run.into_actor(self));
    }
}

/// Where it is kept what a sink of this name sends next.
pub(crate) fn cursor_key(sink: &str) -> Vec<u8> {
    format!("sink/{sink}/cursor").into_bytes()
}

struct Run {
    cursor_key: Vec<u8>,
    sink: Sink,
    ledger: Ledger,
    told: Told,
    site: String,
    progress: Arc<Mutex<Progress>>,
    metrics: Metrics,
    breaker: Breaker,
    /// Ends every wait but that for an answer.
    stop: CancellationToken,
}

impl Run {
    async fn run(mut self, mut alerts: watch::Receiver<u64>) {
        let mut cursor = match self.load_cursor() {
            Some(cursor) => cursor,
            // A sink that is new hears of what happens from now on.
            None => self.ledger.size(),
        };
        self.store_cursor(cursor);
        loop {
            let page = self.ledger.by_tag(self.ledger.tag("kind", Kind::Alert.tag()), cursor, PAGE);
            let indices = page.unwrap_or_else(|error| {
                self.note_error(error.to_string());
                Vec::new()
            });
            if indices.is_empty()
                && !matches!(self.stop.run_until_cancelled(alerts.changed()).await, Some(Ok(())))
            {
                return;
            }
            for index in indices {
                let Some(rest) = self.deliver(index).await else { return };
                cursor = index + 1;
                self.store_cursor(cursor);
                self.pause(rest).await;
                if self.stop.is_cancelled() {
                    return;
                }
            }
        }
    }

    /// Shorter where the sink is told to stop.
    async fn pause(&self, pause: Duration) {
        let _ = self.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }

    /// Returns when the alert needs no more sending, with how long to wait before the next one. `None`: the sink stops
    /// and has still to send it.
    async fn deliver(&mut self, index: u64) -> Option<Duration> {
        let Some(alert) = self.read_patiently(index).await else {
            return (!self.stop.is_cancelled()).then_some(Duration::ZERO);
        };
        let (message, mut refusals) = (self.write(&alert), 0);
        let refused = loop {
            let error = match self.sink.sink.deliver(&message).await {
                Ok(()) => break None,
                Err(error) => error,
            };
            let pause = self.failed(&error);
            match after(self.sink.on_nack, error, refusals) {
                After::Again { refused } => {
                    self.count("retry");
                    refusals += u8::from(refused);
                    self.pause(pause).await;
                }
                After::Skip(reason) => break Some(reason),
                After::Hold(reason) => match self.hold(index, &alert, &reason).await {
                    Some(Release::Skip) => break Some(reason),
                    Some(Release::Retry) => self.count("retry"),
                    None => {}
                },
            }
            if self.stop.is_cancelled() {
                return None;
            }
            if self.is_gone(index) {
                tracing::info!(sink = %self.sink.name, index, "alert not delivered: its patient was shredded");
                return Some(Duration::ZERO);
            }
        };
        self.count(if refused.is_some() { "refused" } else { "delivered" });
        self.note(refused.as_deref());
        let was_refused = refused.is_some();
        self.mark(&alert, refused).await;
        if !was_refused {
            self.breaker.taken();
        }
        // A receiver that refuses everything is not sent one after the other in a moment.
        Some(if self.breaker.is_open() { self.breaker.pause() } else { Duration::ZERO })
    }

    /// How long to wait before the next try.
    fn failed(&mut self, error: &SinkError) -> Duration {
        self.note_error(error.to_string());
        tracing::warn!(sink = %self.sink.name, %error, "alert not delivered");
        let pause = self.breaker.failed();
        self.progress.lock().expect("progress lock").waits = self.breaker.is_open();
        pause
    }

    fn is_gone(&self, index: u64) -> bool {
        matches!(self.read(index), Ok(None))
    }

    /// What cannot be read is not gone: a damaged ledger is healed by another start. Where nobody heals it, later alerts
    /// must not wait for this one.
    async fn read_patiently(&self, index: u64) -> Option<Alert> {
        for _ in 0..READS {
            match self.read(index) {
                Ok(found) => return found,
                Err(error) => self.note_error(error.to_string()),
            }
            self.pause(READ_PAUSE).await;
            if self.stop.is_cancelled() {
                return None;
            }
        }
        self.count("unreadable");
        tracing::error!(sink = %self.sink.name, index, "alert not delivered: the ledger cannot read it");
        None
    }

    /// An own alert that can be opened and is to be delivered; others are their own site's to deliver, and one may have
    /// been shredded.
    fn read(&self, index: u64) -> Result<Option<Alert>, LedgerError> {
        let Some(entry) = self.ledger.read_from(index, 1)?.into_iter().next() else { return Ok(None) };
        let Payload::Open(payload) = &entry.payload else { return Ok(None) };
        if entry.site != self.site || entry.kind != Kind::Alert as u16 {
            return Ok(None);
        }
        let Ok((alert, _)) = entry::decode::<Alert>(payload) else { return Ok(None) };
        let is_due = self.is_due(&alert.facts, index)? && !self.is_told(&alert.facts, index);
        Ok(is_due.then_some(alert))
    }

    /// An earlier alert that cannot be read silences nobody: better twice than never.
    fn is_told(&self, facts: &AlertFacts, index: u64) -> bool {
        self.told.is_told(facts, index).unwrap_or_else(|error| {
            self.note_error(error.to_string());
            false
        })
    }

    /// What this site told on another's behalf goes where the configuration says so, as long as it held the lease. What
    /// itself has brought in it tells in any case: nobody else can.
    fn is_due(&self, facts: &AlertFacts, index: u64) -> Result<bool, LedgerError> {
        let Some(home) = &facts.takeover_for else { return Ok(true) };
        let trigger = facts.indices.last().map(|trigger| self.ledger.read_from(*trigger, 1)).transpose()?;
        let brought_in_here = |entry: &Entry| entry.site == self.site && entry.kind == Kind::Message as u16;
        if trigger.iter().flatten().any(brought_in_here) {
            return Ok(true);
        }
        Ok(self.sink.takeover_for.contains(home) && self.told.holds_lease(home, &self.site, index)?)
    }

    fn write(&self, alert: &Alert) -> Outbound {
        let facts = &alert.facts;
        let (content_type, body) = match &self.sink.form {
            SinkForm::FhirBundle => {
                ("application/fhir+json", Bytes::from(clinical::fhir::alert_bundle(facts)))
            }
            SinkForm::Oru { sending, receiving } => {
                let control_id = facts.id.get(..20).unwrap_or(&facts.id);
                let parties = Parties {
                    sending_application: sending.clone(),
                    receiving_application: receiving.clone(),
                    ..Parties::default()
                };
                let oru = clinical::alert_oru(facts, clock::now(), control_id, &parties);
                ("x-application/hl7-v2+er7", oru)
            }
        };
        let key = hex::encode(self.ledger.subject(&crate::reading::subject_key(&facts.patient)).0);
        Outbound { id: facts.id.clone(), key, content_type, body }
    }

    async fn mark(&self, alert: &Alert, refused: Option<String>) {
        let at = clock::now();
        let (id, sink) = (&alert.facts.id, &self.sink.name);
        let delivered = Delivered { alert: id.clone(), sink: sink.clone(), at, refused };
        let subject = crate::reading::subject_key(&alert.facts.patient);
        let payload = entry::encode(&delivered, b"");
        let mut draft = outgoing::draft(&self.ledger, Kind::Delivered, &subject, payload, at);
        draft.dedupe = Some(self.ledger.keyed_hash("delivered", &[sink.as_bytes(), id.as_bytes()]));
        draft.tags.push(self.ledger.tag("alert", id.as_bytes()));
        outgoing::append(&self.ledger, draft).await;
    }

    fn load_cursor(&self) -> Option<u64> {
        let stored = self.ledger.site_get(&self.cursor_key).ok().flatten()?;
        stored.as_slice().try_into().ok().map(u64::from_be_bytes)
    }

    /// Not synced: after a crash the alert is sent again, and its receiver knows it by its id.
    fn store_cursor(&self, cursor: u64) {
        if let Err(error) = self.ledger.site_put(&self.cursor_key, &cursor.to_be_bytes(), false) {
            self.note_error(error.to_string());
        }
    }

    fn count(&self, outcome: &str) {
        self.metrics.deliveries.with_label_values(&[&*self.sink.name, outcome]).inc();
    }

    fn note(&self, refused: Option<&str>) {
        let mut progress = self.progress.lock().expect("progress lock");
        match refused {
            None => {
                progress.delivered += 1;
                progress.waits = false;
            }
            Some(reason) => {
                progress.refused += 1;
                progress.last_error = Some(reason.to_owned());
            }
        }
    }

    fn note_error(&self, error: String) {
        self.progress.lock().expect("progress lock").last_error = Some(error);
    }
}
