//! librdkafka's callbacks: rebalances, statistics, errors. They run inside the reader's poll.

use std::error::Error;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::{Offset, TopicPartitionList};

use super::partitions::{Key, Partitions, Settled};
use super::token;
use crate::{SourceState, SourceStatus, TokenSource};

/// What is out of a revoked partition is waited for so long, so that the next owner reads less twice.
const REVOKE_WAIT: Duration = Duration::from_secs(2);

pub(super) struct Context {
    partitions: Mutex<Partitions>,
    settled: Mutex<Receiver<Settled>>,
    status: Arc<SourceStatus>,
    token: Option<TokenSource>,
}

impl Context {
    pub(super) fn new(
        settled: Receiver<Settled>,
        status: Arc<SourceStatus>,
        token: Option<TokenSource>,
    ) -> Context {
        Context { partitions: Mutex::default(), settled: Mutex::new(settled), status, token }
    }

    /// Never held across a poll, whose callbacks take it too.
    pub(super) fn partitions(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what came back: waits up to `wait` for the first, never for more.
    pub(super) fn collect(&self, wait: Duration) {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let first = match wait.is_zero() {
            true => settled.try_recv().ok(),
            false => settled.recv_timeout(wait).ok(),
        };
        let Some(first) = first else { return };
        let (now, mut partitions) = (Instant::now(), self.partitions());
        partitions.settle(first, now);
        settled.try_iter().for_each(|settled| partitions.settle(settled, now));
    }

    /// Stores what has moved; librdkafka commits it within `auto.commit.interval.ms`.
    pub(super) fn store<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>) {
        let moved = self.partitions().take_moved();
        for ((topic, partition), offset) in moved {
            let mut list = TopicPartitionList::with_capacity(1);
            // An error means that the partition is no longer ours: its next owner reads on from the last commit.
            let stored = list
                .add_partition_offset(&topic, partition, Offset::Offset(offset))
                .and_then(|()| consumer.store_offsets(&list));
            if let Err(error) = stored {
                tracing::debug!(%topic, partition, %error, "kafka: offset not stored");
            }
        }
    }

    /// Commits what is stored and waits for the broker's word.
    pub(super) fn commit<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>) {
        match consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => {
                tracing::warn!(%error, "kafka: offsets not committed; what they cover is read again");
                self.status.fault(format!("offsets not committed: {error}"));
            }
        }
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, revoked: &[Key]) {
        revoked.iter().for_each(|key| self.partitions().hold(key));
        let deadline = Instant::now() + REVOKE_WAIT;
        while revoked.iter().any(|key| self.partitions().is_out(key)) && Instant::now() < deadline {
            self.collect(Duration::from_millis(50));
        }
        if !consumer.assignment_lost() {
            self.store(consumer);
            self.commit(consumer);
        }
        let mut partitions = self.partitions();
        revoked.iter().for_each(|key| partitions.revoke(key));
    }
}

fn keys(list: &TopicPartitionList) -> Vec<Key> {
    list.elements().iter().map(|element| (Arc::from(element.topic()), element.partition())).collect()
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(list) => self.revoke(consumer, &keys(list)),
            Rebalance::Assign(_) => {}
            Rebalance::Error(error) => self.status.fault(format!("rebalance failed: {error}")),
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            let mut partitions = self.partitions();
            keys(list).into_iter().for_each(|key| partitions.assign(key));
        }
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token::read(self.token.as_ref())
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.status.fault(format!("{error}: {reason}"));
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.status.set(SourceState::Connecting);
        }
    }

    /// Lag: what the broker holds beyond what this consumer has settled, over its partitions.
    fn stats(&self, statistics: Statistics) {
        let up = statistics.brokers.values().any(|broker| broker.nodeid >= 0 && broker.state == "UP");
        match (up, self.status.get().0) {
            (true, SourceState::Connecting) => self.status.set(SourceState::Running),
            (false, SourceState::Running) => self.status.set(SourceState::Connecting),
            _ => {}
        }
        let partitions = self.partitions();
        let lag = statistics.topics.iter().flat_map(|(name, topic)| {
            let topic_name: Arc<str> = Arc::from(name.as_str());
            topic.partitions.values().map(move |partition| (topic_name.clone(), partition))
        });
        let lag =
            lag.filter(|(topic, partition)| partitions.is_assigned(&(topic.clone(), partition.partition)));
        let lag: i64 = lag
            .map(|(_, partition)| {
                let done = [partition.stored_offset, partition.committed_offset, partition.lo_offset];
                let done = done.into_iter().find(|offset| *offset >= 0).unwrap_or(0);
                (partition.hi_offset.max(partition.ls_offset) - done).max(0)
            })
            .sum();
        self.status.lag.store(lag.unsigned_abs(), Ordering::Relaxed);
    }
}

/// librdkafka's own words: addresses and protocol, never payloads.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::warn!(facility, "kafka: {message}");
        }
        _ => tracing::debug!(facility, "kafka: {message}"),
    }
}
