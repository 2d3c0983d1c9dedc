//! Sends messages to an MLLP receiver, one at a time, in order.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Client, ClientConfig};
use crate::{Outbound, SinkError};

/// Says what an answer means for the message it should answer. Connectors know no HL7: whoever makes the sink
/// matches MSA-2 with MSH-10 and reads MSA-1.
pub type Judge = Arc<dyn Fn(&Outbound, &[u8]) -> Result<(), SinkError> + Send + Sync>;

pub struct Sink {
    config: ClientConfig,
    judge: Judge,
    client: Option<Client>,
}

impl Sink {
    /// Connects when the first message is delivered.
    pub fn new(config: ClientConfig, judge: Judge) -> Sink {
        Sink { config, judge, client: None }
    }
}

#[async_trait]
impl crate::Sink for Sink {
    async fn deliver(&mut self, message: &Outbound) -> Result<(), SinkError> {
        let unreachable = |error: crate::ConnectorError| SinkError::Unreachable(error.to_string());
        // Taken out and only put back when all went well: a connection that owes an answer is not used again,
        // because its late answer would be taken for the next message's.
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.config).await.map_err(unreachable)?,
        };
        let answer = client.send(&message.body).await.map_err(unreachable)?;
        let judged = (self.judge)(message, &answer);
        if !matches!(judged, Err(SinkError::Unreachable(_))) {
            self.client = Some(client);
        }
        judged
    }
}
