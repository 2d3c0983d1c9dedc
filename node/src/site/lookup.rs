//! `GET /fhir/metadata`, `GET /fhir/{Type}/{id}` and `GET /fhir/{Type}/{id}/_history/{version}`, by the id that the
//! answer to a create or update said: the sender's own, or the beginning of a keyed hash (`actors/src/resources.rs`).

use actors::entry::{self, Format, Kind};
use actors::resources;
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
            Payload::Open(payload) => Some(Kept::Readable(payload, Time(entry.received_time_ms))),
            Payload::Shredded => Some(Kept::Shredded),
            Payload::Entrusted(_) | Payload::Sealed | Payload::Shred { .. } => None,
        }
    }

    /// By the id that the site gave to a message. The outbox first: what leaves it is in the ledger by then.
    fn given(&self, id: &str, key: &[u8; 16]) -> Option<Kept> {
        if let Some(draft) = self.ledger.outbox().find(key).ok()? {
            let kept = || Kept::Readable(draft.payload, Time(draft.received_time_ms));
            return (draft.kind == Kind::Message as u16).then(kept);
        }
        let tag = self.ledger.tag(entry::RESOURCE_TAG, id.as_bytes());
        self.at(*self.ledger.by_tag(tag, 0, 1).ok()?.first()?)
    }

    /// The newest that this site has of what its sender calls so.
    fn named(&self, type_: &str, id: &str) -> Option<Kept> {
        let tag = self.ledger.tag(entry::RESOURCE_TAG, resources::named(type_, id).as_bytes());
        let indices = self.ledger.by_tag(tag, 0, usize::MAX).ok()?;
        indices.into_iter().rev().find_map(|index| self.at(index))
    }

    /// The resource under its address, when this site has it and may open it.
    fn find(&self, type_: &str, id: &str, version: Option<&str>) -> Option<Kept> {
        // A resource that has no id of its own has one version; the versions of others are called as the site called
        // what they came with.
        let wanted = match given_id(id) {
            Some(given) => version.is_none_or(|version| version == "1").then_some(Some(given))?,
            None => version.map(given_id).map_or(Some(None), |given| given.map(Some))?,
        };
        let kept = match &wanted {
            Some(Given { message, key, .. }) => self.given(message, key)?,
            None => self.named(type_, id)?,
        };
        let Kept::Readable(payload, at) = kept else { return Some(kept) };
        let (head, raw) = entry::decode::<entry::Message>(&payload).ok()?;
        if head.format != Format::Fhir {
            return None;
        }
        let resource = fhir::read_bytes(raw.clone()).ok()?;
        let message = resources::given_id(&resources::content_key(
            &self.ledger.index_key(),
            &head.feed,
            &head.control_id,
            &raw,
        ));
        let is_given = given_id(id).is_some();
        let place = wanted.and_then(|given| given.place);
        let (bytes, own_id, called) = match resource.bundle_type() {
            Some("transaction" | "batch") => {
                let mut entries = resource.entries().into_iter().enumerate();
                let is_it = |place_of: usize, entry: &fhir::Entry| {
                    let of_type = entry.resource_type.as_deref() == Some(type_);
                    let of_id = is_given || entry.id.as_deref() == Some(id);
                    // A batch keeps those that it refused, too: they are no resources here.
                    let fits = of_type && of_id && place.is_none_or(|place| place == place_of);
                    fits && fhir::read_bytes(entry.bytes.clone()).is_ok()
                };
                // What is named twice was done twice; the last counts. A given id names its place.
                let found = entries.rfind(|(place, entry)| is_it(*place, entry));
                let (at, entry) = found.filter(|_| place.is_some() || !is_given)?;
                (entry.bytes, entry.id, resources::entry_id(&message, at))
            }
            _ if place.is_some() || resource.type_() != type_ => return None,
            _ => (raw, resource.id().map(str::to_owned), message),
        };
        if !is_given && own_id.as_deref() != Some(id) {
            return None;
        }
        let version = if is_given { "1".to_owned() } else { called };
        let body = fhir::served(&bytes, id, &version, at)?;
        Some(Kept::Readable(body.into(), at))
    }
}

/// What there is under an id.
enum Kept {
    /// And when it was received.
    Readable(Bytes, Time),
    /// It was there; what it was nobody can tell any more.
    Shredded,
    /// It is there, and what the ledger stores of it is lost or damaged here.
    Unreadable,
}

/// An id that the site gave: 32 hex digits for a message, and the place of an entry in it (`0af…9-2`).
struct Given {
    message: String,
    key: [u8; 16],
    place: Option<usize>,
}

fn given_id(id: &str) -> Option<Given> {
    let (message, place) = match id.split_once('-') {
        Some((message, place)) => (message, Some(place.parse().ok()?)),
        None => (id, None),
    };
    let mut key = [0; 16];
    hex::decode_to_slice(message, &mut key).ok()?;
    Some(Given { message: message.to_owned(), key, place })
}

#[async_trait]
impl fhir_rest::Lookup for Lookup {
    async fn metadata(&self) -> Reply {
        let body = clinical::fhir::metadata("/fhir", env!("CARGO_PKG_VERSION"), self.started_at);
        Reply { status: 200, content_type: CONTENT_TYPE, location: None, body: body.into() }
    }

    async fn read(&self, resource_type: &str, id: &str, version: Option<&str>) -> Reply {
        match self.find(resource_type, id, version) {
            Some(Kept::Readable(body, _)) => {
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
