//! The simulated hospital: all patients' messages in the order of their times, with the faults of real feeds
//! mixed in. The same options give the same bytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use clinical::Time;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::patient::{Patient, Step};

/// What a hospital is made of.
#[derive(Clone, Debug)]
pub struct Options {
    pub seed: u64,
    pub patients: u32,
    /// Patients are numbered from here, so that several simulators make one city.
    pub first_patient: u32,
    pub hours: u32,
    /// The last message is from just before this time.
    pub ends_at: Time,
    pub facility: String,
    /// Shares of patients and of messages, 0 to 1.
    pub septic: f64,
    pub broken: f64,
    pub duplicates: f64,
    pub amendments: f64,
    pub merges: f64,
}

/// What should become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    Committed,
    /// The same bytes were sent before.
    Duplicate,
    Rejected,
}

/// One message to be sent.
#[derive(Clone, Debug)]
pub struct Message {
    pub at: Time,
    pub control_id: String,
    pub patient: String,
    /// As in MSH-9; of a broken one, what it should have been.
    pub type_: String,
    pub expected: Expected,
    pub bytes: Vec<u8>,
}

pub struct Hospital {
    options: Options,
    patients: Vec<Patient>,
    /// (when, order of making, patient, step): earliest first.
    agenda: BinaryHeap<Reverse<(i64, u64, usize, u8)>>,
    ready: std::collections::VecDeque<Message>,
    rng: ChaCha8Rng,
    made: u64,
}

const STEPS: [Step; 5] = [Step::Admit, Step::Vitals, Step::Labs, Step::Transfer, Step::Discharge];

impl Hospital {
    pub fn new(options: Options) -> Hospital {
        let start = Time(options.ends_at.0 - i64::from(options.hours) * Time::HOUR_MS);
        let window = (start, options.ends_at);
        let numbers = options.first_patient..options.first_patient.saturating_add(options.patients);
        let patients: Vec<Patient> = numbers
            .map(|number| Patient::new(options.seed, number, &options.facility, window, options.septic))
            .collect();
        let mut hospital = Hospital {
            rng: ChaCha8Rng::seed_from_u64(options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            agenda: BinaryHeap::new(),
            ready: std::collections::VecDeque::new(),
            made: 0,
            patients,
            options,
        };
        for number in 0..hospital.patients.len() {
            let (admitted, leaves) =
                (hospital.patients[number].admitted_at, hospital.patients[number].leaves_at());
            hospital.plan(number, Step::Admit, admitted);
            hospital.plan(number, Step::Vitals, Time(admitted.0 + 5 * 60_000));
            hospital.plan(number, Step::Labs, Time(admitted.0 + 40 * 60_000));
            hospital.plan(number, Step::Transfer, Time(admitted.0 + 3 * Time::HOUR_MS));
            hospital.plan(number, Step::Discharge, leaves);
        }
        hospital
    }

    pub fn patients(&self) -> &[Patient] {
        &self.patients
    }

    fn plan(&mut self, patient: usize, step: Step, at: Time) {
        self.made += 1;
        let step = STEPS.iter().position(|known| *known == step).unwrap_or_default() as u8;
        self.agenda.push(Reverse((at.0, self.made, patient, step)));
    }

    fn control_id(&mut self) -> String {
        self.made += 1;
        // Simulators that share a city (and a seed) must not share control ids.
        let Options { facility, seed, first_patient, .. } = &self.options;
        format!("{facility}{seed:x}-{first_patient}-{}", self.made)
    }

    /// Carries out the next step of the agenda. `false`: the simulated time is over.
    fn advance(&mut self) -> bool {
        let Some(Reverse((at, _, number, step))) = self.agenda.pop() else { return false };
        let (at, step) = (Time(at), STEPS[usize::from(step)]);
        if at >= self.options.ends_at {
            return true;
        }
        if self.patients[number].gone_by(at) && step != Step::Discharge {
            return true;
        }
        match step {
            Step::Vitals => self.vitals(number, at),
            Step::Labs => self.labs(number, at),
            Step::Admit | Step::Transfer | Step::Discharge => {
                let control_id = self.control_id();
                let patient = &mut self.patients[number];
                let (body, type_) = patient.movement(step, at, &control_id);
                let id = patient.id.clone();
                self.send(Message {
                    at,
                    control_id,
                    patient: id,
                    type_,
                    expected: Expected::Committed,
                    bytes: body.into_bytes(),
                });
            }
        }
        true
    }

    fn vitals(&mut self, number: usize, at: Time) {
        let (merges, amendments) = (self.options.merges, self.options.amendments);
        let control_id = self.control_id();
        let patient = &mut self.patients[number];
        let id = patient.id.clone();
        // Now and then a patient is measured under a number made in a hurry, and merged ten minutes later.
        let hurried = patient.chance(merges).then(|| format!("X{}{}", &id[1..], self.made));
        let results = patient.vitals(at, &control_id, hurried.as_deref().unwrap_or(&id));
        let amended = hurried.is_none() && patient.chance(amendments);
        let again = Time(at.0 + Time::HOUR_MS + patient.jitter_ms(10 * 60_000));
        self.result(at, control_id, &id, results, amended);
        if let Some(prior) = hurried {
            let merged_at = Time(at.0 + 10 * 60_000);
            let control_id = self.control_id();
            let (body, type_) = self.patients[number].merge(&prior, merged_at, &control_id);
            self.send(Message {
                at: merged_at,
                control_id,
                patient: id,
                type_,
                expected: Expected::Committed,
                bytes: body.into_bytes(),
            });
        }
        self.plan(number, Step::Vitals, again);
    }

    fn labs(&mut self, number: usize, at: Time) {
        let amendments = self.options.amendments;
        let control_id = self.control_id();
        let patient = &mut self.patients[number];
        let results = patient.labs(at, &control_id);
        let amended = patient.chance(amendments);
        let again = Time(at.0 + 4 * Time::HOUR_MS + patient.jitter_ms(40 * 60_000));
        let id = patient.id.clone();
        self.result(at, control_id, &id, results, amended);
        self.plan(number, Step::Labs, again);
    }

    fn result(
        &mut self,
        at: Time,
        control_id: String,
        patient: &str,
        results: super::patient::Results,
        amended: bool,
    ) {
        let message = |at, control_id: String, body: String| Message {
            at,
            control_id,
            patient: patient.to_owned(),
            type_: "ORU^R01".into(),
            expected: Expected::Committed,
            bytes: body.into_bytes(),
        };
        let correction = amended.then(|| message(at, format!("{control_id}C"), results.amended));
        self.send(message(at, control_id, results.body));
        if let Some(correction) = correction {
            self.send(correction);
        }
    }

    /// Real feeds break some messages and send some twice.
    fn send(&mut self, mut message: Message) {
        if message.type_ == "ORU^R01" && self.rng.gen_bool(self.options.broken) {
            message.bytes = break_message(&message.bytes, self.rng.gen_range(0..5));
            message.expected = Expected::Rejected;
            self.ready.push_back(message);
            return;
        }
        let twice = self.rng.gen_bool(self.options.duplicates);
        self.ready.push_back(message.clone());
        if twice {
            message.expected = Expected::Duplicate;
            self.ready.push_back(message);
        }
    }
}

impl Iterator for Hospital {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        while self.ready.is_empty() {
            if !self.advance() {
                return None;
            }
        }
        self.ready.pop_front()
    }
}

