//! Whether broker, sign-in, queue and exchange are as configured. Declares and consumes nothing.

use lapin::Connection;

use super::Broker;
use super::connect::connect;
use super::declare::{Wanted, look};
use crate::ConnectorError;

/// What was found, in words. `declare`: what is missing will be made at the start.
///
/// # Errors
/// A broker that does not answer, a sign-in that is refused, a queue or an exchange that is not there and not to be made.
pub async fn probe(broker: &Broker, wanted: &[Wanted<'_>], declare: bool) -> Result<String, ConnectorError> {
    broker.checked()?;
    let connection = connect(broker).await.map_err(ConnectorError::Amqp)?;
    let mut found = vec!["signed in".to_owned()];
    let mut missing = None;
    for wanted in wanted {
        match told(&connection, *wanted, declare).await {
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

async fn told(connection: &Connection, wanted: Wanted<'_>, declare: bool) -> Result<String, String> {
    let name = match wanted {
        Wanted::Queue(name) => format!("queue {name}"),
        Wanted::Exchange(name) => format!("exchange {name}"),
    };
    match (look(connection, wanted).await, wanted) {
        (Ok(Some(waiting)), Wanted::Queue(_)) => Ok(format!("{name}: {waiting} messages wait")),
        (Ok(Some(_)), Wanted::Exchange(_)) => Ok(name),
        (Ok(None), _) if declare => Ok(format!("{name}: is not there and will be made")),
        (Ok(None), _) => Err(format!(
            "{name} is not there; make it, or correct its name (declare = true of a feed makes it)"
        )),
        (Err(error), _) => Err(format!("{name}: {error}")),
    }
}
