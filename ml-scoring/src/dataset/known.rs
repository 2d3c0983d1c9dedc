//! Patients of several files: each once, because a patient who is counted twice weighs twice in every figure.

use std::collections::HashMap;

use super::{DatasetError, Patient};

/// Whom the files read so far hold.
#[derive(Default)]
pub struct Known {
    files: Vec<String>,
    /// By pid: place of the file, line.
    begins: HashMap<String, (usize, usize)>,
}

impl Known {
    /// Errs where a file before `file`, or `file` itself, holds the patient already.
    pub fn admit(&mut self, file: &str, patient: &Patient) -> Result<(), DatasetError> {
        if self.files.last().is_none_or(|last| last != file) {
            self.files.push(file.to_owned());
        }
        let line = patient.rows.first().map_or(0, |row| row.line);
        match self.begins.insert(patient.pid.clone(), (self.files.len() - 1, line)) {
            Some((place, first)) => {
                let file = self.files.get(place).map(|file| format!(" in {file}")).unwrap_or_default();
                Err(DatasetError::Twice { line, first, file })
            }
            None => Ok(()),
        }
    }
}
