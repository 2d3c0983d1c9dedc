//! Kafka through librdkafka: a consumer group whose offsets never pass what is not settled, and a producer whose
//! messages count as delivered when every in-sync replica has them.

mod config;
mod context;
mod dead_letter;
mod partitions;
mod probe;
mod reader;
mod sink;
mod source;
mod token;

pub use config::{Config, SinkConfig, check_sink, check_source};
pub use probe::probe;
pub use sink::Sink;
pub use source::source;
pub use token::check_token;
