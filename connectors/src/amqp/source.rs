//! The loop that opens one session after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Config;
use super::connect::{Link, connect};
use super::session::{End, Session};
use crate::background::{Background, Desk};
use crate::{ConnectorError, SourceState};

const BACKOFF_MAX: Duration = Duration::from_secs(10);

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) desk: Desk,
}

/// A consumer that connects in the background, again and again. To be called within a tokio runtime.
///
/// # Errors
/// A configuration that cannot work.
pub fn source(config: Config) -> Result<Background, ConnectorError> {
    config.check()?;
    Background::start("amqp", |desk| {
        let task = tokio::spawn(run(Arc::new(Shared { config, desk })));
        Ok(async move { drop(task.await) })
    })
}

async fn run(shared: Arc<Shared>) {
    let mut connection: Option<Link> = None;
    let mut wait = Duration::from_millis(100);
    while !shared.desk.stop.is_cancelled() {
        let received = shared.desk.status.committed.load(Ordering::Relaxed);
        match session(&shared, &mut connection).await {
            Ok(End::Stopped) => break,
            // Wanted by the pipeline, told by its verdicts: no fault of the transport.
            Ok(End::Rewind) => {}
            Ok(End::Lost(error)) | Err(error) => {
                tracing::warn!(queue = %shared.config.queue, %error, "amqp: connection lost");
                shared.desk.status.fault(error);
                shared.desk.status.set(SourceState::Connecting);
                connection = None;
            }
        }
        if shared.desk.status.committed.load(Ordering::Relaxed) > received {
            wait = Duration::from_millis(100);
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(BACKOFF_MAX),
            () = shared.desk.stop.cancelled() => {}
        }
    }
    if let Some(connection) = connection {
        let _ = tokio::time::timeout(Duration::from_secs(5), connection.close(200, "done".into())).await;
    }
}

/// Opens a session, on the connection that there is or a new one, and runs it to its end.
async fn session(shared: &Arc<Shared>, connection: &mut Option<Link>) -> Result<End, String> {
    let current = match connection.take().filter(|connection| connection.status().connected()) {
        Some(connection) => connection,
        None => connect(&shared.config.broker).await?,
    };
    let current = connection.insert(current);
    let session = Session::open(shared.clone(), current).await?;
    shared.desk.status.set(SourceState::Running);
    Ok(session.run().await)
}
