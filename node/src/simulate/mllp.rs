//! Sends over MLLP as a real interface engine does: some messages ahead of their answers, and on a lost connection
//! everything unanswered again, in order.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use clinical::hl7::ack;
use connectors::mllp::{Client, ClientConfig, ClientReader, ClientWriter};

const BACKOFF_MS: std::ops::Range<u64> = 100..3_000;

/// What came back for one message.
#[derive(Clone, Debug)]
pub struct Answer {
    pub bytes: Bytes,
    /// MSA-1, or `None` where the answer is no acknowledgement.
    pub code: Option<ack::AckCode>,
    /// MSA-2: the control id that it answers.
    pub control_id: String,
}

impl Answer {
    pub fn read(bytes: Bytes) -> Answer {
        let read = ack::read(&bytes).ok();
        let (code, control_id) = read.map(|ack| (Some(ack.code), ack.control_id)).unwrap_or_default();
        Answer { bytes, code, control_id }
    }

    pub fn accepted(&self) -> bool {
        matches!(self.code, Some(ack::AckCode::Accept | ack::AckCode::CommitAccept))
    }
}

pub struct Connection {
    config: ClientConfig,
    ends: Option<(ClientWriter, ClientReader)>,
    unanswered: VecDeque<Bytes>,
    /// Messages ahead of their answers at most.
    window: usize,
    /// Lost connections and answers that did not come in time.
    pub reconnects: u64,
    /// Messages sent again for these.
    pub resent: u64,
    /// How long may pass without an answer once a connection is lost, before it is an error.
    patience: Duration,
    /// Since when connections were lost, without an answer between.
    alone_since: Option<tokio::time::Instant>,
}

impl Connection {
    pub fn new(config: ClientConfig, window: usize, patience: Duration) -> Connection {
        Connection {
            config,
            ends: None,
            unanswered: VecDeque::new(),
            window: window.max(1),
            reconnects: 0,
            resent: 0,
            patience,
            alone_since: None,
        }
    }

    /// Sends one message; returns the answer of an earlier one where the window was full.
    pub async fn send(&mut self, message: Bytes) -> anyhow::Result<Option<Answer>> {
        let freed = if self.unanswered.len() >= self.window { Some(self.answer().await?) } else { None };
        self.unanswered.push_back(message.clone());
        let written = match &mut self.ends {
            Some((writer, _)) => writer.write(&message).await.is_ok(),
            None => false,
        };
        if !written {
            // Connecting again sends all that is unanswered, this message included.
            self.connect().await?;
        }
        Ok(freed)
    }

    /// The oldest outstanding answer; `None`: nothing is outstanding.
    pub async fn drain(&mut self) -> anyhow::Result<Option<Answer>> {
        if self.unanswered.is_empty() { Ok(None) } else { Ok(Some(self.answer().await?)) }
    }

    async fn answer(&mut self) -> anyhow::Result<Answer> {
        loop {
            let answered = match &mut self.ends {
                Some((_, reader)) => reader.answer().await,
                None => {
                    self.connect().await?;
                    continue;
                }
            };
            match answered {
                Ok(bytes) => {
                    self.unanswered.pop_front();
                    self.alone_since = None;
                    return Ok(Answer::read(bytes));
                }
                Err(error) if self.is_out_of_patience() => return Err(error.into()),
                Err(error) => {
                    tracing::info!(%error, unanswered = self.unanswered.len(), "sending again");
                    self.ends = None;
                }
            }
        }
    }

    async fn connect(&mut self) -> anyhow::Result<()> {
        let first = self.reconnects == 0 && self.ends.is_none() && self.unanswered.len() <= 1;
        if !first {
            self.reconnects += 1;
        }
        self.ends = None;
        let is_lost_again = self.alone_since.is_some();
        self.alone_since.get_or_insert_with(tokio::time::Instant::now);
        // A receiver may take connections and drop each: that is no reason to open them without end.
        if is_lost_again {
            tokio::time::sleep(Duration::from_millis(BACKOFF_MS.start)).await;
        }
        let mut pause_ms = BACKOFF_MS.start;
        loop {
            match self.try_connect().await {
                Ok(ends) => {
                    self.ends = Some(ends);
                    if !first {
                        self.resent += self.unanswered.len() as u64;
                    }
                    return Ok(());
                }
                Err(error) if self.is_out_of_patience() => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(pause_ms)).await,
            }
            pause_ms = (pause_ms * 2).min(BACKOFF_MS.end);
        }
    }

    fn is_out_of_patience(&self) -> bool {
        self.alone_since.is_some_and(|since| since.elapsed() > self.patience)
    }

    async fn try_connect(&self) -> Result<(ClientWriter, ClientReader), connectors::ConnectorError> {
        let (mut writer, reader) = Client::connect(&self.config).await?.split();
        for message in &self.unanswered {
            writer.write(message).await?;
        }
        Ok((writer, reader))
    }
}
