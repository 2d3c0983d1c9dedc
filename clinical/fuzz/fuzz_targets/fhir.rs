//! Any bytes: no panic, and what is read gives its bytes back.
#![no_main]

use clinical::{Feed, Time, fhir};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let feed = Feed { authority: "HOSP".into(), zone: "Europe/Zurich".into(), ..Feed::default() };
    match fhir::read(bytes) {
        Ok(resource) => {
            let _ = fhir::to_events(&resource, &feed, Time(1_767_225_600_000));
        }
        Err(issues) => assert!(!issues.is_empty(), "a refusal says why"),
    }
});
