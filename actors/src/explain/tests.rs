//! On a real ledger of one site: what an alert said is held against what its entries say.

use bytes::Bytes;
use clinical::{
    Code, CodeSystem, Encounter, EncounterChange, Event, EventKind, Observation, ObservationStatus,
    PatientId, PatientState, Precision, Value,
};
use raft_ledger::Draft;
use sha2::{Digest, Sha256};

use super::*;
use crate::entry::{Format, Message, Tick};
use crate::reading::subject_key;

const DAY_MS: i64 = 24 * Time::HOUR_MS;
/// LOINC code, unit, value.
type Sign = (&'static str, &'static str, f64);
const SICK: [Sign; 4] =
    [("9279-1", "/min", 30.0), ("2708-6", "%", 85.0), ("8480-6", "mm[Hg]", 80.0), ("8310-5", "Cel", 35.0)];
const PULSE: [Sign; 1] = [("8867-4", "/min", 140.0)];

fn patient(id: &str) -> PatientId {
    PatientId { authority: "HOSP".into(), id: id.into() }
}

fn event(id: &str, at: Time, kind: EventKind) -> Event {
    Event { patient: patient(id), visit: None, at, precision: Precision::Second, kind }
}

fn measured(id: &str, at: Time, signs: &[Sign]) -> Vec<Event> {
    let of = |(code, unit, number): &Sign| {
        let value = Value::Quantity {
            number: *number,
            text: number.to_string().into(),
            unit: (*unit).into(),
            comparator: None,
        };
        let code = Code { system: CodeSystem::Loinc, code: (*code).into(), display: "".into() };
        let status = ObservationStatus::Final;
        event(
            id,
            at,
            EventKind::Observed(Observation {
                code,
                value,
                status,
                source_id: String::new(),
                is_version: false,
                sent_at: None,
            }),
        )
    };
    signs.iter().map(of).collect()
}

fn moved(id: &str, at: Time, change: EncounterChange) -> Event {
    event(id, at, EventKind::Encounter(Encounter::of(change)))
}

struct Site {
    ledger: Ledger,
    _dir: tempfile::TempDir,
}

impl Site {
    async fn new() -> Site {
        let dir = tempfile::tempdir().unwrap();
        Site { ledger: crate::test_ledger::one_site(dir.path()).await, _dir: dir }
    }

    async fn append(&self, kind: Kind, subject: &[u8], tags: Vec<raft_ledger::Tag>, payload: Bytes) -> u64 {
        let draft = Draft {
            kind: kind as u16,
            subject: self.ledger.subject(subject),
            tags,
            dedupe: None,
            event_time_ms: 0,
            message_time_ms: 0,
            received_time_ms: 100 * DAY_MS,
            payload,
        };
        self.ledger.append(vec![draft]).await.unwrap()[0].index
    }

    async fn message(&self, events: Vec<Event>) -> u64 {
        let subject = subject_key(&events[0].patient);
        let mut tags: Vec<_> =
            events.iter().map(|event| self.ledger.tag("patient", &subject_key(&event.patient))).collect();
        tags.dedup();
        let message = Message {
            feed: "adt".into(),
            format: Format::Hl7v2,
            reader: entry::READER,
            codes: String::new(),
            type_: "ORU^R01".into(),
            control_id: String::new(),
            position: String::new(),
            headers: Default::default(),
            events,
            issues: Vec::new(),
            again: None,
        };
        self.append(Kind::Message, &subject, tags, entry::encode(&message, b"")).await
    }

    async fn tick(&self, at: Time) -> u64 {
        let tags = vec![self.ledger.tag("kind", Kind::Tick.tag())];
        self.append(Kind::Tick, b"tick", tags, entry::encode(&Tick { at }, b"")).await
    }

    /// Of NEWS2, with this risk.
    async fn alert(&self, id: &str, at: Time, risk: f64, trigger: u64) {
        self.alert_by(&hex::encode(Scorer::news2().hash()), id, at, risk, trigger).await;
    }

