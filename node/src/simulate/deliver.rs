//! Brings a hospital's messages to a target at a chosen pace and counts what came back.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use connectors::mllp::ClientConfig;
use connectors::{Outbound, Sink, SinkError};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Connection, Message, Target};

/// Lanes to brokers and servers: patients are spread over them, each patient's messages stay in one.
const LANES: usize = 8;
const LANE_QUEUE: usize = 64;
const MLLP_WINDOW: usize = 16;

#[derive(Clone, Copy, Debug)]
pub enum Pace {
    AsFastAsTaken,
    /// Messages a second.
    Rate(f64),
    /// Simulated seconds a real one.
    Speed(f64),
}

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub sent: u64,
    pub accepted: u64,
    pub refused: u64,
    /// Sent again after a lost connection; the receiver may see these twice.
    pub resent: u64,
    pub reconnects: u64,
}

/// Sends all of it; `progress` hears of each message that was answered.
pub async fn deliver(
    messages: impl Iterator<Item = Message>,
    target: &Target,
    pace: Pace,
    patience: Duration,
    mut progress: impl FnMut(&Tally),
) -> anyhow::Result<Tally> {
    let mut pacer = Pacer::new(pace);
    match target {
        Target::File(path) => {
            let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
            let mut tally = Tally::default();
            for message in messages {
                out.write_all(&message.bytes)?;
                tally.sent += 1;
                tally.accepted += 1;
                progress(&tally);
            }
            out.flush()?;
            Ok(tally)
        }
        Target::Mllp { address } => {
            let config = ClientConfig::new(address.clone());
            let mut connection = Connection::new(config, MLLP_WINDOW, patience);
            let mut tally = Tally::default();
            for message in messages {
                pacer.wait(&message).await;
                let answer = connection.send(message.bytes.into()).await?;
                tally.sent += 1;
                tally.count(answer.map(|answer| answer.accepted()));
                progress(&tally);
            }
            while let Some(answer) = connection.drain().await? {
                tally.count(Some(answer.accepted()));
                progress(&tally);
            }
            Ok(Tally { resent: connection.resent, reconnects: connection.reconnects, ..tally })
        }
        Target::Kafka { .. } | Target::Amqp { .. } | Target::Fhir { .. } => {
            lanes(messages, target, pacer, patience, progress).await
        }
    }
}

impl Tally {
    fn count(&mut self, accepted: Option<bool>) {
        match accepted {
            Some(true) => self.accepted += 1,
            Some(false) => self.refused += 1,
            None => {}
        }
    }
}

/// Each lane awaits its receiver's confirmation of one message before it sends the next.
async fn lanes(
    messages: impl Iterator<Item = Message>,
    target: &Target,
    mut pacer: Pacer,
    patience: Duration,
    mut progress: impl FnMut(&Tally),
) -> anyhow::Result<Tally> {
    let (answered, mut answers) = mpsc::unbounded_channel::<Option<bool>>();
    let mut tasks = JoinSet::new();
    let mut senders = Vec::new();
    for _ in 0..LANES {
        let (sender, receiver) = mpsc::channel(LANE_QUEUE);
        senders.push(sender);
        tasks.spawn(lane(sink(target)?, receiver, patience, answered.clone()));
    }
    drop(answered);
    let mut tally = Tally::default();
    let note = |answer: Option<bool>, tally: &mut Tally| match answer {
        Some(_) => tally.count(answer),
        None => tally.resent += 1,
    };
    for message in messages {
        pacer.wait(&message).await;
        let lane = message.patient.bytes().fold(0usize, |hash, byte| hash * 31 + usize::from(byte)) % LANES;
        if senders[lane].send(message).await.is_err() {
            // The lane gave up; its error is below.
            break;
        }
        tally.sent += 1;
        while let Ok(answer) = answers.try_recv() {
            note(answer, &mut tally);
        }
        progress(&tally);
    }
    drop(senders);
    while let Some(answer) = answers.recv().await {
        note(answer, &mut tally);
        progress(&tally);
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(tally)
}

async fn lane(
    mut sink: Box<dyn Sink>,
    mut messages: mpsc::Receiver<Message>,
    patience: Duration,
    answered: mpsc::UnboundedSender<Option<bool>>,
) -> anyhow::Result<()> {
    while let Some(message) = messages.recv().await {
        let outbound = Outbound {
            id: message.control_id,
            key: message.patient,
            content_type: "x-application/hl7-v2+er7",
            body: Bytes::from(message.bytes),
        };
        let began = tokio::time::Instant::now();
        let accepted = loop {
            match sink.deliver(&outbound).await {
                Ok(()) => break true,
                Err(SinkError::Refused(_)) => break false,
                Err(error) if began.elapsed() > patience => return Err(error.into()),
                Err(_) => {
                    let _ = answered.send(None);
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
            }
        };
        let _ = answered.send(Some(accepted));
    }
    Ok(())
}

fn sink(target: &Target) -> anyhow::Result<Box<dyn Sink>> {
    use connectors::{amqp, kafka};
    Ok(match target {
        Target::Kafka { brokers, topic } => {
            let options = [("linger.ms".to_owned(), connectors::Secret::new("2"))].into();
            let (brokers, topic) = (brokers.clone(), topic.clone());
            let config = kafka::SinkConfig { brokers, topic, options, token: None };
            Box::new(kafka::Sink::new(&config)?)
        }
        // The default exchange: its routing key is the queue's name.
        Target::Amqp { url, queue } => {
            let config = amqp::SinkConfig::new(amqp::Broker::new(url), "", queue);
            Box::new(amqp::Sink::new(config)?)
        }
        Target::Fhir { url } => Box::new(super::fhir::Poster::new(url)?),
        Target::Mllp { .. } | Target::File(_) => anyhow::bail!("{target:?} has no lanes"),
    })
}

struct Pacer {
    pace: Pace,
    began: tokio::time::Instant,
    first: Option<clinical::Time>,
    count: u64,
}

impl Pacer {
    fn new(pace: Pace) -> Pacer {
        Pacer { pace, began: tokio::time::Instant::now(), first: None, count: 0 }
    }

    async fn wait(&mut self, message: &Message) {
        let first = *self.first.get_or_insert(message.at);
        let due_s = match self.pace {
            Pace::AsFastAsTaken => return,
            Pace::Rate(per_second) => self.count as f64 / per_second,
            Pace::Speed(factor) => (message.at.0 - first.0) as f64 / 1000.0 / factor,
        };
        self.count += 1;
        // A due time beyond what the clock can add means "never"; the pace was checked where it was given.
        if let Ok(due) = Duration::try_from_secs_f64(due_s.max(0.0)) {
            tokio::time::sleep_until(self.began + due).await;
        }
    }
}
