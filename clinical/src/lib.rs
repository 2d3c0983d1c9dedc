//! What happened to a patient: HL7 v2, FHIR R4, events and patient state.
//!
//! Pure: no I/O, no clock, no randomness. Times and ids come in as arguments.

mod alert;
mod alert_oru;
mod codes;
mod event;
mod feed;
pub mod fhir;
pub mod hl7;
mod issue;
mod state;
mod text;
mod time;
pub mod units;

pub use alert::AlertFacts;
pub use alert_oru::{Parties, alert_oru};
pub use codes::{CodeTable, CodeTableError, Mapped};
pub use event::{
    Code, CodeSystem, Comparator, Deleted, Encounter, EncounterChange, EncounterClass, Event, EventKind,
    Location, Observation, ObservationStatus, Order, PatientId, Person, Sex, Value,
};
pub use feed::{Feed, is_known_zone};
pub use issue::{Issue, Severity};
pub use state::{
    Acvpu, COLUMNS, COLUMNS_2019, Column, Doubt, Folded, Merge, Merges, PatientState, Reading, SetAside, Stay,
};
pub use time::{Precision, Time};
