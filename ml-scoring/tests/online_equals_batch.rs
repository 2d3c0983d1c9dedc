//! Replayed as events at any minute of their hour, in any order, with duplicates and corrections, a patient's closed
//! hours have bit-equal features to the training rows (DESIGN §6.10).

mod shared;

use clinical::{
    COLUMNS, Code, CodeSystem, Column, Event, EventKind, Observation, ObservationStatus, PatientId,
    PatientState, Precision, Time, Value,
};
use ml_scoring::dataset::{self, Patient};
use ml_scoring::eval::{Hour, Predictor};
use ml_scoring::{Bedside, Features, Model, Scorer};

const PATIENTS: usize = 200;

fn bits(features: &Features) -> Vec<u32> {
    features.values.iter().map(|v| v.to_bits()).collect()
}

/// xorshift: the shuffle must be the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn observed(patient: &Patient, at: Time, column: usize, number: f64, status: ObservationStatus) -> Event {
    let column = COLUMNS[column];
    let code = Code { system: CodeSystem::Loinc, code: column.loinc().into(), display: "".into() };
    let value = Value::Quantity {
        number,
        text: number.to_string().into(),
        unit: column.unit().into(),
        comparator: None,
    };
    let source_id = format!("{}/{}", column.name(), at.0);
    Event {
        patient: PatientId { authority: "cinc2019".into(), id: patient.pid.as_str().into() },
        visit: Some(patient.pid.as_str().into()),
        at,
        precision: Precision::Second,
        kind: EventKind::Observed(Observation {
            code,
            value,
            status,
            source_id,
            is_version: false,
            sent_at: None,
        }),
    }
}

fn as_events(patient: &Patient, random: &mut Random) -> (Vec<Event>, Vec<Event>) {
    let (mut events, mut corrections) = (patient.admission(), Vec::new());
    for row in &patient.rows {
        for (column, value) in row.values.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
            let start = Patient::ADMITTED.0 + (i64::from(row.iculos) - 1) * Time::HOUR_MS;
            let at = Time(start + random.below(Time::HOUR_MS as usize) as i64);
            // One in ten is wrong at first, one in ten is overtaken by a later value of its hour.
            match random.below(10) {
                0 => {
                    events.push(observed(patient, at, column, value + 1.0, ObservationStatus::Final));
                    corrections.push(observed(patient, at, column, *value, ObservationStatus::Corrected));
                }
                1 => {
                    events.push(observed(
                        patient,
                        Time(start),
                        column,
                        value + 1.0,
                        ObservationStatus::Final,
                    ));
                    let later = Time(at.0.max(start + 1));
                    events.push(observed(patient, later, column, *value, ObservationStatus::Final));
                }
                _ => events.push(observed(patient, at, column, *value, ObservationStatus::Final)),
            }
        }
    }
    (events, corrections)
}

#[test]
fn closed_hours_of_the_stream_are_the_training_rows() {
    let Some(data) = shared::data() else { return };
    let mut random = Random(7);
    for file in ["cinc2019_A_dev", "cinc2019_B_dev"] {
        for patient in dataset::read(shared::open(&data, file)).take(PATIENTS) {
            let patient = patient.unwrap();
            let (mut events, corrections) = as_events(&patient, &mut random);
            for i in (1..events.len()).rev() {
                events.swap(i, random.below(i + 1));
            }
            let duplicates: Vec<Event> =
                (0..20).map(|_| events[random.below(events.len())].clone()).collect();
            let mut state = PatientState::default();
            events.iter().chain(&corrections).chain(&duplicates).for_each(|event| {
                state.apply(event);
            });
            for (row, batch) in patient.rows.iter().zip(patient.features()) {
                let online = Features::from_state_closed(&state, i64::from(row.iculos) - 1);
                assert_eq!(bits(&online), bits(&batch), "{} hour {}", patient.pid, row.iculos);
            }
        }
    }
}

/// What evaluation says of an hour is what a site says at its close: the same risk, the same silence, the same alarm.
#[test]
fn the_stream_s_risk_and_alarm_are_those_of_evaluation() {
    let Some(data) = shared::data() else { return };
    let scorer = sepsis();
    let bedside = Bedside::ALL.map(Scorer::bedside);
    let (mut alarms, mut silent) = (0, 0);
    for file in ["cinc2019_A_dev", "cinc2019_B_dev"] {
        for patient in dataset::read(shared::open(&data, file)).take(PATIENTS) {
            let patient = patient.unwrap();
            patient.for_each_hour(|i, state, features| {
                let row = &patient.rows[i];
                let hour = Hour { row, state, features };
                for score in &bedside {
                    let online = score.score(state, Patient::time_of(row));
                    let reached = online.risk.is_some_and(|risk| risk >= online.threshold);
                    assert_eq!(score.predict(&hour).alarm, reached, "{} {}", score.name(), patient.pid);
                }
                let batch = scorer.predict(&hour);
                let online = scorer.score(state, Patient::time_of(row));
                assert_eq!(online.risk, features.sufficient().then_some(batch.p));
                let reached = online.risk.is_some_and(|risk| risk >= online.threshold);
                assert_eq!(reached, batch.alarm, "{} hour {}", patient.pid, row.iculos);
                alarms += usize::from(reached);
                silent += usize::from(online.risk.is_none());
            });
        }
    }
    assert!(alarms > 100 && silent > 10, "{alarms} alarms, {silent} hours of silence");
}

