//! Moves bytes in and out, honestly acknowledged. Knows transports, not HL7 or FHIR.

mod receipt;
mod sink;
mod source;

pub use receipt::{Receipt, Refusal, Reply, Verdict, Verdicts};
pub use sink::{Outbound, Sink, SinkError};
pub use source::{Format, Inbound, Source, SourceState, SourceStatus};
