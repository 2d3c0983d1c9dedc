//! Connecting, and publishing until the broker confirms.

use std::path::Path;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::tcp::OwnedTLSConfig;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

use crate::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn connect(url: &Secret, tls_ca: Option<&Path>) -> Result<Connection, String> {
    let properties = ConnectionProperties::default().with_connection_name("medulla".into());
    let cert_chain = match tls_ca {
        None => None,
        Some(path) => Some(
            tokio::fs::read_to_string(path)
                .await
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?,
        ),
    };
    let tls = OwnedTLSConfig { identity: None, cert_chain };
    let runtime = lapin::runtime::default_runtime().map_err(|error| error.to_string())?;
    let connecting = Connection::connect_with_config(url.expose(), properties, tls, runtime);
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(format!("cannot connect: {error}")),
        Err(_) => Err(format!("cannot connect: no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

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

    /// Returns when the broker has confirmed it and at least one queue has it (`mandatory`).
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
