//! The consumer's face, and the loop that opens one session after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use lapin::Connection;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::session::{End, Session};
use super::{Config, publish};
use crate::ahead::{self, Queue};
use crate::{ConnectorError, Inbound, SourceState, SourceStatus};

const BACKOFF_MAX: Duration = Duration::from_secs(10);

pub(super) struct Shared {
    pub(super) config: Config,
    /// Bounded by the prefetch.
    pub(super) ahead: ahead::Sender,
    pub(super) status: Arc<SourceStatus>,
    pub(super) stop: CancellationToken,
    pub(super) finish: CancellationToken,
}

pub struct Source {
    ahead: Queue,
    status: Arc<SourceStatus>,
    stop: CancellationToken,
    finish: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Source {
    /// Connects in the background, again and again. To be called within a tokio runtime.
    pub fn start(config: Config) -> Result<Source, ConnectorError> {
        config.check()?;
        let (sender, ahead) = ahead::queue();
        let status = Arc::new(SourceStatus::default());
        let (stop, finish) = (CancellationToken::new(), CancellationToken::new());
        let shared = Arc::new(Shared {
            config,
            ahead: sender,
            status: status.clone(),
            stop: stop.clone(),
            finish: finish.clone(),
        });
        let task = Some(tokio::spawn(run(shared)));
        Ok(Source { ahead, status, stop, finish, task })
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
        let Some(task) = self.task.take() else { return };
        if tokio::time::timeout(Duration::from_secs(60), task).await.is_err() {
            tracing::warn!("amqp: the consumer did not end within 60 s, leaving it");
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

async fn run(shared: Arc<Shared>) {
    let mut connection: Option<Connection> = None;
    let mut wait = Duration::from_millis(100);
    while !shared.stop.is_cancelled() {
        let received = shared.status.committed.load(Ordering::Relaxed);
        match session(&shared, &mut connection).await {
            Ok(End::Stopped) => break,
            // Wanted by the pipeline, told by its verdicts: no fault of the transport.
            Ok(End::Rewind) => {}
            Ok(End::Lost(error)) | Err(error) => {
                tracing::warn!(queue = %shared.config.queue, %error, "amqp: connection lost");
                shared.status.fault(error);
                shared.status.set(SourceState::Connecting);
                connection = None;
            }
        }
        if shared.status.committed.load(Ordering::Relaxed) > received {
            wait = Duration::from_millis(100);
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(BACKOFF_MAX),
            () = shared.stop.cancelled() => {}
        }
    }
    if let Some(connection) = connection {
        let _ = tokio::time::timeout(Duration::from_secs(5), connection.close(200, "done".into())).await;
    }
}

/// Opens a session, on the connection that there is or a new one, and runs it to its end.
async fn session(shared: &Arc<Shared>, connection: &mut Option<Connection>) -> Result<End, String> {
    let current = match connection.take().filter(|connection| connection.status().connected()) {
        Some(connection) => connection,
        None => publish::connect(&shared.config.url, shared.config.tls_ca.as_deref()).await?,
    };
    let current = connection.insert(current);
    let session = Session::open(shared.clone(), current).await?;
    shared.status.set(SourceState::Running);
    Ok(session.run().await)
}