    async fn alert_by(&self, model_hash: &str, id: &str, at: Time, risk: f64, trigger: u64) {
        let scorer = Scorer::news2();
        let facts = AlertFacts {
            id: "a1".into(),
            patient: patient(id),
            visit: None,
            ward: String::new(),
            at,
            task: scorer.task().into(),
            model: scorer.name().into(),
            model_hash: model_hash.into(),
            risk,
            threshold: 0.25,
            tier: "watch".into(),
            reasons: Vec::new(),
            indices: vec![trigger],
            site: "a".into(),
            takeover_for: None,
        };
        let alert = Alert { facts, contributions: Vec::new(), received_at: at, again: false };
        let subject = subject_key(&patient(id));
        let tags = vec![self.ledger.tag("alert", b"a1"), self.ledger.tag("patient", &subject)];
        self.append(Kind::Alert, &subject, tags, entry::encode(&alert, b"")).await;
    }

    fn explain(&self) -> Result<AlertExplained, ExplainError> {
        explain(&self.ledger, &[Scorer::bedside(ml_scoring::Bedside::Sirs), Scorer::news2()], |_| false, "a1")
    }
}

/// NEWS2 of these events alone.
fn risk(events: &[Vec<Event>], at: Time) -> f64 {
    let mut state = PatientState::default();
    events.iter().flatten().for_each(|event| {
        state.apply(event);
    });
    Scorer::news2().score(&state, at).risk.unwrap()
}

#[actix::test]
async fn only_the_alerted_score_is_equal() {
    let at = Time(DAY_MS);
    let events = measured("1", at, &SICK);
    let right = risk(std::slice::from_ref(&events), at);
    for (alerted, equal) in [(right, true), (f64::from_bits(right.to_bits() + 1), false)] {
        let site = Site::new().await;
        let trigger = site.message(events.clone()).await;
        site.alert("1", at, alerted, trigger).await;
        // What came later is not in it, nor what is about somebody else.
        site.message(measured("1", Time(at.0 + 1), &PULSE)).await;
        let explained = site.explain().unwrap();
        assert_eq!((explained.equal, explained.risk_recomputed), (equal, Some(right)));
        assert_eq!((explained.entries, explained.as_of), (1, trigger));
        let values: Vec<_> =
            explained.evidence.iter().map(|e| (e.column.as_str(), e.value, e.index)).collect();
        let expected = [("O2Sat", 85.0), ("Temp", 35.0), ("SBP", 80.0), ("Resp", 30.0)];
        assert_eq!(values, expected.map(|(column, value)| (column, value, trigger)));
        site.ledger.close().await.unwrap();
    }
}

#[actix::test]
async fn what_is_set_aside_is_shown_as_it_was_sent_and_a_correction_takes_it_away() {
    let at = Time(DAY_MS);
    let site = Site::new().await;
    let odd = [("8867-4", "/min", 720.0), ("2160-0", "furlong", 1.0), ("2345-7", "", 5.5)];
    site.message(measured("1", Time(at.0 - 1), &[("8867-4", "/min", 7200.0)])).await;
    let first = site.message(measured("1", at, &odd)).await;
    site.message(measured("1", at, &[("2160-0", "mg/dL", 1.0)])).await;
    site.message(measured("1", Time(at.0 + 1), &[("8867-4", "/min", 730.0)])).await;
    let events = measured("1", at, &SICK);
    let trigger = site.message(events.clone()).await;
    site.alert("1", at, risk(&[events], at), trigger).await;
    let explained = site.explain().unwrap();
    let aside: Vec<_> =
        explained.set_aside.iter().map(|v| (v.words.as_str(), v.why.as_str(), v.index)).collect();
    let expected = [("heart rate 720 /min", "implausible", first), ("glucose 5.5", "unit missing", first)];
    assert_eq!(aside, expected);
    assert!(explained.evidence.iter().all(|e| e.column != "HR" && e.column != "Glucose"));
    site.ledger.close().await.unwrap();
}

