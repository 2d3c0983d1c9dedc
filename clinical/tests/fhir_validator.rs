//! Every resource that we write from the corpora passes HAPI's R4 validator without an error. Needs Java and the
//! shared judges, and takes minutes: `MEDULLA_JUDGES=1 cargo test -p clinical --test fhir_validator -- --nocapture`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use clinical::hl7::{Limits, Message, messages};
use clinical::{Feed, Time, fhir};

fn shared(path: &str) -> Option<PathBuf> {
    if std::env::var_os("MEDULLA_JUDGES").is_none() {
        println!("skipped: needs Java, and time; set MEDULLA_JUDGES=1");
        return None;
    }
    let root = std::env::var_os("MEDULLA_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = root.join(path);
    if !path.exists() {
        println!("skipped: {} is absent; set MEDULLA_SHARED", path.display());
    }
    path.exists().then_some(path)
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn hapi_finds_no_error() {
    let judge = shared("judges/fhir-validator/fhir-validate");
    let (Some(judge), Some(corpora)) = (judge, shared("corpora")) else { return };
    let folder = std::env::temp_dir().join(format!("medulla-fhir-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut out = std::fs::File::create(folder.join("all.ndjson")).unwrap();
    let feed = Feed { authority: "HOSP".into(), zone: "Europe/Zurich".into(), ..Feed::default() };
    let (mut paths, mut written) = (Vec::new(), 0);
    files(&corpora, &mut paths);
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
