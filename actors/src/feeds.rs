//! The feeds of a running site. One is started, ended or replaced while the others go on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use actix::prelude::*;
use connectors::{SourceState, SourceStatus};
use raft_ledger::Ledger;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::application_acks::{ApplicationAcks, Owed};
use crate::committer::Committer;
use crate::handle::{Stopping, Threads};
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::normaliser::Normaliser;
use crate::parts::{Ack, Feed};
use crate::reading::{Reader, Reading};
use crate::silence::{FeedSilent, Watch};
use crate::storer::Storer;
use crate::window::{END_MAX, Window};
use crate::workers::{Place, Workers};

pub(crate) struct Feeds {
    site: String,
    ledger: Ledger,
    committer: Addr<Committer>,
    metrics: Metrics,
    workers: Workers,
    running: RwLock<Vec<Arc<RunningFeed>>>,
}

pub(crate) struct RunningFeed {
    pub name: String,
    /// Reads its refused messages again.
    pub reader: Arc<Reading>,
    pub kind: &'static str,
    pub ack: Ack,
    pub status: Arc<SourceStatus>,
    pub silence: Watch,
    pub window: Window,
    pub stop: CancellationToken,
    owed: Arc<Owed>,
    faults: Faults,
}

/// Of a source, as far as they are counted in the metrics.
struct Faults {
    status: Arc<SourceStatus>,
    counted: AtomicU64,
}

#[derive(Clone, Debug, Serialize)]
pub struct FeedStatus {
    pub name: String,
    pub kind: String,
    /// `quorum` or `site`.
    pub ack: String,
    /// `connecting`, `running`, `paused` or `stopped`.
    pub state: String,
    pub received: u64,
    /// Received and not answered yet.
    pub in_flight: usize,
    pub oldest_s: f64,
    /// Waiting at the sender's side, where the transport can tell.
    pub lag: u64,
    /// Of the transport itself, survived: bad frames, lost connections.
    pub faults: u64,
    /// `auto`, `off` or a span such as `15m`.
    pub silence: String,
    /// Of the last message since the site began to listen, milliseconds since the Unix epoch.
    pub last_message_ms: Option<i64>,
    /// Present while it brings nothing and should.
    pub silent: Option<FeedSilent>,
    pub last_error: Option<String>,
}

impl Feeds {
    pub fn new(site: String, ledger: Ledger, committer: Addr<Committer>, metrics: Metrics) -> Feeds {
        Feeds { site, ledger, committer, metrics, workers: Workers::new(), running: RwLock::default() }
    }

    /// Cancelled when the site stops.
    pub fn stop(&self) -> &CancellationToken {
        self.workers.stop()
    }

    pub fn all(&self) -> Vec<Arc<RunningFeed>> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn get(&self, name: &str) -> Option<Arc<RunningFeed>> {
        self.all().into_iter().find(|feed| feed.name == name)
    }

    /// A feed takes the place of an ended one of its name.
    pub async fn start(&self, feeds: Vec<Feed>) -> Result<Vec<Arc<RunningFeed>>, Stopping> {
        let set_to_work = |feed: Feed, place| Arc::new(self.set_to_work(feed, place));
        let started = self.workers.start(feeds, |feed| feed.name.as_str(), set_to_work).await?;
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        for feed in &started {
            match running.iter_mut().find(|other| other.name == feed.name) {
                Some(former) => {
                    former.faults.count(&self.metrics, &former.name);
                    self.show_no_more(former);
                    *former = feed.clone();
                }
                None => running.push(feed.clone()),
            }
        }
        Ok(started)
    }

    fn set_to_work(&self, mut feed: Feed, Place { thread, stop, ended }: Place) -> RunningFeed {
        let window = Window::new();
        let reused = self.metrics.control_ids_reused.with_label_values(&[&feed.name]);
        let reader = Arc::new(Reading::new(Reader::new(&self.site, &feed, &self.ledger, reused)));
        let owed = Arc::new(Owed::new(&feed.name, reader.clone(), &self.ledger, &self.site));
        // It has ended once both have let go of it.
        let ended = Arc::new(ended);
        match feed.application_acks.take() {
            Some(sink) => {
                let (status, until) = (feed.source.status(), (stop.clone(), ended.clone()));
                let acks =
                    ApplicationAcks::new(owed.clone(), sink, status, &self.ledger, &self.metrics, until);
                ApplicationAcks::start_in_arbiter(&thread, move |_| acks);
            }
            None => owed.forget(),
        }
        let running = RunningFeed {
            reader: reader.clone(),
            kind: feed.kind,
            ack: feed.ack,
            faults: Faults { status: feed.source.status(), counted: AtomicU64::new(0) },
            status: feed.source.status(),
            silence: Watch::new(&feed.name, feed.silence, &feed.reader.zone, &self.ledger),
            window: window.clone(),
            stop: stop.clone(),
            owed,
            name: feed.name,
        };
        let committer = match feed.ack {
            Ack::Quorum => self.committer.clone().recipient(),
            Ack::Site => {
                let (outbox, metrics) = (self.ledger.outbox().clone(), self.metrics.clone());
                let storer = move |_: &mut _| Storer::new(feed.kind, outbox, metrics);
                Storer::start_in_arbiter(&thread, storer).recipient()
            }
        };
        let normaliser = Normaliser::start_in_arbiter(&thread, move |_| Normaliser::new(reader, committer));
        Intake::start_in_arbiter(&thread, move |_| Intake::new(feed.source, window, normaliser, stop, ended));
        running
    }

