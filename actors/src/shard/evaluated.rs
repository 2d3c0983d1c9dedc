//! `medulla model eval` counts the alerts that the stream makes: the same patients, as rows, and as messages and ticks.

use std::sync::Mutex;

use clinical::{
    Code, CodeSystem, Column, EventKind, Observation, ObservationStatus, PatientId, Precision, Value,
};
use ml_scoring::dataset::{Hears, Moment, Patient, Row, Source};
use ml_scoring::eval::{self, Alerted, Cohort};
use ml_scoring::{AlertPolicy, Scorer, Task, Tier, WardBudgets};

use super::*;
use crate::metrics::Metrics;
use crate::registry::sample;

const PATIENTS: usize = 9;
const HOURS: u32 = 70;
const WARD: &str = "MICU";

/// A stay that gets worse and better again, each patient's in another rhythm, so that risks cross thresholds and tremble.
fn patient(number: usize) -> Patient {
    let row = |iculos: u32| {
        let phase = f64::from(iculos) / (4.0 + number as f64) + number as f64;
        let ill = (phase.sin() + 0.4 * (7.0 * phase).sin()).max(0.0);
        let mut values = Row::EMPTY;
        let signs = [
            (Column::Hr, 75.0 + 60.0 * ill),
            (Column::Resp, 14.0 + 14.0 * ill),
            (Column::O2Sat, 98.0 - 8.0 * ill),
            (Column::Sbp, 125.0 - 35.0 * ill),
            (Column::Map, 85.0 - 25.0 * ill),
            (Column::Temp, 36.9 + 2.0 * ill),
        ];
        signs.into_iter().for_each(|(column, value)| values[column as usize] = value.round());
        if iculos.is_multiple_of(6) {
            (values[Column::Wbc as usize], values[Column::Lactate as usize]) =
                (8.0 + 12.0 * ill, 1.0 + 3.0 * ill);
        }
        Row { values, iculos, label: false, line: 0 }
    };
    // One whom nothing is known of for the first hours: insufficient data.
    let blank = |row: Row| {
        if number == 4 && row.iculos < 5 { Row { values: only_temperature(), ..row } } else { row }
    };
    let hours = HOURS - 5 * number as u32;
    Patient {
        pid: format!("p{number}"),
        age: f64::NAN,
        gender: 1.0,
        unit1: 1.0,
        unit2: 0.0,
        hosp_adm_time: -3.0,
        rows: (1..=hours).map(row).map(blank).collect(),
    }
}

fn only_temperature() -> [f64; Row::EMPTY.len()] {
    let mut values = Row::EMPTY;
    values[Column::Temp as usize] = 37.0;
    values
}

fn observed(patient: &Patient, row: &Row, source: Source, later_ms: i64) -> Vec<Event> {
    let at = Time(source.time_in(row).0 + later_ms);
    let event = |(column, number): (Column, f64)| Event {
        patient: PatientId { authority: "cinc2019".into(), id: patient.pid.as_str().into() },
        visit: None,
        at,
        precision: Precision::Second,
        kind: EventKind::Observed(Observation {
            code: Code { system: CodeSystem::Loinc, code: column.loinc().into(), display: "".into() },
            value: Value::Quantity {
                number,
                text: number.to_string().into(),
                unit: column.unit().into(),
                comparator: None,
            },
            status: ObservationStatus::Final,
            source_id: format!("{}/{}", column.name(), row.iculos),
            is_version: false,
            sent_at: None,
        }),
    };
    source.values_in(row).map(event).collect()
}

fn admitted(patient: &Patient, later_ms: i64) -> Vec<Event> {
    let mut events = patient.admission();
    for event in &mut events {
        event.at = Time(event.at.0 + later_ms);
        if let EventKind::Encounter(encounter) = &mut event.kind {
            encounter.admitted_at = encounter.admitted_at.map(|at| Time(at.0 + later_ms));
        }
    }
    events
}

/// (patient, minutes in intensive care, tier), in the order of time.
type Alerts = Vec<(usize, i64, Tier)>;

fn evaluated(cohort: &Cohort, judge: usize, policy: &AlertPolicy, beds: u32) -> Alerts {
    let people: Vec<_> = cohort.people.iter().collect();
    let of = |place: usize| eval::alerts(policy, cohort, &cohort.said(judge, place));
    let alerts: Vec<Vec<Alerted>> = (0..people.len()).map(of).collect();
    let told = eval::told(policy, beds, cohort, &people, &alerts);
    told.into_iter().map(|(place, alert)| (place, alert.at.0 / 60_000, alert.tier)).collect()
}

/// What a site meets, in this order at one time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Met {
    /// The bed is free.
    Gone(usize),
    Tick,
    /// The patient, and the place among his moments.
    Message(usize, usize),
}

