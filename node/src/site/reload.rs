//! The configuration file, taken over by the site that runs. One at a time, in a task of its own: whoever asks may go
//! away meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actors::{Handle, entry};
use async_trait::async_trait;
use clinical::Time;
use connectors::fhir_rest::Door;
use prometheus::{IntCounterVec, IntGauge, Opts};
use raft_ledger::Ledger;
use tokio::sync::{mpsc, oneshot};

use super::certificates::Certificates;
use super::exchange::{Exchange, Former, Lost, Places};
use crate::api::{AskReload, Outcome, Reload, ReloadError, Reloaded};
use crate::config::{self, Change, Config, Subject};
use crate::http::Auth;

/// Whoever asks for it.
#[derive(Clone)]
pub struct Reloader(mpsc::Sender<Asked>);

/// What is asked; read by [`Reloads::run`].
pub struct Asking(mpsc::Receiver<Asked>);

struct Asked {
    what: AskReload,
    by: String,
    answer: oneshot::Sender<Result<Reloaded, ReloadError>>,
}

pub fn channel() -> (Reloader, Asking) {
    let (asks, asking) = mpsc::channel(4);
    (Reloader(asks), Asking(asking))
}

#[async_trait]
impl Reload for Reloader {
    async fn reload(&self, what: AskReload, by: &str) -> Result<Reloaded, ReloadError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { what, by: by.to_owned(), answer };
        self.0.send(asked).await.map_err(|_| ReloadError::Stopping)?;
        answered.await.map_err(|_| ReloadError::Stopping)?
    }
}

/// What is exchanged in a running site.
pub struct Reloads {
    pub file: PathBuf,
    /// That the site runs with.
    pub config: Config,
    pub ledger: Ledger,
    pub handle: Handle,
    pub door: Door,
    pub auth: Arc<Auth>,
    pub certificates: Certificates,
    pub metrics: Metrics,
}

impl Reloads {
    /// Needs an actix system. Ends with the last who may ask.
    pub async fn run(mut self, mut asking: Asking) {
        while let Some(Asked { what, by, answer }) = asking.0.recv().await {
            let done = self.reload(&what, &by).await;
            if !what.dry_run {
                self.tell(&done, &by);
            }
            // Whoever asked has gone meanwhile.
            let _ = answer.send(done);
        }
    }

    fn tell(&self, done: &Result<Reloaded, ReloadError>, by: &str) {
        let file = self.file.display();
        match done {
            Ok(reloaded) => {
                self.metrics.count("done");
                let changes: Vec<String> = reloaded.changes.iter().map(ToString::to_string).collect();
                tracing::info!(by, %file, changes = changes.join("; "), "configuration read again");
            }
            // Nothing is wrong with the file or the site.
            Err(error @ (ReloadError::OtherFile(_) | ReloadError::Stopping)) => {
                tracing::warn!(by, %file, %error, "the configuration was not read again");
            }
            Err(error @ (ReloadError::Invalid(_) | ReloadError::Failed(_) | ReloadError::Unrecorded(_))) => {
                self.metrics.count("failed");
                if let ReloadError::Invalid(findings) = error {
                    findings.iter().for_each(|finding| tracing::error!("{finding}"));
                }
                tracing::error!(by, %file, %error, "the configuration was not taken over; the site goes on with the former one");
            }
        }
    }

    async fn reload(&mut self, what: &AskReload, by: &str) -> Result<Reloaded, ReloadError> {
        if let Some(meant) = &what.file
            && !is_same(meant, &self.file)
        {
            return Err(ReloadError::OtherFile(self.file.display().to_string()));
        }
        let file = self.file.clone();
        let loaded = tokio::task::spawn_blocking(move || config::load_hashed(&file)).await;
        let loaded = loaded.map_err(|error| ReloadError::Failed(error.to_string()))?;
        let (new, sha256) = loaded.map_err(ReloadError::Invalid)?;
        let changes = self.config.changes_to(&new);
        let mut reloaded = Reloaded {
            outcome: Outcome::Planned,
            file: self.file.display().to_string(),
            sha256: hex::encode(sha256),
            index: None,
            unchanged: unchanged(&new, &changes),
            changes,
        };
        if what.dry_run {
            return Ok(reloaded);
        }
        if reloaded.changes.iter().all(|change| change.needs_restart) {
            reloaded.outcome = Outcome::Unchanged;
            return Ok(reloaded);
        }
        reloaded.index = Some(self.take_over(new, &reloaded, by).await?);
        reloaded.outcome = Outcome::Done;
        Ok(reloaded)
    }

