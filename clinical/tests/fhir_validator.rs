//! Every resource that we write from the corpora passes HAPI's R4 validator without an error. Needs Java and the
//! shared judges, and takes minutes: `MEDULLA_JUDGES=1 cargo test -p clinical --test fhir_validator -- --nocapture`.

mod common;

use std::io::Write;
use std::process::Command;

use clinical::hl7::{Limits, Message, messages};
use clinical::{Feed, Time, fhir};
use common::{files, judge};

#[test]
fn hapi_finds_no_error() {
    let Some((judge, corpora)) = judge("judges/fhir-validator/fhir-validate") else { return };
    let folder = std::env::temp_dir().join(format!("medulla-fhir-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut out = std::fs::File::create(folder.join("all.ndjson")).unwrap();
    let feed = Feed { authority: "HOSP".into(), zone: "Europe/Zurich".into(), ..Feed::default() };
    let (paths, mut written) = (files(&corpora), 0);
    for path in paths {
        for piece in messages(std::fs::read(&path).unwrap().into()) {
            let Ok(message) = Message::parse(piece.bytes, &Limits::default()) else { continue };
            out.write_all(&fhir::from_hl7(&message, &feed, Time(1_790_000_000_000))).unwrap();
            out.write_all(b"\n").unwrap();
            written += 1;
        }
    }
    let output = Command::new(judge).arg("--quiet").arg(&folder).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let verdicts = String::from_utf8(output.stdout).unwrap();
    let summary: serde_json::Value = serde_json::from_str(verdicts.lines().last().unwrap()).unwrap();
    println!("{written} messages: {summary}");
    assert!(written > 1_700 && summary["resources"].as_u64() > Some(30_000), "{summary}");
    assert_eq!(summary["errors"], 0, "{summary}");
}
