//! Whether broker, sign-in, queue and exchange are as configured. Declares and consumes nothing.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ExchangeKind};

use super::Broker;
use super::connect::connect;
use crate::ConnectorError;

/// What must be there.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    Queue(&'a str),
    Exchange(&'a str),
}

/// What was found, in words.
///
/// # Errors
/// A broker that does not answer, a sign-in that is refused, a queue or an exchange that is not there.
pub async fn probe(broker: &Broker, wanted: &[Wanted<'_>]) -> Result<String, ConnectorError> {
    broker.checked()?;
    let connection = connect(broker).await.map_err(ConnectorError::Amqp)?;
    let mut found = vec!["signed in".to_owned()];
    let mut missing = None;
    for wanted in wanted {
        match look(&connection, *wanted).await {
            Ok(text) => found.push(text),
            Err(error) => missing = missing.or(Some(error)),
        }
    }
    let _ = connection.close(200, "done".into()).await;
    match missing {
        Some(error) => Err(ConnectorError::Amqp(error)),
        None => Ok(found.join(", ")),
    }
}

/// On a channel of its own: what is not there closes it.
async fn look(connection: &Connection, wanted: Wanted<'_>) -> Result<String, String> {
    let channel = connection.create_channel().await.map_err(|error| error.to_string())?;
    match wanted {
        Wanted::Queue(name) => {
            let passive = QueueDeclareOptions { passive: true, ..Default::default() };
            let queue = channel.queue_declare(name.into(), passive, FieldTable::default()).await;
            let queue =
                queue.map_err(|error| format!("queue {name}: {error}; make it, or set declare = true"))?;
            Ok(format!("queue {name}: {} messages wait", queue.message_count()))
        }
        Wanted::Exchange(name) => {
            let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
            // A passive declaration does not look at the kind.
            let declared =
                channel.exchange_declare(name.into(), ExchangeKind::Direct, passive, FieldTable::default());
            declared
                .await
                .map_err(|error| format!("exchange {name}: {error}; make it, or correct its name"))?;
            Ok(format!("exchange {name}"))
        }
    }
}
