//! AMQP 0-9-1 (RabbitMQ): a consumer that acks after the verdict, a publisher that waits for its confirms; both
//! come back by themselves after a lost connection. `amqps://` speaks TLS.

mod broker;
mod config;
mod connect;
mod declare;
mod letter;
mod probe;
mod publish;
mod session;
mod sink;
mod source;

pub use broker::{Auth, Broker};
pub use config::{Config, SinkConfig};
pub use declare::Wanted;
pub use probe::probe;
pub use sink::Sink;
pub use source::source;