    /// The ledger knows of it first, as of every other act of a person.
    async fn take_over(&mut self, new: Config, to: &Reloaded, by: &str) -> Result<u64, ReloadError> {
        let exchange = Exchange::prepare(&self.config, &new, &to.changes, &self.ledger)
            .await
            .map_err(|error| ReloadError::Failed(format!("{error:#}; nothing was changed")))?;
        let note = entry::Reloaded {
            by: by.to_owned(),
            at: Time(jiff::Timestamp::now().as_millisecond()),
            sha256: to.sha256.clone(),
            changes: to.changes.iter().map(ToString::to_string).collect(),
            failed: None,
        };
        let index = match self.handle.note_reload(&note).await {
            Ok(index) => index,
            Err(error) => {
                exchange.give_up().await;
                // The ledger may take it yet.
                self.note_failure(note, "it could not be written down in time");
                return Err(ReloadError::Unrecorded(error.to_string()));
            }
        };
        let places = Places {
            ledger: &self.ledger,
            handle: &self.handle,
            door: &self.door,
            certificates: &self.certificates,
        };
        match exchange.carry_out(&self.config, &new, &places).await {
            Ok(()) => {}
            Err(Lost::Stopping) => return Err(ReloadError::Stopping),
            Err(Lost::Former(Former { why, feeds, sinks })) => {
                // Those that could not be had back are added by the next reload.
                self.config.feeds.retain(|feed| !feeds.contains(&feed.name));
                self.config.sinks.retain(|sink| !sinks.contains(&sink.name));
                self.note_failure(note, &why);
                return Err(ReloadError::Failed(why));
            }
        }
        let people = |change: &Change| matches!(change.subject, Subject::User | Subject::Token);
        if to.changes.iter().any(|change| people(change) && !change.needs_restart) {
            self.auth.replace(&new.http.users, &new.http.tokens);
            (self.config.http.users, self.config.http.tokens) = (new.http.users, new.http.tokens);
        }
        if self.config.alerts != new.alerts {
            self.handle.set_policy(new.alerts.policy());
        }
        (self.config.feeds, self.config.sinks, self.config.alerts) = (new.feeds, new.sinks, new.alerts);
        Ok(index)
    }

    /// In the background, for as long as it takes: what the ledger says was done was not.
    fn note_failure(&self, mut note: entry::Reloaded, why: &str) {
        note.failed = Some(why.to_owned());
        let handle = self.handle.clone();
        actix_web::rt::spawn(async move { handle.note_failed_reload(&note).await });
    }
}

fn unchanged(new: &Config, changes: &[Change]) -> Vec<String> {
    let is_same =
        |subject, name: &str| !changes.iter().any(|change| change.subject == subject && change.name == name);
    let feeds = new.feeds.iter().filter(|feed| is_same(Subject::Feed, &feed.name));
    let sinks = new.sinks.iter().filter(|sink| is_same(Subject::Sink, &sink.name));
    let feeds = feeds.map(|feed| format!("feed {}", feed.name));
    feeds.chain(sinks.map(|sink| format!("sink {}", sink.name))).collect()
}

fn is_same(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole(one) == whole(other)
}

/// What an SRE is alerted by.
#[derive(Clone)]
pub struct Metrics {
    reloads: IntCounterVec,
    last_successful: IntGauge,
    last_success_s: IntGauge,
}

impl Metrics {
    pub fn register(handle: &Handle) -> Result<Metrics, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).namespace("medulla");
        let metrics = Metrics {
            reloads: IntCounterVec::new(
                opts("config_reloads_total", "reloads of the configuration by outcome"),
                &["outcome"],
            )?,
            last_successful: IntGauge::with_opts(opts(
                "config_last_reload_successful",
                "1 unless the last reload of the configuration failed",
            ))?,
            last_success_s: IntGauge::with_opts(opts(
                "config_last_reload_success_timestamp_seconds",
                "Unix time at which the configuration that is in use was read",
            ))?,
        };
        handle.register(Box::new(metrics.reloads.clone()))?;
        handle.register(Box::new(metrics.last_successful.clone()))?;
        handle.register(Box::new(metrics.last_success_s.clone()))?;
        for outcome in ["done", "failed"] {
            metrics.reloads.with_label_values(&[outcome]);
        }
        metrics.read(true);
        Ok(metrics)
    }

    fn count(&self, outcome: &str) {
        self.reloads.with_label_values(&[outcome]).inc();
        self.read(outcome == "done");
    }

    fn read(&self, is_successful: bool) {
        self.last_successful.set(i64::from(is_successful));
        if is_successful {
            self.last_success_s.set(jiff::Timestamp::now().as_second());
        }
    }
}
