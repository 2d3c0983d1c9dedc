//! The rows of our maps against those of HL7's v2-to-FHIR guide. Skipped, with a message, where the corpora are absent.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::shared;

const MAPS: &str = include_str!("../src/fhir/from_hl7/maps.txt");
const BY_HAND: &str = include_str!("../src/fhir/from_hl7/by_hand.txt");
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

/// Rows of the guide that we leave out, and why: of a segment for a resource, of a field, or of a field for an element.
/// What stands in such a field and nowhere else is kept as it was sent.
const LEFT_OUT: &[(&str, &str)] = &[
    ("AIS ServiceRequest", OTHER),
    ("DG1 EpisodeOfCare", OTHER),
    ("IN3 CareTeam", OTHER),
    ("MRG Account", OTHER),
    ("MSA MessageHeader", "an answer is no message of its own here"),
    ("MSH Encounter", "the trigger: encounter.rs reads it with PV1"),
    ("MSH Provenance", "who transmitted and who converted: our Provenance is EVN's"),
    ("NK1 Patient", "the contact's RelatedPerson is enough"),
    ("NTE DocumentReference", OTHER),
    ("ORC DiagnosticReport", "OBR says the same"),
    ("ORC Provenance", "our Provenance is EVN's"),
    ("PD1 Observation", OTHER),
    ("PID Account", OTHER),
    ("PID Appointment", "the appointment refers to the patient"),
    ("PID Provenance", "our Provenance is EVN's"),
    ("PRT CareTeam", OTHER),
    ("PRT Device", OTHER),
    ("PRT Observation", OTHER),
    ("PRT Patient", "a PractitionerRole of its own"),
    ("PRT RelatedPerson", OTHER),
    ("PV1 Basic", OTHER),
    ("PV1 Coverage", OTHER),
    ("PV1 Patient", OTHER),
    ("ROL CareTeam", OTHER),
    ("ROL Encounter", "as the Patient's: a PractitionerRole of its own"),
    ("ROL Patient", "a PractitionerRole of its own"),
    ("ROL RelatedPerson", OTHER),
    ("SCH Provenance", "our Provenance is EVN's"),
    ("SCH ServiceRequest", OTHER),
    ("SFT Device", OTHER),
    ("TXA Provenance", "our Provenance is EVN's"),
    ("AIG-9", OFFSET),
    ("AIG-11", OFFSET),
    ("AIL-7", OFFSET),
    ("AIL-9", OFFSET),
    ("AIP-7", OFFSET),
    ("AIP-9", OFFSET),
    ("AIP-12", "each resource's own status; R4 knows those of a participant's answer"),
    ("AIS-4 Appointment.participant", "the appointment's own start"),
    ("AIS-5", OFFSET),
    ("AIS-7 Appointment.participant", "the appointment's own duration"),
    ("AIS-10", "SCH-25 has the appointment's status"),
    ("AL1-2 AllergyIntolerance.category.extension", LATER),
    ("AL1-4 AllergyIntolerance.criticality.extension", LATER),
    ("IAM-2 AllergyIntolerance.category.extension", LATER),
    ("IAM-4 AllergyIntolerance.criticality.extension", LATER),
    ("DG1-19 Condition.extension", "the same time as recordedDate, which it has"),
    ("DG1-22", LATER),
    ("DG1 Encounter.diagnosis", "the Condition, which the diagnosis refers to"),
    ("EVN Provenance.activity", "a constant"),
    ("EVN-4 Provenance.reason.extension", LATER),
    ("EVN-7", "a place that is only an HD"),
    ("IAM-14", "a recorder who is only a name"),
    ("IAM-15", "as IAM-14"),
    ("IAM-17", "the guide's clinicalStatus takes no code of table 0438"),
    ("IAM-27", "IAM-3 is the code"),
    ("IN1-5 Coverage.payer", "R4's payor, to whom the address belongs"),
    ("IN1-10", "a policy holder who is only a number"),
    ("IN1-16", "the insured is the beneficiary or only a name"),
    ("IN1-49", LATER),
    ("MSH Bundle.type", "ours is a transaction: each resource a PUT"),
    ("MSH-4 MessageHeader.sender", REFERRED),
    ("MSH-6 MessageHeader.destination", REFERRED),
    ("MSH-8", META),
    ("MSH-11", META),
    ("MSH-26", META),
    ("MSH-27", META),
    ("MSH-17", "the country of the sender is no address"),
    ("MSH-19", "R4's language is the resource's own"),
    ("MSH-22 MessageHeader.responsible", REFERRED),
    ("MSH-23", "MSH-6 is the receiver"),
    ("NTE-3 Appointment.extension", LATER),
    ("NTE-4", LATER),
    ("NTE-5 Appointment.extension", LATER),
    ("NTE-6 Appointment.extension", LATER),
    ("NTE-9", LATER),
    ("OBR-7 DiagnosticReport.effectivePeriod", "the time of the specimen, as effectiveDateTime"),
    ("OBR-8", "the end of what OBR-7 begins"),
    ("OBR-34 DiagnosticReport.performer.extension", LATER),
    ("OBR-35 DiagnosticReport.performer.extension", LATER),
    ("OBR ServiceRequest.intent", "order.rs: order"),
    ("OBR-11", "what is added to an order is an order"),
    ("OBR-13", "danger and fasting in free words"),
    ("OBR-17", "a number of whoever is called back"),
    ("OBR-27 ServiceRequest.$this", TQ),
    ("OBR-29", "the parent's number alone is no resource here"),
    ("OBR-2 Specimen.accessionIdentifier", "the order's number, which the order has"),
    ("OBR-15 Specimen.$this", "row by row in maps.txt"),
    ("OBR-39", "words about a collection that no SPM tells of"),
    ("OBX Observation.component", "an OBX is an Observation, never a component"),
    ("OBX-5 Observation.component.extension", "as above"),
    ("OBX-4", "an OG; the sub-id is part of the Observation's id"),
    ("OBX-5 Observation.derivedFrom", "document.rs writes it, and the document's fields hold the value"),
    ("OBX-5 Observation.extension", "an attachment is a DocumentReference, which R4 has a place for"),
    ("OBX-11 Observation.status.extension", LATER),
    ("OBX-11 Observation.dataAbsentReason", "N is read as no status that R4 has"),
    ("OBX-15", "a producer by a code alone"),
    ("OBX-19", "the guide names no address for its extension"),
    ("OBX-29", "the guide's category has no code"),
    ("OBX-30", LATER),
    ("OBX-33", "the specimen of the group is referred to"),
    ("ORC-4 Immunization.identifier", "the group's number"),
    ("ORC-4 ServiceRequest.identifier", "requisition has it"),
    ("ORC-28", META),
    ("ORC-1 MedicationAdministration.extension", LATER),
    ("ORC-1 ServiceRequest.intent", "order.rs: order"),
    ("ORC-1 ServiceRequest.extension", LATER),
    ("ORC-7", TQ),
    ("ORC-9 ServiceRequest.extension", LATER),
    ("ORC-14", "a number of whoever is called back"),
    ("ORC-21", "a requester is a person here"),
    ("ORC-22", "as ORC-21"),
    ("ORC-23", "as ORC-21"),
    ("ORC-24", "as ORC-21"),
    ("ORC-29", "a kind of order is no place"),
    ("ORC-38", "new in v2.9; ORC-2 to -4 number the order"),
    ("PID-21", "a mother who is only a number"),
    ("PID-39", "a tribe's citizenship is none of PID-26's countries"),
    ("PR1-5 Procedure.performedPeriod", "as performedDateTime: PR1-7 is a duration in minutes"),
    ("PR1-7", "a duration in minutes"),
    ("PR1-16", "modifiers of the code"),
    ("PR1-25", "the parent's number alone is no resource here"),
    ("PRT-6", "specialty: few senders of PRT"),
    ("PRT-7", "PRT-8 is the organization"),
    ("PRT-14", "an address of somebody who has none in PRT"),
    ("PRT-23", LATER),
    ("PRT-24", "PRT-1 is the identifier"),
    (
        "PV1-2 Encounter.status",
        "encounter.rs, with the trigger and PV1-45: the class alone does not say the status",
    ),
    ("PV1-45 Encounter.status", "as above"),
    ("PV1-3 Encounter.location", REFERRED),
    ("PV1-6 Encounter.location", REFERRED),
    ("PV1-11 Encounter.location.extension", LATER),
    ("PV1-40", "the bed's state, in a Location that is the bed's for all visits"),
    ("PV1-53", OTHER),
    ("PV1-54", OTHER),
    ("PV2-8", LATER),
    ("PV2-9", LATER),
    ("PV2-12", "a narrative is made of the resource"),
    ("PV2-22", META),
    ("RXA-28", "the address of RXA-27, which is a place"),
    ("RXO MedicationRequest.intent", "medication.rs: original-order"),
    ("RXO-1 MedicationRequest.medication", "as a concept, without a resource between"),
    ("RXO-5", "Medication: we make none"),
    ("RXO-18", "Medication: we make none"),
    ("RXO-19", "Medication: we make none"),
    ("RXO-25", "Medication: we make none"),
    ("RXO-26", "Medication: we make none"),
    ("RXE-19", "a total dose a day in a field whose period is only said in words"),
    (
        "SCH-7 Appointment.appointmentType",
        "a reason, unless it says that it is of table 0277, which SCH-8 has",
    ),
    ("SCH-11 Appointment.$this", TQ),
    ("SPM-3", "the parent's number alone is no resource here"),
    ("TQ1-3", "a repeat pattern of table 0335 is no Timing"),
    ("TQ1-4", "explicit times of a repeat pattern"),
    ("TQ1-5", "as TQ1-3"),
    ("TQ1-6", "a duration of service: the end that TQ1-8 has"),
    ("TQ1-11 MedicationRequest.text", "R4's text is the narrative; ours is dosageInstruction.text"),
    ("TQ1-13", "as TQ1-3"),
    ("TQ1-14", "as TQ1-3"),
    ("TXA-3", "each attachment's type is its OBX's"),
    ("TXA-6 DocumentReference.extension", LATER),
    ("TXA-17", "table 0271 has no map to R4's docStatus"),
    ("TXA-19 DocumentReference.status.extension", "R4 demands a status; the code itself is kept"),
];

