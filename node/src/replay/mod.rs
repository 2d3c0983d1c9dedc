//! Patients of the PhysioNet/CinC 2019 set as the messages that a hospital would have sent of them, and whether a
//! site that reads these knows at each hour's close what training knew of the row.

mod check;
mod disturb;
mod fhir;
mod hl7;
mod plan;
mod unequal;

use clap::ValueEnum;
use ml_scoring::dataset::Patient;
use serde::Serialize;

pub use check::{Check, Compared};
pub use disturb::{Disturbances, Disturber};
pub use plan::{Telling, plan};
pub use unequal::Unequal;

/// Assigning authority of the patients' ids.
pub const AUTHORITY: &str = "CINC2019";
/// Wards of the messages; all are intensive care units.
pub const WARDS: [&str; 3] = ["ICU", "MICU", "SICU"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standard {
    /// ADT^A01 and ORU^R01
    Hl7,
    /// Transaction Bundles of Patient, Encounter and Observation
    Fhir,
}

impl Standard {
    /// One message, as its sender would write it.
    pub fn write(self, patient: &Patient, telling: &Telling) -> Vec<u8> {
        match self {
            Standard::Hl7 => hl7::write(patient, telling),
            Standard::Fhir => fhir::write(patient, telling),
        }
    }

    /// Of files with one patient's messages.
    pub fn extension(self) -> &'static str {
        match self {
            Standard::Hl7 => "hl7",
            Standard::Fhir => "ndjson",
        }
    }
}
