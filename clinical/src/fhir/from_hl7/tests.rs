use super::*;
use crate::fhir::{read, to_events};
use crate::hl7::Limits;
use crate::{CodeTable, Event, EventKind, Severity};
use proptest::prelude::*;

const ADT: &str = "MSH|^~\\&|ADT|HOSP|M|S|20260102030405||ADT^A02|1|P|2.5\rPID|1||42^^^HOSP^MR~756^^^CH^SS||Muster^Anna^M.^^Dr.^^L||19510423|F|||Gasse 1^^Bern^BE^3000^CH^H||^PRN^PH^^41^31^1234567|||M\rPV1|1|I|ICU 2^R1^B1^HOSP||||||||||||||||V1|||||||||||||||||||||||||20260101120000\r";
const ORU: &str = "MSH|^~\\&|LAB|HOSP|M|S|20260702030405||ORU^R01|2|P|2.5\rPID|1||42^^^HOSP^MR\rPV1|1|I|ICU 2||||||||||||||||V1\rORC|RE|P1|F1\rOBR|1|P1|F1|BMP^Panel^L|||20260702030000|||||||||||||||20260702030300|||F\rOBX|1|NM|T^Temp^LAB||+098.60|degF|97-99|H|||F\rOBX|2|SN|2524-7^Lactate^LN||<^0.50|mmol/L||L|||C\rOBX|3|SN|X^Titre^L||^1^:^128||||||F\rOBX|4|CWE|B^Group^L||A^A pos^L||||||P\rOBX|5|ST|N^Note^L||line 1~line \\T\\ 2||||||F\rOBX|6|ED|D^Doc^L||^^^Base64^AA==||||||F\r";

fn feed() -> Feed {
    let codes = "local_code,local_system,loinc,ucum,local_unit\nT,LAB,8310-5,Cel,degF\n";
    Feed {
        authority: "HOSP".into(),
        zone: "Europe/Zurich".into(),
        codes: CodeTable::parse(codes).unwrap(),
        icu_wards: vec!["ICU*".into()],
        ..Feed::default()
    }
}

fn message(text: &str) -> Message {
    Message::parse(bytes::Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).unwrap()
}

fn bundle(text: &str) -> crate::fhir::Resource {
    let bytes = from_hl7(&message(text), &feed(), Time(0));
    let bundle =
        read(&bytes).unwrap_or_else(|issues| panic!("{issues:?}\n{}", String::from_utf8_lossy(&bytes)));
    assert_eq!(bundle.warnings(), []);
    bundle
}

fn resources<'a>(bundle: &'a crate::fhir::Resource, type_: &str) -> Vec<&'a Json> {
    let all = bundle.root.items("entry").iter().filter_map(|e| e.get("resource"));
    all.filter(|r| r.str("resourceType") == Some(type_)).collect()
}

fn written(json: &Json) -> String {
    String::from_utf8(json.to_bytes()).unwrap()
}

#[test]
fn a_patient_golden() {
    let bundle = bundle(ADT);
    let id = uuid(&["Patient", "HOSP", "42"]);
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
    let place = events.iter().find_map(|e| match &e.kind {
        EventKind::Encounter(e) => e.location.clone(),
        _ => None,
    });
    let expected = crate::Location { ward: "ICU 2".into(), room: "R1".into(), bed: "B1".into(), icu: true };
    assert_eq!(place, Some(expected));
    assert_eq!(events[1].visit.as_deref(), Some("V1"));
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
        assert_eq!(datatypes::decimal(written).as_deref(), Some(json), "{written}");
    }
    for bad in ["", ".", "-", "1,5", "1e5", "<1", "1.2.3", "٣"] {
        assert_eq!(datatypes::decimal(bad), None, "{bad}");
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
