//! What a model may know of a patient at a given time: a fold over events.

mod column;
mod consciousness;
mod merges;
mod patient;
mod person;
mod series;
mod stay;
#[cfg(test)]
mod tests;
mod value;

pub use column::{COLUMNS, COLUMNS_2019, Column};
pub use consciousness::Acvpu;
pub use merges::{Merge, Merges};
pub use patient::{Folded, PatientState};
pub use stay::Stay;
pub use value::{Doubt, Reading, SetAside};
