//! Golden tests: a message in, a line an event out.

mod merges;

use bytes::Bytes;

use super::to_events;
use crate::hl7::{Limits, Message};
use crate::{
    CodeSystem, CodeTable, Deleted, Event, EventKind, Feed, Issue, PatientState, Severity, Time, Value,
};

/// 2024-07-15T12:00:00Z.
const NOW: Time = Time(1_721_044_800_000);
const CODES: &str = "local_code,local_system,loinc,ucum,local_unit,factor,display\n\
                     GLU,LAB,2345-7,mg/dL,mmol/L,18.016,Glucose\nHF,,8867-4,/min,bpm,,Heart rate\n";

fn feed() -> Feed {
    Feed {
        authority: "HOSP".into(),
        zone: "Europe/Zurich".into(),
        codes: CodeTable::parse(CODES).unwrap(),
        icu_wards: vec!["ICU*".into()],
        ..Feed::default()
    }
}

fn read(body: &str, feed: &Feed) -> (Vec<Event>, Vec<Issue>) {
    let message = Message::parse(Bytes::from(body.replace('\n', "\r")), &Limits::default()).unwrap();
    to_events(&message, feed, NOW)
}

/// Type, then the lines after MSH; what comes out as text, events first.
fn check(type_: &str, body: &str, expected: &[&str]) {
    let message = format!("MSH|^~\\&|APP|FAC|MED|SITE|20240715120000||{type_}|42|P|2.5\n{body}");
    let (events, issues) = read(&message, &feed());
    let mut lines: Vec<String> = events.iter().map(line).collect();
    lines.extend(issues.iter().map(|i| format!("{:?} {} {}", i.severity, i.code, i.location)));
    assert_eq!(lines, expected);
}

fn line(event: &Event) -> String {
    let what = match &event.kind {
        EventKind::Person(p) => {
            let known =
                format!("person {:?} {:?} {:?} {:?}", p.name, p.birth_date, p.sex, p.died_at.map(iso));
            let Deleted { name, birth_date, sex, died_at } = p.deleted;
            let deleted = [(name, "name"), (birth_date, "birth"), (sex, "sex"), (died_at, "death")];
            let deleted =
                deleted.iter().filter(|(is_deleted, _)| *is_deleted).map(|(_, what)| format!(" -{what}"));
            known + &deleted.collect::<String>()
        }
        EventKind::Encounter(e) => {
            let place = e.location.as_ref().map(|l| format!("{}/{}/{} icu={}", l.ward, l.room, l.bed, l.icu));
            let place = if e.location_deleted { Some("taken back".into()) } else { place };
            format!(
                "{:?} {:?} {:?} {:?} {:?}",
                e.change,
                e.class,
                place,
                e.admitted_at.map(iso),
                e.discharged_at.map(iso)
            )
        }
        EventKind::Observed(o) => {
            format!("{} {} {:?} [{}]", code(&o.code), value(&o.value), o.status, o.source_id)
        }
        EventKind::Ordered(o) => format!("order {} {} {} {}", o.control, o.placer, o.filler, code(&o.code)),
        EventKind::Merged { from } => format!("merged {}/{}", from.authority, from.id),
    };
    let visit = event.visit.as_deref().unwrap_or("-");
    format!(
        "{}/{} {visit} {} {:?} {what}",
        event.patient.authority,
        event.patient.id,
        iso(event.at),
        event.precision
    )
}

fn iso(at: Time) -> String {
    at.to_rfc3339().replace(":00.000Z", "Z")
}

fn code(code: &crate::Code) -> String {
    let system = match &code.system {
        CodeSystem::Loinc => "LN",
        CodeSystem::Snomed => "SCT",
        CodeSystem::Other(name) => name,
    };
    format!("{}^{}^{system}", code.code, code.display)
}

fn value(of: &Value) -> String {
    match of {
        Value::Quantity { number, text, unit, comparator } => {
            format!("{comparator:?} {number} '{text}' {unit}")
        }
        Value::Text(text) => format!("{text:?}"),
        Value::Coded(c) => code(c),
        Value::Absent => "absent".into(),
    }
}

