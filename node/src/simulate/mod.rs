//! A simulated hospital: seeded, reproducible traffic with the truth beside it, and the senders for it.

mod deliver;
mod er7;
mod fhir;
mod hospital;
mod mllp;
mod patient;
mod physiology;
mod target;
mod truth;

pub use deliver::{Pace, deliver};
pub use er7::{header, segment, timestamp};
pub use hospital::{Hospital, Message, Options};
pub use mllp::{Answer, Connection};
pub use target::Target;
pub use truth::Truth;

/// The code table that feeds need to read the simulated devices' own codes.
pub const CODES: &str = include_str!("codes.csv");
