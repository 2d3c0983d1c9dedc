//! Orders opaque bytes durably and provably across sites. Knows no patients.

mod types;

pub use types::{
    AppendError, Draft, Entry, LedgerError, Outcome, Payload, PeerStatus, Role, Status, Subject, Tag,
};
