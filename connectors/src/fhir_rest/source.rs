//! The feed's face.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::endpoint::{Endpoint, Lookup};
use crate::{Inbound, SourceState, SourceStatus};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default = "default_message_bytes")]
    pub max_message_bytes: usize,
    /// Requests being read or waiting for their verdict; beyond it 503.
    #[serde(default = "default_in_flight")]
    pub max_in_flight: usize,
    /// And their bodies together.
    #[serde(default = "default_in_flight_bytes")]
    pub max_in_flight_bytes: usize,
    /// After so long without a verdict the answer is 503; the message may be kept yet, and sending it again
    /// makes no second one.
    #[serde(default = "default_answer_timeout")]
    pub answer_timeout_s: u64,
    /// The `Retry-After` of a 503.
    #[serde(default = "default_retry_after")]
    pub retry_after_s: u64,
    /// Answers of `Prefer: respond-async` requests kept to be asked for.
    #[serde(default = "default_async_answers")]
    pub max_async_answers: usize,
}

fn default_message_bytes() -> usize {
    16 * 1024 * 1024
}
fn default_in_flight() -> usize {
    512
}
fn default_in_flight_bytes() -> usize {
    64 * 1024 * 1024
}
fn default_answer_timeout() -> u64 {
    30
}
fn default_retry_after() -> u64 {
    5
}
fn default_async_answers() -> usize {
    1000
}

impl Default for Config {
    fn default() -> Config {
        Config {
            max_message_bytes: default_message_bytes(),
            max_in_flight: default_in_flight(),
            max_in_flight_bytes: default_in_flight_bytes(),
            answer_timeout_s: default_answer_timeout(),
            retry_after_s: default_retry_after(),
            max_async_answers: default_async_answers(),
        }
    }
}

pub struct Source {
    inbound: mpsc::Receiver<Inbound>,
    status: Arc<SourceStatus>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Source {
    /// The feed, and what stands behind the [`Door`](super::Door) of the web server's routes.
    pub fn new(config: Config, lookup: Arc<dyn Lookup>) -> (Source, Endpoint) {
        let (sender, inbound) = mpsc::channel(config.max_in_flight.max(1));
        let status = Arc::new(SourceStatus::default());
        status.set(SourceState::Running);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let endpoint = Endpoint::new(config, lookup, sender, status.clone(), stop.clone(), tasks.clone());
        (Source { inbound, status, stop, tasks }, endpoint)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl crate::Source for Source {
    async fn next(&mut self) -> Option<Inbound> {
        if self.stop.is_cancelled() {
            return None;
        }
        self.inbound.recv().await
    }

    /// From now on every request is answered with 503.
    async fn stop(&mut self) {
        self.stop.cancel();
        self.status.set(SourceState::Stopped);
        self.inbound.close();
        while self.inbound.try_recv().is_ok() {}
    }

    /// Waits for the verdicts; writing the answers is the web server's part of a graceful stop.
    async fn finish(&mut self) {
        self.stop().await;
        self.tasks.close();
        if tokio::time::timeout(Duration::from_secs(30), self.tasks.wait()).await.is_err() {
            tracing::warn!("http: verdicts did not come within 30 s, leaving them");
        }
    }

    fn status(&self) -> Arc<SourceStatus> {
        self.status.clone()
    }
}
