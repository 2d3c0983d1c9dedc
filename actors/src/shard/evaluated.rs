//! `medulla model eval` counts the alerts that the stream makes: the same patients, as rows and as messages.

use std::collections::BTreeMap;
use std::sync::Mutex;

use clinical::{
    Code, CodeSystem, Column, EventKind, Observation, ObservationStatus, PatientId, Precision, Value,
};
use ml_scoring::dataset::{Patient, Row};
use ml_scoring::eval::{self, Alerted, Cohort, Said};
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

fn observed(patient: &Patient, row: &Row, later_ms: i64) -> Vec<Event> {
    let at = Time(Patient::time_of(row).0 + later_ms);
    let measured = clinical::COLUMNS.iter().zip(row.values).filter(|(_, value)| !value.is_nan());
    let event = |(column, number): (&Column, f64)| Event {
        patient: PatientId { authority: "cinc2019".into(), id: patient.pid.clone() },
        visit: None,
        at,
        precision: Precision::Second,
        kind: EventKind::Observed(Observation {
            code: Code { system: CodeSystem::Loinc, code: column.loinc().into(), display: String::new() },
            value: Value::Quantity {
                number,
                text: number.to_string(),
                unit: column.unit().into(),
                comparator: None,
            },
            status: ObservationStatus::Final,
            source_id: format!("{}/{}", column.name(), row.iculos),
        }),
    };
    measured.map(event).collect()
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

/// (patient, row from 0, tier), in the order of time.
type Alerts = Vec<(usize, usize, Tier)>;

fn evaluated(cohort: &Cohort, judge: usize, policy: &AlertPolicy, beds: u32) -> Alerts {
    let people: Vec<_> = cohort.people.iter().collect();
    let of = |(place, person): (usize, &&eval::Person)| {
        let predictions = &cohort.judged[judge][person.rows.clone()];
        let thresholds = cohort.thresholds[judge][place];
        eval::alerts(policy, cohort, &Said { person, predictions, thresholds })
    };
    let alerts: Vec<Vec<Alerted>> = people.iter().enumerate().map(of).collect();
    let told = eval::told(policy, beds, cohort, &people, &alerts);
    told.into_iter().map(|(place, alert)| (place, alert.row, alert.tier)).collect()
}

/// Each row as a message when it was observed, the patients' in turn, through a shard.
async fn streamed(patients: &[Patient], from_h: &[i64], scorer: Scorer, policy: &AlertPolicy) -> Alerts {
    let budgets: Arc<Mutex<WardBudgets>> = Arc::default();
    let assessor = Assessor::new(Arc::new(vec![scorer]), policy.clone(), budgets, Metrics::new().unwrap());
    let shard = Shard::new(assessor, "a".into()).start();
    let mut due: BTreeMap<(i64, usize), usize> = BTreeMap::new();
    for (place, patient) in patients.iter().enumerate() {
        due.extend(
            patient
                .rows
                .iter()
                .enumerate()
                .map(|(i, row)| ((from_h[place] + i64::from(row.iculos), place), i)),
        );
    }
    let (mut alerts, mut index) = (Vec::new(), 0);
    for ((_, place), row) in due {
        let (patient, later_ms) = (&patients[place], from_h[place] * Time::HOUR_MS);
        let mut events = if row == 0 { admitted(patient, later_ms) } else { Vec::new() };
        events.extend(observed(patient, &patient.rows[row], later_ms));
        index += 1;
        let received_at = events[events.len() - 1].at;
        let work =
            Work { key: patient.pid.clone(), index, site: "a".into(), received_at, events, again: None };
        let done = shard.send(Fold(vec![work])).await.unwrap();
        for Proposal { alert, .. } in done.proposals {
            assert_eq!(alert.facts.ward, WARD);
            let tier = [Tier::Watch, Tier::Interruptive];
            let tier = tier.into_iter().find(|tier| tier.as_str() == alert.facts.tier).unwrap();
            alerts.push((place, row, tier));
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
    let cohort = eval::judge(read, Task::Sepsis, &[&news2, &model], |_| {}).unwrap();
    let people: Vec<_> = cohort.people.iter().collect();
    let default = AlertPolicy::default();
    let policies = [
        (default.clone(), 4),
        (AlertPolicy { per_ward_budget_per_day: 1, ..default.clone() }, 3),
        (AlertPolicy { per_ward_budget_per_day: 0, refractory_h: 4, ..default.clone() }, 1),
        (AlertPolicy { rearm_below: 1.0, refractory_h: 0, ..default }, 9),
    ];
    let mut counts = Vec::new();
    for (policy, beds) in &policies {
        let from_h = eval::admissions(&cohort, &people, *beds);
        for (judge, scorer) in scorers().into_iter().enumerate() {
            let expected = evaluated(&cohort, judge, policy, *beds);
            let told = streamed(&patients, &from_h, scorer, policy).await;
            assert_eq!(told, expected, "scorer {judge}, {policy:?}");
            let loud = told.iter().filter(|(.., tier)| *tier == Tier::Interruptive).count();
            counts.push((told.len(), loud));
        }
    }
    // The policies tell the patients' alerts apart, so that equal ones mean something.
    let [(all, loud), _, (same, few), .., (often, _), (model_often, _)] = counts[..] else {
        panic!("four policies")
    };
    assert!(all == same && 0 < few && few < loud, "a budget changes the tier and no more: {counts:?}");
    assert!(often > all && all > PATIENTS && model_often > 0, "{counts:?}");
    assert_eq!(counts[4].1, 0, "no budget");
}
