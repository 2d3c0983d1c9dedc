//! The set's files together: long files and outcome files, told apart by their headers.

use std::collections::{BTreeMap, HashSet};
use std::io::BufRead;

use super::Stay;
use super::lines::Lines;
use super::outcomes::{self, Outcomes};
use super::read::{self, Stays};
use crate::dataset::DatasetError;

/// More than any intensive-care data set has.
const STAYS_MAX: usize = 1_000_000;

/// Opened files; as an iterator, every stay of them with its outcome. Ends after the first error.
pub struct Set<R> {
    files: std::vec::IntoIter<(String, Stays<R>)>,
    file: Option<(String, Stays<R>)>,
    outcomes: Outcomes,
    seen: HashSet<String>,
}

/// Reads the headers, and outcome files to their end. A file's name stands in errors.
pub fn open<R: BufRead>(files: impl IntoIterator<Item = (String, R)>) -> Result<Set<R>, DatasetError> {
    let mut outcomes = BTreeMap::new();
    let mut long = Vec::new();
    for (name, reader) in files {
        let mut lines = Lines::new(reader);
        let header = lines.next().map_err(|error| error.in_file(&name))?.map(|(_, text)| text);
        match header {
            Some(read::HEADER) => long.push((name, Stays::new(lines))),
            Some(outcomes::HEADER) => {
                outcomes::read(&mut lines, &mut outcomes).map_err(|error| error.in_file(&name))?;
            }
            _ => return Err(DatasetError::StaysHeader(read::HEADER, outcomes::HEADER).in_file(&name)),
        }
    }
    Ok(Set { files: long.into_iter(), file: None, outcomes, seen: HashSet::new() })
}

impl<R: BufRead> Set<R> {
    /// Whether any outcome file was among the files.
    pub fn has_outcomes(&self) -> bool {
        !self.outcomes.is_empty()
    }

    /// The file's next stay, with its outcome.
    fn checked(&mut self, name: &str, stay: Result<Stay, DatasetError>) -> Result<Stay, DatasetError> {
        let mut stay = stay.map_err(|error| error.in_file(name))?;
        let line = stay.patient.rows.first().map_or(0, |row| row.line);
        let wrong = |what| Err(DatasetError::Row { line, column: "RecordID", what }.in_file(name));
        if !self.seen.insert(stay.patient.pid.clone()) {
            return wrong("its lines do not stand together, or the stay was read before");
        }
        if self.seen.len() > STAYS_MAX {
            return wrong("more than a million stays; is this the right file?");
        }
        stay.outcome =
            stay.patient.pid.parse().ok().and_then(|record: u32| self.outcomes.get(&record).copied());
        Ok(stay)
    }
}

impl<R: BufRead> Iterator for Set<R> {
    type Item = Result<Stay, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (name, mut stays) = self.file.take().or_else(|| self.files.next())?;
            let Some(stay) = stays.next() else { continue };
            let stay = self.checked(&name, stay);
            match &stay {
                Ok(_) => self.file = Some((name, stays)),
                Err(_) => self.files = Vec::new().into_iter(),
            }
            return Some(stay);
        }
    }
}