/// Five ways in which messages arrive unusable. The control id stays readable where there is a header, so that the
/// ledger's list can be held against the generator's.
fn break_message(bytes: &[u8], way: u32) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let broken = match way {
        // Nobody it could be about.
        0 => text.split_inclusive('\r').filter(|line| !line.starts_with("PID")).collect(),
        1 => text.replacen("ORU^R01^ORU_R01", "ZZZ^Z99^ZZZ_Z99", 1),
        // A patient without a number.
        2 => text.replacen("PID|1||P", "PID|1||^", 1).replacen("PID|1||X", "PID|1||^", 1),
        3 => text.replacen("MSH|^~\\&|", "MSH|^~\\A|", 1),
        // A file fragment on the wrong feed.
        _ => format!("this is no message {}", text.split('|').nth(9).unwrap_or_default()),
    };
    broken.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            seed: 7,
            patients: 20,
            first_patient: 1,
            hours: 24,
            ends_at: Time(1_760_000_000_000),
            facility: "SIMHOSP".into(),
            septic: 0.2,
            broken: 0.05,
            duplicates: 0.05,
            amendments: 0.05,
            merges: 0.02,
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_bytes() {
        let make = || Hospital::new(options()).map(|m| m.bytes).collect::<Vec<_>>();
        assert_eq!(make(), make());
        let other = Hospital::new(Options { seed: 8, ..options() }).map(|m| m.bytes).collect::<Vec<_>>();
        assert_ne!(make(), other);
    }

    #[test]
    fn what_is_expected_is_what_the_reader_finds() {
        let feed = clinical::Feed {
            authority: "SIMHOSP".into(),
            codes: clinical::CodeTable::parse(super::super::CODES).unwrap(),
            ..clinical::Feed::default()
        };
        let mut counts = [0; 3];
        let mut seen = std::collections::HashSet::new();
        for message in Hospital::new(options()) {
            counts[message.expected as usize] += 1;
            let first = seen.insert(message.bytes.clone());
            assert_eq!(first, message.expected != Expected::Duplicate);
            let readable = clinical::hl7::Message::parse(message.bytes.clone().into(), &Default::default())
                .is_ok_and(|parsed| {
                    let (events, issues) = clinical::hl7::to_events(&parsed, &feed, message.at);
                    !events.is_empty() && issues.iter().all(|i| i.severity != clinical::Severity::Error)
                });
            let text = String::from_utf8_lossy(&message.bytes);
            assert_eq!(readable, message.expected != Expected::Rejected, "{text:?}");
        }
        assert!(counts.iter().all(|count| *count > 5), "{counts:?}");
    }
}
