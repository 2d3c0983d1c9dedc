//! MB/s of HL7 v2 to FHIR JSON, one thread: `cargo run -p clinical --example bench_fhir`.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use clinical::hl7::{Limits, Message};
use clinical::{Feed, Time, fhir};

const RESULTS: usize = 40;
const ROUNDS: usize = 2_000;

fn main() {
    let mut text = "MSH|^~\\&|BENCH|HOSP|MEDULLA|SITE|20260101120000+0000||ORU^R01^ORU_R01|B-1|P|2.5.1\r\
         PID|1||42^^^HOSP^MR||Bench^Patient||19500101|F|||1 Example Street^^Zurich^^8000^CHE\r\
         PV1|1|I|ICU1^1^1^HOSP||||1001^Attending^Ada|||||||||||V42^^^HOSP^VN\r\
         OBR|1||L1^LAB|PANEL^Chemistry^L|||20260101120000+0000|||||||||||||||20260101120000+0000||LAB|F\r"
        .to_owned();
    for n in 1..=RESULTS {
        text.push_str(&format!("OBX|{n}|NM|C-{n}^Measured result^L||{n}.5|mmol/L^mmol/L^UCUM|1-5||||F|||20260101120000+0000||NURSE\r"));
    }
    let feed = Feed { authority: "HOSP".into(), ..Feed::default() };
    let bytes = Bytes::from(text);
    let start = Instant::now();
    let mut written = 0;
    for _ in 0..ROUNDS {
        let message = Message::parse(bytes.clone(), &Limits::default()).expect("a message");
        written += black_box(fhir::from_hl7(&message, &feed, Time(0))).len();
    }
    let seconds = start.elapsed().as_secs_f64();
    let read = (bytes.len() * ROUNDS) as f64;
    println!(
        "to FHIR {:>8.1} MB/s of HL7 read, {:.1} MB/s written",
        read / seconds / 1e6,
        written as f64 / seconds / 1e6
    );
}
