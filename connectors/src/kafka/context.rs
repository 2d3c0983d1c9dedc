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
use rdkafka::statistics::{Partition, Statistics};
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

    /// Passes what follows the last message of a partition and is never delivered, so that its offset comes to the end: a
    /// transaction's marker, aborted messages. Only between two polls: then whatever lies before librdkafka's position was
    /// handed over, or was nothing to hand over. It has none in a partition that was just assigned or rewound.
    pub(super) fn pass<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>) {
        let at = match consumer.position() {
            Ok(at) => at,
            Err(error) => return tracing::debug!(%error, "kafka: positions not told"),
        };
        let mut partitions = self.partitions();
        for element in at.elements() {
            if let Offset::Offset(position) = element.offset() {
                partitions.pass(&(Arc::from(element.topic()), element.partition()), position);
            }
        }
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
            self.pass(consumer);
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

    /// The lag is the sum over this consumer's partitions.
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
        let lag: i64 = lag.map(|(_, partition)| lag_of(partition)).sum();
        self.status.lag.store(lag.unsigned_abs(), Ordering::Relaxed);
    }
}

/// What could be read and is not settled. It ends at the last stable offset: what follows the first message of a transaction
/// that is still open cannot be read, and is no work left undone. (Reading uncommitted, librdkafka tells the high watermark
/// in its place.) It begins no lower than the log, of which retention may have taken what was not read.
fn lag_of(partition: &Partition) -> i64 {
    let told = [partition.stored_offset, partition.committed_offset].into_iter().find(|offset| *offset >= 0);
    (partition.ls_offset - told.unwrap_or(0).max(partition.lo_offset)).max(0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_could_be_read_and_is_not_settled() {
        // librdkafka's word for an offset that it does not know.
        const NONE: i64 = -1001;
        let lag = |lo_offset, committed_offset, stored_offset, ls_offset, hi_offset| {
            let offsets = Partition {
                lo_offset,
                committed_offset,
                stored_offset,
                ls_offset,
                hi_offset,
                ..Partition::default()
            };
            lag_of(&offsets)
        };
        assert_eq!(lag(0, 10, 12, 20, 20), 8);
        assert_eq!(lag(0, 10, 12, 12, 500), 0, "an open transaction begins at 12");
        assert_eq!(lag(0, 10, NONE, 12, 12), 2, "assigned anew");
        assert_eq!(lag(30, NONE, NONE, 50, 50), 20, "never read");
        assert_eq!(lag(50, 10, NONE, 50, 50), 0, "retention took what was not read");
        assert_eq!(lag(NONE, 10, NONE, NONE, NONE), 0, "not fetched yet");
    }
}
