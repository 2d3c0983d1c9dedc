//! The publisher's side.

use async_trait::async_trait;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::SinkConfig;
use super::config::check_names;
use super::connect::{Link, connect};
use super::publish::{PublishError, Publisher};
use crate::{ConnectorError, Outbound, SinkError};

/// Persistent messages, mandatory, confirmed one by one.
pub struct Sink {
    config: SinkConfig,
    /// The connection lives as long as its channel is used.
    open: Option<(Link, Publisher)>,
}

impl Sink {
    /// Connects when the first message is delivered.
    pub fn new(config: SinkConfig) -> Result<Sink, ConnectorError> {
        config.broker.checked()?;
        check_names(&[("exchange", &config.exchange), ("routing_key", &config.routing_key)])?;
        Ok(Sink { config, open: None })
    }

    async fn publisher(&mut self) -> Result<&Publisher, String> {
        let usable = self.open.take().filter(|(_, publisher)| publisher.is_usable());
        let open = match usable {
            Some(open) => open,
            None => {
                let connection = connect(&self.config.broker).await?;
                let publisher = Publisher::open(&connection).await?;
                (connection, publisher)
            }
        };
        Ok(&self.open.insert(open).1)
    }
}

#[async_trait]
impl crate::Sink for Sink {
    async fn deliver(&mut self, message: &Outbound) -> Result<(), SinkError> {
        let (exchange, routing_key) = (self.config.exchange.clone(), self.config.routing_key.clone());
        let short = |text: &str| {
            let short = ShortString::try_new(text);
            short.map_err(|error| SinkError::Refused(format!("id or content type: {error}")))
        };
        let (id, content_type) = (short(&message.id)?, short(message.content_type)?);
        let publisher = self.publisher().await.map_err(SinkError::Unreachable)?;
        let mut headers = FieldTable::default();
        headers.insert("key".into(), AMQPValue::LongString(message.key.as_str().into()));
        let properties = BasicProperties::default()
            .with_message_id(id)
            .with_content_type(content_type)
            .with_delivery_mode(2)
            .with_headers(headers);
        match publisher.publish(&exchange, &routing_key, properties, &message.body).await {
            Ok(()) => Ok(()),
            Err(PublishError::Later(text)) => Err(SinkError::Unreachable(text)),
            Err(PublishError::Refused(text)) => Err(SinkError::Refused(text)),
            Err(PublishError::Returned(text)) => Err(SinkError::Unroutable(text)),
        }
    }
}