/// 2019's files have no urine, weight or Glasgow coma score; this patient has.
fn charted(patient: &Patient) -> Vec<Event> {
    let mut values = vec![
        (0, Column::Weight, 80.0),
        (0, Column::Creatinine, 1.0),
        (1, Column::FiO2, 0.4),
        (2, Column::PaO2, 100.0),
        (3, Column::FiO2, 0.8),
        (4, Column::Consciousness, 0.0),
        (9, Column::FiO2, 0.5),
        (10, Column::O2Sat, 90.0),
        (10, Column::Gcs, 15.0),
        (11, Column::Gcs, 12.0),
        (11, Column::Temp, 38.6),
        (11, Column::Hr, 96.0),
        (11, Column::Resp, 24.0),
        (11, Column::Sbp, 96.0),
        (11, Column::Map, 64.0),
        (12, Column::Creatinine, 1.4),
        (12, Column::Platelets, 120.0),
    ];
    values.extend((0..=12).map(|hour| (hour, Column::Urine, if hour == 0 { 500.0 } else { 30.0 })));
    let event = |(hour, column, value): (i64, Column, f64)| {
        let at = Time(Patient::ADMITTED.0 + hour * Time::HOUR_MS);
        observed(patient, at, column as usize, value, ObservationStatus::Final)
    };
    values.into_iter().map(event).collect()
}

/// Total and reasons at the hours before and after what moves them.
fn bedside_of(events: &[Event]) -> Vec<Option<(u8, Vec<String>)>> {
    let mut state = PatientState::default();
    events.iter().for_each(|event| {
        state.apply(event);
    });
    let at = |hour: i64| Time(Patient::ADMITTED.0 + hour * Time::HOUR_MS);
    let score = |(hour, rule): (i64, Bedside)| rule.score(&state, at(hour));
    let hours = [3, 10, 12].into_iter().flat_map(|hour| Bedside::ALL.map(|rule| (hour, rule)));
    let words = |score: ml_scoring::Score| score.parts.into_iter().map(|part| part.words).collect();
    hours.map(score).map(|score| score.map(|score| (score.total, words(score)))).collect()
}

#[test]
fn bedside_scores_do_not_depend_on_the_order_of_the_events() {
    let patient = Patient { pid: "by hand".into(), ..Patient::default() };
    let mut events = charted(&patient);
    let in_order = bedside_of(&events);
    let totals: Vec<_> = in_order.iter().map(|score| score.as_ref().map(|(total, _)| *total)).collect();
    // NEWS2: 2 resp, 3 SpO2, 2 sbp, 1 pulse, 1 temp, 2 oxygen, 3 GCS; SOFA: 3 SpO2/FiO2 180, 1 platelets, 1 MAP, 2 GCS,
    // 1 creatinine; KDIGO: 30 mL of 80 kg for 12 h.
    assert_eq!(totals[10..], [Some(14), Some(3), Some(3), Some(8), Some(2)]);
    // PaO2 on the oxygen of before it: 250.
    assert_eq!(totals[..5], [None, None, None, Some(2), None]);
    let mut random = Random(11);
    for round in 0..50 {
        for i in (1..events.len()).rev() {
            events.swap(i, random.below(i + 1));
        }
        assert_eq!(bedside_of(&events), in_order, "round {round}");
    }
}

fn sepsis() -> Scorer {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/sepsis");
    let read = |name| std::fs::read(folder.join(name)).unwrap();
    let files = ["card.json", "golden.json", "model.ubj"].map(|name| (name, read(name)));
    Scorer::model(Model::load(&files.each_ref().map(|(name, bytes)| (*name, bytes.as_slice()))).unwrap())
        .unwrap()
}

/// A monitor tells every minute, the training rows hold the last value of each hour: both give the same rows for as long
/// as the stay lasts, long after a state cannot hold every minute any more.
#[test]
fn a_value_a_minute_and_the_last_of_each_hour_give_equal_rows() {
    const HOURS: i64 = 120;
    let (mut minutes, mut hourly) = (PatientState::default(), PatientState::default());
    let mut random = Random(7);
    for minute in 0..HOURS * 60 {
        let at = Time(Patient::ADMITTED.0 + minute * 60_000);
        for column in [Column::Hr, Column::O2Sat, Column::Map, Column::Resp] {
            let (source, value) = (format!("{}/{minute}", column.name()), 50.0 + random.below(40) as f64);
            minutes.observe(column, at, &source, ObservationStatus::Final, value);
            // The first one begins the stay.
            if minute == 0 || minute % 60 == 59 {
                hourly.observe(column, at, &source, ObservationStatus::Final, value);
            }
        }
    }
    for hour in 0..HOURS {
        let [one, other] = [&minutes, &hourly].map(|state| bits(&Features::from_state_closed(state, hour)));
        assert!(one == other, "hour {hour}");
    }
}
