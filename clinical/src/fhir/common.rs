//! Pieces that every resource we write is made of.

use sha2::{Digest, Sha256};

use super::json::{Json, array, object, text};
use super::primitive;
use crate::PatientId;

/// Under this address stand the names that Medulla gives: identifier systems, tags, extensions.
pub(super) const NAMESPACE: &str = "https://github.com/medulla-health/medulla/ns";

/// An assigning authority as an identifier's system: an address as it is, an OID and a local name as URN.
/// The way back is `to_events::patient`'s.
pub(super) fn system(authority: &str) -> String {
    if oid(authority) {
        return format!("urn:oid:{authority}");
    }
    let is_uri = authority.contains(':') && !authority.contains(char::is_whitespace);
    if authority.is_empty() || is_uri {
        return authority.to_owned();
    }
    format!("urn:id:{}", percent_encode(authority))
}

/// An OID that names something: the arcs at the top of the tree are registries, and what looks like one of them
/// in a message is a number.
pub(super) fn oid(text: &str) -> bool {
    primitive::is_oid(text) && text.split('.').count() > 3
}

fn percent_encode(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    name.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

pub(super) fn identifier(system: impl AsRef<str>, value: impl AsRef<str>) -> Json {
    object([("system", text(system)), ("value", text(value))])
}

/// A logical reference: by identifier, for resources that live elsewhere.
pub(super) fn logical(type_: &str, identifier: Json) -> Json {
    object([("type", text(type_)), ("identifier", identifier)])
}

pub(super) fn patient_reference(patient: &PatientId) -> Json {
    logical("Patient", identifier(system(&patient.authority), &patient.id))
}

/// A reference to an entry of the same Bundle.
pub(super) fn reference(url: &str) -> Json {
    object([("reference", text(url))])
}

pub(super) fn coding(system: impl AsRef<str>, code: impl AsRef<str>, display: impl AsRef<str>) -> Json {
    object([("system", text(system)), ("code", text(code)), ("display", text(display))])
}

pub(super) fn concept(coding: Json, words: impl AsRef<str>) -> Json {
    object([("coding", array([coding])), ("text", text(words))])
}

/// One name for one thing, the same in every run: a version 8 UUID (RFC 9562 §5.8) over its SHA-256.
pub(super) fn uuid(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut bytes = [0_u8; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let digits = [byte >> 4, byte & 0xf].map(|d| char::from_digit(u32::from(d), 16).unwrap_or('0'));
        text.extend(digits);
    }
    text
}

/// The entry of a resource under its own UUID.
pub(super) fn entry(uuid: &str, resource: Json) -> Json {
    object([("fullUrl", text(format!("urn:uuid:{uuid}"))), ("resource", resource)])
}
