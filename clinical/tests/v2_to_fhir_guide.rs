//! The rows of our maps against those of HL7's v2-to-FHIR guide. Skipped, with a message, where the corpora are absent.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::shared;

const MAPS: &str = include_str!("../src/fhir/from_hl7/maps.txt");
const CONCEPTS: &str = include_str!("../src/fhir/from_hl7/concepts.txt");

/// Rows that the guide does not have, by segment and resource, with the reason.
const BEYOND: &[(&str, &str)] = &[
    ("IN1 Coverage.status", "R4 demands one"),
    ("RXA Immunization.status", "R4 demands one"),
    (
        "RXO-1 MedicationRequest.medicationCodeableConcept",
        "the guide's Medication.code, without a resource between",
    ),
    ("PRB Condition", "the guide has no PRB; its DG1 is followed"),
    ("RXE MedicationRequest", "the guide has of RXE one row; its RXO is followed"),
    ("RXA MedicationAdministration", "the guide maps RXA to Immunization alone; RAS brings the same segment"),
    ("RXR MedicationAdministration", "as RXA"),
    ("IN1-8 Coverage.class", "group number: R4 has a place for it"),
    ("IN1-9 Coverage.class", "group name: R4 has a place for it"),
    ("IN1-36 Coverage.subscriberId", "policy number: R4 has a place for it"),
    ("OBR-15 Specimen.type", "the guide maps SPS as a whole"),
    ("OBR-27 ServiceRequest.priority", "the guide maps TQ as a whole; its priority is component 6"),
    ("SCH-11 Appointment.start", "the guide maps TQ as a whole"),
    ("SCH-11 Appointment.end", "the guide maps TQ as a whole"),
    ("AIS-4 Appointment.start", "the guide's participant.period; R4 asks for the appointment's own start"),
    ("AIS-7 Appointment.minutesDuration", "the guide's end is start and duration"),
    ("DG1 Condition.category", "R4 tells a diagnosis from a problem by it"),
    ("NTE Annotation", "the guide maps NTE by resource; each has the same note"),
    (
        "ORC-4 MedicationRequest.groupIdentifier",
        "the guide has no ORC for MedicationRequest; its ServiceRequest is followed",
    ),
    ("ORC MedicationRequest", "as above"),
    ("TQ1-11 MedicationRequest.dosageInstruction", "the guide's text is Dosage.text"),
    ("PRT PractitionerRole", "rows of the guide's PRT maps for other resources"),
    ("ROL PractitionerRole", "the guide's rows stand below Encounter and Patient"),
];

const MAPPINGS: &str = "corpora/v2-to-fhir-ig/mappings";

fn tables(folder: &Path) -> Vec<(String, Vec<csv::StringRecord>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_path(&path).unwrap();
        found.push((name, reader.records().skip(2).map(Result::unwrap).collect()));
    }
    found
}

/// `SEGMENT-FIELD Resource.element` of the guide, the element's first step only.
fn of_guide(folder: &Path) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for (file, records) in tables(folder) {
        let Some((_, rest)) = file.split_once("R4_ ") else { continue };
        let Some((segment, rest)) = rest.split_once('[') else { continue };
        let resource = rest.split([']', '-']).next().unwrap();
        for record in records {
            let (field, element) =
                (record.get(1).unwrap_or_default().trim(), record.get(9).unwrap_or_default());
            let field = field.trim_end_matches('*');
            let element = element.split(['.', '[', '(', '=', ' ']).next().unwrap();
            if !element.is_empty() {
                let field = if field.is_empty() { segment } else { field };
                rows.insert(format!("{field} {resource}.{element}"));
                // A part of a resource that we map on its own.
                if let Some(part) = record.get(9).and_then(|path| path.split('.').nth(1)) {
                    let part = part.split(['[', '(']).next().unwrap_or_default();
                    rows.insert(format!("{field} {resource}.{element}.{part}"));
                }
            }
        }
    }
    rows
}

