//! Numbered messages of a few patients. Now and then one is plainly ill for a message, and NEWS2 alerts once.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use clinical::Time;

const PATIENTS: usize = 6;
/// Of each patient's messages, so many lie between two that alert.
const EPISODE: usize = 12;
const MINUTE_MS: i64 = 60_000;

/// What one feed is sent.
pub struct Traffic {
    feed: &'static str,
    count: usize,
}

pub struct Numbered {
    /// `FEED-PATIENT-STEP`, and MSH-10.
    pub control_id: String,
    pub patient: String,
    pub text: String,
}

impl Traffic {
    pub fn new(feed: &'static str) -> Traffic {
        Traffic { feed, count: 0 }
    }

    pub fn next(&mut self) -> Numbered {
        let (patient, step) = (self.count % PATIENTS, self.count / PATIENTS);
        self.count += 1;
        let patient = format!("{}-{patient}", self.feed);
        let control_id = format!("{patient}-{step}");
        // In the past, and every message later than the one before: none of the times is doubtful.
        let at = stamp(Time(began().0 + i64::try_from(step).unwrap_or_default() * MINUTE_MS));
        let kind = if step == 0 { "ADT^A01^ADT_A01" } else { "ORU^R01^ORU_R01" };
        let mut text = format!(
            "MSH|^~\\&|MONITOR|SIMHOSP|MEDULLA||{at}||{kind}|{control_id}|P|2.5.1\r\
             PID|1||{patient}^^^SIMHOSP^MR||Example^Person||19500101|F\rPV1|1|I|Ward^1^1\r"
        );
        if step > 0 {
            text += &format!("OBR|1||{control_id}|85353-1^Vital signs panel^LN|||{at}\r");
            text += &vital_signs(is_ill(step), &at);
        }
        Numbered { control_id, patient, text }
    }

    /// All that was made so far.
    pub fn control_ids(&self) -> Vec<String> {
        let mut again = Traffic::new(self.feed);
        (0..self.count).map(|_| again.next().control_id).collect()
    }

    pub fn feed(&self) -> &'static str {
        self.feed
    }
}

fn is_ill(step: usize) -> bool {
    step % EPISODE == EPISODE / 2
}

/// Patient and step of a control id.
pub fn place(control_id: &str) -> Option<(&str, usize)> {
    let (patient, step) = control_id.rsplit_once('-')?;
    Some((patient, step.parse().ok()?))
}

/// Whether this message alerts.
pub fn alerts(control_id: &str) -> bool {
    place(control_id).is_some_and(|(_, step)| is_ill(step))
}

/// Code, type, unit; the value of one who is well, and of one who is ill.
const VITAL_SIGNS: [(&str, &str, &str, [&str; 2]); 6] = [
    ("9279-1^Respiratory rate", "NM", "/min", ["16", "30"]),
    ("2708-6^Oxygen saturation", "NM", "%", ["98", "85"]),
    ("8480-6^Systolic blood pressure", "NM", "mm[Hg]", ["120", "80"]),
    ("8867-4^Heart rate", "NM", "/min", ["70", "140"]),
    ("8310-5^Body temperature", "NM", "Cel", ["37.0", "35.0"]),
    ("67775-7^ACVPU", "ST", "", ["A", "V"]),
];

/// NEWS2 18 or 0.
fn vital_signs(ill: bool, at: &str) -> String {
    let line = |(number, (code, kind, unit, values)): (usize, &(&str, &str, &str, [&str; 2]))| {
        let value = values[usize::from(ill)];
        format!("OBX|{}|{kind}|{code}^LN||{value}|{unit}|||||F|||{at}\r", number + 1)
    };
    VITAL_SIGNS.iter().enumerate().map(line).collect()
}

/// Two days before this process began.
fn began() -> Time {
    static BEGAN: OnceLock<Time> = OnceLock::new();
    *BEGAN.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(i64::try_from(now.as_millis()).unwrap_or_default() - 48 * Time::HOUR_MS)
    })
}

fn stamp(at: Time) -> String {
    let digits: String = at.to_rfc3339().chars().filter(char::is_ascii_digit).take(14).collect();
    format!("{digits}+0000")
}

/// The steps of each patient, in the order given.
pub fn by_patient<'c>(control_ids: impl Iterator<Item = &'c str>) -> BTreeMap<&'c str, Vec<usize>> {
    let mut steps: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (patient, step) in control_ids.filter_map(place) {
        steps.entry(patient).or_default().push(step);
    }
    steps
}
