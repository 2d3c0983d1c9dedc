//! What is written from HL7 v2, byte for byte. Where a change of it is meant, the digests here change with it.

mod common;

use std::fmt::Write;

use bytes::Bytes;
use clinical::hl7::{Limits, Message, messages};
use clinical::{Feed, Time, fhir};
use common::{files, shared};
use sha2::{Digest, Sha256};

const RECEIVED_AT: Time = Time(1_790_000_000_000);

/// SHA-256 over the Bundles of these files' messages, and how many they were.
fn digest(contents: impl IntoIterator<Item = Vec<u8>>) -> (usize, String) {
    let feed = Feed { authority: "HOSP".into(), zone: "Europe/Zurich".into(), ..Feed::default() };
    let (mut count, mut hash) = (0, Sha256::new());
    for piece in contents.into_iter().flat_map(|bytes| messages(Bytes::from(bytes))) {
        let Ok(message) = Message::parse(piece.bytes, &Limits::default()) else { continue };
        hash.update(fhir::from_hl7(&message, &feed, RECEIVED_AT));
        count += 1;
    }
    let mut hex = String::new();
    hash.finalize().iter().take(8).for_each(|byte| write!(hex, "{byte:02x}").unwrap());
    (count, hex)
}

/// Results with notes, with a participant between, of two orders and two patients; a merge; a document.
#[test]
fn own_messages_become_the_same_bundles() {
    let found = digest([include_bytes!("fhir_golden.hl7").to_vec()]);
    assert_eq!(found, (3, "371831d0b66eb635".to_owned()));
}

#[test]
fn corpora_become_the_same_bundles() {
    let Some(folder) = shared("corpora") else { return };
    let mut paths = files(&folder);
    paths.sort();
    let found = digest(paths.iter().map(|path| std::fs::read(path).unwrap()));
    assert_eq!(found, (1791, "8d11fc6069ff219a".to_owned()));
}