    /// The names of those that have not ended in time.
    pub async fn end(&self, names: &[String]) -> Result<Vec<String>, Stopping> {
        let still = self.workers.end(names, END_MAX).await;
        // Their senders may go on with a feed that appends past the outbox.
        if self.all().iter().any(|feed| feed.ack == Ack::Site && names.contains(&feed.name)) {
            self.ledger.outbox().leave_over();
        }
        still
    }

    /// Shows those of these names, in this order, and no other.
    pub fn arrange<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        let mut former = std::mem::take(&mut *running);
        for name in names {
            if let Some(at) = former.iter().position(|feed| feed.name == name) {
                running.push(former.remove(at));
            }
        }
        for feed in former {
            self.show_no_more(&feed);
            // Only here: one that takes another's place counts on.
            let _ = self.metrics.feed_faults.remove_label_values(&[feed.name.as_str()]);
            feed.owed.forget();
        }
    }

    pub async fn end_all(&self) -> Threads {
        let (threads, have_ended) = self.workers.end_all().await;
        if !have_ended {
            tracing::warn!("without a quorum messages stay unanswered; their senders send them again");
        }
        threads
    }

    /// In the gauges. Under the lock, so that none is shown again that is forgotten meanwhile.
    pub fn show(&self) {
        let metrics = &self.metrics;
        for feed in self.running.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = [feed.name.as_str()];
            metrics.queue_depth.with_label_values(&labels).set(feed.window.depth() as i64);
            metrics.queue_age_seconds.with_label_values(&labels).set(feed.window.oldest().as_secs_f64());
            metrics.feed_lag.with_label_values(&labels).set(feed.status.lag.load(Ordering::Relaxed) as i64);
            feed.faults.count(metrics, &feed.name);
            let silent = i64::from(feed.silence.silent().is_some());
            metrics.feed_silent.with_label_values(&labels).set(silent);
            let up = feed.status.get().0 == SourceState::Running;
            metrics.feed_up.with_label_values(&[feed.name.as_str(), feed.kind]).set(i64::from(up));
        }
    }

    fn show_no_more(&self, feed: &RunningFeed) {
        let (metrics, labels) = (&self.metrics, [feed.name.as_str()]);
        // One that was never shown is none that could be removed.
        for gauges in [&metrics.queue_depth, &metrics.feed_lag, &metrics.feed_silent] {
            let _ = gauges.remove_label_values(&labels);
        }
        let _ = metrics.queue_age_seconds.remove_label_values(&labels);
        let _ = metrics.feed_up.remove_label_values(&[feed.name.as_str(), feed.kind]);
    }
}

impl Faults {
    /// What has come since the last time. The counter goes on where a feed takes the place of another.
    fn count(&self, metrics: &Metrics, feed: &str) {
        let so_far = self.status.faults.load(Ordering::Relaxed);
        let counted = self.counted.fetch_max(so_far, Ordering::Relaxed);
        let counter = metrics.feed_faults.with_label_values(&[feed]);
        counter.inc_by(so_far.saturating_sub(counted));
    }
}

impl RunningFeed {
    pub fn status(&self) -> FeedStatus {
        let (state, last_error) = self.status.get();
        FeedStatus {
            name: self.name.clone(),
            kind: self.kind.to_owned(),
            ack: self.ack.as_str().to_owned(),
            state: match state {
                SourceState::Connecting => "connecting",
                SourceState::Running => "running",
                SourceState::Paused => "paused",
                SourceState::Stopped => "stopped",
            }
            .to_owned(),
            received: self.status.received.load(Ordering::Relaxed),
            in_flight: self.window.depth(),
            oldest_s: self.window.oldest().as_secs_f64(),
            lag: self.status.lag.load(Ordering::Relaxed),
            faults: self.status.faults.load(Ordering::Relaxed),
            silence: self.silence.setting().text(),
            last_message_ms: self.silence.last_message().map(|at| at.0),
            silent: self.silence.silent(),
            last_error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_count_on_where_a_feed_takes_anothers_place() {
        let metrics = Metrics::new().unwrap();
        let faults = || Faults { status: Arc::default(), counted: AtomicU64::new(0) };
        let total = || metrics.feed_faults.with_label_values(&["adt"]).get();
        let former = faults();
        for (came, expected) in [(2, 2), (0, 2), (1, 3)] {
            former.status.faults.fetch_add(came, Ordering::Relaxed);
            former.count(&metrics, "adt");
            assert_eq!(total(), expected);
        }
        let next = faults();
        next.count(&metrics, "adt");
        assert_eq!(total(), 3, "a new one has none");
        next.status.faults.fetch_add(1, Ordering::Relaxed);
        next.count(&metrics, "adt");
        assert_eq!(total(), 4);
    }
}