#[test]
fn admission_says_who_and_where() {
    check(
        "ADT^A01^ADT_A01",
        "EVN||20240715110000\nPID|1||7^^^OTHER^PI~4711^^^HOSP&1.2.3&ISO^MR||Muster^Anna^B||19510423|F\n\
         PV1|1|I|ICU-2^4^B|||||||||||||||ADM|V99|||||||||||||||||||||||||202407151030\n",
        &[
            "HOSP/4711 V99 2024-07-15T08:30Z Minute person Some(\"Muster, Anna B\") Some(\"1951-04-23\") Some(Female) None",
            "HOSP/4711 V99 2024-07-15T08:30Z Minute Admitted Some(Inpatient) Some(\"ICU-2/4/B icu=true\") \
             Some(\"2024-07-15T08:30Z\") None",
        ],
    );
}

#[test]
fn movements_and_their_cancellations() {
    for (trigger, change) in [
        ("A02", "Transferred"),
        ("A03", "Discharged"),
        ("A05", "Admitted"),
        ("A06", "Admitted"),
        ("A07", "Admitted"),
        ("A08", "Updated"),
        ("A11", "AdmitCancelled"),
        ("A12", "TransferCancelled"),
        ("A13", "DischargeCancelled"),
        ("A31", "Updated"),
    ] {
        check(
            &format!("ADT^{trigger}"),
            "EVN||20240715110000||||202407151045\nPID|||4711\nPV1||E|4W\n",
            &[&format!(
                "HOSP/4711 - 2024-07-15T08:45Z Minute {change} Some(Emergency) Some(\"4W// icu=false\") None None"
            )],
        );
    }
    check(
        "ADT^A03",
        "PID|||4711\n",
        &["HOSP/4711 - 2024-07-15T10:00Z Second Discharged None None None None", "Warning visit-missing PV1"],
    );
    check(
        "ADT^A28",
        "PID|||4711||\"\"||1951\nPV1||N\n",
        &["HOSP/4711 - 2024-07-15T10:00Z Second person None Some(\"1951\") None None -name"],
    );
    check("ADT^A08", "PID|||4711\nPV1||N\n", &[]);
}

/// HL7's null deletes, and an empty field says nothing (v2.9 ch. 2 §2.5.3).
#[test]
fn null_takes_back_and_empty_says_nothing() {
    let at = "HOSP/4711 - 2024-07-15T10:00Z Second";
    let pid = |fields: &str| format!("PID|||4711||{fields}\n");
    let death = |pid_29: &str, pid_30: &str| format!("PID|||4711{}{pid_29}|{pid_30}\n", "|".repeat(26));
    let person = |said: &str| format!("{at} person {said}");
    check("ADT^A08", &pid("||||"), &[]);
    check("ADT^A08", &pid("\"\"||\"\"|\"\""), &[&person("None None None None -name -birth -sex")]);
    check("ADT^A08", &pid("\"\"^\"\"||1951|F"), &[&person("None Some(\"1951\") Some(Female) None -name")]);
    check("ADT^A08", &pid("\"\"^Anna"), &[&person("Some(\"Anna\") None None None")]);
    check("ADT^A08", &death("20240714", ""), &[&person("None None None Some(\"2024-07-13T22:00Z\")")]);
    check("ADT^A08", &death("20240714", "\"\""), &[&person("None None None Some(\"2024-07-13T22:00Z\")")]);
    for (pid_29, pid_30) in [("\"\"", ""), ("", "\"\""), ("", "N"), ("\"\"", "N"), ("\"\"", "Y")] {
        check("ADT^A08", &death(pid_29, pid_30), &[&person("None None None None -death")]);
    }
    check("ADT^A08", &death("", "Y"), &[]);
    check(
        "ADT^A08",
        &death("20240714", "N"),
        &[&person("None None None None -death"), "Warning death-contradicted PID-30"],
    );
    for location in ["\"\"", "\"\"^\"\"^\"\""] {
        let moved = format!("{at} Updated None Some(\"taken back\") None None");
        check("ADT^A08", &format!("PID|||4711\nPV1||N|{location}\n"), &[&moved]);
    }
    let moved = format!("{at} Updated None Some(\"4W// icu=false\") None None");
    check("ADT^A08", "PID|||4711\nPV1||N|4W^\"\"^\"\"\n", &[&moved]);
}