/// The same of ours; a constant that depends on no field has none.
fn ours() -> Vec<String> {
    let (mut rows, mut segment, mut resource) = (Vec::new(), "", "");
    for line in MAPS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match line.strip_prefix("  ") {
            None => (segment, resource) = line.split_once(' ').unwrap(),
            Some(row) => {
                let mut words = row.split(' ');
                let field = words.next().unwrap().split('.').next().unwrap();
                let element = words.nth(1).unwrap().split(['.', '(']).next().unwrap();
                let field = if field == "*" { segment.to_owned() } else { format!("{segment}-{field}") };
                rows.push(format!("{field} {resource}.{element}"));
            }
        }
    }
    rows
}

fn is_beyond(row: &str) -> bool {
    BEYOND.iter().any(|(rows, _)| is_beyond_by(rows, row))
}

#[test]
fn every_row_is_the_guides_or_named_as_going_beyond_it() {
    let Some(mappings) = shared(MAPPINGS) else { return };
    let guide = of_guide(&mappings.join("segments"));
    let ours = ours();
    let unknown: Vec<_> = ours.iter().filter(|row| !guide.contains(*row) && !is_beyond(row)).collect();
    assert!(unknown.is_empty(), "not in the guide: {unknown:#?}");
    let needless: Vec<_> = BEYOND
        .iter()
        .filter(|(rows, _)| !ours.iter().any(|row| is_beyond_by(rows, row) && !guide.contains(row)))
        .collect();
    assert!(needless.is_empty(), "the guide has these by now: {needless:#?}");
    println!(
        "{} rows, {} of them the guide's",
        ours.len(),
        ours.iter().filter(|row| guide.contains(*row)).count()
    );
}

fn is_beyond_by(rows: &str, row: &str) -> bool {
    let (field, element) = row.split_once(' ').unwrap();
    let (segment, resource) = (field.split('-').next().unwrap(), element.split('.').next().unwrap());
    rows == row || rows == format!("{segment} {resource}") || rows == format!("{segment} {element}")
}

/// Codes that the guide leaves out or maps to something else: map, v2 codes, why.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("AdministrativeSex", "X", "non-binary, of newer tables"),
    ("TelecommunicationUseCode", "ORN VHN", "other and vacation home: FHIR's use knows no more than home"),
    ("TelecommunicationEquipmentType", "CP", "the guide's mobile is a use and no system; we give both"),
    ("TelecommunicationEquipmentType", "SAT", "a satellite phone is a phone"),
    ("PatientClass[EncounterClass]", "B R", "the guide keeps v2's codes, which R4's ActCode does not have"),
    (
        "Event[EncounterStatus]",
        "A04 A06 A07 A08 A12",
        "the patient is there: the readers take these for a running visit",
    ),
    (
        "ObservationResultStatusCodesInterpretation",
        "U V B I O R S",
        "the guide leaves them open; table 0085 says what they are",
    ),
    ("ResultStatus[Non-Queries]", "A M", "the guide leaves them open; table 0123 says what they are"),
    ("OrderStatus", "A", "some, but not all, results available: the order runs"),
];

#[test]
fn every_code_is_the_guides() {
    let Some(mappings) = shared(MAPPINGS) else { return };
    let mut guide: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for (file, records) in tables(&mappings.join("codesystems")) {
        let Some((_, rest)) = file.split_once("Map_ ") else { continue };
        let name = rest.trim_end_matches(".csv").trim_end_matches(" - Sheet1").to_owned();
        for record in records {
            let (v2, fhir) =
                (record.get(0).unwrap_or_default().trim(), record.get(6).unwrap_or_default().trim());
            guide.entry((name.clone(), v2.to_owned())).or_default().insert(fhir.to_owned());
        }
    }
    let mut wrong = Vec::new();
    for line in CONCEPTS.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        for word in words.skip(1) {
            let (v2, code) = word.split_once('=').unwrap_or((word, word));
            let theirs = guide.get(&(name.to_owned(), v2.to_owned()));
            let same = theirs.is_some_and(|codes| codes.contains(code));
            let known =
                |(map, codes, _): &(&str, &str, &str)| *map == name && codes.split(' ').any(|c| c == v2);
            if !same && !DIFFERENT.iter().any(known) {
                wrong.push(format!("{name} {v2}={code}, the guide {theirs:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
