use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clinical::Column;
use ml_scoring::dataset::{self, INTERNAL_TEST, Patient, Row};
use ml_scoring::drift::{Measure, Status};

use super::super::closed::Counted;
use super::super::report::{DriftReport, DriftStatus, report};
use super::*;
use crate::registry::sample;
use crate::registry::standing::Place;

/// Somebody's stay. Here pulses are about `pulse`, and lactate is measured in every `every`th hour.
fn stay(number: u64, pulse: f64, every: u64) -> Patient {
    let row = |iculos: u32| {
        let mut values = Row::EMPTY;
        let scatter = (number * 37 + u64::from(iculos) * 11) % 41;
        values[Column::Hr as usize] = pulse + scatter as f64;
        if (number + u64::from(iculos)).is_multiple_of(every) {
            values[Column::Lactate as usize] = 1.0 + (scatter as f64) / 20.0;
        }
        Row { values, iculos, label: false, line: 0 }
    };
    Patient { pid: format!("p{number}"), age: 50.0, rows: (1..=12).map(row).collect(), ..Patient::default() }
}

fn hospital(pulse: f64, every: u64, stays: std::ops::Range<u64>) -> Vec<Patient> {
    stays.map(|number| stay(number, pulse, every)).collect()
}

fn trained_on(patients: &[Patient]) -> Scorer {
    let rows: Vec<Vec<f32>> =
        patients.iter().flat_map(Patient::features).map(|features| features.values).collect();
    sample::compared(&Baseline::of(|| rows.iter().map(Vec::as_slice)))
}

/// What the shards hand over of these patients, each after the other, as from this ledger index on.
fn hours(patients: &[Patient], from: u64) -> Vec<ClosedHour> {
    let mut all = Vec::new();
    for (patient, trigger) in patients.iter().zip(from..) {
        let (mut state, mut counted) = (patient.admitted(), Counted::default());
        patient.rows.iter().for_each(|row| Patient::observe(&mut state, row));
        for row in &patient.rows {
            let closed = Time(Patient::hour_start(row).0 + Time::HOUR_MS);
            all.extend(counted.close(&state, closed, (trigger, closed)));
        }
    }
    all
}

fn stood(scorer: &Scorer) -> Windows {
    let mut windows = Windows::default();
    windows.stand(std::slice::from_ref(scorer), &[Place::LIVE]);
    windows
}

fn said(windows: &Windows, scorer: &Scorer) -> DriftReport {
    report(windows, scorer).unwrap()
}

fn loud(report: &DriftReport, measure: Measure) -> usize {
    report.findings.iter().filter(|found| found.measure == measure && found.status == Status::Alarm).count()
}

#[test]
fn another_hospital_fires_the_same_one_is_quiet_and_a_few_patients_say_nothing() {
    let scorer = trained_on(&hospital(60.0, 9, 0..400));
    let count = |patients: &[Patient]| {
        let mut windows = stood(&scorer);
        windows.count(std::slice::from_ref(&scorer), hours(patients, 5));
        said(&windows, &scorer)
    };
    let nobody = count(&[]);
    assert_eq!((nobody.status, nobody.stays, nobody.since_index), (DriftStatus::TooFew, 0, None));
    let few = count(&hospital(90.0, 2, 1000..1199));
    assert_eq!(
        (few.status, few.stays, few.findings.len()),
        (DriftStatus::TooFew, 199, 0),
        "it does not fire"
    );
    let same = count(&hospital(60.0, 9, 1000..1300));
    assert_eq!((same.status, same.stays, same.hours), (DriftStatus::Quiet, 300, 3600));
    assert_eq!(same.since_index, Some(5));
    let other = count(&hospital(90.0, 2, 1000..1300));
    assert_eq!(other.status, DriftStatus::Alarm);
    let told = |column: &str, measure| {
        other.findings.iter().find(|found| found.column == column && found.measure == measure).unwrap().status
    };
    assert_eq!(told("HR", Measure::Values), Status::Alarm);
    assert_eq!(told("Lactate", Measure::Rate), Status::Alarm);
    assert_eq!(told("HR", Measure::Rate), Status::Quiet, "measured as often");
}

