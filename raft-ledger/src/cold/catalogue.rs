//! Which payloads are in which cold file: rows in the database itself, written together with the removal of what they
//! name. The files follow one another from entry 0 on without a gap.

use serde::{Deserialize, Serialize};

use crate::LedgerError;
use crate::record::Hash;
use crate::store::content::Content;
use crate::store::generation::{Family, Generation, key};

const PREFIX: &[u8] = b"cold/";

/// One cold file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Its entries: from `first` on and before `end`.
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) bytes: u64,
    pub(crate) sha256: Hash,
    /// Files and bytes of the rows before it.
    pub(crate) number: u64,
    pub(crate) bytes_before: u64,
}

impl Row {
    pub(crate) fn name(&self) -> String {
        format!("{:012}-{:012}-{}", self.first, self.end, hex::encode(self.sha256))
    }

    /// As a file beside those of a database.
    pub(crate) fn content(&self) -> Content {
        Content { name: format!("{}{}", Content::COLD, self.name()), bytes: self.bytes, sha256: self.sha256 }
    }

    pub(super) fn key(&self) -> Vec<u8> {
        row_key(self.first)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, LedgerError> {
        crate::store::applied::encode(self)
    }
}

/// The file that holds the payload of an entry; `None`: no file does.
pub(crate) fn row_of(db: &Generation, index: u64) -> Result<Option<Row>, LedgerError> {
    Ok(last_upto(db, index)?.filter(|row| index < row.end))
}

pub(super) fn last(db: &Generation) -> Result<Option<Row>, LedgerError> {
    last_upto(db, u64::MAX)
}

/// In the order of the entries.
pub(crate) fn rows(db: &Generation) -> Result<Vec<Row>, LedgerError> {
    let mut rows = Vec::new();
    db.scan(Family::Meta, &row_key(0), &row_key(u64::MAX), |_, value| {
        rows.push(decode(value)?);
        Ok(true)
    })?;
    Ok(rows)
}

fn last_upto(db: &Generation, index: u64) -> Result<Option<Row>, LedgerError> {
    let found = db.last(Family::Meta, &row_key(index))?;
    let row = found.filter(|(found, _)| found.starts_with(&key(PREFIX)));
    row.map(|(_, value)| decode(&value)).transpose()
}

fn decode(value: &[u8]) -> Result<Row, LedgerError> {
    rmp_serde::from_slice(value).map_err(|e| LedgerError::Damaged(format!("catalogue of cold files: {e}")))
}

fn row_key(first: u64) -> Vec<u8> {
    key(&[PREFIX, &first.to_be_bytes()].concat())
}
