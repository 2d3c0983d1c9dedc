//! Any bytes: no panic, each byte written back, an answer that reads, and FHIR that our own R4 checks pass.
#![no_main]

use bytes::Bytes;
use clinical::hl7::{Limits, Message, ack, check, split, to_events};
use clinical::{Feed, Time, fhir};
use libfuzzer_sys::fuzz_target;

const NOW: Time = Time(1_767_225_600_000);

fuzz_target!(|bytes: &[u8]| {
    let bytes = Bytes::copy_from_slice(bytes);
    let feed = Feed { authority: "HOSP".into(), zone: "Europe/Zurich".into(), ..Feed::default() };
    let limits = Limits::default();
    let mut whole = Vec::new();
    for piece in split(bytes.clone()) {
        whole.extend_from_slice(&piece.bytes);
        let Ok(message) = Message::parse(piece.bytes.clone(), &limits) else {
            continue;
        };
        assert_eq!(message.write(), piece.bytes);
        let _ = to_events(&message, &feed, NOW);
        let answer = ack::accept(&message, ack::Mode::Application, NOW, "1");
        assert!(ack::read(&answer).is_ok());
        let bundle = fhir::from_hl7(&message, &feed, NOW);
        let read = fhir::read(&bundle);
        assert!(read.is_ok_and(|bundle| bundle.warnings().is_empty()), "what we write is R4");
        let fates = fhir::coverage(&message, &feed, NOW);
        assert!(fates.iter().all(|(_, fate)| *fate != fhir::Fate::Dropped), "a field was dropped");
    }
    assert_eq!(whole, bytes);
    let _ = ack::empty_batch(&bytes, NOW, "1");
    check(bytes, "f", &feed, &limits, NOW).for_each(drop);
});
