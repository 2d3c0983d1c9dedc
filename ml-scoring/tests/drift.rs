//! Drift on the 2019 set: another hospital is told from patients of the same one who were set apart.

mod shared;

use ml_scoring::dataset::{self, INTERNAL_TEST, Patient};
use ml_scoring::drift::{Baseline, Drift, Finding, Measure, Status};

/// Patients of each kind: enough to tell, few enough to wait for.
const PATIENTS: usize = 1500;

fn patients(data: &std::path::Path, file: &str, belongs: impl Fn(u32) -> bool) -> Vec<Patient> {
    let all = dataset::read(shared::open(data, file)).map(Result::unwrap);
    all.filter(|patient| belongs(dataset::bucket(&patient.pid))).take(PATIENTS).collect()
}

fn compare(baseline: &Baseline, patients: &[Patient]) -> Vec<Finding> {
    let mut drift = Drift::new(baseline);
    for patient in patients {
        patient.for_each_hour(|_, _, features| drift.observe(&features.values));
    }
    drift.findings()
}

#[test]
fn hospital_b_fires_against_hospital_a_and_held_out_a_stays_quiet() {
    let Some(data) = shared::data() else { return };
    let trained = patients(&data, "cinc2019_A_dev", |bucket| bucket < INTERNAL_TEST.start);
    let mut rows = Vec::new();
    for patient in &trained {
        patient.for_each_hour(|_, _, features| rows.push(features.values.clone()));
    }
    let baseline = Baseline::of(|| rows.iter().map(Vec::as_slice));

    let same =
        compare(&baseline, &patients(&data, "cinc2019_A_dev", |bucket| INTERNAL_TEST.contains(&bucket)));
    assert!(same.len() > 50, "{} measures", same.len());
    assert!(same.iter().all(|finding| finding.status < Status::Alarm), "{:?}", same.first());

    let other = compare(&baseline, &patients(&data, "cinc2019_B_dev", |_| true));
    let loud = |measure| other.iter().filter(|f| f.measure == measure && f.status == Status::Alarm).count();
    assert!(loud(Measure::Rate) >= 3 && loud(Measure::Values) >= 1, "{other:?}");
}
