//! Sends messages to an MLLP receiver, one at a time, in order.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Client, ClientConfig};
use crate::{ConnectorError, Outbound, SinkError};

/// What an answer means for the message that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    Taken,
    Refused(String),
    /// It is to another message: one that came late, or a second one to the message before.
    Other,
    /// It is none.
    Unreadable(String),
}

/// Says what an answer means. Connectors know no HL7: whoever makes the sink matches MSA-2 with MSH-10 and reads MSA-1.
pub type Judge = Arc<dyn Fn(&Outbound, &[u8]) -> Answered + Send + Sync>;

pub struct Sink {
    config: ClientConfig,
    judge: Judge,
    client: Option<Client>,
    /// Which message went out last over `client`.
    last: String,
}

impl Sink {
    /// Connects when the first message is delivered.
    pub fn new(config: ClientConfig, judge: Judge) -> Sink {
        Sink { config, judge, client: None, last: String::new() }
    }
}

fn unreachable(error: ConnectorError) -> SinkError {
    SinkError::Unreachable(error.to_string())
}

/// A connection that ends before the answer tells of a receiver that went away.
fn unanswered(error: ConnectorError) -> SinkError {
    match error {
        ConnectorError::NoAnswer { .. } => SinkError::Unanswered(error.to_string()),
        error => unreachable(error),
    }
}

#[async_trait]
impl crate::Sink for Sink {
    async fn deliver(&mut self, message: &Outbound) -> Result<(), SinkError> {
        // Taken out and only put back when all went well: a connection that owes an answer is not used again. Nor for a
        // second try of the same message: MSA-2 does not tell whether an answer is a second one to the first try.
        let mut client = match self.client.take().filter(|_| self.last != message.id) {
            Some(client) => client,
            None => Client::connect(&self.config).await.map_err(unreachable)?,
        };
        self.last.clone_from(&message.id);
        let answered = exchange(&mut client, message, &self.config, &self.judge).await;
        if !matches!(answered, Err(SinkError::Unreachable(_) | SinkError::Unanswered(_))) {
            self.client = Some(client);
        }
        answered
    }
}

/// Answers to other messages are dropped; the one to this message must come in time all the same.
async fn exchange(
    client: &mut Client,
    message: &Outbound,
    config: &ClientConfig,
    judge: &Judge,
) -> Result<(), SinkError> {
    client.write(&message.body).await.map_err(unreachable)?;
    let mut dropped = 0_u32;
    let answered = async {
        loop {
            let answer = client.answer().await.map_err(unanswered)?;
            match judge(message, &answer) {
                Answered::Taken => return Ok(()),
                Answered::Refused(reason) => return Err(SinkError::Refused(reason)),
                Answered::Unreadable(text) => return Err(SinkError::Unanswered(text)),
                Answered::Other => dropped += 1,
            }
        }
    };
    let timeout = Duration::from_secs(config.timeout_s.max(1));
    let answered = tokio::time::timeout(timeout, answered).await;
    let address = &config.address;
    if dropped > 0 {
        tracing::warn!(%address, dropped, "answers to other messages (MSA-2) were dropped");
    }
    answered.unwrap_or_else(|_| {
        let seconds = timeout.as_secs();
        Err(unanswered(ConnectorError::NoAnswer { address: address.clone(), seconds }))
    })
}
