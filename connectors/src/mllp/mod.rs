//! HL7's Minimal Lower Layer Protocol over TCP, plain or TLS (HL7 v2 Transport Specification: MLLP, release 1):
//! a frame is SB (0x0B), the message, EB (0x1C), CR (0x0D). Answers travel back the same way, in order.

mod client;
mod connection;
mod frame;
mod sink;
mod source;
mod stream;

pub use client::{Client, ClientConfig, ClientReader, ClientWriter};
pub use sink::{Answered, Judge, Sink};
pub use source::{Config, Source};
