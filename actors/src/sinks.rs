//! The sinks of a running site. One is started, ended or replaced while the others go on.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;
use serde::Serialize;

use crate::delivery::{Common, Delivery, Held, Progress, cursor_key};
use crate::handle::{Stopping, Threads};
use crate::parts::{OnNack, Sink};
use crate::workers::{Place, Workers};

pub(crate) struct Sinks {
    common: Common,
    workers: Workers,
    running: RwLock<Vec<Arc<RunningSink>>>,
}

pub(crate) struct RunningSink {
    pub name: String,
    pub kind: &'static str,
    pub on_nack: OnNack,
    takeover_for: Vec<String>,
    pub progress: Arc<Mutex<Progress>>,
    /// One person at a time: what one lets go no other one does.
    pub releasing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SinkStatus {
    pub name: String,
    pub kind: String,
    /// `running`; `waiting` after several failures in a row, to be tried again at growing intervals; or `held`.
    pub state: String,
    /// `skip`, `hold` or `retry N`.
    pub on_nack: String,
    pub delivered: u64,
    pub refused: u64,
    pub last_error: Option<String>,
    /// The alert that it stands at until a person lets it go.
    pub held: Option<HeldAlert>,
}

/// An alert that its receiver refused, and that nothing follows.
#[derive(Clone, Debug, Serialize)]
pub struct HeldAlert {
    pub alert: String,
    /// The alert's ledger index.
    pub index: u64,
    /// What the receiver answered.
    pub reason: String,
    pub since: clinical::Time,
}

impl Sinks {
    pub fn new(common: Common) -> Sinks {
        Sinks { common, workers: Workers::new(), running: RwLock::default() }
    }

    pub fn all(&self) -> Vec<Arc<RunningSink>> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn get(&self, name: &str) -> Option<Arc<RunningSink>> {
        self.all().into_iter().find(|sink| sink.name == name)
    }

    /// A sink takes the place of an ended one of its name, and goes on where that one was.
    pub async fn start(&self, sinks: Vec<Sink>) -> Result<(), Stopping> {
        let set_to_work = |sink: Sink, place| Arc::new(self.set_to_work(sink, place));
        let started = self.workers.start(sinks, |sink| sink.name.as_str(), set_to_work).await?;
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        for sink in started {
            match running.iter_mut().find(|other| other.name == sink.name) {
                Some(former) => *former = sink,
                None => running.push(sink),
            }
        }
        self.stand_for(&running);
        Ok(())
    }

    fn set_to_work(&self, sink: Sink, Place { thread, stop, ended }: Place) -> RunningSink {
        let metrics = &self.common.metrics;
        // A counter that first appears at 1 was never seen to rise.
        for outcome in ["delivered", "refused", "retry"] {
            metrics.deliveries.with_label_values(&[sink.name.as_str(), outcome]);
        }
        metrics.sink_held.with_label_values(&[sink.name.as_str()]);
        let progress = Arc::new(Mutex::new(Progress::default()));
        let running = RunningSink {
            name: sink.name.clone(),
            kind: sink.kind,
            on_nack: sink.on_nack,
            takeover_for: sink.takeover_for.clone(),
            progress: progress.clone(),
            releasing: tokio::sync::Mutex::default(),
        };
        let common = self.common.clone();
        Delivery::start_in_arbiter(&thread, move |_| Delivery::new(sink, common, progress, stop, ended));
        running
    }

    /// The names of those that have not ended by `wait`.
    pub async fn end(&self, names: &[String], wait: Duration) -> Result<Vec<String>, Stopping> {
        let ending: Vec<_> = self.all().into_iter().filter(|sink| names.contains(&sink.name)).collect();
        // A release that is being written down reaches its sink first: what the ledger says is then so.
        let _releases = join_all(ending.iter().map(|sink| sink.releasing.lock())).await;
        self.workers.end(names, wait).await
    }

    /// Shows those of these names, in this order, and no other.
    pub fn arrange<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        let mut former = std::mem::take(&mut *running);
        for name in names {
            if let Some(at) = former.iter().position(|sink| sink.name == name) {
                running.push(former.remove(at));
            }
        }
        for gone in former {
            // One that is added under its name later begins anew, as every new one does.
            if let Err(error) = self.common.ledger.site_write(vec![(cursor_key(&gone.name), None)]) {
                tracing::warn!(%error, sink = gone.name, "the removed sink's place in the ledger is kept");
            }
            let _ = self.common.metrics.sink_held.remove_label_values(&[&gone.name]);
        }
        self.stand_for(&running);
    }

    /// Of the site's stop: what was not delivered is with the next start.
    pub async fn leave(&self) -> Threads {
        self.workers.leave().await
    }

    fn stand_for(&self, running: &[Arc<RunningSink>]) {
        self.common
            .told
            .stand_for(running.iter().flat_map(|sink| sink.takeover_for.iter().cloned()).collect());
    }
}

impl RunningSink {
    pub fn status(&self) -> SinkStatus {
        let progress = self.progress.lock().expect("progress lock").clone();
        SinkStatus {
            name: self.name.clone(),
            kind: self.kind.to_owned(),
            state: match (&progress.held, progress.waits) {
                (Some(_), _) => "held",
                (None, true) => "waiting",
                (None, false) => "running",
            }
            .to_owned(),
            on_nack: self.on_nack.text(),
            delivered: progress.delivered,
            refused: progress.refused,
            last_error: progress.last_error,
            held: progress.held.map(|Held { alert, .. }| alert),
        }
    }
}