#[actix::test]
async fn what_was_merged_counts_and_what_was_forgotten_does_not() {
    let site = Site::new().await;
    let (early, late) = (Time(DAY_MS), Time(20 * DAY_MS));
    // A former stay, left long before the next tick: its pulse is of nobody any more.
    site.message(measured("1", early, &PULSE)).await;
    site.message(vec![moved("1", early, EncounterChange::Discharged)]).await;
    site.tick(Time(10 * DAY_MS)).await;
    let events = [measured("2", late, &SICK[..2]), measured("1", late, &SICK[2..])];
    let first = site.message(events[0].clone()).await;
    site.message(vec![event("1", late, EventKind::Merged { from: patient("2") })]).await;
    let trigger = site.message(events[1].clone()).await;
    site.alert("1", late, risk(&events, late), trigger).await;
    let explained = site.explain().unwrap();
    assert!(explained.equal, "{:?} of {}", explained.risk_recomputed, explained.risk_alerted);
    assert_eq!(explained.entries, 5);
    let values: Vec<_> = explained.evidence.iter().map(|e| (e.column.as_str(), e.index)).collect();
    assert_eq!(values, [("O2Sat", first), ("Temp", trigger), ("SBP", trigger), ("Resp", first)]);

    let unknown = explain(&site.ledger, &[], |_| false, "b1").err();
    assert!(matches!(unknown, Some(ExplainError::UnknownAlert)));
    site.ledger.close().await.unwrap();
}

/// Somebody awake by a word, and hours later by a score no longer: version 1 of NEWS2 went by the word.
#[actix::test]
async fn a_rule_of_an_earlier_release_is_computed_as_it_was() {
    let by_version_1 = hex::encode(Sha256::digest("medulla rule: NEWS2 2017, SpO2 scale 1, version 1"));
    let (early, at) = (Time(DAY_MS), Time(DAY_MS + 4 * Time::HOUR_MS));
    let events = [
        measured("1", early, &[("80288-4", "{score}", 0.0)]),
        measured("1", at, &[("9269-2", "{score}", 9.0)]),
        measured("1", at, &SICK),
    ];
    let now = risk(&events, at);
    for (hash, alerted) in [(by_version_1, now - 3.0 / 20.0), (hex::encode(Scorer::news2().hash()), now)] {
        let site = Site::new().await;
        for of_one in &events[..2] {
            site.message(of_one.clone()).await;
        }
        let trigger = site.message(events[2].clone()).await;
        site.alert_by(&hash, "1", at, alerted, trigger).await;
        // No rule has to be configured for this.
        let explained = explain(&site.ledger, &[], |_| false, "a1").unwrap();
        assert!(explained.equal, "{:?} of {alerted}", explained.risk_recomputed);
        site.ledger.close().await.unwrap();
    }
}

#[actix::test]
async fn a_model_that_is_not_configured_is_named() {
    let site = Site::new().await;
    let at = Time(DAY_MS);
    let trigger = site.message(measured("1", at, &SICK)).await;
    site.alert_by(&"7".repeat(64), "1", at, 0.5, trigger).await;
    let others = [Scorer::bedside(ml_scoring::Bedside::Sirs)];
    let refused = explain(&site.ledger, &others, |_| false, "a1").err().unwrap().to_string();
    assert!(refused.contains(&"7".repeat(64)) && refused.contains("scores with sirs ("), "{refused}");
    site.ledger.close().await.unwrap();
}

/// An id whose keys were destroyed is a new patient from there on, also in an entry sealed under another's key.
#[actix::test]
async fn a_shredded_patient_begins_anew() {
    let site = Site::new().await;
    let at = Time(DAY_MS);
    let of_both = [measured("2", at, &PULSE), measured("1", at, &PULSE)].concat();
    site.message(of_both).await;
    site.message(measured("1", at, &SICK[..1])).await;
    let key = subject_key(&patient("1"));
    let tag = site.ledger.tag("patient", &key);
    site.ledger.shred(&[site.ledger.subject(&key)], vec![tag], "ada").await.unwrap().unwrap();
    let events = measured("1", at, &SICK);
    let trigger = site.message(events.clone()).await;
    site.alert("1", at, risk(&[events], at), trigger).await;
    let explained = site.explain().unwrap();
    assert!(explained.equal, "{:?} of {}", explained.risk_recomputed, explained.risk_alerted);
    assert_eq!((explained.entries, explained.unreadable), (2, 1));
    site.ledger.close().await.unwrap();
}
