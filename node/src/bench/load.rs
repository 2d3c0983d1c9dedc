//! The load generator, in a process of its own. It believes nothing but the answers that it read: a message counts
//! where MSA-1 is AA and MSA-2 gives its number back.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clinical::hl7::ack;
use connectors::mllp::{Client, ClientConfig};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::histogram::percentile;
use super::message::oru;

#[derive(Clone, Debug)]
pub struct Load {
    /// `host:port` of MLLP listeners; connections are spread over them.
    pub to: Vec<String>,
    pub connections: u32,
    /// Messages ahead of their answers, a connection.
    pub window: usize,
    pub patients: u64,
    pub seconds: u64,
    /// Not counted.
    pub warm_s: u64,
    /// Messages a second over all connections; `None`: as many as are answered.
    pub rate: Option<f64>,
}

/// What the generator read in the counted time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Loaded {
    pub seconds: f64,
    pub accepted: u64,
    /// Any other answer: not AA, or of another message.
    pub wrong: u64,
    pub messages_per_s: f64,
    /// Send to answer, as the sender sees it.
    pub ack_p50_ms: f64,
    pub ack_p99_ms: f64,
    pub message_bytes: usize,
}

#[derive(Default)]
struct Counted {
    latencies_ms: Vec<f64>,
    wrong: u64,
    message_bytes: usize,
}

pub async fn run(load: Load) -> anyhow::Result<Loaded> {
    anyhow::ensure!(!load.to.is_empty(), "no receiver");
    let began = Instant::now();
    let count_from = began + Duration::from_secs(load.warm_s);
    let end = count_from + Duration::from_secs(load.seconds);
    let mut tasks = JoinSet::new();
    for position in 0..load.connections.max(1) {
        tasks.spawn(connection(load.clone(), position, count_from, end));
    }
    let mut all = Counted::default();
    while let Some(counted) = tasks.join_next().await {
        let counted = counted??;
        all.latencies_ms.extend(counted.latencies_ms);
        all.wrong += counted.wrong;
        all.message_bytes = all.message_bytes.max(counted.message_bytes);
    }
    let accepted = all.latencies_ms.len() as u64;
    Ok(Loaded {
        seconds: load.seconds as f64,
        accepted,
        wrong: all.wrong,
        messages_per_s: accepted as f64 / load.seconds.max(1) as f64,
        ack_p50_ms: percentile(&mut all.latencies_ms, 0.5),
        ack_p99_ms: percentile(&mut all.latencies_ms, 0.99),
        message_bytes: all.message_bytes,
    })
}

/// One sender: the window is filled, then each answer makes room for one more. What is answered between
/// `count_from` and `end` counts.
async fn connection(load: Load, position: u32, count_from: Instant, end: Instant) -> anyhow::Result<Counted> {
    let address = load.to[position as usize % load.to.len()].clone();
    let client =
        Client::connect(&ClientConfig::new(address)).await.context("the receiver does not answer")?;
    let (mut writer, mut reader) = client.split();
    let run = format!("{}P{position}", std::process::id());
    let patients = patients_of(&load, position);
    let mut sent: VecDeque<(String, Instant)> = VecDeque::new();
    let mut counted = Counted::default();
    let mut number = 0u64;
    let mut pace = load.rate.map(|rate| tokio::time::interval(pause(rate, load.connections)));
    loop {
        let open = Instant::now() < end;
        if !open && sent.is_empty() {
            return Ok(counted);
        }
        let may_send = open && sent.len() < load.window.max(1);
        tokio::select! {
            biased;
            () = due(&mut pace), if may_send => {
                let patient = patients.start + number % (patients.end - patients.start);
                let (id, message) = oru(&run, number, patient, now());
                counted.message_bytes = message.len();
                writer.write(&message).await?;
                sent.push_back((id, Instant::now()));
                number += 1;
            }
            answer = reader.answer(), if !sent.is_empty() => {
                let answer = ack::read(&answer?).ok();
                let Some((id, at)) = sent.pop_front() else { continue };
                let right = answer.is_some_and(|ack| ack.code == ack::AckCode::Accept && ack.control_id == id);
                let read = Instant::now();
                if read >= count_from && read < end {
                    match right {
                        true => counted.latencies_ms.push((read - at).as_secs_f64() * 1000.0),
                        false => counted.wrong += 1,
                    }
                }
            }
        }
    }
}

/// A patient's messages stay on one connection, as in real life.
fn patients_of(load: &Load, position: u32) -> std::ops::Range<u64> {
    let each = (load.patients / u64::from(load.connections.max(1))).max(1);
    let first = 1 + u64::from(position) * each;
    first..first + each
}

fn pause(rate: f64, connections: u32) -> Duration {
    Duration::try_from_secs_f64(f64::from(connections.max(1)) / rate)
        .unwrap_or(Duration::MAX)
        .max(Duration::from_nanos(1))
}

async fn due(pace: &mut Option<tokio::time::Interval>) {
    if let Some(pace) = pace {
        pace.tick().await;
    }
}

fn now() -> clinical::Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    clinical::Time(since.as_millis() as i64)
}
