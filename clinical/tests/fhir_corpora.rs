//! Real and synthetic FHIR from the shared corpora. Skipped, with a message, where they are absent.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use clinical::fhir;
use clinical::{EventKind, Feed, Severity, Time};
use common::shared;

fn json_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    files
}

fn feed() -> Feed {
    Feed { authority: "HOSP".into(), zone: "Europe/Zurich".into(), ..Feed::default() }
}

/// The judge finds one fault in these examples: a narrative without `div`.
#[test]
fn us_core_examples_are_read() {
    let Some(dir) = shared("corpora/us-core-examples/input/examples") else { return };
    let mut refused = Vec::new();
    let files = json_files(&dir);
    for file in &files {
        if let Err(issues) = fhir::read(&std::fs::read(file).unwrap()) {
            refused.push((file.file_name().unwrap().to_owned(), issues));
        }
    }
    assert!(files.len() > 200, "only {} files", files.len());
    assert_eq!(refused.len(), 1, "{refused:#?}");
    assert_eq!(refused[0].0, "diagnosticreport-cbc.json");
}

/// Every patient of Synthea's transactions comes with events of his own and no reference stays open.
#[test]
fn synthea_bundles_become_events() {
    let Some(archive) = shared("data/synthea_r4_48_bundles.tar.zst") else { return };
    let dir = std::env::temp_dir().join(format!("medulla-synthea-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let unpacked = Command::new("tar").arg("--zstd").arg("-xf").arg(archive).arg("-C").arg(&dir).status();
    if !unpacked.is_ok_and(|status| status.success()) {
        println!("skipped: tar with zstd is needed to unpack the bundles");
        return;
    }
    let (mut bundles, mut observed) = (0, 0);
    for file in json_files(&dir.join("synthea_r4")) {
        let resource =
            fhir::read(&std::fs::read(&file).unwrap()).unwrap_or_else(|e| panic!("{file:?}: {e:?}"));
        let (events, issues) = fhir::to_events(&resource, &feed(), Time(1_790_000_000_000));
        let errors: Vec<_> = issues.iter().filter(|i| i.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{file:?}: {errors:?}");
        let persons = events.iter().filter(|e| matches!(e.kind, EventKind::Person(_))).count();
        let patients =
            resource.entries().iter().filter(|e| e.resource_type.as_deref() == Some("Patient")).count();
        assert_eq!(persons, patients, "{file:?}");
        assert!(
            events.windows(2).all(|two| two[0].patient == two[1].patient),
            "{file:?}: one patient a bundle"
        );
        observed += events.iter().filter(|e| matches!(e.kind, EventKind::Observed(_))).count();
        bundles += 1;
    }
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(bundles >= 40 && observed > 5_000, "{bundles} bundles, {observed} observations");
}

/// Every HL7 v2 message of the corpora becomes a Bundle that our own R4 checks pass, and no field is dropped.
#[test]
fn hl7_corpora_become_valid_bundles() {
    let Some(dir) = shared("corpora") else { return };
    let (mut messages, mut folders, mut fates) = (0, vec![dir], [0_usize; 3]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = bytes::Bytes::from(std::fs::read(&path).unwrap());
            for piece in clinical::hl7::messages(bytes) {
                let Ok(message) = clinical::hl7::Message::parse(piece.bytes, &Default::default()) else {
                    continue;
                };
                let bundle = fhir::from_hl7(&message, &feed(), Time(1_790_000_000_000));
                let read = fhir::read(&bundle).unwrap_or_else(|issues| panic!("{path:?}: {issues:?}"));
                assert_eq!(read.warnings(), [], "{path:?}");
                for (field, fate) in fhir::coverage(&message, &feed(), Time(1_790_000_000_000)) {
                    assert_ne!(fate, fhir::Fate::Dropped, "{path:?}: {field}");
                    fates[fate as usize] += 1;
                }
                messages += 1;
            }
        }
    }
    let [mapped, kept, _] = fates;
    println!("{messages} messages, {mapped} fields mapped, {kept} kept");
    assert!(messages > 700, "only {messages} messages");
    assert!(mapped > 2 * kept, "{mapped} fields mapped, {kept} kept");
}
