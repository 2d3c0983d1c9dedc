//! What happened to a patient: HL7 v2, FHIR R4, events and patient state.
//!
//! Pure: no I/O, no clock, no randomness. Times and ids come in as arguments.

mod event;
mod issue;
mod time;

pub use event::{
    Code, CodeSystem, Comparator, Encounter, EncounterChange, EncounterClass, Event, EventKind, Location,
    Observation, ObservationStatus, Order, PatientId, Person, Sex, Value,
};
pub use issue::{Issue, Severity};
pub use time::{Precision, Time};
