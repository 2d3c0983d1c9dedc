//! Lines of a file, one at a time and none longer than a bound.

use std::io::{BufRead, Read};

use crate::dataset::DatasetError;

/// The set's longest line has 40 bytes; a header of another set is told as such.
const LINE_BYTES_MAX: u64 = 4096;

pub(super) struct Lines<R> {
    reader: R,
    number: usize,
    text: String,
}

impl<R: BufRead> Lines<R> {
    pub fn new(reader: R) -> Lines<R> {
        Lines { reader, number: 0, text: String::new() }
    }

    /// The next line that is not empty, without its end, and its number from 1; `None` = there is none.
    pub fn next(&mut self) -> Result<Option<(usize, &str)>, DatasetError> {
        while self.read()? {
            if !self.text.trim_end().is_empty() {
                return Ok(Some((self.number, self.text.trim_end().trim_start_matches('\u{feff}'))));
            }
        }
        Ok(None)
    }

    fn read(&mut self) -> Result<bool, DatasetError> {
        self.text.clear();
        self.number += 1;
        let line = self.number;
        let bytes = (&mut self.reader)
            .take(LINE_BYTES_MAX)
            .read_line(&mut self.text)
            .map_err(|source| DatasetError::Read { line, source })?;
        if bytes as u64 == LINE_BYTES_MAX && !self.text.ends_with('\n') {
            return Err(DatasetError::Line { line, bytes_max: LINE_BYTES_MAX });
        }
        Ok(bytes > 0)
    }
}

/// As many fields as asked for, no more and no fewer.
pub(super) fn fields<const N: usize>(text: &str, line: usize) -> Result<[&str; N], DatasetError> {
    let mut found = [""; N];
    let mut count = 0;
    for (i, field) in text.split(',').enumerate() {
        count = i + 1;
        if let Some(slot) = found.get_mut(i) {
            *slot = field;
        }
    }
    if count == N { Ok(found) } else { Err(DatasetError::FieldCount { line, fields: count, expected: N }) }
}

pub(super) fn number(field: &str, line: usize, column: &'static str) -> Result<f64, DatasetError> {
    let read = field.parse().ok().filter(|number: &f64| number.is_finite());
    read.ok_or(DatasetError::Row { line, column, what: "not a number" })
}

pub(super) fn record_id(field: &str, line: usize) -> Result<u32, DatasetError> {
    field.parse().map_err(|_| DatasetError::Row { line, column: "RecordID", what: "not a whole number" })
}
