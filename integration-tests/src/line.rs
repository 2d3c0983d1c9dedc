//! A sender over MLLP that a test leads by the hand.

use std::time::Duration;

use anyhow::ensure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An MLLP connection that answers are read from as they come.
pub struct Line {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Line {
    pub async fn open(port: u16) -> anyhow::Result<Line> {
        Ok(Line { stream: TcpStream::connect(("127.0.0.1", port)).await?, read: Vec::new() })
    }

    pub async fn send(&mut self, message: &str) -> anyhow::Result<()> {
        Ok(self.stream.write_all(format!("\x0b{message}\x1c\r").as_bytes()).await?)
    }

    /// As it is, framed or not.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Says that nothing more comes; answers can still be read.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// `MSA-1 MSA-2` of each answer, until there are `count`, the time is over or the connection ends.
    pub async fn answers(&mut self, limit: Duration, count: usize) -> Vec<String> {
        self.messages(limit, count).await.iter().map(|answer| msa(answer)).collect()
    }

    /// The same up to `last` and with it: the answer to a message sent behind all others, behind whose answers it comes.
    ///
    /// # Errors
    /// It does not come within `limit`, or others come behind it.
    pub async fn answers_upto(&mut self, limit: Duration, last: &str) -> anyhow::Result<Vec<String>> {
        Ok(self.messages_upto(limit, last).await?.iter().map(|answer| msa(answer)).collect())
    }

    /// The same, whole.
    pub async fn messages_upto(&mut self, limit: Duration, last: &str) -> anyhow::Result<Vec<String>> {
        let mut messages = Vec::new();
        while messages.last().is_none_or(|answer: &String| msa(answer) != last) {
            let more = self.messages(limit, 1).await;
            ensure!(!more.is_empty(), "no {last}, after {} answers", messages.len());
            messages.extend(more);
        }
        Ok(messages)
    }

    /// Whole ones, until there are `count`, the time is over or the connection ends.
    pub async fn messages(&mut self, limit: Duration, count: usize) -> Vec<String> {
        let mut messages = Vec::new();
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            while let Some(end) = self.read.iter().position(|byte| *byte == 0x1c) {
                let frame: Vec<u8> = self.read.drain(..=end).collect();
                let text = String::from_utf8_lossy(&frame);
                messages.push(text.trim_matches(['\x0b', '\x1c', '\r']).to_owned());
            }
            if messages.len() >= count {
                return messages;
            }
            let mut piece = [0; 4096];
            match tokio::time::timeout_at(deadline, self.stream.read(&mut piece)).await {
                Ok(Ok(length)) if length > 0 => self.read.extend_from_slice(&piece[..length]),
                _ => return messages,
            }
        }
    }
}

/// `MSA-1 MSA-2`, whatever the delimiters.
pub fn msa(answer: &str) -> String {
    let separator = answer.chars().nth(3).unwrap_or('|');
    let segment = answer.split('\r').find(|segment| segment.starts_with("MSA"));
    let fields: Vec<&str> = segment.unwrap_or("MSA|no|MSA").split(separator).skip(1).take(2).collect();
    fields.join(" ")
}
