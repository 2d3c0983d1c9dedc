//! The name of a site: also the subject alternative name of its certificate.

use std::fmt;
use std::sync::Arc;

use super::reader::{Reader, RecordError};

/// `[a-z0-9.-]{1,63}`, neither beginning nor ending with '.' or '-'. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteName(Arc<str>);

impl SiteName {
    /// `None` if the name has another form.
    pub fn new(name: &str) -> Option<SiteName> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-' && *b != b'.');
        let bytes = name.as_bytes();
        let valid = (1..=63).contains(&bytes.len())
            && bytes.iter().all(|b| inner(*b))
            && edge(bytes.first())
            && edge(bytes.last());
        valid.then(|| SiteName(Arc::from(name)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.0.len() as u8); // at most 63 by construction
        out.extend_from_slice(self.0.as_bytes());
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<SiteName, RecordError> {
        let bytes = reader.bytes8()?;
        std::str::from_utf8(&bytes)
            .ok()
            .and_then(SiteName::new)
            .ok_or_else(|| reader.error("not a site name"))
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}
