//! Who sends: each keeps its order, and sends again what was not confirmed to it.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::ensure;
use integration_tests::{AmqpQueues, KafkaTopics, Line};
use tokio::sync::watch;

use super::traffic::{Numbered, Traffic};

const PACE: Duration = Duration::from_millis(25);
/// Messages that a sender over MLLP has out without an answer.
const WINDOW: usize = 8;
const ANSWER_WAIT: Duration = Duration::from_secs(3);

/// While this is true messages flow.
pub type Flowing = watch::Receiver<bool>;

pub async fn kafka(topics: &KafkaTopics, flowing: Flowing) -> anyhow::Result<Traffic> {
    let (sender, mut traffic) = (topics.sender()?, Traffic::new("kafka"));
    while *flowing.borrow() {
        let message = traffic.next();
        sender.send(&message.patient, &message.text).await?;
        tokio::time::sleep(PACE).await;
    }
    Ok(traffic)
}

pub async fn amqp(queues: &AmqpQueues, flowing: Flowing) -> anyhow::Result<Traffic> {
    let (mut sender, mut traffic) = (queues.sender(), Traffic::new("amqp"));
    while *flowing.borrow() {
        sender.send(&traffic.next().text).await;
        tokio::time::sleep(PACE).await;
    }
    Ok(traffic)
}

/// Over MLLP, several messages ahead. A connection that was lost or says nothing is given up and what has no answer is sent
/// again, in order. Whenever `hang_up` changes, it goes in the middle of it all.
pub async fn mllp(port: u16, flowing: Flowing, mut hang_up: watch::Receiver<()>) -> anyhow::Result<Traffic> {
    let (mut traffic, mut out) = (Traffic::new("mllp"), VecDeque::new());
    loop {
        let open = tokio::time::timeout(ANSWER_WAIT, Line::open(port)).await;
        if let Ok(Ok(mut line)) = open {
            hang_up.mark_unchanged();
            tokio::select! {
                done = converse(&mut line, &mut traffic, &mut out, &flowing) => if done? { return Ok(traffic) },
                _ = hang_up.changed() => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Until all is sent and answered (true) or the connection is of no use any more.
async fn converse(
    line: &mut Line,
    traffic: &mut Traffic,
    out: &mut VecDeque<Numbered>,
    flowing: &Flowing,
) -> anyhow::Result<bool> {
    for message in out.iter() {
        if line.send(&message.text).await.is_err() {
            return Ok(false);
        }
    }
    loop {
        while out.len() < WINDOW && *flowing.borrow() {
            // Kept before it is sent: cut off in the middle, it is sent again.
            out.push_back(traffic.next());
            let Some(message) = out.back() else { break };
            if line.send(&message.text).await.is_err() {
                return Ok(false);
            }
            tokio::time::sleep(PACE).await;
        }
        if out.is_empty() {
            return Ok(true);
        }
        let answers = line.answers(ANSWER_WAIT, 1).await;
        if answers.is_empty() {
            return Ok(false);
        }
        for answer in answers {
            let expected = out.pop_front().map(|message| format!("AA {}", message.control_id));
            ensure!(expected.as_deref() == Some(&answer), "{answer} instead of {expected:?}");
        }
    }
}
