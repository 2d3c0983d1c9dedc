//! MB/s from bytes to events, one thread: `cargo run -p clinical --example bench_read`.
//!
//! An ORU^R01 of 1.7 KB with 12 results, each message with values of its own. Figures depend on the machine: name
//! it beside them.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use clinical::hl7::{Limits, Message, to_events};
use clinical::{CodeTable, Feed, Time};

const MESSAGES: u64 = 1_000;
const ROUNDS: u64 = 50;

/// LOINC and unit.
const RESULTS: [(&str, &str); 12] = [
    ("8867-4", "/min"),
    ("2708-6", "%"),
    ("8310-5", "Cel"),
    ("8480-6", "mm[Hg]"),
    ("8462-4", "mm[Hg]"),
    ("8478-0", "mm[Hg]"),
    ("9279-1", "/min"),
    ("2160-0", "mg/dL"),
    ("2524-7", "mmol/L"),
    ("6690-2", "10*3/uL"),
    ("777-3", "10*3/uL"),
    ("2823-3", "mmol/L"),
];

fn oru(number: u64) -> Bytes {
    let time = "20260101120000+0000";
    let patient = number % 200;
    let mut text = format!(
        "MSH|^~\\&|BENCH|BENCHHOSP|MEDULLA|SITE|{time}||ORU^R01^ORU_R01|B-{number}|P|2.5.1||||||UNICODE UTF-8\r\
         PID|1||{patient}^^^BENCHHOSP^MR||Bench^Patient{patient}||19500101|F|||1 Example Street^^Zurich^^8000^CHE\r\
         PV1|1|I|ICU1^1^1^BENCHHOSP||||1001^Attending^Ada|||||||||||V{patient}^^^BENCHHOSP^VN\r\
         OBR|1||L{number}^BENCHLAB|PANEL^Vital signs and chemistry^L|||{time}|||||||||||||||{time}||LAB|F\r"
    );
    for (position, (code, unit)) in RESULTS.iter().enumerate() {
        let value = 1.0 + ((number * 31 + position as u64) % 1_000) as f64 / 10.0;
        text.push_str(&format!(
            "OBX|{}|NM|{code}^Measured result^LN||{value:.1}|{unit}^{unit}^UCUM|||||F|||{time}||NURSE\r",
            position + 1
        ));
    }
    text.into()
}

fn main() {
    let feed = Feed {
        authority: "BENCHHOSP".into(),
        codes: CodeTable::empty(),
        icu_wards: vec!["ICU*".into()],
        ..Feed::default()
    };
    let (limits, now) = (Limits::default(), Time(1_767_270_000_000));
    let messages: Vec<Bytes> = (0..MESSAGES).map(oru).collect();
    let bytes = ROUNDS as f64 * messages.iter().map(Bytes::len).sum::<usize>() as f64;
    let mut told = 0;
    let start = Instant::now();
    for message in (0..ROUNDS).flat_map(|_| &messages) {
        black_box(Message::parse(message.clone(), &limits).expect("a message"));
    }
    let parsed = start.elapsed().as_secs_f64();
    let start = Instant::now();
    for message in (0..ROUNDS).flat_map(|_| &messages) {
        let message = Message::parse(message.clone(), &limits).expect("a message");
        let (events, _) = black_box(to_events(&message, &feed, now));
        told += events.len();
    }
    let read = start.elapsed().as_secs_f64();
    let each = |seconds: f64| seconds * 1e6 / (MESSAGES * ROUNDS) as f64;
    println!("parse            {:>8.0} MB/s  {:>6.2} us a message", bytes / parsed / 1e6, each(parsed));
    println!("parse and events {:>8.0} MB/s  {:>6.2} us a message", bytes / read / 1e6, each(read));
    println!("{:.1} events a message", told as f64 / (MESSAGES * ROUNDS) as f64);
}