/// Whichever message comes first.
#[test]
fn a_wrong_death_and_place_are_taken_back() {
    let message = |at: &str, pid_8: &str, pid_29: &str, pv1_3: &str| {
        let pid = format!("PID|||1||Muster||1951|{pid_8}{}{pid_29}", "|".repeat(21));
        let text = format!("MSH|^~\\&|||||{at}||ADT^A08|1|P|2.5\n{pid}\nPV1||I|{pv1_3}\n");
        read(&text, &feed()).0
    };
    let wrong = message("20240715100000", "F", "20240715", "ICU");
    let right = message("20240715110000", "\"\"", "\"\"", "\"\"");
    let fold = |messages: &[&Vec<Event>]| {
        let mut state = PatientState::default();
        messages.iter().for_each(|events| events.iter().for_each(|event| _ = state.apply(event)));
        (state.sex().is_some(), state.died_at().is_some(), state.location().is_some(), state.name().is_some())
    };
    assert_eq!(fold(&[&wrong]), (true, true, true, true));
    assert_eq!(fold(&[&wrong, &right]), (false, false, false, true));
    assert_eq!(fold(&[&right, &wrong]), (false, false, false, true));
    // As ledger entries keep them; one of a build before says nothing of what is deleted.
    let json = serde_json::to_value(&right).unwrap();
    assert_eq!(json[0]["kind"]["person"]["deleted"], serde_json::json!({"sex": true, "died_at": true}));
    assert_eq!(serde_json::from_value::<Vec<Event>>(json).unwrap(), right);
    let json = serde_json::to_value(&wrong).unwrap();
    assert!(json[0]["kind"]["person"].get("deleted").is_none());
    assert!(json[1]["kind"]["encounter"].get("location_deleted").is_none());
    assert_eq!(serde_json::from_value::<Vec<Event>>(json).unwrap(), wrong);
}

/// MSH-11 (HL7 table 0103) and MSH-12 (0104).
#[test]
fn what_is_not_meant_for_here_is_refused() {
    let told = |msh_11: &str, msh_12: &str, taken: &[&str]| {
        let processing_ids = taken.iter().map(|id| (*id).into()).collect();
        let text = format!("MSH|^~\\&|||||2024||ADT^A08|1|{msh_11}|{msh_12}\nPID|||1||A\n");
        let (events, issues) = read(&text, &Feed { processing_ids, ..feed() });
        assert_eq!(events.len(), 1);
        let errors = issues.into_iter().filter(|issue| issue.severity == Severity::Error);
        errors.map(|issue| format!("{} {}", issue.code, issue.location)).collect::<Vec<_>>().join(", ")
    };
    let not_taken = "processing-id-not-taken MSH-11";
    for taken in ["P", "P^A", "p", "", "\"\""] {
        assert_eq!(told(taken, "2.5", &["P"]), "", "{taken}");
    }
    for refused in ["T", "D", "X", "T^A"] {
        assert_eq!(told(refused, "2.5", &["P"]), not_taken, "{refused}");
    }
    // A feed for training; and a tool, which alerts nobody.
    assert_eq!(["P", "T", "D", "X"].map(|id| told(id, "2.5", &["T", "D"])), [not_taken, "", "", not_taken]);
    assert_eq!(["P", "T", "D", "X"].map(|id| told(id, "2.5", &[])), ["", "", "", not_taken]);
    let versions =
        ["", "\"\"", "2.0", "2.1", "2.3.1", "2.5.1", "2.7.1", "2.8.2", "2.9.1", "2.3.z", "2.5^DEU"];
    for version in versions {
        assert_eq!(told("P", version, &["P"]), "", "{version}");
    }
    for version in ["9.9", "1.0", "2", "2.", "2.10", "2.x", "3.0", "v2.5", "2.-5", "25"] {
        assert_eq!(told("P", version, &["P"]), "version-not-taken MSH-12", "{version}");
    }
}

