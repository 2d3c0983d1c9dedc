//! Moves bytes in and out, honestly acknowledged. Knows transports, not HL7 or FHIR.

mod ahead;
mod background;
mod error;
mod fault;
mod positions;
mod probe;
mod receipt;
mod secret;
mod server_tls;
mod sink;
mod source;
mod tls;
mod token;

pub mod amqp;
pub mod fhir_rest;
pub mod file;
pub mod kafka;
pub mod mllp;
pub mod webhook;

pub use background::Background;
pub use error::ConnectorError;
pub use probe::greet_url;
pub use receipt::{Receipt, Refusal, Reply, Verdict, Verdicts};
pub use secret::Secret;
pub use server_tls::{ServerTls, TlsFiles};
pub use sink::{Outbound, Sink, SinkError};
pub use source::{Format, Inbound, Source, SourceState, SourceStatus};
pub use token::TokenSource;
