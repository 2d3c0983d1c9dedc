//! The poll loop: reads while there is room, pauses with hysteresis when there is none, and keeps polling
//! either way, because a consumer that does not poll is thrown out of its group.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers};

use super::Config;
use super::config::create;
use super::context::Context;
use super::dead_letter::{DeadLetters, Original};
use super::partitions::{Key, Settled};
use crate::ahead::Ahead;
use crate::background::Desk;
use crate::fault::bounded;
use crate::{ConnectorError, Format, Inbound, Receipt, SourceState, Verdict, Verdicts};

/// Without room so long, partitions are paused. Shorter gaps are waited out: pausing throws away what was
/// prefetched.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// How often markers behind the last message are passed.
const PASS_EVERY: Duration = Duration::from_secs(1);
/// How long settling may take at the end.
const FINISH_WAIT: Duration = Duration::from_secs(30);
const SEEK_WAIT: Duration = Duration::from_secs(10);

pub(super) struct Reader {
    consumer: BaseConsumer<Context>,
    config: Config,
    desk: Desk,
    settled: mpsc::Sender<Settled>,
    dead_letters: Option<Arc<DeadLetters>>,
    runtime: tokio::runtime::Handle,
    /// One copy of each topic's name.
    topics: BTreeMap<String, Arc<str>>,
    full_since: Option<Instant>,
    paused: bool,
}

