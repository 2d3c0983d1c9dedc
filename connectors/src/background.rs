//! A source whose reader goes on in the background and hands over through a queue.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::ahead::{self, Queue};
use crate::{Inbound, Source, SourceState, SourceStatus};

/// Between two words about a reader that is waited for.
const FINISH_TELL: Duration = Duration::from_secs(60);

/// What the feed holds of it.
pub struct Background {
    transport: &'static str,
    ahead: Queue,
    status: Arc<SourceStatus>,
    stop: CancellationToken,
    finish: CancellationToken,
    ended: Option<BoxFuture<'static, ()>>,
}

/// What the reader holds of it.
#[derive(Clone)]
pub(crate) struct Desk {
    /// The reader bounds what it sends by what is not settled yet.
    pub(crate) ahead: ahead::Sender,
    pub(crate) status: Arc<SourceStatus>,
    /// Read no more.
    pub(crate) stop: CancellationToken,
    /// Settle what is out, tell the sender, end.
    pub(crate) finish: CancellationToken,
}

impl Background {
    /// `start` sets the reader to work; what it returns resolves when the reader has ended.
    pub(crate) fn start<E, F>(
        transport: &'static str,
        start: impl FnOnce(Desk) -> Result<F, E>,
    ) -> Result<Background, E>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, ahead) = ahead::queue();
        let status = Arc::new(SourceStatus::default());
        let (stop, finish) = (CancellationToken::new(), CancellationToken::new());
        let desk = Desk { ahead: sender, status: status.clone(), stop: stop.clone(), finish: finish.clone() };
        let ended = Some(start(desk)?.boxed());
        Ok(Background { transport, ahead, status, stop, finish, ended })
    }
}

#[async_trait]
impl Source for Background {
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
        let Some(mut ended) = self.ended.take() else { return };
        // Whoever takes its place must not read beside it: it is not for this to leave it.
        while tokio::time::timeout(FINISH_TELL, &mut ended).await.is_err() {
            tracing::warn!(transport = self.transport, "reading has not ended yet, waiting for it");
        }
        self.status.set(SourceState::Stopped);
    }

    fn status(&self) -> Arc<SourceStatus> {
        self.status.clone()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.cancel();
        self.finish.cancel();
    }
}
