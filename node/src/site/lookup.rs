//! `GET /fhir/metadata` and `GET /fhir/{Type}/{id}`: ids are ledger indices, or for
//! `ack = "site"` the beginning of the dedupe key, as the answer to a create said.

use actors::entry::{self, Format, Kind};
use async_trait::async_trait;
use bytes::Bytes;
use clinical::{Time, fhir};
use connectors::{Reply, fhir_rest};
use raft_ledger::{Ledger, Payload};

const CONTENT_TYPE: &str = "application/fhir+json";

pub struct Lookup {
    ledger: Ledger,
    started_at: Time,
}

impl Lookup {
    pub fn new(ledger: Ledger) -> Lookup {
        Lookup { ledger, started_at: Time(jiff::Timestamp::now().as_millisecond()) }
    }

    fn at(&self, index: u64) -> Option<Kept> {
        let entries = match self.ledger.read_from(index, 1) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(%error, index, "a resource cannot be read");
                return Some(Kept::Unreadable);
            }
        };
        let entry = entries.into_iter().find(|entry| entry.index == index)?;
        match entry.payload {
            _ if entry.kind != Kind::Message as u16 => None,
            Payload::Open(payload) => Some(Kept::Readable(payload)),
            Payload::Shredded => Some(Kept::Shredded),
            Payload::Entrusted(_) | Payload::Sealed | Payload::Shred { .. } => None,
        }
    }

    /// Answered at this site before there was an index. The outbox first: what leaves it is in the ledger by then.
    fn answered_early(&self, id: &str, key: &[u8; 16]) -> Option<Kept> {
        if let Some(draft) = self.ledger.outbox().find(key).ok()? {
            return (draft.kind == Kind::Message as u16).then_some(Kept::Readable(draft.payload));
        }
        let tag = self.ledger.tag(entry::RESOURCE_TAG, id.as_bytes());
        self.at(*self.ledger.by_tag(tag, 0, 1).ok()?.first()?)
    }

    /// The resource as it was sent, when this site has it and may open it.
    ///
    /// A resource of a Bundle is named by the Bundle's id and its place in it: `2541-0`.
    fn find(&self, resource_type: &str, id: &str) -> Option<Kept> {
        let (index, place) = match id.split_once('-') {
            Some((index, place)) => (index, Some(place.parse::<usize>().ok()?)),
            None => (id, None),
        };
        let kept = match early_id(index) {
            Some(key) => self.answered_early(index, &key)?,
            None => self.at(index.parse().ok()?)?,
        };
        let Kept::Readable(payload) = kept else { return Some(kept) };
        let (head, raw) = entry::decode::<entry::Message>(&payload).ok()?;
        if head.format != Format::Fhir {
            return None;
        }
        let Some(place) = place else {
            return (head.type_ == resource_type).then_some(Kept::Readable(raw));
        };
        let entry = fhir::read_bytes(raw).ok()?.entries().into_iter().nth(place)?;
        let found = entry.resource_type.as_deref() == Some(resource_type);
        found.then_some(Kept::Readable(entry.bytes))
    }
}

/// What there is under an id.
enum Kept {
    Readable(Bytes),
    /// It was there; what it was nobody can tell any more.
    Shredded,
    /// It is there, and what the ledger stores of it is lost or damaged here.
    Unreadable,
}

/// The id that a feed with `ack = "site"` gives: 16 bytes in hex, which no index is as long as.
fn early_id(id: &str) -> Option<[u8; 16]> {
    let mut key = [0; 16];
    hex::decode_to_slice(id, &mut key).ok().map(|()| key)
}

#[async_trait]
impl fhir_rest::Lookup for Lookup {
    async fn metadata(&self) -> Reply {
        let body = clinical::fhir::metadata("/fhir", env!("CARGO_PKG_VERSION"), self.started_at);
        Reply { status: 200, content_type: CONTENT_TYPE, location: None, body: body.into() }
    }

    async fn read(&self, resource_type: &str, id: &str) -> Reply {
        match self.find(resource_type, id) {
            Some(Kept::Readable(body)) => {
                Reply { status: 200, content_type: CONTENT_TYPE, location: None, body }
            }
            Some(Kept::Shredded) => refuse(
                410,
                "shredded",
                resource_type,
                "this entry's patient was shredded: nobody can read it any more",
            ),
            Some(Kept::Unreadable) => refuse(
                503,
                "unreadable",
                resource_type,
                "this site cannot read the entry now; `medulla ledger status` says what is wrong",
            ),
            None => refuse(
                404,
                "not-found",
                resource_type,
                "there is no such resource at this site; use the location that the create answered",
            ),
        }
    }
}

fn refuse(status: u16, code: &'static str, resource_type: &str, text: &str) -> Reply {
    let issue = clinical::Issue {
        severity: clinical::Severity::Error,
        code: code.into(),
        location: resource_type.to_owned(),
        text: text.to_owned(),
    };
    let body = clinical::fhir::outcome(&[issue]);
    Reply { status, content_type: CONTENT_TYPE, location: None, body: body.into() }
}
