use super::*;
use crate::fhir::{read, to_events};
use crate::hl7::Limits;
use crate::{CodeTable, Event, EventKind, Severity};
use proptest::prelude::*;

const ADT: &str = "MSH|^~\\&|ADT|HOSP|M|S|20260102030405||ADT^A02|1|P|2.5\rPID|1||42^^^HOSP^MR~756^^^CH^SS||Muster^Anna^M.^^Dr.^^L||19510423|F|||Gasse 1^^Bern^BE^3000^CH^H||^PRN^PH^^41^31^1234567|||M\rPV1|1|I|ICU 2^R1^B1^HOSP||||||||||||||||V1|||||||||||||||||||||||||20260101120000\r";
const ORU: &str = "MSH|^~\\&|LAB|HOSP|M|S|20260702030405||ORU^R01|2|P|2.5\rPID|1||42^^^HOSP^MR\rPV1|1|I|ICU 2||||||||||||||||V1\rORC|RE|P1|F1\rOBR|1|P1|F1|BMP^Panel^L|||20260702030000|||||||||||||||20260702030300|||F\rOBX|1|NM|T^Temp^LAB||+098.60|degF|97-99|H|||F\rOBX|2|SN|2524-7^Lactate^LN||<^0.50|mmol/L||L|||C\rOBX|3|SN|X^Titre^L||^1^:^128||||||F\rOBX|4|CWE|B^Group^L||A^A pos^L||||||P\rOBX|5|ST|N^Note^L||line 1~line \\T\\ 2||||||F\rOBX|6|ED|D^Doc^L||^^^Base64^AA==||||||F\r";

pub(super) fn feed() -> Feed {
    let codes = "local_code,local_system,loinc,ucum,local_unit\nT,LAB,8310-5,Cel,degF\n";
    Feed {
        authority: "HOSP".into(),
        zone: "Europe/Zurich".into(),
        codes: CodeTable::parse(codes).unwrap(),
        icu_wards: vec!["ICU*".into()],
        ..Feed::default()
    }
}

pub(super) fn message(text: &str) -> Message {
    Message::parse(bytes::Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).unwrap()
}

pub(super) fn bundle(text: &str) -> crate::fhir::Resource {
    let bytes = from_hl7(&message(text), &feed(), Time(0));
    let bundle =
        read(&bytes).unwrap_or_else(|issues| panic!("{issues:?}\n{}", String::from_utf8_lossy(&bytes)));
    assert_eq!(bundle.warnings(), []);
    bundle
}

pub(super) fn resources<'a>(bundle: &'a crate::fhir::Resource, type_: &str) -> Vec<&'a Json<'a>> {
    let all = bundle.root.items("entry").iter().filter_map(|e| e.get("resource"));
    all.filter(|r| r.str("resourceType") == Some(type_)).collect()
}

pub(super) fn written(json: &Json) -> String {
    String::from_utf8(json.to_bytes()).unwrap()
}

#[test]
fn a_patient_golden() {
    let bundle = bundle(ADT);
    let id = crate::fhir::common::uuid(&["Patient", "HOSP", "42"]);
    let expected = r#"{"resourceType":"Patient","id":"ID","identifier":[{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}]},"system":"urn:id:HOSP","value":"42"},{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"SS"}]},"system":"urn:id:CH","value":"756"}],"name":[{"use":"official","family":"Muster","given":["Anna","M."],"prefix":["Dr."]}],"telecom":[{"system":"phone","value":"41 31 1234567","use":"home"}],"gender":"female","birthDate":"1951-04-23","address":[{"use":"home","line":["Gasse 1"],"city":"Bern","state":"BE","postalCode":"3000","country":"CH"}],"maritalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-MaritalStatus","code":"M"}]}}"#;
    assert_eq!(written(resources(&bundle, "Patient")[0]), expected.replace("ID", &id));
    let locations = resources(&bundle, "Location");
    let names: Vec<_> = locations.iter().filter_map(|l| l.str("name")).collect();
    assert_eq!(names, ["ICU 2", "R1", "B1"]);
}

