//! The consumer's face; the work is done by the [`reader`](super::reader) on a thread of its own, because
//! librdkafka's commits, seeks and rebalances block.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Config;
use super::reader::Reader;
use crate::ahead::{self, Queue};
use crate::{ConnectorError, Inbound, SourceState, SourceStatus};

pub struct Source {
    ahead: Queue,
    status: Arc<SourceStatus>,
    stop: CancellationToken,
    /// The reader settles what is out, commits and leaves the group.
    finish: CancellationToken,
    ended: Option<oneshot::Receiver<()>>,
}

impl Source {
    /// Subscribes; connecting goes on in the background. To be called within a tokio runtime.
    pub fn start(config: Config) -> Result<Source, ConnectorError> {
        let (sender, ahead) = ahead::queue();
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
        self.ahead.next(&self.stop).await
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.ahead.close();
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