const OTHER: &str = "a resource that we do not make";
const LATER: &str = "an extension that R4 does not have, or that repeats a code which is mapped or kept";
const META: &str = "the labels of a message are not its resources'";
const OFFSET: &str = "offset and duration of one participant";
const REFERRED: &str = "by reference: what the field says stands in the resource that is referred to";
const TQ: &str = "a TQ as a whole, of before v2.5: the components that we map have rows";

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

/// A row of `maps.txt`.
struct Row {
    segment: &'static str,
    /// `PID-3`, or the segment's name where the row depends on no field.
    field: String,
    resource: &'static str,
    type_: &'static str,
    path: &'static str,
}

fn rows_of_maps() -> Vec<Row> {
    let (mut rows, mut segment, mut resource) = (Vec::new(), "", "");
    for line in MAPS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match line.strip_prefix("  ") {
            None => (segment, resource) = line.split_once(' ').unwrap(),
            Some(row) => {
                let mut words = row.split(' ');
                let field = words.next().unwrap().split('.').next().unwrap();
                let field = if field == "*" { segment.to_owned() } else { format!("{segment}-{field}") };
                let (type_, path) = (words.next().unwrap(), words.next().unwrap());
                rows.push(Row { segment, field, resource, type_, path });
            }
        }
    }
    rows
}

