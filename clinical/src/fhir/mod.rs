//! FHIR R4 (4.0.1) in JSON: reading, checking, events, and what Medulla writes itself.

mod alert;
mod common;
mod datetime;
mod from_hl7;
mod json;
mod media_type;
mod metadata;
mod outcome;
mod primitive;
mod read;
mod schema;
mod served;
mod to_events;
mod validate;

pub use alert::alert_bundle;
pub use from_hl7::{Fate, coverage, from_hl7};
pub use media_type::media_type_fault;
pub use metadata::{EntryAnswer, batch_response, metadata, transaction_response};
pub use outcome::outcome;
pub use read::{Entry, Kind, Resource, read, read_bytes};
pub use served::served;
pub use to_events::{Taken, identifier_condition, take, to_events};
