//! Large messages: what is linear shows by ending at all, for a square would take hours.

use bytes::Bytes;
use clinical::fhir::{self, Fate};
use clinical::hl7::{Limits, Message, ack, check, to_events};
use clinical::{Feed, Time};

const HEADER: &str = "MSH|^~\\&|LAB|HOSP|M|S|20260702030405||ORU^R01|1|P|2.5\rPID|1||42^^^HOSP^MR||Muster^Anna\r\
                      OBR|1|P1|F1|PANEL^Panel^L|||20260702030000\r";

fn parse(text: String) -> Message {
    let bytes = Bytes::from(text);
    let message = Message::parse(bytes.clone(), &Limits::default()).unwrap();
    assert_eq!(message.write(), bytes);
    message
}

/// Each result is read, and none is lost on its way to FHIR; in the second half all have one code and no sub-id.
#[test]
fn fifty_thousand_results() {
    const RESULTS: usize = 50_000;
    let code = |n: usize| if n < RESULTS / 2 { format!("C{n}") } else { "SAME".to_owned() };
    let results: String = (0..RESULTS)
        .map(|n| format!("OBX|{}|NM|{}^Result^L||{n}.50|mmol/L|1-2|N|||F|||20260702030000\r", n + 1, code(n)))
        .collect();
    let message = parse(format!("{HEADER}{results}"));
    assert_eq!(message.segments().len(), RESULTS + 3);
    assert_eq!(message.get("OBX[50000]-5").as_deref(), Some("49999.50"));
    let (events, _) = to_events(&message, &Feed::default(), Time(0));
    assert_eq!(events.len(), RESULTS + 1);
    let bundle = fhir::from_hl7(&message, &Feed::default(), Time(0));
    let text = String::from_utf8(bundle).unwrap();
    assert_eq!(text.matches(r#""resourceType":"Observation""#).count(), RESULTS);
    let values = fhir::coverage(&message, &Feed::default(), Time(0));
    let values: Vec<_> = values.iter().filter(|(field, _)| field == "OBX-5").collect();
    assert!(values.len() == RESULTS && values.iter().all(|(_, fate)| *fate == Fate::Mapped));
}

#[test]
fn a_document_of_20_mb() {
    let data = "QUJD".repeat(5 << 20);
    let message = parse(format!("{HEADER}OBX|1|ED|DOC^Report^L||^AP^PDF^Base64^{data}||||||F\r"));
    assert_eq!(message.get("OBX-5.5").map(|v| v.len()), Some(data.len()));
    let bundle = fhir::from_hl7(&message, &Feed::default(), Time(0));
    let text = String::from_utf8(bundle).unwrap();
    assert_eq!(text.matches(data.as_str()).count(), 1, "once, as an attachment");
    assert!(text.contains(r#""contentType":"application/pdf""#));
}

/// Many of a thing that is mostly one: repetitions, notes, diagnoses, segments without a name, merges, escapes.
#[test]
fn many_of_everything() {
    const MANY: usize = 30_000;
    let attending: String = (0..MANY).map(|n| format!("{n}^Doctor~")).collect();
    let ids: String = (0..MANY).map(|n| format!("{n}^^^HOSP~")).collect();
    let lines = |line: &str| line.repeat(MANY);
    let message = parse(format!(
        "MSH|^~\\&|A|H|M|S|20260702||ADT^A40|1|P|2.5\rPID|1||{ids}||Muster\rPV1|1|I|W|||{attending}\r{}{}{}{}OBX|1|ST|A||{}\r",
        lines("DG1|1||I10^Hypertension^I10||20260702|A\r"),
        lines("NTE|1||a note\r"),
        lines("x\r"),
        lines("MRG|7^^^HOSP\r"),
        "\\F\\".repeat(MANY),
    ));
    let feed = Feed { authority: "HOSP".into(), ..Feed::default() };
    let (_, issues) = to_events(&message, &feed, Time(0));
    assert!(issues.len() <= 300, "{} issues", issues.len());
    let fates = fhir::coverage(&message, &feed, Time(0));
    assert!(fates.len() > 3 * MANY && fates.iter().all(|(_, fate)| *fate != Fate::Dropped));
    let reports: Vec<_> = check(message.bytes().clone(), "f", &feed, &Limits::default(), Time(0)).collect();
    assert_eq!(reports.len(), 1);
}

/// One message of many groups takes about as long as many messages of few, of groups as they come: every one with another
/// patient, order or result, and with an id or without. If each walked over those before it, it would be sixteen times.
#[test]
fn time_grows_with_the_segments_and_not_with_their_square() {
    const FEW: usize = 1_250;
    const TIMES: usize = 16;
    let feed = Feed { authority: "HOSP".into(), ..Feed::default() };
    let groups: [(&str, &str); 9] = [
        ("ORU^R01", "PID|||N^^^H||Muster||1951|F\rOBR|1||F|X\rOBX|1|NM|X^^L||5|g/L|||||F\r"),
        ("ORU^R01", "PID|||\rOBR|1||F|X\rOBX|1|NM|||5|g/L|||||Q\r"),
        (
            "ORU^R01",
            "PID|||N\rPV1||I|W\rORC|RE|N\rOBR|1||N|X\rNTE|1||n\rOBX|1|XX|X^^L||5|kg|||||Q|||x\rNTE|1||n\r",
        ),
        ("ADT^A40", "PID|||N^^^H||Muster||1951|F\rMRG|N^^^K\r"),
        ("ADT^A40", "PID|||1^^^H\rMRG|\r"),
        ("ADT^A17", "PID|||N^^^H\rPV1||I|W^1^1|||||||||||||||||||||||||||||||||||||||||x\r"),
        ("ORM^O01", "PID|||1\rORC|NW|N||||||||x\rOBR|1|N||X|||x\r"),
        ("RDE^O11", "PID|||1\rORC|NW|N\rRXO|A\rRXE||A\rTQ1|1\r"),
        ("ADT^A01", "PID|||\rDG1|1||I10\rAL1|1||A\rNK1|1|A\rIN1|1|A\rx|\r"),
    ];
    let message = |kind: &str, group: &str, count: usize| {
        let body: String = (0..count).map(|n| group.replace("|N", &format!("|{n}"))).collect();
        Bytes::from(format!("MSH|^~\\&|A|H|M|S|20260702||{kind}|1|P|2.5\r{body}"))
    };
    let read = |bytes: &Bytes| {
        let reports = check(bytes.clone(), "f", &feed, &Limits::default(), Time(0)).collect::<Vec<_>>();
        let message = Message::parse(bytes.clone(), &Limits::default()).unwrap();
        let (_, issues) = to_events(&message, &feed, Time(0));
        let answer = ack::refuse(&message, ack::Mode::Application, &issues, Time(0), "1");
        assert!(reports.len() == 1 && !answer.is_empty());
    };
    // Both do the same work and are as long under way; the least of three, for what else runs here only adds.
    let time = |bytes: &Bytes, times: usize| {
        let started = std::time::Instant::now();
        (0..times).for_each(|_| read(bytes));
        started.elapsed()
    };
    let least = |bytes: &Bytes, times: usize| (0..3).map(|_| time(bytes, times)).min().unwrap();
    for (kind, group) in groups {
        let few = least(&message(kind, group, FEW), TIMES);
        let many = least(&message(kind, group, FEW * TIMES), 1);
        let ratio = many.as_secs_f64() / few.as_secs_f64();
        println!("{kind} {}: {few:?}, {many:?}, {ratio:.1}", &group[..12]);
        assert!(ratio < 6.0, "{kind} {group:?}: in parts {few:?}, in one {many:?}, {ratio:.1} times as long");
    }
}

/// What twice as much of one field costs, in one run: to FHIR and its coverage. A square would cost four times as much.
#[test]
fn repetitions_of_a_value_cost_by_their_number() {
    let written = |many: usize| {
        let lines: Vec<_> = (0..many).map(|n| format!("line {n}")).collect();
        // The second has delimiters in its lines, so that each is looked for by itself; the third is not found.
        [lines.join("~"), lines.join("^x~"), format!("{}\u{1}", lines.join("~"))]
    };
    let time = |many: usize| {
        let results: Vec<_> =
            written(many).iter().map(|v| format!("OBX||TX|N^Note^L||{v}||||||F\r")).collect();
        let message = parse(format!("{HEADER}{}NTE|||a note\r", results.concat()));
        // The least of them: what else runs here only adds.
        let runs = (0..8).map(|_| {
            let begun = std::time::Instant::now();
            fhir::from_hl7(&message, &Feed::default(), Time(0));
            let fates = fhir::coverage(&message, &Feed::default(), Time(0));
            let values: Vec<_> =
                fates.iter().filter(|(field, _)| field == "OBX-5").map(|(_, fate)| *fate).collect();
            assert_eq!(values, [Fate::Mapped, Fate::Mapped, Fate::Kept]);
            begun.elapsed()
        });
        runs.min().unwrap().as_secs_f64()
    };
    let (few, many) = (time(5_000), time(20_000));
    println!("5,000 repetitions {few:.3} s, 20,000 {many:.3} s: {:.1} times", many / few);
    assert!(many < few * 9.0, "four times as many cost {:.1} times as much", many / few);
}