#[test]
fn what_follows_a_second_patient_is_given_to_nobody() {
    let several = ["Error patients-several PID[2]-3"];
    check("ADT^A08", "PID|||77\nPID|||99\nPV1||I|ICU9^1^1\n", &several);
    check("ORM^O01", "PID|||77\nORC|NW|1\nOBR|1||||\nPID|||99\nORC|NW|2\nOBR|2\n", &several);
    // The one of prior results (OML) is mostly the same.
    check(
        "OML^O21",
        "PID|||77\nORC|NW|P1\nOBR|1|||X\nPID|||77^^^HOSP\n",
        &["HOSP/77 - 2024-07-15T10:00Z Second order NW P1  X^^"],
    );
}

#[test]
fn results_without_their_patient_are_told() {
    let missing = ["Error patient-id-missing OBX"];
    check(
        "ORU^R01",
        "OBR|1|||X\nOBX|1|NM|8867-4^^LN||72|/min\nOBX|2|NM|8867-4^^LN||73|/min\nPID|||1\n",
        &missing,
    );
    check("ADT^A08", "PID|||1\nOBX|1|NM|8867-4^^LN||140|/min\n", &["Information observations-not-read OBX"]);
}

#[test]
fn observations_of_every_value_type() {
    let obx = |rest: &str| {
        format!("PID|||1\nPV1||I|||||||||||||||||V1\nOBR|1|P9|F8|X|||202407151000\nOBX|1|{rest}\n")
    };
    let one = |rest: &str, expected: &str| {
        check("ORU^R01", &obx(rest), &[&format!("HOSP/1 V1 2024-07-15T08:00Z Minute {expected}")]);
    };
    one("NM|8867-4^HR^LN||88|bpm|||||F", "8867-4^HR^LN None 88 '88' /min Final [F8|8867-4^LN|]");
    one(
        "NM|GLU^Gluc^LAB|a|5.50|mmol/L|||||P",
        "2345-7^Glucose^LN None 99.088 '5.50' mg/dL Preliminary [F8|2345-7^LN|a]",
    );
    one("NM|HF^^X|1|<40||||||F", "8867-4^Heart rate^LN Some(Less) 40 '40' /min Final [F8|8867-4^LN|1]");
    one("SN|X^Y^L||>=^5.0|g/L|||||C", "X^Y^L Some(GreaterOrEqual) 5 '5.0' g/L Corrected [F8|X^L|]");
    one("SN|X||^1^:^128||||||F", "X^^ \"1:128\" Final [F8|X^|]");
    one("ST|X||>100|U/L|||||F", "X^^ Some(Greater) 100 '100' U/L Final [F8|X^|]");
    one("ST|X||12||||||F", "X^^ \"12\" Final [F8|X^|]");
    one("TX|X||a~b\\.br\\c & d^e||||||F", "X^^ \"a\\nb\\nc & d^e\" Final [F8|X^|]");
    one("CWE|L^x^L^55758-7^y^LN||A^Alert^L||||||F", "55758-7^y^LN A^Alert^L Final [F8|55758-7^LN|]");
    one("CE|X||^only text||||||F", "X^^ \"only text\" Final [F8|X^|]");
    one("DT|X||20240131||||||F", "X^^ \"2024-01-31\" Final [F8|X^|]");
    one("TM|X||1530||||||F", "X^^ \"15:30\" Final [F8|X^|]");
    one("NM|X||\"\"||||||F", "X^^ absent Final [F8|X^|]");
    one("NM|X||||||||D", "X^^ absent Deleted [F8|X^|]");
    one("NM|X||||||||X", "X^^ absent Cancelled [F8|X^|]");
    check("ORU^R01", &obx("NM|X||||||||F"), &["Information value-empty OBX-5"]);
    check("ORU^R01", &obx("ED|X||^^PDF^Base64^AAAA||||||F"), &["Information value-type-not-read OBX-5"]);
    check("ORU^R01", &obx("NM|||5||||||F"), &["Warning code-missing OBX-3"]);
    check(
        "ORU^R01",
        &obx("NM|GLU^^LAB||5|kg|||||F"),
        &[
            "HOSP/1 V1 2024-07-15T08:00Z Minute 2345-7^Glucose^LN None 5 '5' kg Final [F8|2345-7^LN|]",
            "Warning unit-mismatch OBX-6",
            "Warning unit-not-convertible OBX-6",
        ],
    );
    check(
        "ORU^R01",
        &obx("NM|X||5,4||||||Q"),
        &[
            "HOSP/1 V1 2024-07-15T08:00Z Minute X^^ \"5,4\" Preliminary [F8|X^|]",
            "Warning status-unknown OBX-11",
            "Warning number-invalid OBX-5",
        ],
    );
}

