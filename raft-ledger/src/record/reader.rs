//! Strict reading of big-endian fields. Never panics, never allocates by a length it has not checked.

use bytes::Bytes;

use super::Hash;

/// Bytes that are no record of ours. Names the place, never the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {record}: {what} at byte {at}")]
pub struct RecordError {
    pub record: &'static str,
    pub what: &'static str,
    /// Offset in the bytes given to `decode`.
    pub at: usize,
}

/// A cursor over one record's bytes; parts taken from it share the allocation.
pub(crate) struct Reader {
    record: &'static str,
    bytes: Bytes,
    at: usize,
}

impl Reader {
    pub(crate) fn new(record: &'static str, bytes: Bytes) -> Reader {
        Reader { record, bytes, at: 0 }
    }

    pub(crate) fn error(&self, what: &'static str) -> RecordError {
        RecordError { record: self.record, what, at: self.at }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<Bytes, RecordError> {
        if len > self.remaining() {
            return Err(self.error("the bytes end too early"));
        }
        let part = self.bytes.slice(self.at..self.at + len);
        self.at += len;
        Ok(part)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(array) => {
                self.at += N;
                Ok(*array)
            }
            None => Err(self.error("the bytes end too early")),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, RecordError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, RecordError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, RecordError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, RecordError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn hash(&mut self) -> Result<Hash, RecordError> {
        self.array()
    }

    pub(crate) fn bytes8(&mut self) -> Result<Bytes, RecordError> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    /// u32 length and bytes, refused above `max`.
    pub(crate) fn bytes32(&mut self, max: usize) -> Result<Bytes, RecordError> {
        let len = self.u32()? as usize;
        if len > max {
            return Err(self.error("a length is over its limit"));
        }
        self.take(len)
    }

    pub(crate) fn version(&mut self, known: u8) -> Result<(), RecordError> {
        let version = self.u8()?;
        if version == known { Ok(()) } else { Err(self.error("a version this release does not know")) }
    }

    pub(crate) fn end(self) -> Result<(), RecordError> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.error("bytes follow the record")) }
    }
}
