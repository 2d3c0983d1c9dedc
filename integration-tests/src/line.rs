//! A sender over MLLP that a test leads by the hand.

use std::time::Duration;

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

    /// `MSA-1 MSA-2` of each answer, until there are `count`, the time is over or the connection ends.
    pub async fn answers(&mut self, limit: Duration, count: usize) -> Vec<String> {
        let mut answers = Vec::new();
        let deadline = tokio::time::Instant::now() + limit;
        while answers.len() < count {
            let mut piece = [0; 4096];
            match tokio::time::timeout_at(deadline, self.stream.read(&mut piece)).await {
                Ok(Ok(length)) if length > 0 => self.read.extend_from_slice(&piece[..length]),
                _ => break,
            }
            while let Some(end) = self.read.iter().position(|byte| *byte == 0x1c) {
                let frame: Vec<u8> = self.read.drain(..=end).collect();
                let text = String::from_utf8_lossy(&frame).into_owned();
                let answer = text.split('\r').find_map(|segment| segment.strip_prefix("MSA|"));
                let fields: Vec<&str> = answer.unwrap_or("no MSA").split('|').take(2).collect();
                answers.push(fields.join(" "));
            }
        }
        answers
    }
}