impl Reader {
    pub(super) fn new(config: Config, desk: Desk) -> Result<Reader, ConnectorError> {
        let (settled, back) = mpsc::channel();
        let context = Context::new(back, desk.status.clone(), config.token.clone());
        let consumer: BaseConsumer<Context> = create(&config.consumer()?, context)?;
        let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|error| ConnectorError::Kafka(error.to_string()))?;
        Ok(Reader {
            dead_letters: DeadLetters::new(&config)?.map(Arc::new),
            consumer,
            config,
            desk,
            settled,
            runtime: tokio::runtime::Handle::current(),
            topics: BTreeMap::new(),
            full_since: None,
            paused: false,
        })
    }

    /// Until `stop` reads; then, until `finish`, only settles.
    pub(super) fn run(mut self) {
        let mut passed = Instant::now();
        while !self.desk.stop.is_cancelled() {
            self.context().collect(Duration::ZERO);
            if passed.elapsed() >= PASS_EVERY {
                self.context().pass(&self.consumer);
                passed = Instant::now();
            }
            self.context().store(&self.consumer);
            self.rewind();
            if self.has_room() {
                self.poll(Duration::from_millis(20));
            } else {
                self.wait_for_room();
            }
        }
        self.pause();
        let mut deadline = None;
        while !self.is_settled(&mut deadline) {
            self.context().collect(Duration::from_millis(20));
            self.context().store(&self.consumer);
            self.poll(Duration::ZERO);
        }
        self.context().collect(Duration::ZERO);
        self.context().pass(&self.consumer);
        self.context().store(&self.consumer);
        self.context().commit(&self.consumer);
        // Dropping the consumer leaves the group.
    }

    fn context(&self) -> Arc<Context> {
        self.consumer.context().clone()
    }

    /// Whether the end has come: `finish` was called, and nothing is out or it took too long.
    fn is_settled(&self, deadline: &mut Option<Instant>) -> bool {
        if !self.desk.finish.is_cancelled() {
            return false;
        }
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + FINISH_WAIT);
        self.context().partitions().in_flight().0 == 0 || Instant::now() > deadline
    }

    fn has_room(&mut self) -> bool {
        let (messages, bytes) = self.context().partitions().in_flight();
        let (messages_max, bytes_max) = match self.paused {
            // Hysteresis: a paused partition has lost its prefetched data, so resuming has to be worth it.
            true => (self.config.max_in_flight / 2, self.config.max_in_flight_bytes / 2),
            false => (self.config.max_in_flight, self.config.max_in_flight_bytes),
        };
        let room = messages < messages_max.max(1) && bytes < bytes_max.max(1);
        if room {
            self.full_since = None;
            self.resume();
        }
        room
    }

    fn wait_for_room(&mut self) {
        self.context().collect(Duration::from_millis(50));
        let since = *self.full_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PAUSE_AFTER {
            if !self.paused {
                self.desk.status.set(SourceState::Paused);
            }
            // Each time anew: partitions may have been assigned meanwhile.
            self.pause();
            self.poll(Duration::ZERO);
        }
    }

    fn pause(&mut self) {
        match self.consumer.assignment().and_then(|assigned| self.consumer.pause(&assigned)) {
            Ok(()) => self.paused = true,
            Err(error) => self.desk.status.fault(format!("cannot pause: {error}")),
        }
    }

    fn resume(&mut self) {
        if !self.paused {
            return;
        }
        match self.consumer.assignment().and_then(|assigned| self.consumer.resume(&assigned)) {
            Ok(()) => {
                self.paused = false;
                self.desk.status.set(SourceState::Running);
            }
            Err(error) => self.desk.status.fault(format!("cannot resume: {error}")),
        }
    }

    /// Reads partitions again from what came back.
    fn rewind(&mut self) {
        let due = self.context().partitions().due(Instant::now());
        for ((topic, partition), offset) in due {
            let seek = self.consumer.seek(&topic, partition, rdkafka::Offset::Offset(offset), SEEK_WAIT);
            match seek {
                Ok(()) => self.context().partitions().rewound(&(topic, partition)),
                Err(error) => {
                    self.desk
                        .status
                        .fault(format!("cannot read {topic}/{partition} again from {offset}: {error}"));
                }
            }
        }
    }

    fn poll(&mut self, wait: Duration) {
        let message = match self.consumer.poll(wait) {
            None => return,
            Some(Ok(message)) => message,
            Some(Err(error)) => return self.desk.status.fault(error.to_string()),
        };
        let topic =
            self.topics.entry(message.topic().to_owned()).or_insert_with(|| Arc::from(message.topic()));
        let key = (topic.clone(), message.partition());
        let payload = message.payload().unwrap_or_default();
        let (rewinding, lost) = {
            let context = self.consumer.context();
            let mut partitions = context.partitions();
            (partitions.deliver(&key, message.offset(), payload.len()), partitions.take_lost())
        };
        for ((topic, partition), offset) in lost {
            let fault = format!(
                "message {topic}/{partition}@{offset} is lost: retention or compaction took it before it could be read \
                 again; have it sent again"
            );
            tracing::error!(source = %self.config.group, "kafka: {fault}");
            self.desk.status.fault(fault);
        }
        if let Some(rewinding) = rewinding {
            self.hand_over(&message, key, Bytes::copy_from_slice(payload), rewinding);
        }
    }

    fn hand_over(&self, message: &BorrowedMessage<'_>, key: Key, payload: Bytes, rewinding: Arc<AtomicBool>) {
        if self.desk.status.get().0 == SourceState::Connecting {
            self.desk.status.set(SourceState::Running);
        }
        self.desk.status.count();
        let (receipt, verdicts) = Receipt::flagging(rewinding.clone());
        let (offset, bytes) = (message.offset(), payload.len());
        let settled = Settled { key: key.clone(), rewinding: rewinding.clone(), offset, bytes, kept: false };
        let original = self.dead_letters.clone().map(|dead_letters| {
            let original = Original {
                topic: key.0.clone(),
                partition: key.1,
                offset,
                key: message.key().map(<[u8]>::to_vec),
                headers: message.headers().map(|headers| headers.detach()),
                payload: payload.clone(),
            };
            (dead_letters, original)
        });
        let (desk, back) = (self.desk.clone(), self.settled.clone());
        self.runtime.spawn(async move {
            let kept = settle(verdicts, original, &desk).await;
            let _ = back.send(Settled { kept, ..settled });
        });
        let (payload, fault) = bounded(payload, self.config.max_message_bytes);
        let headers = headers(message);
        let inbound = Inbound {
            key: Arc::from(format!("{}/{}", key.0, key.1)),
            position: format!("{}/{}@{offset}", key.0, key.1),
            payload,
            format: headers.get("content-type").and_then(|text| Format::of_media_type(text)),
            fault,
            doubt: None,
            headers,
            received_at: SystemTime::now(),
            receipt,
        };
        // A source that is gone drops it: its receipt says Retry, and its offset is not stored.
        let _ = self.desk.ahead.send(Ahead { inbound, rewinding });
    }
}

/// Waits for the verdict and, on a refusal, until the dead letter is confirmed. True: its offset may pass.
async fn settle(verdicts: Verdicts, original: Option<(Arc<DeadLetters>, Original)>, desk: &Desk) -> bool {
    let verdict = verdicts.last().await;
    desk.status.settle(&verdict);
    let Verdict::Rejected(refusal, _) = verdict else { return matches!(verdict, Verdict::Committed(_)) };
    let Some((dead_letters, original)) = original else { return true };
    let mut wait = Duration::from_millis(200);
    while let Err(error) = dead_letters.publish(&original, &refusal).await {
        desk.status.fault(error);
        if desk.finish.is_cancelled() {
            return false;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(10));
    }
    true
}

/// Headers, read as text.
fn headers(message: &BorrowedMessage<'_>) -> BTreeMap<String, String> {
    let Some(headers) = message.headers() else { return BTreeMap::new() };
    let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
}