/// The same of ours; a constant that depends on no field has none.
fn ours() -> Vec<String> {
    let row = |Row { field, resource, path, .. }: Row| {
        let element = path.split(['.', '(']).next().unwrap().trim_start_matches('_');
        format!("{field} {resource}.{element}")
    };
    rows_of_maps().into_iter().map(row).collect()
}

/// `SEGMENT-FIELD Resource.element` of a path, and its extension where it has one.
fn row_of(field: &str, resource: &str, path: &str) -> Option<String> {
    let mut steps =
        path.split('.').map(|step| step.split(['[', '(', '=', ' ', ')']).next().unwrap_or_default());
    let first = steps.next()?.trim_start_matches('_');
    let extended = if steps.next() == Some("extension") && first != "extension" { ".extension" } else { "" };
    (!first.is_empty()).then(|| format!("{field} {resource}.{first}{extended}"))
}

/// What `maps.txt` and code write; `*` at the end of an element stands for all that begin so.
fn written() -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for Row { segment, field, resource, type_, path } in rows_of_maps() {
        let within = match resource {
            "Annotation" => format!("*.note.{path}"),
            _ => format!("{resource}.{path}"),
        };
        let (resource, path) = within.split_once('.').unwrap();
        rows.extend(row_of(&field, resource, path));
        // The unit of a number, the address of an organization.
        if let Some((_, beside)) = type_.split_once('/') {
            rows.extend(row_of(&format!("{segment}-{beside}"), resource, path));
        }
    }
    for line in BY_HAND.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let field = words.next().unwrap();
        for element in words {
            let (resource, path) = element.split_once('.').unwrap();
            rows.extend(row_of(field, resource, path));
        }
    }
    rows
}

