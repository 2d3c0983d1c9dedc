//! What the program may ask of a running pipeline.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use ml_scoring::{AlertPolicy, Answered, Scorer};
use raft_ledger::{
    AppendError, Draft, Ledger, LedgerError, MemberChange, MemberStatus, OutboxState, OutboxStatus, Payload,
    Role,
};
use tokio::sync::{broadcast, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::board::{AlertRow, Board, BoardEvent, PatientDetail, PatientRow};
use crate::drift::Windows;
use crate::entry::{self, Acknowledged, Kind, MembersChanged, Reloaded};
use crate::errors::Unconfirmed;
use crate::feeds::{FeedStatus, Feeds};
use crate::metrics::Metrics;
use crate::parts::{Feed, Sink};
use crate::registry::standing::Configured;
use crate::search::{Found, Search};
use crate::shadow::Tallies;
use crate::shard::{Detail, Shard};
use crate::silence::Silence;
use crate::sinks::{SinkStatus, Sinks};
use crate::tap::Tapped;
use crate::{clock, outgoing, reading};

#[derive(Clone)]
pub struct Handle {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub site: String,
    pub ledger: Ledger,
    pub board: Arc<Mutex<Board>>,
    pub shards: Vec<Addr<Shard>>,
    /// Also judge again what an alert was made of.
    pub scorers: Arc<Vec<Scorer>>,
    pub configured: Arc<Configured>,
    pub tallies: Arc<Mutex<Tallies>>,
    pub windows: Arc<Mutex<Windows>>,
    pub feeds: Arc<Feeds>,
    pub sinks: Sinks,
    pub policy: watch::Sender<AlertPolicy>,
    pub metrics: Metrics,
    /// One act on the error queue at a time: what one finds open no other one closes meanwhile.
    pub repairing: tokio::sync::Mutex<Unconfirmed>,
    /// Held while a decision about a model is checked against the former ones and written.
    pub deciding: tokio::sync::Mutex<()>,
    /// The index before which everything is folded and every alert of it is in the ledger.
    pub settled: watch::Receiver<u64>,
    pub stop_tail: CancellationToken,
    pub endings: Mutex<Option<Endings>>,
}

/// What a graceful stop waits for.
pub(crate) struct Endings {
    pub tail: oneshot::Receiver<()>,
    pub threads: Threads,
}

/// The actors' threads. They hold the ledger: one that outlives `main` would close its databases while the process
/// ends.
#[derive(Default)]
pub(crate) struct Threads(Vec<Arbiter>);

impl Threads {
    pub fn start(&mut self) -> ArbiterHandle {
        let arbiter = Arbiter::new();
        let handle = arbiter.handle();
        self.0.push(arbiter);
        handle
    }

    pub fn add(&mut self, others: Threads) {
        self.0.extend(others.0);
    }

    /// Drops the actors and waits until their threads have ended. Blocks.
    pub fn end(self) {
        for arbiter in &self.0 {
            arbiter.stop();
        }
        for arbiter in self.0 {
            // A panic there was reported when it happened.
            let _ = arbiter.join();
        }
    }
}

/// Nothing is started any more.
#[derive(Debug, thiserror::Error)]
#[error("the site stops")]
pub struct Stopping;

#[derive(Debug, thiserror::Error)]
pub enum AcknowledgeError {
    #[error("no alert {0}: load the board again")]
    UnknownAlert(String),
    #[error(transparent)]
    Ledger(#[from] AppendError),
}

impl Handle {
    pub fn site(&self) -> &str {
        &self.inner.site
    }

    pub fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// Patients in the house, highest risk first, and the event number to go on from.
    pub fn board(&self) -> (Vec<PatientRow>, u64) {
        let board = self.lock();
        (board.patients(), board.seq())
    }

    pub async fn patient(&self, key: &str) -> Option<PatientDetail> {
        for shard in &self.inner.shards {
            if let Ok(Some(mut detail)) = shard.send(Detail(key.to_owned())).await {
                let board = self.lock();
                if !board.shows(detail.row.origin.as_ref()) {
                    return None;
                }
                detail.alerts = board.alerts().filter(|alert| alert.patient == key).cloned().collect();
                return Some(detail);
            }
        }
        None
    }

    /// Newest first.
    pub fn alerts(&self, limit: usize) -> Vec<AlertRow> {
        self.lock().alerts().take(limit).cloned().collect()
    }

    pub fn alert(&self, id: &str) -> Option<AlertRow> {
        self.lock().alert(id).cloned()
    }

    /// What happened after event `seq`, and what is to come, without a gap.
    pub fn subscribe(&self, seq: u64) -> (Vec<BoardEvent>, broadcast::Receiver<BoardEvent>) {
        self.lock().subscribe(seq)
    }

    /// A person's answer: in the ledger when this returns. `by` comes from the sign-in.
    pub async fn acknowledge(
        &self,
        alert: &str,
        by: &str,
        reason: &str,
        then: Answered,
    ) -> Result<u64, AcknowledgeError> {
        let ledger = &self.inner.ledger;
        let row = self.alert(alert).ok_or_else(|| AcknowledgeError::UnknownAlert(alert.to_owned()))?;
        let at = clock::now();
        let answer = Acknowledged {
            alert: row.id.clone(),
            by: by.to_owned(),
            reason: reason.to_owned(),
            at,
            snooze_h: match then {
                Answered::Snoozed { hours } => Some(hours),
                Answered::Seen | Answered::Confirmed => None,
            },
            confirmed: then == Answered::Confirmed,
        };
        let subject =
            self.subject_of(row.index).ok_or_else(|| AcknowledgeError::UnknownAlert(row.id.clone()))?;
        let mut draft =
            outgoing::draft(ledger, Kind::Acknowledged, &subject, entry::encode(&answer, b""), at);
        draft.dedupe = Some(ledger.keyed_hash(
            "acknowledged",
            &[row.id.as_bytes(), by.as_bytes(), reason.as_bytes(), &at.0.to_be_bytes()],
        ));
        draft.tags.push(ledger.tag("alert", row.id.as_bytes()));
        let outcomes = ledger.append(vec![draft]).await?;
        Ok(outcomes.first().map(|outcome| outcome.index).unwrap_or_default())
    }

    /// Asks for a change of the members; that it was asked for, and by whom, is in the ledger first.
    pub async fn change_members(
        &self,
        change: MemberChange,
        by: &str,
    ) -> Result<Vec<MemberStatus>, LedgerError> {
        let ledger = &self.inner.ledger;
        let (name, site) = match &change {
            MemberChange::Add { site, .. } => ("add", site),
            MemberChange::Promote { site } => ("promote", site),
            MemberChange::Remove { site } => ("remove", site),
            MemberChange::Lead { site } => ("lead", site),
        };
        self.asked_for(name, site, by).await?;
        ledger.change_members(change).await
    }

    /// Asks for the latest rules of apply that every voter knows, as [`Handle::change_members`] does; the version that
    /// entries are applied by then.
    pub async fn upgrade_ledger(&self, by: &str) -> Result<u32, LedgerError> {
        self.asked_for("upgrade", "", by).await?;
        self.inner.ledger.upgrade().await
    }

    /// Writes down that the site takes over another configuration. The entry's index.
    pub async fn note_reload(&self, reload: &Reloaded) -> Result<u64, AppendError> {
        let outcomes = self.inner.ledger.append(vec![self.reload_draft(reload)]).await?;
        Ok(outcomes.first().map(|outcome| outcome.index).unwrap_or_default())
    }

    /// Writes down that it did not, however long it takes: until then the ledger may say that it did.
    pub async fn note_failed_reload(&self, reload: &Reloaded) {
        let kept = outgoing::append(&self.inner.ledger, self.reload_draft(reload)).await;
        if kept.is_none() {
            tracing::error!("the ledger does not say that the configuration was not taken over");
        }
    }

    fn reload_draft(&self, reload: &Reloaded) -> Draft {
        let ledger = &self.inner.ledger;
        let payload = entry::encode(reload, b"");
        // Another try makes no second entry.
        let dedupe = ledger.keyed_hash("reloaded", &[&payload]);
        let draft = outgoing::draft(ledger, Kind::Reloaded, b"configuration", payload, reload.at);
        Draft { dedupe: Some(dedupe), ..draft }
    }

    async fn asked_for(&self, change: &str, site: &str, by: &str) -> Result<(), LedgerError> {
        let (ledger, at) = (&self.inner.ledger, clock::now());
        let asked = MembersChanged { change: change.into(), site: site.into(), by: by.to_owned(), at };
        let payload = entry::encode(&asked, b"");
        let draft = outgoing::draft(ledger, Kind::MembersChanged, b"members", payload, at);
        let kept = ledger.append(vec![draft]).await;
        kept.map(drop).map_err(|error| LedgerError::Unavailable(error.to_string()))
    }

    /// Whether, within `wait`, everything before the entry at `upto` was folded and its alerts were kept.
    pub(crate) async fn has_settled(&self, upto: u64, wait: Duration) -> bool {
        let mut settled = self.inner.settled.clone();
        tokio::time::timeout(wait, settled.wait_for(|index| *index >= upto))
            .await
            .is_ok_and(|told| told.is_ok())
    }

    /// Blocks.
    pub fn search(&self, search: &Search) -> Result<Found, LedgerError> {
        search.run(&self.inner.ledger)
    }

    pub fn feeds(&self) -> Vec<FeedStatus> {
        self.inner.feeds.all().iter().map(|feed| feed.status()).collect()
    }

    /// Sets feeds to work beside those that run; one takes the place of a former one of its name, which must have ended.
    /// Must be called inside an actix system.
    ///
    /// # Errors
    /// The site stops.
    pub async fn start_feeds(&self, feeds: Vec<Feed>) -> Result<(), Stopping> {
        for feed in self.inner.feeds.start(feeds).await? {
            actix::spawn(self.clone().retry_by_itself(feed));
        }
        Ok(())
    }

    /// Has a running feed read otherwise, and be watched for silence otherwise, from here on; its connections go on.
    pub fn read_otherwise(&self, feed: &str, reader: clinical::Feed, silence: Silence) {
        let Some(feed) = self.inner.feeds.get(feed) else { return };
        feed.silence.exchange(silence, &reader.zone);
        feed.reader.exchange(reader);
        actix::spawn(self.clone().retry_by_itself(feed));
    }

    /// Has feeds take no more, and waits until what they took is settled and answered; the names of those that have not
    /// ended in time. They go on ending: nothing may take the place of one before this has found it ended. They are shown as
    /// stopped.
    ///
    /// # Errors
    /// The site stops.
    pub async fn end_feeds(&self, names: &[String]) -> Result<Vec<String>, Stopping> {
        self.inner.feeds.end(names).await
    }

    /// Shows the feeds of these names, in this order. The others must have ended.
    pub fn arrange_feeds<'a>(&self, names: impl Iterator<Item = &'a str>) {
        self.inner.feeds.arrange(names);
    }

    /// As [`Handle::start_feeds`]: a sink goes on where the former one of its name was.
    pub async fn start_sinks(&self, sinks: Vec<Sink>) -> Result<(), Stopping> {
        self.inner.sinks.start(sinks).await
    }

    /// Has sinks send no more, once the alert that they are at was taken or refused. A sink that holds ends at once: its
    /// alert comes first again. As [`Handle::end_feeds`], and `wait` is how long a receiver may take.
    pub async fn end_sinks(&self, names: &[String], wait: Duration) -> Result<Vec<String>, Stopping> {
        self.inner.sinks.end(names, wait).await
    }

    /// As [`Handle::arrange_feeds`].
    pub fn arrange_sinks<'a>(&self, names: impl Iterator<Item = &'a str>) {
        self.inner.sinks.arrange(names);
    }

    /// Decides about alerts from the place in the ledger on that is scored next, as after a restart with it.
    pub fn set_policy(&self, policy: AlertPolicy) {
        self.inner.policy.send_replace(policy);
    }

    /// Messages from here on, of all feeds, as they get their answers.
    pub fn tap(&self) -> broadcast::Receiver<Arc<Tapped>> {
        self.inner.metrics.tap.listen()
    }

    pub fn outbox(&self) -> OutboxStatus {
        self.inner.ledger.outbox().status()
    }

    pub fn sinks(&self) -> Vec<SinkStatus> {
        self.inner.sinks.all().iter().map(|sink| sink.status()).collect()
    }

    /// Metrics of whoever is beside the pipeline.
    pub fn register(&self, metrics: Box<dyn prometheus::core::Collector>) -> Result<(), prometheus::Error> {
        self.inner.metrics.registry.register(metrics)
    }

    /// Every gauge as of now; the counters keep themselves.
    pub fn metrics(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.refresh();
        self.inner.metrics.registry.gather()
    }

    /// Ready to take messages: a leader is known, so an append can commit.
    pub fn is_ready(&self) -> bool {
        let status = self.inner.ledger.status();
        status.leader.is_some() && status.role != Role::Stopped
    }

    /// Stops reading, settles what is in flight, saves the states. The ledger stays open for the caller to close.
    pub async fn stop(&self) {
        let endings = self.inner.endings.lock().expect("endings lock").take();
        let Some(endings) = endings else { return };
        let feeds = self.inner.feeds.end_all().await;
        self.inner.stop_tail.cancel();
        let _ = endings.tail.await;
        let sinks = self.inner.sinks.leave().await;
        let mut threads = endings.threads;
        threads.add(feeds);
        threads.add(sinks);
        let _ = tokio::task::spawn_blocking(move || threads.end()).await;
    }

    /// The alert's own subject: its answer is about the same patient. `None` if it was shredded meanwhile.
    pub(crate) fn subject_of(&self, index: u64) -> Option<Vec<u8>> {
        let entry = self.inner.ledger.read_from(index, 1).ok()?.into_iter().next()?;
        // Also one of a site that this one stands in for.
        let (Payload::Open(payload) | Payload::Entrusted(payload)) = &entry.payload else { return None };
        let (alert, _) = entry::decode::<entry::Alert>(payload).ok()?;
        Some(reading::subject_key(&alert.facts.patient))
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, Board> {
        self.inner.board.lock().expect("board lock")
    }

    fn refresh(&self) {
        let (metrics, status) = (&self.inner.metrics, self.inner.ledger.status());
        self.inner.feeds.show();
        for (role, name) in ROLES {
            metrics.raft_role.with_label_values(&[name]).set(i64::from(status.role == role));
        }
        metrics.raft_term.set(status.term as i64);
        metrics.ledger_size.set(status.size as i64);
        if let Some(newest) = self.inner.ledger.checkpoint() {
            metrics.checkpoint_size.set(newest.size as i64);
            let now_s = clock::now().0 / 1000;
            metrics.checkpoint_age_seconds.set((now_s - newest.made_at_s as i64).max(0) as f64);
        }
        metrics.evidence_sites.set(self.inner.ledger.blamed_sites().len() as i64);
        metrics.ledger_damaged.set(i64::from(status.damage.is_some()));
        metrics.ledger_in_flight_bytes.set(status.in_flight_bytes as i64);
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        metrics.cold_entries.set(gauge(status.cold.entries));
        metrics.cold_bytes.set(gauge(status.cold.bytes));
        metrics.cold_files_lost.set(status.cold.lost.len() as i64);
        metrics.keys_not_at_partner.set(status.keys.not_at_partner as i64);
        self.refresh_outbox();
        crate::shadow::show(metrics, &self.inner.scorers, &self.inner.tallies);
        crate::drift::show(metrics, &self.inner.scorers, &self.inner.windows);
        // Only a leader knows its peers' lag: what it said before it lost that role no longer holds.
        metrics.raft_lag.reset();
        for (peer, lag) in &status.lag {
            metrics.raft_lag.with_label_values(&[peer]).set(*lag as i64);
        }
        metrics.peers_connected.set(status.peers.iter().filter(|peer| peer.connected).count() as f64);
    }
}

impl Handle {
    fn refresh_outbox(&self) {
        let (metrics, outbox) = (&self.inner.metrics, self.outbox());
        let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        metrics.outbox_entries.set(gauge(outbox.entries));
        metrics.outbox_bytes.set(gauge(outbox.bytes));
        metrics.outbox_limit_bytes.set(gauge(outbox.limit_bytes));
        let age_ms = outbox.oldest_ms.map_or(0, |oldest| clock::now().0.saturating_sub(oldest).max(0));
        metrics.outbox_oldest_seconds.set(age_ms as f64 / 1000.0);
        for state in OutboxState::ALL {
            metrics.outbox_state.with_label_values(&[state.as_str()]).set(i64::from(outbox.state == state));
        }
        let committed = outbox.forwarded.saturating_sub(outbox.duplicates);
        for (outcome, total) in [("committed", committed), ("duplicate", outbox.duplicates)] {
            let counter = metrics.outbox_forwarded.with_label_values(&[outcome]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }
}

const ROLES: [(Role, &str); 5] = [
    (Role::Leader, "leader"),
    (Role::Follower, "follower"),
    (Role::Candidate, "candidate"),
    (Role::Learner, "learner"),
    (Role::Stopped, "stopped"),
];
