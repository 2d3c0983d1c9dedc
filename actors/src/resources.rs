//! FHIR resources by what they are called at this site. The id that the site gives is the beginning of a keyed hash of
//! what was sent, so it is known before there is an index, and a resend hears the same one. Tags of the ledger lead from
//! a name to its entries; a name that found no room among an entry's tags is given none.

use std::collections::BTreeMap;

use bytes::Bytes;
use clinical::fhir::Resource;
use raft_ledger::{Entry, IndexKey, Ledger, Payload, Tag};

use crate::entry::{self, Format, Kind, Message, RESOURCE_TAG};

/// Entries with the same identifier that are looked at.
const MATCHES_MAX: usize = 64;

/// The same bytes of the same feed have the same one.
pub fn content_key(keys: &IndexKey, feed: &str, id: &str, raw: &[u8]) -> [u8; 32] {
    keys.keyed_hash("fhir", &[feed.as_bytes(), id.as_bytes(), raw])
}

/// The id that the site gives: 32 hex digits.
pub fn given_id(content_key: &[u8; 32]) -> String {
    hex::encode(&content_key[..16])
}

/// What names a resource that its sender gave an id.
pub fn named(type_: &str, id: &str) -> String {
    format!("{type_}/{id}")
}

/// What finds a resource by one of its identifiers.
pub fn identified(type_: &str, system: &str, value: &str) -> String {
    format!("{type_}?identifier={system}|{value}")
}

/// Where a resource is answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    pub type_: String,
    pub id: String,
    pub version: String,
}

impl Address {
    /// Under the id that its sender gave it: each time it was sent is a version. Else there is only one.
    pub fn of(type_: &str, own_id: Option<&str>, given: String) -> Address {
        match own_id {
            Some(id) => Address { type_: type_.to_owned(), id: id.to_owned(), version: given },
            None => Address { type_: type_.to_owned(), id: given, version: "1".to_owned() },
        }
    }

    pub fn location(&self) -> String {
        format!("{}/{}/_history/{}", self.type_, self.id, self.version)
    }
}

/// The resources that this site was sent by HTTP. Blocks.
#[derive(Clone)]
pub struct Resources {
    ledger: Ledger,
    keys: IndexKey,
}

impl Resources {
    pub fn new(ledger: &Ledger) -> Resources {
        Resources { ledger: ledger.clone(), keys: ledger.index_key() }
    }

    pub fn is_known(&self, name: &str) -> bool {
        self.ledger.by_tag(self.tag(name), 0, 1).is_ok_and(|found| !found.is_empty())
    }

    /// The resources of the type with that identifier that were sent on their own; of those that this site may read.
    pub fn with_identifier(&self, type_: &str, system: &str, value: &str) -> Vec<Address> {
        let tag = self.tag(&identified(type_, system, value));
        let indices = self.ledger.by_tag(tag, 0, MATCHES_MAX).unwrap_or_default();
        let found = indices.into_iter().filter_map(|index| self.address(index, type_));
        let newest: BTreeMap<String, Address> = found.map(|address| (address.id.clone(), address)).collect();
        newest.into_values().collect()
    }

    /// What the entry's one resource is called.
    pub fn address(&self, index: u64, type_: &str) -> Option<Address> {
        let entry = self.entry(index)?;
        let Payload::Open(payload) = entry.payload else { return None };
        self.address_of(&payload, type_)
    }

    /// The same of one that waits in the outbox under that dedupe key.
    pub fn waiting(&self, dedupe: &[u8; 32], type_: &str) -> Option<Address> {
        let key = dedupe.first_chunk::<16>()?;
        let draft = self.ledger.outbox().find(key).ok()??;
        (draft.kind == Kind::Message as u16).then(|| self.address_of(&draft.payload, type_))?
    }

    fn address_of(&self, payload: &Bytes, type_: &str) -> Option<Address> {
        let (head, raw) = entry::decode::<Message>(payload).ok()?;
        if head.format != Format::Fhir || head.type_ != type_ {
            return None;
        }
        let own = Some(head.control_id.as_str()).filter(|id| !id.is_empty());
        let key = content_key(&self.keys, &head.feed, &head.control_id, &raw);
        Some(Address::of(type_, own, given_id(&key)))
    }

    fn entry(&self, index: u64) -> Option<Entry> {
        let entries = self.ledger.read_from(index, 1).ok()?;
        entries.into_iter().find(|entry| entry.index == index && entry.kind == Kind::Message as u16)
    }

    fn tag(&self, name: &str) -> Tag {
        self.keys.tag(RESOURCE_TAG, name.as_bytes())
    }
}

/// The names of a resource that is taken on its own, in the order in which they are worth a tag.
pub fn names(resource: &Resource) -> Vec<String> {
    let type_ = resource.type_();
    let own = resource.id().map(|id| named(type_, id));
    let identifiers = resource.identifiers().into_iter();
    own.into_iter().chain(identifiers.map(|(system, value)| identified(type_, system, value))).collect()
}

/// The id that an entry of a Bundle has where the site gives it.
pub fn entry_id(given: &str, place: usize) -> String {
    format!("{given}-{place}")
}