#[test]
fn what_scores_set_aside_or_guess_is_told_and_kept() {
    let mut bare = feed();
    bare.codes = CodeTable::empty();
    for (obx, told) in [
        ("NM|8867-4^^LN||720|bpm|||||F", Some("Warning value-implausible OBX-5")),
        ("NM|8867-4^^LN||720|bpm|||||D", None),
        ("NM|2160-0^^LN||1|furlong|||||F", Some("Warning unit-not-convertible OBX-6")),
        ("NM|777-3^^LN||150|G/L|||||F", None),
        ("NM|777-3^^LN||15000|G/L|||||F", Some("Warning value-implausible OBX-5")),
        ("NM|2345-7^^LN||5.5||||||F", Some("Warning unit-missing OBX-6")),
        ("NM|2345-7^^LN||99||||||F", Some("Warning unit-missing OBX-6")),
        ("NM|8867-4^^LN||88||||||F", None),
        ("ST|2823-3^^LN||haemolysed||||||F", Some("Information value-not-numeric OBX-5")),
        ("ST|99999-9^^LN||haemolysed||||||F", None),
    ] {
        let message = format!("MSH|^~\\&|A|F|M|S|20240715120000||ORU^R01|1|P|2.5\nPID|||1\nOBX|1|{obx}\n");
        let (events, issues) = read(&message, &bare);
        let issues: Vec<_> =
            issues.iter().map(|i| format!("{:?} {} {}", i.severity, i.code, i.location)).collect();
        assert_eq!(issues, told.into_iter().collect::<Vec<_>>(), "{obx}");
        assert_eq!(events.len(), 1, "{obx}: kept all the same");
    }
}

#[test]
fn observation_times_and_groups() {
    check(
        "ORU^R01",
        "PID|||1\nOBR|1||A|P|||20240715\nOBX|1|NM|X||1||||||F|||20240715093000+0000\nOBX|2|NM|X||2||||||F\n\
         ORC|RE|P2\nOBR|2|||P|||||||||||||||||||||C\nOBX|1|NM|X||3||||||F\nPID|||2\nOBX|1|NM|X||4||||||F|||2024-07-15\n",
        &[
            "HOSP/1 - 2024-07-15T09:30Z Second X^^ None 1 '1'  Final [A|X^|]",
            "HOSP/1 - 2024-07-14T22:00Z Day X^^ None 2 '2'  Final [A|X^|]",
            "HOSP/1 - 2024-07-15T10:00Z Second X^^ None 3 '3'  Corrected [P2|X^|]",
            "HOSP/2 - 2024-07-15T10:00Z Second X^^ None 4 '4'  Final []",
            "Warning time-invalid OBX[4]-14",
        ],
    );
}

