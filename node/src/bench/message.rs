//! The bench's message: an ORU^R01 of 12 results, more than 1 KB, values that vary.

use clinical::Time;

/// LOINC, unit, lowest value, span.
const RESULTS: [(&str, &str, f64, f64); 12] = [
    ("8867-4", "/min", 62.0, 40.0),
    ("2708-6", "%", 93.0, 7.0),
    ("8310-5", "Cel", 36.2, 1.9),
    ("8480-6", "mm[Hg]", 98.0, 50.0),
    ("8462-4", "mm[Hg]", 55.0, 30.0),
    ("8478-0", "mm[Hg]", 70.0, 30.0),
    ("9279-1", "/min", 12.0, 12.0),
    ("2160-0", "mg/dL", 0.6, 1.2),
    ("2524-7", "mmol/L", 0.6, 2.4),
    ("6690-2", "10*3/uL", 4.0, 12.0),
    ("777-3", "10*3/uL", 150.0, 200.0),
    ("2823-3", "mmol/L", 3.4, 1.6),
];

/// Original mode: MSH-15 and MSH-16 are empty, so the one answer (AA) means that the ack point is reached.
/// One message of a patient; `number` makes it, and its control id, unlike every other of the run.
pub fn oru(run: &str, number: u64, patient: u64, at: Time) -> (String, Vec<u8>) {
    let control_id = format!("{run}-{number}");
    let time = timestamp(at);
    let mut text = format!(
        "MSH|^~\\&|BENCH|BENCHHOSP|MEDULLA|SITE|{time}||ORU^R01^ORU_R01|{control_id}|P|2.5.1||||||UNICODE UTF-8\r\
         PID|1||{patient}^^^BENCHHOSP^MR||Bench^Patient{patient}||19500101|F|||1 Example Street^^Zurich^^8000^CHE\r\
         PV1|1|I|ICU1^{bed}^1^BENCHHOSP||||1001^Attending^Ada|||||||||||V{patient}^^^BENCHHOSP^VN|||||||||||||||||||||||||\
         {admitted}\r\
         OBR|1||L{number}^BENCHLAB|PANEL^Vital signs and chemistry^L|||{time}|||||||||||||||{time}||LAB|F\r",
        bed = patient % 20,
        admitted = timestamp(Time(at.0 - 48 * 3_600_000)),
    );
    for (position, (code, unit, lowest, span)) in RESULTS.iter().enumerate() {
        let value = lowest + span * share(number.wrapping_mul(31).wrapping_add(position as u64));
        text.push_str(&format!(
            "OBX|{}|NM|{code}^Measured result^LN||{value:.1}|{unit}^{unit}^UCUM|||||F|||{time}||NURSE\r",
            position + 1
        ));
    }
    (control_id, text.into_bytes())
}

/// In [0, 1), scattered, the same each time (SplitMix64).
fn share(number: u64) -> f64 {
    let mut z = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// HL7 DTM with its offset.
fn timestamp(at: Time) -> String {
    let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
    at.strftime("%Y%m%d%H%M%S+0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_large_readable_and_unlike_each_other() {
        let at = Time(1_767_225_600_000);
        let (id, bytes) = oru("R", 7, 3, at);
        assert!(bytes.len() >= 1024, "{}", bytes.len());
        assert_ne!(bytes, oru("R", 8, 3, at).1);
        let message = clinical::hl7::Message::parse(bytes.into(), &clinical::hl7::Limits::default()).unwrap();
        assert_eq!(message.control_id(), id);
        let feed = clinical::Feed {
            authority: "BENCHHOSP".into(),
            icu_wards: vec!["ICU*".into()],
            ..clinical::Feed::default()
        };
        let (events, issues) = clinical::hl7::to_events(&message, &feed, at);
        assert!(events.len() >= 12, "{} events, {issues:?}", events.len());
    }
}