#[test]
fn results_keep_digits_codes_and_statuses() {
    let bundle = bundle(ORU);
    let observations = resources(&bundle, "Observation");
    let part = |at: usize, key: &str| observations[at].get(key).map(written).unwrap_or_default();
    assert_eq!(
        part(0, "valueQuantity"),
        r#"{"value":98.60,"unit":"degF","system":"http://unitsofmeasure.org","code":"[degF]"}"#
    );
    assert!(part(0, "code").starts_with(
        r#"{"coding":[{"system":"http://loinc.org","code":"8310-5"},{"system":"urn:id:LAB","code":"T""#
    ));
    assert_eq!(part(0, "effectiveDateTime"), r#""2026-07-02T03:00:00+02:00""#);
    assert_eq!(
        part(1, "valueQuantity"),
        r#"{"value":0.50,"comparator":"<","unit":"mmol/L","system":"http://unitsofmeasure.org","code":"mmol/L"}"#
    );
    assert_eq!(part(1, "status"), r#""corrected""#);
    assert_eq!(part(2, "valueRatio"), r#"{"numerator":{"value":1},"denominator":{"value":128}}"#);
    assert!(part(3, "valueCodeableConcept").contains("A pos"));
    assert_eq!(part(4, "valueString"), r#""line 1\nline & 2""#);
    assert!(part(5, "dataAbsentReason").contains("unknown"));
    let report = resources(&bundle, "DiagnosticReport")[0];
    assert_eq!(report.items("result").len(), 6);
    assert_eq!(resources(&bundle, "ServiceRequest")[0].str("status"), Some("completed"));
}

/// What our two readers make of one message, directly and through FHIR.
/// A result with a note is built as a tree, one without is written as it stands.
#[test]
fn a_note_changes_nothing_else() {
    let more = "OBX|7|NR|R^Range^L||2^4|mmol/L|<5 mg|H^high~A~ZZ^odd\r\
         OBX|8|DT|W^When^L||20260702|||||F|||20260701|||METH^Method^L\r\
         OBX|9|NM|E^Empty^L||||||||F\rOBX|10|SN|S^Span^L||^1^-^2|mmol/L|||||F\rOBX|11|NM|||no number||||||D\r\
         OBX|12|TX|Q^\"quoted\"^L|1|tab\there  |{odd}|||||X|||||1001^Ada|\rOBX|13|NM|T^Temp^LAB||5|bpm||||X\r";
    let plain = format!("{ORU}{more}OBR|2|P2|F2|X^Y^L\r");
    let with_notes = |line: &str| match line.strip_prefix("OBX|") {
        Some(_) => format!("{line}\rNTE|||remarkable\r"),
        None => format!("{line}\r"),
    };
    let noted: String = plain.split_terminator('\r').map(with_notes).collect();
    let write = |text: &str| String::from_utf8(from_hl7(&message(text), &feed(), Time(0))).unwrap();
    let (plain, noted) = (write(&plain), write(&noted));
    let note = r#","note":[{"text":"remarkable"}]"#;
    assert_eq!(noted.matches(note).count(), 13);
    assert_eq!(noted.replace(note, ""), plain);
}

#[test]
fn both_ways_lead_to_the_same_facts() {
    let facts = |events: Vec<Event>| -> Vec<_> {
        let mut found: Vec<_> = events
            .into_iter()
            .filter_map(|e| match e.kind {
                EventKind::Observed(o) => match o.value {
                    crate::Value::Quantity { number, unit, comparator, .. } => {
                        // The table's reader converts, the Bundle keeps what was sent: the same in another unit.
                        let to = if o.code.code == "8310-5" { "Cel" } else { "mmol/L" };
                        let number = crate::units::convert(number, &unit, to, &o.code.code)?;
                        Some((
                            e.patient,
                            e.visit,
                            e.at,
                            o.code.code,
                            (number * 1e9).round() as i64,
                            comparator.map(|c| c as u8),
                        ))
                    }
                    _ => None,
                },
                _ => None,
            })
            .collect();
        found.sort();
        found
    };
    let (direct, issues) = crate::hl7::to_events(&message(ORU), &feed(), Time(0));
    assert!(issues.iter().all(|i| i.severity != Severity::Error));
    let (through, issues) = to_events(&bundle(ORU), &feed(), Time(0));
    assert!(issues.iter().all(|i| i.severity != Severity::Error), "{issues:?}");
    let (direct, through) = (facts(direct), facts(through));
    assert_eq!(direct.len(), 2);
    assert!(direct == through, "{} and {} facts differ", direct.len(), through.len());
}

#[test]
fn where_the_patient_lies_survives() {
    let (events, _) = to_events(&bundle(ADT), &feed(), Time(0));
    let (visit, place) = events
        .iter()
        .find_map(|event| match &event.kind {
            EventKind::Encounter(encounter) => Some((event.visit.as_deref(), encounter.location.clone())),
            _ => None,
        })
        .unwrap();
    let expected = crate::Location { ward: "ICU 2".into(), room: "R1".into(), bed: "B1".into(), icu: true };
    assert_eq!((visit, place), (Some("V1"), Some(expected)));
}

/// Found by fuzzing: a control character in what is taken for an address.
#[test]
fn no_address_holds_a_control_character() {
    let header = resources(&bundle("MSH|^~\\&|||||||3\0:^A\r"), "MessageHeader").first().map(|h| written(h));
    assert!(header.is_some_and(|header| header.contains(r#""eventUri":"urn:id:3%00%3A%5EA""#)));
}

#[test]
fn parts_of_a_part_stay_apart() {
    let obx = "OBX|1|NR|A||1^10|mg\rOBX|2|NR|B||^7\rOBX|3|NR|C||9^2\rOBX|4|NR|D||low^high\r\
               OBX|5|DTM|E||20260102030405678\r";
    let bundle = bundle(&format!(
        "MSH|^~\\&|LAB|HOSP|M|S|20260702030405||ORU^R01|2|P|2.7\rPID|1||42^^^HOSP^MR\r\
         PV1|1|I|ICU 2&2.16.840.1.5&ISO^R1&7\r{obx}"
    ));
    let locations = resources(&bundle, "Location");
    let names: Vec<_> = locations.iter().filter_map(|l| l.str("name")).collect();
    assert_eq!(names, ["ICU 2", "R1"]);
    let oid = r#"[{"system":"urn:ietf:rfc:3986","value":"urn:oid:2.16.840.1.5"}]"#;
    assert_eq!(locations[0].get("identifier").map(written).as_deref(), Some(oid));
    let observations = resources(&bundle, "Observation");
    let part = |at: usize, key: &str| observations[at].get(key).map(written).unwrap_or_default();
    assert_eq!(
        part(0, "valueRange"),
        r#"{"low":{"value":1,"unit":"mg","system":"http://unitsofmeasure.org","code":"mg"},"high":{"value":10,"unit":"mg","system":"http://unitsofmeasure.org","code":"mg"}}"#
    );
    assert_eq!(part(1, "valueRange"), r#"{"high":{"value":7}}"#);
    assert_eq!((part(2, "valueString"), part(3, "valueString")), (r#""9^2""#.into(), r#""low^high""#.into()));
    assert_eq!(part(4, "valueDateTime"), r#""2026-01-02T03:04:05.678+01:00""#);
}

#[test]
fn a_resend_updates_and_a_merge_links() {
    // What is said of the message itself is another thing with another control id.
    let of_message = |e: &crate::fhir::Entry| {
        matches!(e.resource_type.as_deref(), Some("MessageHeader" | "Provenance" | "Basic"))
    };
    let ids = |text: &str| {
        let bundle = bundle(text);
        let entries = bundle.entries().into_iter().filter(|e| !of_message(e));
        entries.filter_map(|e| e.id).collect::<Vec<_>>()
    };
    assert_eq!(
        ids(ORU),
        ids(&ORU.replace("ORU^R01|2|", "ORU^R01|3|")),
        "another control id, the same things"
    );
    let a40 = "MSH|^~\\&|A|H|||20260102||ADT^A40|1|P|2.5\rPID|1||42^^^HOSP^MR\rMRG|41^^^HOSP^MR\r";
    let bundle = bundle(a40);
    let links: Vec<_> = resources(&bundle, "Patient")
        .iter()
        .map(|p| p.items("link")[0].str("type").unwrap().to_owned())
        .collect();
    assert_eq!(links, ["replaces", "replaced-by"]);
}

#[test]
fn numbers_as_json_writes_them() {
    for (written, json) in
        [("+5", "5"), (".50", "0.50"), ("007.", "7"), ("-0", "-0"), ("0", "0"), ("-.5", "-0.5")]
    {
        assert_eq!(datatypes::decimal(written.into()).as_deref(), Some(json), "{written}");
    }
    for bad in ["", ".", "-", "1,5", "1e5", "<1", "1.2.3", "٣"] {
        assert_eq!(datatypes::decimal(bad.into()), None, "{bad}");
    }
}

proptest! {
    /// Whatever stands in the fields, what we write is R4 that we read again.
    #[test]
    fn any_message_becomes_a_valid_bundle(fields in prop::collection::vec("[A-Z0-9^~&.+<> -]{0,14}|20[0-9]{6,14}", 60), type_ in "ORU\\^R01|ADT\\^A0[1-8]|ADT\\^A40|OML\\^O21") {
        let text = format!(
            "MSH|^~\\&|A|B|C|D|{}||{type_}|{}|P|2.5\rPID|{}\rMRG|{}\rPV1|{}\rORC|{}\rOBR|{}\rOBX|1|{}|{}\rOBX|2|NM|{}\r",
            fields[0], fields[1], fields[2..16].join("|"), fields[16], fields[17..27].join("|"), fields[27..32].join("|"),
            fields[32..44].join("|"), ["NM", "SN", "CWE", "TS", "ST"][fields[44].len() % 5], fields[44..52].join("|"), fields[52..60].join("|"),
        );
        bundle(&text);
    }
}

/// One message of each type that is mapped: its resources, and what stands in them.
fn check(text: &str, expected: &[&str]) {
    let bundle = bundle(text);
    let all = String::from_utf8(bundle.root.to_bytes()).unwrap();
    for part in expected {
        assert!(all.contains(part), "{part}\n{all}");
    }
    let fates = coverage(&message(text), &feed(), Time(0));
    let dropped: Vec<_> = fates.iter().filter(|(_, fate)| *fate == Fate::Dropped).collect();
    assert!(dropped.is_empty(), "{dropped:?}");
}

const HEAD: &str =
    "MSH|^~\\&|APP|HOSP|M|S|20260702030405+0200||TYPE|1|P|2.5\rPID|1||42^^^HOSP^MR||Muster^Anna\r";

pub(super) fn typed(type_: &str, rest: &str) -> String {
    format!("{}{}", HEAD.replace("TYPE", type_), rest.replace('\n', "\r"))
}

#[test]
fn a_visit_with_everything() {
    check(
        &typed(
            "ADT^A01",
            "EVN|A01|20260702030000+0200|||7^Clerk^C^^^^^^HOSP\nPD1||||9^House^G\n\
             NK1|1|Muster^Max|SPO|||^WPN^PH^^^31^555\nPV1|1|I|ICU^1^2|E|||1^Doc^A~2^Doc^B||||||||||3^Adm^C\n\
             PV2|||CP^Chest pain^L\nDG1|1||I21.9^Infarction^I10||20260701|A\nAL1|1|DA|P^Penicillin^L|SV|Rash~Itch\n\
             PR1|1||PCI^Angioplasty^L||20260702040000+0200|||||||5^Surgeon^S\n\
             IN1|1|BASIC|77|Krank AG^^77|Weg 1^^Bern|||G1|Firm||||20260101||||SEL\nROL||AD|AT|8^Nurse^N\n",
        ),
        &[
            r#""eventCoding":{"system":"http://terminology.hl7.org/CodeSystem/v2-0003","code":"A01"}"#,
            r#""resourceType":"Provenance""#,
            r#""resourceType":"RelatedPerson""#,
            r#""code":"SPS"}"#,
            r#""participant":[{"individual":{"reference":"urn:uuid:"#,
            r#""code":"ATND"}]}]},{"individual""#,
            r#""text":"Chest pain"}]"#,
            r#""diagnosis":[{"condition":{"reference":"urn:uuid:"#,
            r#""code":"AD"}"#,
            r#""category":["medication"]"#,
            r#""reaction":[{"manifestation":[{"text":"Rash"},{"text":"Itch"}],"severity":"severe"}]"#,
            r#""performer":[{"actor":{"reference":"urn:uuid:"#,
            r#""class":[{"value":"G1","type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/coverage-class","code":"group"}]},"name":"Firm"}]"#,
            r#""resourceType":"PractitionerRole""#,
        ],
    );
}

#[test]
fn appointments_documents_vaccines_and_prescriptions() {
    check(
        &typed(
            "SIU^S12",
            "SCH|P1|F1|||||ROUTINE^Routine^HL70276||||^^^20260710100000+0200^20260710103000+0200||||||||||||||Booked\n\
             NTE|1||bring x-rays\nRGS|1\nAIS|1||EYE^Eye test^L\nAIP|1||5^Eye^E|SUR\nAIL|1||ROOM 7\n",
        ),
        &[
            r#""resourceType":"Appointment","#,
            r#""status":"booked""#,
            r#""start":"2026-07-10T10:00:00+02:00","end":"2026-07-10T10:30:00+02:00""#,
            r#""comment":"bring x-rays""#,
            r#""participant":[{"type":[{"coding":[{"code":"SUR"}],"text":"SUR"}],"actor":{"reference":"#,
        ],
    );
    check(
        &typed(
            "MDM^T02",
            "TXA|1|DS^Discharge summary^L|TX|||20260702050000+0200|||4^Author^A|||DOC1^APP|||||||AV\n\
             OBX|1|TX|||one\nOBX|2|TX|||two\n",
        ),
        &[
            r#""resourceType":"DocumentReference""#,
            // "one\ntwo"
            r#""content":[{"attachment":{"contentType":"text/plain; charset=utf-8","data":"b25lCnR3bw=="}}]"#,
        ],
    );
    check(
        &typed(
            "VXU^V04",
            "ORC|RE|P1|F1\nRXA|0|1|20260702|20260702|08^Hep B^CVX|0.5|mL|||6^Giver^G|||||LOT1|20270101|MSD^Merck^MVX|||CP|A\nRXR|IM|LA\n",
        ),
        &[
            r#""resourceType":"Immunization""#,
            r#""vaccineCode":{"coding":[{"system":"http://hl7.org/fhir/sid/cvx","code":"08","display":"Hep B"}],"text":"Hep B"}"#,
            r#""doseQuantity":{"value":0.5,"unit":"mL","#,
            r#""lotNumber":"LOT1","expirationDate":"2027-01-01""#,
            r#""code":"LA"}"#,
        ],
    );
    check(
        &typed(
            "RDE^O11",
            "ORC|NW|P1|F1|||||||||3^Doc^D\nTQ1|1||||||20260702||S\nRXE||ASA^Aspirin^L|100||mg\nRXR|PO\nNTE|1||with food\n",
        ),
        &[
            r#""resourceType":"MedicationRequest""#,
            r#""status":"active","intent":"order""#,
            r#""doseAndRate":[{"doseRange":{"low":{"value":100,"unit":"mg","#,
            r#""note":[{"text":"with food"}]"#,
        ],
    );
    check(
        &typed("RAS^O17", "ORC|RE|P1\nRXA|0|1|20260702040000+0200||ASA^Aspirin^L|100|mg\nRXR|PO\n"),
        &[
            r#""resourceType":"MedicationAdministration""#,
            r#""effectiveDateTime":"2026-07-02T04:00:00+02:00""#,
        ],
    );
    check(
        &typed("PPR^PC1", "PRB|AD|20260702|I10^Hypertension^I10|PRB1\n"),
        &[r#""code":"problem-list-item"}"#, r#""value":"PRB1"}"#],
    );
    check(
        &typed(
            "OUL^R22",
            "SPM|1|S1^S2||BLD|||||||||||||20260702|20260702\nOBR|1|P1|F1|X^X^L\nOBX|1|NM|A^A^L||1|||||F\n",
        ),
        &[r#""resourceType":"Specimen""#, r#""specimen":[{"reference":"#, r#""code":"FILL"}"#],
    );
}

/// What has no place is there as it was sent, and nothing else is.
#[test]
fn what_no_map_places_is_kept() {
    let text = typed("ADT^A08", "ZPI|1|own \\T\\ odd^~x\n");
    let basic = written(resources(&bundle(&text), "Basic")[0]);
    assert!(
        basic.contains(
            r#"[{"url":"path","valueString":"ZPI-2"},{"url":"value","valueString":"own \\T\\ odd^~x"}]"#
        ),
        "{basic}"
    );
    assert!(
        basic.contains(r#""valueString":"MSH-12"}"#) && !basic.contains("PID-5") && !basic.contains("ZPI-1"),
        "{basic}"
    );
    let fate = |field: &str| {
        coverage(&message(&text), &feed(), Time(0))
            .into_iter()
            .find(|(f, _)| f == field)
            .map(|(_, fate)| fate)
    };
    assert_eq!((fate("PID-5"), fate("ZPI-2"), fate("ZPI-1")), (Some(Fate::Mapped), Some(Fate::Kept), None));
    // Lines that belong to no segment, with and without separators.
    let torn = typed("ADT^A08", "SGVsbG8=\n\u{c}odd|line\n");
    let basic = written(resources(&bundle(&torn), "Basic")[0]);
    assert!(
        basic
            .contains(r#"{"url":"path","valueString":"segment 3"},{"url":"value","valueString":"SGVsbG8="}"#),
        "{basic}"
    );
    assert!(
        basic.contains(
            r#"{"url":"path","valueString":"segment 4"},{"url":"value","valueString":"\\X0C\\odd|line"}"#
        ),
        "{basic}"
    );
    let fates = coverage(&message(&torn), &feed(), Time(0));
    assert_eq!(fates.iter().filter(|(f, fate)| f == "unnamed" && *fate == Fate::Kept).count(), 2);
    let control = written(resources(&bundle(&typed("ADT^A08", "ZPI||\u{1}\n")), "Basic")[0]);
    assert!(control.contains(r#""valueString":"\\X01\\"}"#), "{control}");
    bundle(&typed("ORU^R01", "OBX|1|NM|A\u{2}\u{3} B^x^L||1||||||F\n"));
    // A value that FHIR cannot hold is not mapped because its neighbour is.
    let half = typed("ADT^A08", "NK1|1|Muster^Max|SPO^Spouse^HL70063^odd\n");
    let fates = coverage(&message(&half), &feed(), Time(0));
    assert!(fates.contains(&("NK1-3".to_owned(), Fate::Kept)), "{fates:?}");
}

const SEGMENTS: &str = "EVN|PD1|MRG|NK1|PV1|PV2|DG1|PRB|AL1|IAM|PR1|IN1|ROL|PRT|ORC|OBR|TQ1|OBX|SPM|NTE|RXO|RXE|RXA|RXR|SCH|AIS|AIG|AIL|\
                        AIP|TXA|SFT|ZZZ|PID";

proptest! {
    /// Segments in any order, with anything in them: valid R4, and every field is somewhere.
    #[test]
    fn any_segments_become_a_valid_bundle(
        type_ in "ORU\\^R01|OUL\\^R22|ADT\\^A0[1-8]|ADT\\^A40|OML\\^O21|MDM\\^T02|VXU\\^V04|RDE\\^O11|RAS\\^O17|SIU\\^S1[2-7]|PPR\\^PC1|Z\\^Z",
        segments in prop::collection::vec(
            (SEGMENTS, prop::collection::vec("|[A-Z]|[0-9]{1,3}|[A-Z0-9^~&.+<> -]{0,14}|\"\"|20[0-9]{6,14}|[A-Z]{1,3}\\^[a-z]{1,4}\\^(L|LN|HL70001|ISO|1\\.2)", 0..40)),
            0..12,
        ),
    ) {
        let lines: Vec<String> = segments.iter().map(|(name, fields)| format!("{name}|{}\r", fields.join("|"))).collect();
        let text = format!("MSH|^~\\&|A|B|C|D|20260702||{type_}|1|P|2.5\r{}", lines.concat());
        bundle(&text);
        let fates = coverage(&message(&text), &feed(), Time(0));
        prop_assert!(fates.iter().all(|(_, fate)| *fate != Fate::Dropped), "{:?}", fates);
    }
}