#[test]
fn the_messages_zone_counts_before_the_feeds() {
    let at = |msh7: &str| {
        let body = "PID|||1\nOBX|1|NM|X||1||||||F|||202401151000\n";
        let (events, _) = read(&format!("MSH|^~\\&|||||{msh7}||ORU^R01|1|P|2.5\n{body}"), &feed());
        iso(events[0].at)
    };
    assert_eq!(at("20240115120000"), "2024-01-15T09:00Z");
    assert_eq!(at("20240115120000-0500"), "2024-01-15T15:00Z");
    // July's offset is the zone's own: January's is another.
    assert_eq!(at("20240715120000+0200"), "2024-01-15T09:00Z");
}

#[test]
fn clock_changes_and_the_future_are_flagged() {
    check(
        "ORU^R01",
        "PID|||1\nOBX|1|NM|X||1||||||F|||202403310230\nOBX|2|NM|X||1||||||F|||202410270230\n",
        &[
            "HOSP/1 - 2024-03-31T01:30Z Minute X^^ None 1 '1'  Final []",
            "HOSP/1 - 2024-10-27T00:30Z Minute X^^ None 1 '1'  Final []",
            "Warning time-nonexistent OBX-14",
            "Warning time-ambiguous OBX[2]-14",
            "Warning event-time-in-future message",
        ],
    );
    check(
        "ORU^R01",
        "PID|||1\nOBX|1|NM|X||1||||||F|||20161231235960+0000\nOBX|2|NM|X||1||||||F|||0000\n",
        &[
            "HOSP/1 - 2016-12-31T23:59:59.000Z Second X^^ None 1 '1'  Final []",
            "HOSP/1 - 2024-07-15T10:00Z Second X^^ None 1 '1'  Final []",
            "Warning time-leap-second OBX-14",
            "Warning time-invalid OBX[2]-14",
        ],
    );
}

#[test]
fn results_say_when_they_were_sent_where_msh_7_tells_which_came_first() {
    let sent = |msh_7: &str| {
        let message =
            format!("MSH|^~\\&|APP|FAC|||{msh_7}||ORU^R01|42|P|2.5\nPID|||1\nOBX|1|NM|X||1||||||F\n");
        let (events, _) = read(&message, &feed());
        let [.., Event { kind: EventKind::Observed(observed), .. }] = events.as_slice() else { panic!() };
        observed.sent_at.map(iso)
    };
    assert_eq!(sent("20240715120005").as_deref(), Some("2024-07-15T10:00:05.000Z"));
    assert_eq!(sent("202407151200").as_deref(), Some("2024-07-15T10:00Z"));
    // A day, none, an hour that the clock shows twice, and a clock that is two hours ahead: it is 14:00 there.
    assert_eq!(["20240715", "", "202310290230", "20240715160000"].map(sent), [None, None, None, None]);
    assert_eq!(sent("202310290230+0100").as_deref(), Some("2023-10-29T01:30Z"));
    assert_eq!(sent("20240715140400").as_deref(), Some("2024-07-15T12:04Z"));
}

#[test]
fn other_types_say_who_they_are_about() {
    for type_ in ["SIU^S12", "MDM^T02", "VXU^V04", "ADT^A60", "ADT^A14"] {
        check(
            type_,
            "PID|||1||Muster\n",
            &[
                "HOSP/1 - 2024-07-15T10:00Z Second person Some(\"Muster\") None None None",
                "Information events-person-only MSH-9",
            ],
        );
    }
    check("SIU^S12", "SCH|1\n", &["Information events-person-only MSH-9"]);
    check(
        "RDE^O11",
        "PID|||1\nORC|NW|P1\nRXE||GLU^^LAB\nORC|NW|P2\nRXO|ASS^Aspirin^L\nRXE||ASS^Aspirin 100^L\n",
        &[
            "HOSP/1 - 2024-07-15T10:00Z Second order NW P1  2345-7^Glucose^LN",
            "HOSP/1 - 2024-07-15T10:00Z Second order NW P2  ASS^Aspirin^L",
        ],
    );
}

