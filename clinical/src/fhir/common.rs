//! Pieces that every resource we write is made of.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};

use super::json::{Json, array, object, text};
use super::primitive;
use crate::PatientId;

/// Under this address stand the names that Medulla gives: identifier systems, tags, extensions.
pub(super) const NAMESPACE: &str = "https://github.com/medulla-health/medulla/ns";

/// An assigning authority as an identifier's system: an address as it is, an OID and a local name as URN.
/// The way back is `to_events::patient`'s.
pub(super) fn system<'a>(authority: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
    let authority = authority.into();
    if oid(&authority) {
        return Cow::Owned(format!("urn:oid:{authority}"));
    }
    let is_uri =
        authority.contains(':') && !authority.contains(|c: char| c.is_whitespace() || c.is_control());
    if authority.is_empty() || is_uri {
        return authority;
    }
    let mut address = String::with_capacity(7 + authority.len());
    address.push_str("urn:id:");
    percent_encode(&authority, &mut address);
    Cow::Owned(address)
}

/// An OID that names something: the arcs at the top of the tree are registries, and what looks like one of them
/// in a message is a number.
pub(super) fn oid(text: &str) -> bool {
    text.starts_with(['0', '1', '2']) && primitive::is_oid(text) && text.split('.').count() > 3
}

fn percent_encode(name: &str, out: &mut String) {
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(
                [byte >> 4, byte & 0xF].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])),
            );
        }
    }
}

pub(super) fn identifier<'a>(system: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Json<'a> {
    object([("system", text(system)), ("value", text(value))])
}

/// A logical reference: by identifier, for resources that live elsewhere.
pub(super) fn logical<'a>(type_: &'static str, identifier: Json<'a>) -> Json<'a> {
    object([("type", text(type_)), ("identifier", identifier)])
}

pub(super) fn patient_reference(patient: &PatientId) -> Json<'_> {
    logical("Patient", identifier(system(&*patient.authority), &*patient.id))
}

/// A reference to an entry of the same Bundle.
pub(super) fn reference<'a>(url: impl Into<Cow<'a, str>>) -> Json<'a> {
    object([("reference", text(url))])
}

pub(super) fn coding<'a>(
    system: impl Into<Cow<'a, str>>,
    code: impl Into<Cow<'a, str>>,
    display: impl Into<Cow<'a, str>>,
) -> Json<'a> {
    object([("system", text(system)), ("code", text(code)), ("display", text(display))])
}

pub(super) fn concept<'a>(coding: Json<'a>, words: impl Into<Cow<'a, str>>) -> Json<'a> {
    object([("coding", array([coding])), ("text", text(words))])
}

/// One name for one thing, the same in every run: a version 8 UUID (RFC 9562 §5.8) over its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Uuid([u8; 36]);

impl Hash for Uuid {
    /// 60 bits of a SHA-256 tell it well enough.
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Some(last) = self.0.last_chunk::<16>() {
            state.write_u128(u128::from_ne_bytes(*last));
        }
    }
}

impl Uuid {
    pub(super) fn of(parts: &[&str]) -> Self {
        Scope::default().uuid(parts)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 36] {
        &self.0
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// Where each byte's digits stand: a dash is before bytes 4, 6, 8 and 10.
const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// The parts that many names begin with, hashed once.
#[derive(Clone, Default)]
pub(super) struct Scope(Sha256);

impl Scope {
    pub(super) fn of(parts: &[&str]) -> Self {
        let mut scope = Scope::default();
        scope.add(parts);
        scope
    }

    /// With these parts behind its own.
    pub(super) fn and(&self, parts: &[&str]) -> Self {
        let mut scope = self.clone();
        scope.add(parts);
        scope
    }

    /// The name of these parts after those of the scope.
    pub(super) fn uuid(&self, parts: &[&str]) -> Uuid {
        let hash = self.and(parts);
        let mut bytes = [0_u8; 16];
        bytes.iter_mut().zip(hash.0.finalize()).for_each(|(to, from)| *to = from);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = [b'-'; 36];
        for (to, byte) in PLACES.iter().zip(bytes) {
            text[*to] = DIGITS[usize::from(byte >> 4)];
            text[*to + 1] = DIGITS[usize::from(byte & 0xf)];
        }
        Uuid(text)
    }

    fn add(&mut self, parts: &[&str]) {
        for part in parts {
            self.0.update((part.len() as u64).to_be_bytes());
            self.0.update(part);
        }
    }
}

pub(super) fn uuid(parts: &[&str]) -> String {
    Uuid::of(parts).as_str().to_owned()
}

/// The entry of a resource under its own UUID.
pub(super) fn entry<'a>(uuid: &str, resource: Json<'a>) -> Json<'a> {
    object([("fullUrl", text(format!("urn:uuid:{uuid}"))), ("resource", resource)])
}
