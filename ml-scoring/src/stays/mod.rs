//! The PhysioNet/CinC Challenge 2012 set: the first 48 hours of stays in intensive care, and who died in hospital.
//! Hour by hour a stay is a [`Patient`] as one of the 2019 set, so that its state and features are the stream's;
//! [`features`] adds what is seen of a stay as a whole.

mod features;
mod lines;
mod outcomes;
mod parameter;
mod read;
mod saps;
mod set;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::dataset::Patient;

pub use features::{Close, N, names, unit};
pub use outcomes::Outcome;
pub use set::{Set, open};

/// A model of these stays speaks once, when so many hours have closed. What comes later it never sees.
pub const HOURS: usize = 48;

/// ICUType of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcuType {
    Coronary,
    CardiacSurgery,
    Medical,
    Surgical,
}

/// One record. What has no value is NaN.
#[derive(Clone, PartialEq)]
pub struct Stay {
    /// `pid` is the RecordID; 48 rows, from the first hour on, also where nothing was measured.
    pub patient: Patient,
    pub height_cm: f64,
    pub icu_type: Option<IcuType>,
    /// `None`: no outcome file speaks of the stay.
    pub outcome: Option<Outcome>,
    /// Values that no living patient and working instrument have, by parameter.
    pub set_aside: BTreeMap<&'static str, u64>,
    /// By [`parameter::Other`] and hour.
    others: [[f64; HOURS]; parameter::OTHERS.len()],
}

impl std::fmt::Debug for Stay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stay(redacted)")
    }
}

impl IcuType {
    fn numbered(number: f64) -> Option<IcuType> {
        match number {
            1.0 => Some(IcuType::Coronary),
            2.0 => Some(IcuType::CardiacSurgery),
            3.0 => Some(IcuType::Medical),
            4.0 => Some(IcuType::Surgical),
            _ => None,
        }
    }

    /// As subgroups are named.
    pub fn words(self) -> &'static str {
        match self {
            IcuType::Coronary => "coronary care",
            IcuType::CardiacSurgery => "cardiac surgery",
            IcuType::Medical => "medical",
            IcuType::Surgical => "surgical",
        }
    }
}