/// A row of the guide that nobody maps and nobody has left out shows here.
#[test]
fn every_row_of_the_guide_is_ours_or_left_out_for_a_reason() {
    let Some(mappings) = shared(MAPPINGS) else { return };
    let ours = written();
    let has = |row: &str| {
        let (field, element) = row.split_once(' ').unwrap();
        let anywhere = format!("{field} *.{}", element.split_once('.').unwrap().1);
        ours.iter().any(|own| {
            own == row
                || *own == anywhere
                || own.strip_suffix('*').is_some_and(|begin| row.starts_with(begin))
        })
    };
    let (mut missing, mut count) = (BTreeSet::new(), 0);
    for (file, records) in tables(&mappings.join("segments")) {
        let Some((segment, rest)) = file.split_once("R4_ ").and_then(|(_, rest)| rest.split_once('[')) else {
            continue;
        };
        let resource = rest.split([']', '-']).next().unwrap();
        for record in records {
            let field = record.get(1).unwrap_or_default().trim().trim_end_matches('*');
            let field = if field.is_empty() { segment } else { field };
            let path = record.get(9).unwrap_or_default().trim();
            let Some(row) = row_of(field, resource, path) else { continue };
            count += 1;
            if !has(&row) {
                missing.insert((format!("{segment} {resource}"), row));
            }
        }
    }
    let leaves_out = |left: &str, (pair, row): &(String, String)| {
        let field = row.split(' ').next().unwrap();
        let within = || row.strip_prefix(left).is_some_and(|rest| rest.starts_with('.'));
        let part =
            || left.strip_prefix(pair.split(' ').next().unwrap()).and_then(|rest| rest.strip_prefix(' '));
        left == pair
            || left == field
            || left == row
            || within()
            // Of a segment, whatever the field.
            || part().is_some_and(|element| row.split_once(' ').is_some_and(|(_, of)| of == element))
    };
    let unknown: Vec<_> =
        missing.iter().filter(|row| !LEFT_OUT.iter().any(|(left, _)| leaves_out(left, row))).collect();
    assert!(unknown.is_empty(), "rows of the guide that we neither map nor leave out: {unknown:#?}");
    let needless: Vec<_> =
        LEFT_OUT.iter().filter(|(left, _)| !missing.iter().any(|row| leaves_out(left, row))).collect();
    assert!(needless.is_empty(), "left out, but ours or not the guide's: {needless:#?}");
    println!(
        "{count} rows of the guide, {} kinds of them left out for {} reasons",
        missing.len(),
        LEFT_OUT.len()
    );
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
    (
        "DocumentAvailabilityStatus",
        "AV CA OB",
        "the guide's conditions of TXA-19 and table 0273; R4 demands a status",
    ),
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
