//! The consumer's face; the work is done by the [`reader`](super::reader) on a thread of its own, because
//! librdkafka's commits, seeks and rebalances block.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Config;
use super::reader::Reader;
use crate::{ConnectorError, Inbound, SourceState, SourceStatus};

/// Read ahead of `next`, with the flag that says that it must not be handed over any more.
pub(super) struct Ahead {
    pub(super) inbound: Inbound,
    pub(super) rewinding: Arc<AtomicBool>,
}

pub struct Source {
    ahead: mpsc::UnboundedReceiver<Ahead>,
    status: Arc<SourceStatus>,
    stop: CancellationToken,
    /// The reader settles what is out, commits and leaves the group.
    finish: CancellationToken,
    ended: Option<oneshot::Receiver<()>>,
}

impl Source {
    /// Subscribes; connecting goes on in the background. To be called within a tokio runtime.
    pub fn start(config: Config) -> Result<Source, ConnectorError> {
        // Not bounded by the channel but by the reader, which counts what is in flight, this included.
        let (sender, ahead) = mpsc::unbounded_channel();
        let status = Arc::new(SourceStatus::default());
        let (stop, finish) = (CancellationToken::new(), CancellationToken::new());
        let reader = Reader::new(config, sender, status.clone(), stop.clone(), finish.clone())?;
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("kafka-source".into())
            .spawn(move || {
                reader.run();
                let _ = end.send(());
            })
            .map_err(|error| ConnectorError::Kafka(format!("cannot start the reader's thread: {error}")))?;
        Ok(Source { ahead, status, stop, finish, ended: Some(ended) })
    }
}

#[async_trait]
impl crate::Source for Source {
    async fn next(&mut self) -> Option<Inbound> {
        while !self.stop.is_cancelled() {
            let Ahead { inbound, rewinding } = self.ahead.recv().await?;
            if !rewinding.load(Ordering::SeqCst) {
                return Some(inbound);
            }
            // Dropped: its receipt says Retry, and it comes again in order.
        }
        None
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.ahead.close();
        while self.ahead.try_recv().is_ok() {}
    }

    async fn finish(&mut self) {
        self.stop().await;
        self.finish.cancel();
        if let Some(ended) = self.ended.take() {
            let waited = tokio::time::timeout(Duration::from_secs(60), ended).await;
            if waited.is_err() {
                tracing::warn!("kafka: the consumer did not end within 60 s, leaving it");
            }
        }
        self.status.set(SourceState::Stopped);
    }

    fn status(&self) -> Arc<SourceStatus> {
        self.status.clone()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop.cancel();
        self.finish.cancel();
    }
}
