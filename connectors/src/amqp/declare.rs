//! What a source needs at its broker: what the operator made stays as it is, what is missing is made.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ErrorKind, ExchangeKind};

use super::Config;

const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;

/// What must be there.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    Queue(&'a str),
    Exchange(&'a str),
}

pub(super) async fn declare(config: &Config, connection: &Connection) -> lapin::Result<()> {
    make_queue(connection, &config.queue).await?;
    let Some(exchange) = &config.dead_letter_exchange else { return Ok(()) };
    if look(connection, Wanted::Exchange(exchange)).await?.is_some() {
        // Where its letters go is the operator's affair.
        return Ok(());
    }
    make_queue(connection, exchange).await?;
    let channel = connection.create_channel().await?;
    let (name, key) = (exchange.as_str(), config.dead_letter_key());
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(name.into(), ExchangeKind::Direct, durable, FieldTable::default()).await?;
    let bind = QueueBindOptions::default();
    channel.queue_bind(name.into(), name.into(), key.into(), bind, FieldTable::default()).await?;
    channel.close(200, "done".into()).await
}

/// How many messages wait in it (an exchange has none); `None` where there is no such thing. On a channel of its own: what
/// is not there closes it.
pub(super) async fn look(connection: &Connection, wanted: Wanted<'_>) -> lapin::Result<Option<u32>> {
    let channel = connection.create_channel().await?;
    let looked = match wanted {
        Wanted::Queue(name) => {
            let passive = QueueDeclareOptions { passive: true, ..Default::default() };
            let queue = channel.queue_declare(name.into(), passive, FieldTable::default()).await;
            queue.map(|queue| queue.message_count())
        }
        Wanted::Exchange(name) => {
            let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
            // A passive declaration does not look at the kind.
            let kind = ExchangeKind::Direct;
            channel.exchange_declare(name.into(), kind, passive, FieldTable::default()).await.map(|()| 0)
        }
    };
    match looked {
        Ok(waiting) => {
            channel.close(200, "done".into()).await?;
            Ok(Some(waiting))
        }
        Err(error) if code(&error) == Some(NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A quorum queue: what it confirmed outlives a node of the broker.
async fn make_queue(connection: &Connection, name: &str) -> lapin::Result<()> {
    if look(connection, Wanted::Queue(name)).await?.is_some() {
        return Ok(());
    }
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    // RabbitMQ 4 drops what was delivered twenty times, as it may be while no majority can be reached. Before 4 there is no
    // limit, and some versions take no -1.
    let mut unlimited = arguments.clone();
    unlimited.insert("x-delivery-limit".into(), AMQPValue::LongInt(-1));
    match declare_queue(connection, name, unlimited).await {
        Err(error) if code(&error) == Some(PRECONDITION_FAILED) => {
            declare_queue(connection, name, arguments).await
        }
        made => made,
    }
}

/// On a channel of its own: a refusal closes it.
async fn declare_queue(connection: &Connection, name: &str, arguments: FieldTable) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await?;
    channel.close(200, "done".into()).await
}

/// The broker's.
fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(amqp) => Some(amqp.get_id()),
        _ => None,
    }
}
