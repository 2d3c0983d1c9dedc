//! What a ledger entry's payload holds. The ledger itself sees opaque bytes with a kind.
//!
//! Layout: version byte (1), length of the head (u32, big-endian), head (MessagePack map with field names),
//! then the message's raw bytes to the end. Field names are a stable format: add optional fields, never rename
//! or reuse one. The head says which reader and which code table made the events, so that a later release
//! explains an old alert with the same number.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use clinical::{AlertFacts, Event, Issue, Time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Raised whenever the same bytes would be read into other events.
pub const READER: u16 = 1;

/// Names a FHIR resource that was answered before it had an index, by the id that its answer said.
pub const RESOURCE_TAG: &str = "resource";

const VERSION: u8 = 1;

/// The ledger's `kind` of each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    Message = 1,
    Rejected = 2,
    Alert = 3,
    Delivered = 4,
    Acknowledged = 5,
    Tick = 6,
    ModelRegistered = 7,
}

impl Kind {
    /// `None` for kinds of a later release: they are kept and passed over.
    pub fn from_u16(kind: u16) -> Option<Kind> {
        [
            Kind::Message,
            Kind::Rejected,
            Kind::Alert,
            Kind::Delivered,
            Kind::Acknowledged,
            Kind::Tick,
            Kind::ModelRegistered,
        ]
        .into_iter()
        .find(|known| *known as u16 == kind)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Hl7v2,
    Fhir,
    Unknown,
}

/// A message that was read. Its raw bytes follow the head.
#[derive(Clone, Serialize, Deserialize)]
pub struct Message {
    pub feed: String,
    pub format: Format,
    pub reader: u16,
    /// SHA-256 of the feed's code table, lowercase hex.
    pub codes: String,
    /// `ADT^A01`, `Observation`, `Bundle/transaction`.
    #[serde(rename = "type")]
    pub type_: String,
    pub control_id: String,
    /// Where it stood at its source, for people.
    pub position: String,
    pub events: Vec<Event>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<Issue>,
}

/// A message that could not be used. Its raw bytes follow the head.
#[derive(Clone, Serialize, Deserialize)]
pub struct Rejected {
    pub feed: String,
    pub format: Format,
    pub position: String,
    pub control_id: String,
    /// Stable, kebab-case: the first error's.
    pub code: String,
    pub issues: Vec<Issue>,
}

/// An alert: kept before it is delivered.
#[derive(Clone, Serialize, Deserialize)]
pub struct Alert {
    pub facts: AlertFacts,
    /// What the scorer saw, so that the number can be had again.
    pub contributions: Vec<Contribution>,
    /// Receipt of the triggering message: what the alert's latency is measured from.
    pub received_at: Time,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Contribution {
    pub feature: String,
    /// Absent where it was missing.
    pub value: Option<f64>,
    pub weight: f64,
    /// `physiology`, `trend` or `care-process`.
    pub group: ml_scoring::features::Group,
    pub words: String,
}

/// A sink's receiver has confirmed the alert.
#[derive(Clone, Serialize, Deserialize)]
pub struct Delivered {
    pub alert: String,
    pub sink: String,
    pub at: Time,
    /// The receiver's refusal, where it answered with one; the alert is then not sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A person has answered the alert.
#[derive(Clone, Serialize, Deserialize)]
pub struct Acknowledged {
    pub alert: String,
    /// From the sign-in.
    pub by: String,
    pub reason: String,
    pub at: Time,
}

/// The site's clock: hours close for patients who send nothing.
#[derive(Clone, Serialize, Deserialize)]
pub struct Tick {
    pub at: Time,
}

/// A model that this site scores with, with its card.
#[derive(Clone, Serialize, Deserialize)]
pub struct ModelRegistered {
    pub name: String,
    pub hash: String,
    pub card: String,
}

#[derive(Debug, thiserror::Error)]
#[error("entry payload: {0}; written by a later release, or damaged")]
pub struct EntryError(String);

pub fn encode<T: Serialize>(head: &T, raw: &[u8]) -> Bytes {
    // Writing a map of strings and numbers to memory has no way to fail.
    let head = rmp_serde::to_vec_named(head).unwrap_or_default();
    let mut out = BytesMut::with_capacity(5 + head.len() + raw.len());
    out.put_u8(VERSION);
    out.put_u32(u32::try_from(head.len()).unwrap_or(u32::MAX));
    out.put_slice(&head);
    out.put_slice(raw);
    out.freeze()
}

/// The head and the raw bytes, without copying these.
pub fn decode<T: DeserializeOwned>(payload: &Bytes) -> Result<(T, Bytes), EntryError> {
    let version = payload.first().ok_or_else(|| EntryError("is empty".into()))?;
    if *version != VERSION {
        return Err(EntryError(format!("has version {version}, this release reads {VERSION}")));
    }
    let length = payload.get(1..5).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let end = length.and_then(|length| 5usize.checked_add(length as usize));
    let head = end.and_then(|end| payload.get(5..end)).ok_or_else(|| EntryError("is cut short".into()))?;
    let parsed = rmp_serde::from_slice(head).map_err(|e| EntryError(e.to_string()))?;
    Ok((parsed, payload.slice(5 + head.len()..)))
}

macro_rules! redacted {
    ($($type:ident),*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($type), "(redacted)"))
            }
        }
    )*};
}
redacted!(Message, Rejected, Alert, Contribution, Delivered, Acknowledged, Tick, ModelRegistered);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let tick = Tick { at: Time(1_700_000_000_000) };
        let payload = encode(&tick, b"raw \xff bytes");
        let (read, raw) = decode::<Tick>(&payload).unwrap();
        assert_eq!((read.at, &raw[..]), (tick.at, &b"raw \xff bytes"[..]));
    }

    #[test]
    fn the_layout_is_stable() {
        let payload = encode(&Tick { at: Time(1) }, b"r");
        assert_eq!(hex::encode(&payload), "010000000581a26174".to_owned() + "01" + "72");
    }

    #[test]
    fn damaged_payloads_are_errors() {
        let payload = encode(&Tick { at: Time(1) }, b"");
        for cut in 0..payload.len() {
            assert!(decode::<Tick>(&payload.slice(..cut)).is_err(), "cut at {cut}");
        }
        let mut other = payload.to_vec();
        other[0] = 2;
        assert!(decode::<Tick>(&other.into()).is_err());
    }
}
