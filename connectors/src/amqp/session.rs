//! One consumer on one channel. Ends when the connection is lost, on `stop`, or when a message has to come
//! again: then the channel is closed, and the broker puts everything unacknowledged back in its old order.
//! (`basic.nack` with requeue would let the messages sent ahead overtake it.)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::declare::declare;
use super::letter::{Original, headers};
use super::publish::Publisher;
use super::source::Shared;
use crate::ahead::Ahead;
use crate::fault::bounded;
use crate::{Format, Inbound, Receipt, Refusal, SourceState, Verdict, Verdicts};

/// How long settling may take at the end.
const FINISH_WAIT: Duration = Duration::from_secs(30);

pub(super) enum End {
    Stopped,
    Rewind,
    Lost(String),
}

pub(super) struct Session {
    shared: Arc<Shared>,
    consuming: Channel,
    /// For asking how long the queue is: a question that fails closes its channel.
    asking: Channel,
    consumer: Consumer,
    /// Its messages' verdicts, which outlive a lost connection.
    open: TaskTracker,
    settling: Arc<Settling>,
}

/// What the tasks that wait for verdicts share.
struct Settling {
    shared: Arc<Shared>,
    dead_letters: Publisher,
    /// Raised by a Retry or a lost connection: nothing further of this session is handed over.
    rewinding: Arc<AtomicBool>,
    rewind: Notify,
}

impl Session {
    pub(super) async fn open(shared: Arc<Shared>, connection: &Connection) -> Result<Session, String> {
        let opened = async {
            let (consuming, asking) =
                (connection.create_channel().await?, connection.create_channel().await?);
            if shared.config.declare {
                declare(&shared.config, connection).await?;
            }
            consuming.basic_qos(shared.config.prefetch, BasicQosOptions::default()).await?;
            let queue = shared.config.queue.as_str().into();
            let tag = "".into();
            let consumer = consuming
                .basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default())
                .await?;
            Ok((consuming, asking, consumer))
        };
        let (consuming, asking, consumer) = opened.await.map_err(|error: lapin::Error| error.to_string())?;
        let dead_letters = Publisher::open(connection).await?;
        let settling = Settling {
            shared: shared.clone(),
            dead_letters,
            rewinding: Arc::default(),
            rewind: Notify::new(),
        };
        let (open, settling) = (TaskTracker::new(), Arc::new(settling));
        Ok(Session { shared, consuming, asking, consumer, open, settling })
    }

    pub(super) async fn run(mut self) -> End {
        let (stop, settling) = (self.shared.desk.stop.clone(), self.settling.clone());
        let mut second = tokio::time::interval(Duration::from_secs(1));
        let end = loop {
            tokio::select! {
                delivery = self.consumer.next() => match delivery {
                    Some(Ok(delivery)) => self.hand_over(delivery),
                    Some(Err(error)) => break End::Lost(error.to_string()),
                    None => break End::Lost("the broker cancelled the consumer; is the queue still there?".into()),
                },
                _ = second.tick() => if let Err(error) = self.measure().await {
                    break End::Lost(error);
                },
                () = settling.rewind.notified() => break End::Rewind,
                () = stop.cancelled() => break End::Stopped,
            }
        };
        settling.rewinding.store(true, Ordering::SeqCst);
        self.close(&end).await;
        end
    }

    /// Queue length as lag; a full prefetch as pause.
    async fn measure(&self) -> Result<(), String> {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.asking.queue_declare(
            self.shared.config.queue.as_str().into(),
            passive,
            FieldTable::default(),
        );
        let queue = queue.await.map_err(|error| error.to_string())?;
        let status = &self.shared.desk.status;
        let in_flight = status.in_flight.load(Ordering::Relaxed);
        status.lag.store(u64::from(queue.message_count()) + in_flight, Ordering::Relaxed);
        status.set(match in_flight >= u64::from(self.shared.config.prefetch) {
            true => SourceState::Paused,
            false => SourceState::Running,
        });
        Ok(())
    }

    fn hand_over(&self, delivery: Delivery) {
        let Delivery { delivery_tag, exchange, routing_key, properties, data, acker, .. } = delivery;
        let (payload, rewinding) = (Bytes::from(data), self.settling.rewinding.clone());
        self.shared.desk.status.count();
        let (receipt, verdicts) = Receipt::flagging(rewinding.clone());
        let headers = headers(&properties);
        let queue = &self.shared.config.queue;
        let original = Original {
            exchange: exchange.to_string(),
            routing_key: routing_key.to_string(),
            properties,
            payload: payload.clone(),
        };
        let settling = self.settling.clone();
        self.open.spawn(async move {
            if settling.is_kept(verdicts, original).await {
                // An error means that the channel is gone: the broker sends it again, a duplicate.
                let _ = acker.ack(BasicAckOptions::default()).await;
            }
        });
        let (payload, fault) = bounded(payload, self.shared.config.max_message_bytes);
        let inbound = Inbound {
            key: Arc::from(queue.as_str()),
            position: format!("{queue}#{delivery_tag}"),
            payload,
            format: headers.get("content-type").and_then(|text| Format::of_media_type(text)),
            fault,
            doubt: None,
            headers,
            received_at: SystemTime::now(),
            receipt,
        };
        // A source that is gone drops it: the broker keeps it.
        let _ = self.shared.desk.ahead.send(Ahead { inbound, rewinding });
    }

    /// Lets what is out be settled, then gives the rest back.
    async fn close(self, end: &End) {
        self.open.close();
        match end {
            End::Lost(_) => return,
            End::Rewind => self.open.wait().await,
            End::Stopped => {
                let tag = self.consumer.tag();
                let _ = self.consuming.basic_cancel(tag, BasicCancelOptions::default()).await;
                self.shared.desk.finish.cancelled().await;
                let _ = tokio::time::timeout(FINISH_WAIT, self.open.wait()).await;
            }
        }
        for channel in [&self.consuming, &self.asking] {
            let _ = tokio::time::timeout(Duration::from_secs(5), channel.close(200, "done".into())).await;
        }
    }
}

impl Settling {
    /// Waits for the verdict and, on a refusal, until the dead letter is confirmed.
    async fn is_kept(&self, verdicts: Verdicts, original: Original) -> bool {
        let verdict = verdicts.last().await;
        self.shared.desk.status.settle(&verdict);
        match verdict {
            Verdict::Committed(_) => true,
            Verdict::Rejected(refusal, _) => self.dead_letter(&original, &refusal).await,
            Verdict::Retry(_) | Verdict::Stored(_) => {
                self.rewind.notify_one();
                false
            }
        }
    }

    async fn dead_letter(&self, original: &Original, refusal: &Refusal) -> bool {
        let config = &self.shared.config;
        let Some(exchange) = &config.dead_letter_exchange else { return true };
        let mut wait = Duration::from_millis(200);
        loop {
            let properties = original.letter(refusal, &config.queue);
            let letter = self
                .dead_letters
                .publish(exchange, config.dead_letter_key(), properties, &original.payload)
                .await;
            let Err(error) = letter else { return true };
            self.shared.desk.status.fault(format!("dead-letter exchange {exchange}: {}", error.text()));
            let rewinding = self.rewinding.load(Ordering::SeqCst);
            if rewinding || !self.dead_letters.is_usable() || self.shared.desk.finish.is_cancelled() {
                // Others have to come again, a missing exchange closed the channel, or the connection is lost: the message
                // comes again.
                self.rewinding.store(true, Ordering::SeqCst);
                self.rewind.notify_one();
                return false;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(10));
        }
    }
}