#[test]
fn two_patients_swap_their_beds() {
    check(
        "ADT^A17",
        "EVN||20240715110000\nPID|||1\nPV1||I|A^1^1\nPID|||2\nPV1||I|A^2^2\n",
        &[
            "HOSP/1 - 2024-07-15T09:00Z Second Transferred Some(Inpatient) Some(\"A/1/1 icu=false\") None None",
            "HOSP/2 - 2024-07-15T09:00Z Second Transferred Some(Inpatient) Some(\"A/2/2 icu=false\") None None",
        ],
    );
    check("ADT^A17", "PID|||1\n", &["Error patient-id-missing PID[2]"]);
}

#[test]
fn orders_with_and_without_detail() {
    check(
        "ORM^O01",
        "PID|||1\nORC|NW|P1|F1||||||202407151000\nOBR|1|||GLU^^LAB\nORC|CA|P2^NS\n",
        &[
            "HOSP/1 - 2024-07-15T08:00Z Minute order NW P1 F1 2345-7^Glucose^LN",
            "HOSP/1 - 2024-07-15T10:00Z Second order CA P2  ^^",
        ],
    );
    check("OML^O21^OML_O21", "PID|||1\n", &["Error order-missing ORC"]);
}

#[test]
fn what_cannot_be_used_is_an_error() {
    check("ADT^A01", "PV1||I\n", &["Error patient-id-missing PID"]);
    check("ADT^A01", "PID|||\"\"\n", &["Error patient-id-missing PID-3"]);
    check("ORU^R01", "PID|||^^^HOSP\nOBX|1|NM|X||1||||||F\n", &["Error patient-id-missing PID-3"]);
    check("QBP^Q11", "PID|||1\n", &["Error type-unsupported MSH-9"]);
    check("ADT", "PID|||1\n", &["Error type-unsupported MSH-9"]);
    check("", "PID|||1\n", &["Error message-type-missing MSH-9"]);
    check("ADT^A08", "PID|||1\nMSH|^~\\&|\n", &["Error msh-repeated MSH[2]"]);
    check("ADT^A08", "PID|||1\nfree text\n", &["Warning segment-name-invalid segment 3"]);
    let bare = Feed { authority: String::new(), ..feed() };
    let (events, issues) = read("MSH|^~\\&|||||2024||ADT^A08|1|P|2.5\nPID|||1||A", &bare);
    assert!(events.is_empty());
    assert_eq!(issues[0].code, "authority-missing");
    let lost = Feed { zone: "Nowhere".into(), ..feed() };
    assert_eq!(read("MSH|^~\\&|||||2024||ADT^A08|1|P|2.5\nPID|||1||A", &lost).1[0].code, "zone-unknown");
}

#[test]
fn issues_hold_nothing_of_the_patient_and_stay_few() {
    let obx = "OBX|1|NM|||SECRET||||||F\n".repeat(5000);
    let message = format!("MSH|^~\\&|||||SECRET||ORU^R01|1|P|2.5\nPID|||1||SECRET||SECRET\nSECRET|x\n{obx}");
    let (_, issues) = read(&message, &feed());
    assert!(issues.len() <= 100, "{}", issues.len());
    assert!(!format!("{issues:?}").contains("SECRET"));
}

#[test]
fn the_feeds_charset_reads_what_msh_18_does_not_name() {
    let mut bytes = b"MSH|^~\\&|||||2024||ADT^A08|1|P|2.5\rPID|||1||M".to_vec();
    bytes.extend_from_slice(b"\xB8ller\r");
    let message = Message::parse(Bytes::from(bytes), &Limits::default()).unwrap();
    let cyrillic = Feed { charset: Some("8859/5".into()), ..feed() };
    let (events, issues) = to_events(&message, &cyrillic, NOW);
    assert!(issues.is_empty());
    assert!(matches!(&events[0].kind, EventKind::Person(p) if p.name.as_deref() == Some("MИller")));
    assert_eq!(to_events(&message, &feed(), NOW).1[0].code, "charset-undeclared");
}
