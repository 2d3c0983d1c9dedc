//! `medulla bench hl7`: how fast one core reads HL7 v2, and what a byte costs as messages grow.

use std::fmt;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clinical::hl7::{Limits, Message, to_events};
use clinical::{CodeTable, Feed, Time, fhir};
use serde::Serialize;

/// 2026-01-01T12:00:00Z.
const NOW: Time = Time(1_767_268_800_000);
const SMALL: usize = 40;
const LARGE: usize = 64_000;
/// The kernel counts CPU time by the millisecond; a round is many of them.
const ROUND: Duration = Duration::from_millis(100);

const RESULTS: [(&str, &str, &str, (f64, f64)); 10] = [
    ("8867-4", "Heart rate", "/min", (50.0, 100.0)),
    ("2708-6", "Oxygen saturation", "%", (94.0, 99.0)),
    ("8310-5", "Body temperature", "Cel", (36.1, 37.5)),
    ("8480-6", "Systolic", "mm[Hg]", (90.0, 140.0)),
    ("9279-1", "Breaths", "/min", (12.0, 20.0)),
    ("2160-0", "Creatinine", "mg/dL", (0.6, 1.3)),
    ("2524-7", "Lactate", "mmol/L", (0.5, 2.2)),
    ("6690-2", "Leukocytes", "10*3/uL", (4.5, 11.0)),
    ("777-3", "Platelets", "10*3/uL", (150.0, 400.0)),
    ("2823-3", "Potassium", "mmol/L", (3.5, 5.1)),
];

#[derive(Debug, Serialize)]
pub struct Report {
    pub cores: usize,
    pub steps: Vec<Step>,
}

/// One reader on messages of one size.
#[derive(Debug, Serialize)]
pub struct Step {
    pub reader: &'static str,
    pub results: usize,
    pub message_bytes: usize,
    /// HL7 v2 read in a second of one thread's CPU time, in the best round.
    pub mb_per_s: f64,
    /// Time per byte over that with 40 results; of the small message 1.
    pub ratio: f64,
    pub rounds: u32,
}

/// Its name, and what it does with a message.
type Reader<'r> = (&'static str, &'r dyn Fn(&Bytes));

/// Each reader on each size for about so long.
pub fn run(each: Duration, say: impl Fn(&str)) -> anyhow::Result<Report> {
    let feed = Feed {
        authority: "HOSP".into(),
        codes: CodeTable::empty(),
        icu_wards: vec!["ICU*".into()],
        ..Feed::default()
    };
    let readers: [Reader<'_>; 4] = [
        ("parse", &|bytes| {
            black_box(parse(bytes).map(|message| message.field_bytes()));
        }),
        ("hl7-parser", &|bytes| {
            black_box(std::str::from_utf8(bytes).ok().map(other_spans));
        }),
        ("events", &|bytes| {
            black_box(parse(bytes).map(|message| to_events(&message, &feed, NOW)));
        }),
        ("fhir", &|bytes| {
            black_box(parse(bytes).map(|message| fhir::from_hl7(&message, &feed, NOW)));
        }),
    ];
    let (small, large) = (oru(SMALL), oru(LARGE));
    agree(&small)?;
    let mut steps = Vec::new();
    for (reader, read) in readers {
        say(&format!("{reader}: {SMALL} and {LARGE} results"));
        let one = step(reader, SMALL, &small, each, read);
        let many = step(reader, LARGE, &large, each, read);
        let ratio = one.mb_per_s / many.mb_per_s;
        steps.extend([one, Step { ratio, ..many }]);
    }
    Ok(Report { cores: std::thread::available_parallelism().map_or(0, usize::from), steps })
}

fn step(reader: &'static str, results: usize, bytes: &Bytes, each: Duration, read: &dyn Fn(&Bytes)) -> Step {
    let time = |copies: u64| {
        let start = clock();
        (0..copies).for_each(|_| read(black_box(bytes)));
        clock().saturating_sub(start)
    };
    let mut copies = 1;
    while time(copies) < ROUND {
        copies *= 2;
    }
    let (begin, mut best, mut rounds) = (Instant::now(), time(copies), 1);
    while rounds < 3 || begin.elapsed() < each {
        best = best.min(time(copies));
        rounds += 1;
    }
    let mb_per_s = (bytes.len() as u64 * copies) as f64 / best.as_secs_f64() / 1e6;
    Step { reader, results, message_bytes: bytes.len(), mb_per_s, ratio: 1.0, rounds }
}

