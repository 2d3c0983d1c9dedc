//! Every HL7 v2 file of the shared corpora is read without a panic and written back byte for byte.
//! Skipped, with a message, where the corpora are not there.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use clinical::hl7::{Limits, Message, ParseError, PieceKind, Status, ack, check, split};
use clinical::{Feed, Time};
use common::{files, shared};

/// 2026-01-01.
const NOW: Time = Time(1_767_225_600_000);

fn each_file(mut visit: impl FnMut(&Path, Bytes)) -> bool {
    let Some(corpora) = shared("corpora") else { return false };
    let mut found = files(&corpora);
    found.sort();
    for path in found {
        let bytes = Bytes::from(std::fs::read(&path).unwrap());
        visit(&path, bytes);
    }
    true
}

#[test]
fn every_file_is_written_back_byte_for_byte() {
    let (mut messages, mut refused) = (0, BTreeMap::new());
    let there = each_file(|path, bytes| {
        let mut out = Vec::new();
        for piece in split(bytes.clone()) {
            match (piece.kind, Message::parse(piece.bytes.clone(), &Limits::default())) {
                (PieceKind::Message, Ok(message)) => {
                    messages += 1;
                    let written = message.write();
                    assert_eq!(written, piece.bytes, "{} at {}", path.display(), piece.offset);
                    out.extend(written);
                }
                (PieceKind::Message, Err(error)) => {
                    *refused.entry(error.code()).or_insert(0) += 1;
                    out.extend_from_slice(&piece.bytes);
                }
                (_, parsed) => {
                    assert!(matches!(
                        parsed,
                        Err(ParseError::MshMissing | ParseError::Empty | ParseError::WideDamaged)
                    ));
                    out.extend_from_slice(&piece.bytes);
                }
            }
        }
        assert_eq!(out, bytes, "{}", path.display());
    });
    println!("{messages} messages, refused: {refused:?}");
    assert!(!there || (messages > 1700 && refused.values().sum::<i32>() < 20));
}

#[test]
fn every_message_is_reported_and_answered() {
    let feed = Feed { zone: "America/New_York".into(), ..Feed::default() };
    let (mut statuses, mut codes) = (BTreeMap::new(), BTreeMap::new());
    let there = each_file(|path, bytes| {
        for piece in split(bytes.clone()).filter(|p| p.kind == PieceKind::Message) {
            let answer = match Message::parse(piece.bytes.clone(), &Limits::default()) {
                Ok(message) => ack::accept(&message, ack::Mode::Application, NOW, "1"),
                Err(error) => match ack::refuse_bytes(&piece.bytes, &[error.to_issue()], NOW, "1") {
                    Some(answer) => answer,
                    None => continue,
                },
            };
            ack::read(&answer).unwrap_or_else(|e| panic!("{} at {}: {e}", path.display(), piece.offset));
        }
        if !split(bytes.clone()).any(|p| p.kind == PieceKind::Message) {
            return;
        }
        for report in check(bytes, &path.display().to_string(), &feed, &Limits::default(), NOW) {
            *statuses.entry(format!("{:?}", report.status)).or_insert(0) += 1;
            let rejected = report.status == Status::Rejected;
            assert!(!rejected || !report.issues.is_empty());
            let seen: std::collections::BTreeSet<_> = report.issues.into_iter().map(|i| i.code).collect();
            seen.into_iter().for_each(|code| *codes.entry(code).or_insert(0) += 1);
        }
    });
    println!("{statuses:?}\n{codes:#?}");
    assert!(!there || statuses.get("Ok").is_some_and(|n: &i32| *n > 500));
}
