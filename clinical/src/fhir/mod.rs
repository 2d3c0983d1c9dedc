//! FHIR R4 (4.0.1) in JSON: reading, checking, events, and what Medulla writes itself.

mod json;
mod outcome;
mod primitive;
mod read;
mod schema;
mod validate;

pub use outcome::outcome;
pub use read::{Entry, Kind, Resource, read, read_bytes};
