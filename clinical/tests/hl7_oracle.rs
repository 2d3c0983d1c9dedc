//! Every well-formed message of the corpora reads as HAPI's parser reads it: segments, and each value by its path.
//! Needs Java and the shared judges: `MEDULLA_JUDGES=1 cargo test -p clinical --test hl7_oracle -- --nocapture`.

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use bytes::Bytes;
use clinical::hl7::{Limits, Message};
use common::judge;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Differences at most; each is explained by [`is_explained`].
const MESSAGES_DIFFERENT_MAX: usize = 20;

#[test]
fn hapi_reads_the_same() {
    let Some((judge, corpora)) = judge("judges/hl7-oracle/hl7-oracle") else { return };
    let output = Command::new(judge).arg("--leaves").arg(&corpora).output().unwrap();
    let (mut same, mut different, mut refused, mut leaves) = (0, 0, 0, 0);
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let theirs: Value = serde_json::from_str(line).unwrap();
        match theirs["ok"].as_bool() {
            Some(true) => {
                let (read, unexplained) = compare(&theirs);
                leaves += read;
                match unexplained {
                    None => same += 1,
                    Some(0) => different += 1,
                    Some(count) => panic!("{} {}: {count} differences", theirs["file"], theirs["offset"]),
                }
            }
            Some(false) => refused += 1,
            None => {}
        }
    }
    println!(
        "{same} messages read alike, {different} differ as explained, {refused} HAPI refuses; {leaves} values"
    );
    assert!(same > 1_700 && different <= MESSAGES_DIFFERENT_MAX, "{same} alike, {different} different");
}

/// How many values were compared; `None`: all are the same, else how many differ without an explanation.
fn compare(theirs: &Value) -> (usize, Option<usize>) {
    let bytes = std::fs::read(theirs["file"].as_str().unwrap()).unwrap();
    let from = theirs["offset"].as_u64().unwrap() as usize;
    let piece = clinical::hl7::messages(Bytes::from(bytes)).find(|piece| piece.offset == from);
    let piece = piece.unwrap_or_else(|| panic!("{} has no message at {from}", theirs["file"]));
    let message = Message::parse(piece.bytes, &Limits::default()).unwrap();
    let ours = values(&message);
    let list = theirs["values"].as_object().unwrap();
    let list: BTreeMap<&str, &str> = list
        .iter()
        .filter(|(path, _)| !path.starts_with("MSH[1]-1[") && !path.starts_with("MSH[1]-2["))
        .map(|(path, value)| (path.as_str(), value.as_str().unwrap()))
        .collect();
    let segments: Vec<&str> =
        theirs["segments"].as_array().unwrap().iter().map(|segment| segment[0].as_str().unwrap()).collect();
    let names: Vec<_> = message.segments().map(|segment| segment.name().into_owned()).collect();
    assert_eq!(names, segments, "{} {from}", theirs["file"]);
    let paths: std::collections::BTreeSet<&str> =
        ours.keys().map(String::as_str).chain(list.keys().copied()).collect();
    let differ: Vec<_> = paths
        .into_iter()
        .map(|path| (ours.get(path).map(|(_, text)| hashed(text)), list.get(path), ours.get(path)))
        .filter(|(our, their, _)| our.as_deref() != their.copied())
        .collect();
    let unexplained =
        differ.iter().filter(|(.., raw)| !is_explained(&message, raw.map(|(raw, _)| raw.as_slice())));
    (list.len(), (!differ.is_empty()).then(|| unexplained.count()))
}

/// HAPI leaves `\Xdd\` and formatting as they are, drops a lone escape character, takes a delimiter that stands twice
/// in MSH-2 for the later one, and believes a charset that the bytes contradict.
fn is_explained(message: &Message, raw: Option<&[u8]>) -> bool {
    let issues = message.issues();
    let told = |code: &str| issues.iter().any(|issue| issue.code == code);
    told("charset-mislabelled") || told("delimiters-repeated") || raw.is_some_and(|raw| raw.contains(&b'\\'))
}

/// Bytes and text of each value, by the judge's paths.
fn values(message: &Message) -> BTreeMap<String, (Vec<u8>, String)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for segment in message.segments() {
        let name = segment.name().into_owned();
        let nth = *counts.entry(name.clone()).and_modify(|n| *n += 1).or_insert(1);
        for (number, field) in segment.fields().filter(|(number, _)| segment.position() > 0 || *number > 2) {
            for (r, repetition) in field.repetitions().enumerate() {
                for (c, component) in repetition.components().enumerate() {
                    for (s, leaf) in component.subcomponents().enumerate() {
                        let path = format!("{name}[{nth}]-{number}[{}].{}.{}", r + 1, c + 1, s + 1);
                        let text = leaf.text().into_owned();
                        if !text.is_empty() {
                            found.insert(path, (leaf.raw().to_vec(), text));
                        }
                    }
                }
            }
        }
    }
    found
}

/// As the judge shortens long values.
fn hashed(text: &str) -> String {
    if text.encode_utf16().count() <= 256 {
        return text.to_owned();
    }
    let hash = Sha256::digest(text.as_bytes());
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
