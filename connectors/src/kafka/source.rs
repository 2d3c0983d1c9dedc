//! The consumer; the work is done by the [`reader`](super::reader) on a thread of its own, because
//! librdkafka's commits, seeks and rebalances block.

use tokio::sync::oneshot;

use super::Config;
use super::reader::Reader;
use crate::ConnectorError;
use crate::background::Background;

/// Subscribes; connecting goes on in the background. To be called within a tokio runtime.
///
/// # Errors
/// A configuration that librdkafka does not take.
pub fn source(config: Config) -> Result<Background, ConnectorError> {
    Background::start("kafka", |desk| {
        let reader = Reader::new(config, desk)?;
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("kafka-source".into())
            .spawn(move || {
                reader.run();
                let _ = end.send(());
            })
            .map_err(|error| ConnectorError::Kafka(format!("cannot start the reader's thread: {error}")))?;
        Ok(async move { drop(ended.await) })
    })
}
