//! Where the guide decides what a status, a time or a code becomes.

use super::tests::{bundle, feed, message, resources, typed, written};
use super::{Fate, coverage};
use crate::Time;

/// The guide's PV1-45 and PatientClass[EncounterStatus]: what comes after the discharge does not reopen the visit.
#[test]
fn an_encounter_is_what_its_event_class_and_end_say() {
    const ENDED: &str = "20260702120000";
    let status = |type_: &str, class: &str, ended: &str| {
        let pv1 = "PV1||CLASS|W||||||||||||||||V1|||||||||||||||||||||||||20260701080000|ENDED\n";
        let pv1 = pv1.replace("CLASS", class).replace("ENDED", ended);
        let bundle = bundle(&typed(type_, &pv1));
        let encounter = resources(&bundle, "Encounter")[0];
        let place = encounter.items("location")[0].str("status").unwrap_or_default().to_owned();
        let (status, period) = (encounter.str("status").unwrap_or_default(), encounter.get("period"));
        assert!(status != "in-progress" || period.is_some_and(|period| period.get("end").is_none()));
        format!("{status} {place}")
    };
    for (type_, class, ended, expected) in [
        ("ADT^A08", "I", ENDED, "finished active"),
        ("ADT^A01", "I", ENDED, "finished active"),
        ("ADT^A02", "E", ENDED, "finished active"),
        ("ADT^A03", "I", "", "finished active"),
        ("ORU^R01", "I", ENDED, "finished active"),
        ("ADT^A11", "I", ENDED, "cancelled active"),
        ("ADT^A13", "I", ENDED, "in-progress active"),
        ("ADT^A08", "I", "", "in-progress active"),
        ("ADT^A08", "P", "", "planned planned"),
        ("ADT^A04", "P", "", "planned planned"),
        ("ADT^A05", "I", "", "planned planned"),
        ("ADT^A01", "P", "", "in-progress active"),
        ("ADT^A31", "I", "", "unknown active"),
        ("ORU^R01", "I", "", "unknown active"),
    ] {
        assert_eq!(status(type_, class, ended), expected, "{type_} {class} {ended}");
    }
}

#[test]
fn the_hour_of_birth_is_kept_beside_its_day() {
    let patient = |born: &str| {
        let text = typed("ADT^A08", "").replace("Muster^Anna", &format!("Muster^Anna||{born}"));
        let fates = coverage(&message(&text), &feed(), Time(0));
        assert!(fates.contains(&("PID-7".to_owned(), Fate::Mapped)), "{born}: {fates:?}");
        written(resources(&bundle(&text), "Patient")[0])
    };
    let hour = r#""birthDate":"1940-01-01","_birthDate":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthTime","valueDateTime":"1940-01-01T15:30:00+01:00"}]}"#;
    assert!(patient("194001011530").contains(hour), "{}", patient("194001011530"));
    assert!(!patient("19400101").contains("_birthDate") && !patient("1940").contains("_birthDate"));
}

/// Table 0078 is v3-ObservationInterpretation; a local code stays what it is.
#[test]
fn flags_of_another_system_stay_that_systems() {
    let flag = |flag: &str| {
        let text = typed("ORU^R01", &format!("OBX|1|NM|A^A^L||1|||{flag}|||F\n"));
        let fates = coverage(&message(&text), &feed(), Time(0));
        assert!(fates.contains(&("OBX-8".to_owned(), Fate::Mapped)), "{flag}: {fates:?}");
        resources(&bundle(&text), "Observation")[0].get("interpretation").map(written).unwrap_or_default()
    };
    let v3 = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";
    assert_eq!(
        flag("HH^x^L"),
        r#"[{"coding":[{"system":"urn:id:L","code":"HH","display":"x"}],"text":"x"}]"#
    );
    assert_eq!(flag("HH"), format!(r#"[{{"coding":[{{"system":"{v3}","code":"HH"}}]}}]"#));
    assert_eq!(
        flag("HH^x^HL70078"),
        format!(r#"[{{"coding":[{{"system":"{v3}","code":"HH"}}],"text":"x"}}]"#)
    );
    assert_eq!(flag("odd"), r#"[{"text":"odd"}]"#);
}

#[test]
fn a_document_that_was_deleted_is_not_superseded() {
    let status = |state: &str| {
        let txa = "TXA|1|DS||||||||||DOC1|||||||STATE\n".replace("STATE", state);
        let text = typed("MDM^T02", &txa);
        let fates = coverage(&message(&text), &feed(), Time(0));
        let fate = fates.into_iter().find(|(field, _)| field == "TXA-19").map(|(_, fate)| fate);
        (resources(&bundle(&text), "DocumentReference")[0].str("status").unwrap().to_owned(), fate)
    };
    assert_eq!(status("CA"), ("entered-in-error".into(), Some(Fate::Mapped)));
    assert_eq!(status("OB"), ("superseded".into(), Some(Fate::Mapped)));
    assert_eq!(status("UN"), ("superseded".into(), Some(Fate::Kept)), "not for care; R4 has no such status");
    assert_eq!(status("AV"), ("current".into(), Some(Fate::Mapped)));
    assert_eq!(status(""), ("current".into(), None));
}

/// ORC, TQ1, RXE: the TQ1 is its own order's and not the one before.
#[test]
fn each_prescription_has_its_own_timing() {
    let text = "ORC|NW|P1\nTQ1|1||||||20260702||S\nRXE||ASA^Aspirin^L|100||mg\n\
                ORC|NW|P2\nTQ1|1||||||20260703||R\nRXE||PAR^Paracetamol^L|500||mg\n";
    let text = typed("RDE^O11", text);
    let bundle = bundle(&text);
    let requests = resources(&bundle, "MedicationRequest");
    let priorities: Vec<_> = requests.iter().filter_map(|request| request.str("priority")).collect();
    assert_eq!(priorities, ["stat", "routine"]);
    for (request, day) in requests.iter().zip(["2026-07-02", "2026-07-03"]) {
        assert!(written(request).contains(&format!(r#""boundsPeriod":{{"start":"{day}"}}"#)), "{day}");
    }
    let fates = coverage(&message(&text), &feed(), Time(0));
    let timing = fates.iter().filter(|(field, _)| field.starts_with("TQ1"));
    assert!(
        timing.clone().count() == 4 && timing.into_iter().all(|(_, fate)| *fate == Fate::Mapped),
        "{fates:?}"
    );
}
