//! Publishing until the broker confirms.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection};

const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) enum PublishError {
    /// Sending it again may help, perhaps after somebody mended the broker.
    Later(String),
    /// The broker takes no such message.
    Refused(String),
    /// No queue is bound to where it goes: the broker gave it back.
    Returned(String),
}

impl PublishError {
    pub(super) fn text(self) -> String {
        match self {
            PublishError::Later(text) | PublishError::Refused(text) | PublishError::Returned(text) => text,
        }
    }
}

/// A channel in confirm mode.
pub(super) struct Publisher {
    channel: Channel,
}

impl Publisher {
    pub(super) async fn open(connection: &Connection) -> Result<Publisher, String> {
        let channel = connection.create_channel().await.map_err(|error| error.to_string())?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|error| error.to_string())?;
        Ok(Publisher { channel })
    }

    pub(super) fn is_usable(&self) -> bool {
        self.channel.status().connected()
    }

    /// Returns when the broker has confirmed it and at least one queue has it (`mandatory`), be it by an alternate exchange.
    pub(super) async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: BasicProperties,
        payload: &[u8],
    ) -> Result<(), PublishError> {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let confirmed = async {
            let sent =
                self.channel.basic_publish(exchange.into(), routing_key.into(), options, payload, properties);
            sent.await?.await
        };
        let confirmation = match tokio::time::timeout(CONFIRM_TIMEOUT, confirmed).await {
            Ok(Ok(confirmation)) => confirmation,
            Ok(Err(error)) => return Err(judge(&error)),
            Err(_) => return Err(PublishError::Later("the broker does not confirm".into())),
        };
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(PublishError::Returned(format!(
                "exchange {exchange:?} routes {routing_key:?} to no queue; bind one"
            ))),
            Confirmation::Nack(None) => {
                Err(PublishError::Later("the broker could not keep it (nack)".into()))
            }
            Confirmation::NotRequested => {
                Err(PublishError::Later("the channel is not in confirm mode".into()))
            }
        }
    }
}

/// 406 PRECONDITION_FAILED: larger than the broker takes.
fn judge(error: &lapin::Error) -> PublishError {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(amqp) if amqp.get_id() == 406 => {
            PublishError::Refused(error.to_string())
        }
        _ => PublishError::Later(error.to_string()),
    }
}