fn met(patients: &[Patient], moments: &[Vec<Moment>], from_h: &[i64]) -> BTreeSet<(Time, Met)> {
    let mut all = BTreeSet::new();
    for (place, patient) in patients.iter().enumerate() {
        let later_ms = from_h[place] * Time::HOUR_MS;
        for (number, moment) in moments[place].iter().enumerate() {
            let is_tick = moment.hears == Hears::Tick;
            let met = if is_tick { Met::Tick } else { Met::Message(place, number) };
            all.insert((Time(moment.at.0 + later_ms), met));
        }
        let last = patient.rows.last().map_or(0, |row| i64::from(row.iculos));
        let end = Time(Patient::ADMITTED.0 + later_ms + last * Time::HOUR_MS);
        all.insert((end, Met::Gone(place)));
    }
    all
}

/// Messages as `medulla model replay` writes them and the site's ticks, through a shard.
async fn streamed(patients: &[Patient], from_h: &[i64], scorer: Scorer, policy: &AlertPolicy) -> Alerts {
    let budgets: Arc<Mutex<WardBudgets>> = Arc::default();
    let assessor = Assessor::new(Arc::new(vec![scorer]), policy.clone(), budgets, Metrics::new().unwrap());
    let shard = Shard::new(assessor, "a".into()).start();
    let moments: Vec<Vec<Moment>> = patients.iter().map(Patient::moments).collect();
    let mut alerts = Vec::new();
    for ((at, met), index) in met(patients, &moments, from_h).into_iter().zip(1..) {
        let done = match met {
            Met::Gone(place) => {
                assert!(shard.send(Take(patients[place].pid.clone())).await.unwrap().is_some());
                continue;
            }
            Met::Tick => shard.send(Close { index, at }).await.unwrap(),
            Met::Message(place, number) => {
                let (patient, moment) = (&patients[place], moments[place][number]);
                let later_ms = from_h[place] * Time::HOUR_MS;
                let events = match moment.hears {
                    Hears::Message(source) => observed(patient, &patient.rows[moment.row], source, later_ms),
                    Hears::Admission | Hears::Tick => admitted(patient, later_ms),
                };
                let (key, site) = (patient.pid.clone(), "a".to_owned());
                let work = Work { key, index, site, received_at: at, events, again: None };
                shard.send(Fold(vec![work])).await.unwrap()
            }
        };
        for Proposal { alert, .. } in done.proposals {
            assert_eq!(alert.facts.ward, WARD);
            let place = patients.iter().position(|patient| patient.pid == alert.facts.patient.id).unwrap();
            let since = alert.facts.at.0 - Patient::ADMITTED.0 - from_h[place] * Time::HOUR_MS;
            let tier = [Tier::Watch, Tier::Interruptive];
            let tier = tier.into_iter().find(|tier| tier.as_str() == alert.facts.tier).unwrap();
            alerts.push((place, since / 60_000, tier));
        }
    }
    alerts
}

#[actix::test]
async fn evaluation_counts_the_alerts_that_the_stream_makes() {
    let patients: Vec<Patient> = (0..PATIENTS).map(patient).collect();
    let scorers = || [Scorer::news2(), sample::model("sepsis", "2026")];
    let [news2, model] = scorers();
    let read = patients.iter().cloned().map(Ok);
    let cohort = eval::judge_as_stream(read, Task::Sepsis, &[&news2, &model], |_| {}).unwrap();
    let people: Vec<_> = cohort.people.iter().collect();
    let default = AlertPolicy::default();
    let policies = [
        (default.clone(), 4),
        (AlertPolicy { per_ward_budget_per_day: 1, ..default.clone() }, 3),
        (AlertPolicy { per_ward_budget_per_day: 0, refractory_h: 4, ..default.clone() }, 1),
        (AlertPolicy { rearm_below: 1.0, refractory_h: 0, ..default }, 9),
    ];
    let (mut counts, mut minutes) = (Vec::new(), BTreeSet::new());
    for (policy, beds) in &policies {
        let from_h = eval::admissions(&cohort, &people, *beds);
        for (judge, scorer) in scorers().into_iter().enumerate() {
            let expected = evaluated(&cohort, judge, policy, *beds);
            let told = streamed(&patients, &from_h, scorer, policy).await;
            assert_eq!(told, expected, "scorer {judge}, {policy:?}");
            let loud = told.iter().filter(|(.., tier)| *tier == Tier::Interruptive).count();
            counts.push((told.len(), loud));
            minutes.extend(told.iter().map(|(_, minute, _)| minute % 60));
        }
    }
    // The policies tell the patients' alerts apart, so that equal ones mean something.
    let [(all, loud), _, (same, few), .., (often, _), (model_often, _)] = counts[..] else {
        panic!("four policies")
    };
    assert!(all == same && 0 < few && few < loud, "a budget changes the tier and no more: {counts:?}");
    assert!(often > all && all > PATIENTS && model_often > 0, "{counts:?}");
    assert_eq!(counts[4].1, 0, "no budget");
    assert_eq!(minutes, [0, 15, 40].into(), "with the clock, vital signs and laboratory values");
}
