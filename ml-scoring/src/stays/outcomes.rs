//! What became of the patients: the set's outcome files.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::lines::{Lines, fields, number, record_id};
use crate::dataset::DatasetError;

pub(super) const HEADER: &str = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death";
/// More than any intensive-care data set has stays: a wrong file does not fill the memory.
const OUTCOMES_MAX: usize = 1_000_000;

/// None of it is an input of a model.
#[derive(Clone, Copy, PartialEq)]
pub struct Outcome {
    /// In hospital, whenever it was.
    pub died: bool,
    /// Simplified Acute Physiology Score of the first 24 h, Le Gall 1984.
    pub saps_i: Option<u8>,
    pub sofa: Option<u8>,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outcome(redacted)")
    }
}

/// By record.
pub(super) type Outcomes = BTreeMap<u32, Outcome>;

/// Reads what stands behind the header into `outcomes`. Length of stay and survival are left alone.
pub(super) fn read<R: BufRead>(lines: &mut Lines<R>, outcomes: &mut Outcomes) -> Result<(), DatasetError> {
    while let Some((line, text)) = lines.next()? {
        let [record, saps_i, sofa, _, _, died] = fields(text, line)?;
        let record = record_id(record, line)?;
        let died = match died {
            "0" => false,
            "1" => true,
            _ => {
                let what = "neither 0 nor 1";
                return Err(DatasetError::Row { line, column: "In-hospital_death", what });
            }
        };
        let (saps_i, sofa) = (points(saps_i, line, "SAPS-I")?, points(sofa, line, "SOFA")?);
        if outcomes.insert(record, Outcome { died, saps_i, sofa }).is_some() {
            return Err(DatasetError::Row { line, column: "RecordID", what: "has an outcome already" });
        }
        if outcomes.len() > OUTCOMES_MAX {
            let what = "more than a million outcomes; is this the right file?";
            return Err(DatasetError::Row { line, column: "RecordID", what });
        }
    }
    Ok(())
}

/// -1 is missing.
fn points(field: &str, line: usize, column: &'static str) -> Result<Option<u8>, DatasetError> {
    let points = number(field, line, column)?;
    match points {
        -1.0 => Ok(None),
        points if (0.0..=100.0).contains(&points) => Ok(Some(points as u8)),
        _ => Err(DatasetError::Row { line, column, what: "neither -1 nor 0 to 100 points" }),
    }
}