/// CPU time of this thread (Linux), so that what else runs on the machine does not count; elsewhere the wall's.
fn clock() -> Duration {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = stat.and_then(|stat| stat.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| BEGIN.get_or_init(Instant::now).elapsed(), Duration::from_nanos)
}

fn parse(bytes: &Bytes) -> Option<Message> {
    Message::parse(bytes.clone(), &Limits { bytes_max: 1 << 30, ..Limits::default() }).ok()
}

/// [`Message::field_bytes`] of the other parser.
fn other_spans(text: &str) -> usize {
    let Ok(message) = hl7_parser::Message::parse(text) else { return 0 };
    message.segments().flat_map(|segment| segment.fields()).map(|field| field.raw_value().len()).sum()
}

/// Both parsers saw the same, so that what is compared is the same work.
fn agree(bytes: &Bytes) -> anyhow::Result<()> {
    let ours = parse(bytes).map(|message| message.field_bytes());
    let theirs = std::str::from_utf8(bytes).ok().map(other_spans);
    anyhow::ensure!(
        ours.is_some() && ours == theirs,
        "the two parsers read {ours:?} and {theirs:?} bytes of fields"
    );
    Ok(())
}

fn oru(results: usize) -> Bytes {
    let time = "20260101115500+0000";
    let mut text = format!(
        "MSH|^~\\&|LAB|HOSP|MEDULLA|SITE|{time}||ORU^R01^ORU_R01|B-1|P|2.5.1\r\
         PID|1||42^^^HOSP^MR||Bench^Patient||19500101|F|||1 Example Street^^Zurich^^8000^CHE\r\
         PV1|1|I|ICU1^1^1^HOSP||||1001^Attending^Ada|||||||||||V42^^^HOSP^VN\r\
         OBR|1|P1^WARD|L1^LAB|PANEL^Vital signs and chemistry^L|||{time}|||||||||||||||{time}||LAB|F\r"
    );
    for (nth, (code, words, unit, (low, high))) in (0..results).zip(RESULTS.iter().cycle()) {
        // Beyond the first ten, codes of the sender's that differ.
        let code = if nth < RESULTS.len() { (*code).to_owned() } else { format!("{nth:05}-0") };
        // Normal ones: of what no patient can have, the readers have more to say.
        let value = low + (high - low) * ((nth * 31) % 100) as f64 / 100.0;
        text.push_str(&format!(
            "OBX|{}|NM|{code}^{words}^LN||{value:.1}|{unit}|{low}-{high}|N|||F|||{time}\r",
            nth + 1
        ));
    }
    text.into()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "one thread of {} cores, by its CPU time; best of the rounds", self.cores)?;
        writeln!(f, "{:<12} {:>8} {:>12} {:>10} {:>14}", "reader", "OBX", "bytes", "MB/s", "time a byte")?;
        for step in &self.steps {
            let Step { reader, results, message_bytes, mb_per_s, ratio, .. } = step;
            writeln!(f, "{reader:<12} {results:>8} {message_bytes:>12} {mb_per_s:>10.1} {ratio:>13.2}x")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is measured is what it is called.
    #[test]
    fn the_message_is_read_whole() {
        let bytes = oru(SMALL);
        assert!((3_200..3_600).contains(&bytes.len()), "{} bytes", bytes.len());
        agree(&bytes).unwrap();
        let message = parse(&bytes).unwrap();
        let feed = Feed::default();
        let (events, issues) = to_events(&message, &feed, NOW);
        assert_eq!((events.len(), issues), (SMALL + 1, Vec::new()));
        let bundle = String::from_utf8(fhir::from_hl7(&message, &feed, NOW)).unwrap();
        assert_eq!(bundle.matches(r#""resourceType":"Observation""#).count(), SMALL);
    }
}