#[test]
fn the_window_slides_and_comes_back_from_a_checkpoint() {
    let scorer = trained_on(&hospital(60.0, 9, 0..400));
    let scorers = std::slice::from_ref(&scorer);
    let mut windows = stood(&scorer);
    windows.count(scorers, hours(&hospital(90.0, 2, 0..500), 0));
    assert_eq!(said(&windows, &scorer).status, DriftStatus::Alarm);
    let encoded = rmp_serde::to_vec_named(&windows).unwrap();
    let mut again: Windows = rmp_serde::from_slice(&encoded).unwrap();
    again.stand(scorers, &[Place::LIVE]);
    assert_eq!(said(&again, &scorer), said(&windows, &scorer));
    for windows in [&mut windows, &mut again] {
        windows.count(scorers, hours(&hospital(60.0, 9, 0..450), 500));
    }
    let now = said(&windows, &scorer);
    assert_eq!(now.status, DriftStatus::Quiet, "what was is forgotten");
    assert!(now.stays <= BLOCK_STAYS * BLOCKS as u64 && now.since_index >= Some(500), "{now:?}");
    assert_eq!(said(&again, &scorer), now);
    // In whatever parts it is counted.
    let mut parts = stood(&scorer);
    for (patients, from) in [(hospital(90.0, 2, 0..500), 0), (hospital(60.0, 9, 0..450), 500)] {
        for (patient, index) in patients.iter().zip(from..) {
            parts.count(scorers, hours(std::slice::from_ref(patient), index));
        }
    }
    assert_eq!(said(&parts, &scorer), now);
}

#[test]
fn only_who_scores_here_is_counted_and_only_where_it_speaks() {
    let [first, second] = [0, 1].map(|more| trained_on(&hospital(60.0, 9 + more, 0..400)));
    let plain = Scorer::news2();
    assert!(report(&stood(&first), &plain).is_none() && report(&stood(&first), &second).is_none());
    let mut windows = stood(&first);
    windows.count(std::slice::from_ref(&first), hours(&hospital(60.0, 9, 0..300), 0));
    let retired = Place { role: Role::Retired, ..Place::LIVE };
    windows.stand(&[first, second], &[retired, Place { role: Role::Shadow, ..Place::LIVE }]);
    let [first, second] = [0, 1].map(|more| trained_on(&hospital(60.0, 9 + more, 0..400)));
    assert!(report(&windows, &first).is_none());
    assert_eq!(said(&windows, &second).stays, 0);
    let ward = |mut hour: ClosedHour| {
        hour.in_icu = false;
        hour
    };
    let committed = sample::for_intensive_care();
    let mut windows = stood(&committed);
    let child = |mut hour: ClosedHour| {
        hour.age_years = Some(17);
        hour
    };
    let all = || hours(&hospital(60.0, 9, 0..10), 0);
    windows.count(std::slice::from_ref(&committed), all().into_iter().map(ward).collect());
    assert_eq!(said(&windows, &committed).hours, 0);
    windows.count(std::slice::from_ref(&committed), all().into_iter().map(child).collect());
    assert_eq!(said(&windows, &committed).hours, 0);
    windows.count(std::slice::from_ref(&committed), all());
    assert_eq!(said(&windows, &committed).hours, 120);
}

/// Of the 2019 set, as long as somebody watches: the window fills, slides, and never calls the same hospital another one.
#[test]
fn hospital_b_fires_against_a_model_of_hospital_a_and_held_out_a_stays_quiet() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let data = std::env::var_os("MEDULLA_SHARED").map_or_else(beside, PathBuf::from).join("data");
    if !data.is_dir() {
        eprintln!("SKIPPED: no data of the 2019 challenge in {}", data.display());
        return;
    }
    let patients = |file: &str, belongs: fn(u32) -> bool, most: usize| -> Vec<Patient> {
        let file = BufReader::new(File::open(data.join(file)).unwrap());
        let text = BufReader::new(zstd::stream::read::Decoder::new(file).unwrap());
        let all = dataset::read(text).map(Result::unwrap);
        all.filter(|patient| belongs(dataset::bucket(&patient.pid))).take(most).collect()
    };
    let scorer = trained_on(&patients("cinc2019_A_dev.csv.zst", |bucket| bucket < INTERNAL_TEST.start, 2000));
    let watch = |patients: &[Patient]| -> Vec<DriftReport> {
        let (mut windows, mut seen) = (stood(&scorer), Vec::new());
        for (part, from) in patients.chunks(50).zip((0..).step_by(50)) {
            windows.count(std::slice::from_ref(&scorer), hours(part, from));
            seen.push(said(&windows, &scorer));
        }
        seen
    };
    let same = watch(&patients("cinc2019_A_dev.csv.zst", |bucket| INTERNAL_TEST.contains(&bucket), 1000));
    assert!(same.len() > 15 && same.iter().skip(4).all(|said| said.findings.len() > 40));
    for said in &same {
        assert!(said.status != DriftStatus::Alarm, "{:?}", said.findings.first());
    }
    let other = watch(&patients("cinc2019_B_dev.csv.zst", |_| true, 400));
    for said in &other {
        let expected = if said.stays < STAYS_MIN { DriftStatus::TooFew } else { DriftStatus::Alarm };
        assert_eq!(said.status, expected, "{} stays", said.stays);
    }
    let last = other.last().unwrap();
    assert!(loud(last, Measure::Rate) >= 3 && loud(last, Measure::Values) >= 1, "{:?}", last.findings);
}
