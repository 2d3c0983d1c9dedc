//! `medulla bench score`: what a row, an explanation and an event cost, with libxgboost beside them in the same run.

use std::fmt;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clinical::{
    Code, CodeSystem, Column, Event, EventKind, Observation, ObservationStatus, PatientId, Precision, Time,
    Value,
};
use serde::Serialize;
use xgb::{Booster, DMatrix};

use super::boost::Settings;
use super::random::Random;
use super::{Progress, adapt};
use crate::dataset::{Patient, Row};
use crate::{Ensemble, Features, Scorer};

/// Of the model that is made up.
pub const TREES: usize = 300;
const DEPTH: &str = "6";
const FEATURES: usize = 100;
const ROWS: usize = 2_000;
/// libxgboost explains a row in milliseconds.
const ROWS_EXPLAINED: usize = 200;
const BATCHES: usize = 9;

/// One model's figures.
#[derive(Debug, Serialize)]
pub struct Speed {
    pub model: String,
    pub trees: usize,
    pub features: usize,
    pub rows: usize,
    pub steps: Vec<Step>,
    /// Many rows in one call.
    pub batch_rows_per_s: f64,
    /// libxgboost's median over ours, for one row at a time.
    pub row_times_faster: f64,
}

#[derive(Debug, Serialize)]
pub struct Step {
    pub what: &'static str,
    pub p50_us: f64,
    pub p99_us: f64,
}

/// So many trees of depth 6 over 100 features, on made-up rows; and the model in `folder`, with a patient's events.
pub fn measure(trees: usize, folder: Option<&Path>, progress: &dyn Progress) -> Result<Vec<Speed>> {
    progress.stage("growing trees", trees as u64);
    let booster = grown(trees, progress)?;
    let mut all = vec![rows("made up", &booster, Vec::new())?];
    if let Some(folder) = folder {
        progress.stage("the model", 0);
        let (model, trees) = adapt::read(folder).with_context(|| folder.display().to_string())?;
        let name = model.card().name.clone();
        let events = events(&Scorer::model(model)?);
        all.push(rows(&name, &Booster::load_buffer(&trees)?, events)?);
    }
    Ok(all)
}

/// Labels that follow the features loosely, so that trees go on to grow.
fn grown(trees: usize, progress: &dyn Progress) -> Result<Booster> {
    let mut random = Random(2026);
    let values = made_up(&mut random, FEATURES, 4 * ROWS);
    let labels: Vec<f32> = values
        .chunks_exact(FEATURES)
        .map(|row| {
            f32::from(row.iter().take(10).filter(|value| **value > 0.5).count() as f64 > 9.0 * random.unit())
        })
        .collect();
    let mut matrix = DMatrix::from_dense(&values, 4 * ROWS)?;
    matrix.set_labels(&labels)?;
    let mut settings = Settings::default();
    for (name, value) in
        [("max_depth", DEPTH), ("min_child_weight", "0"), ("lambda", "0"), ("colsample_bytree", "1")]
    {
        settings.set(name, value);
    }
    let names: Vec<String> = (0..FEATURES).map(|n| format!("f{n}")).collect();
    let mut booster = settings.booster(&matrix, &names.iter().map(String::as_str).collect(), 0)?;
    for round in 0..trees {
        booster.update(&matrix, round as i32)?;
        progress.at(round as u64 + 1, "");
    }
    Ok(booster)
}

/// 0 to 1, a tenth missing.
fn made_up(random: &mut Random, width: usize, rows: usize) -> Vec<f32> {
    let value = |random: &mut Random| if random.unit() < 0.1 { f32::NAN } else { random.unit() as f32 };
    (0..width * rows).map(|_| value(random)).collect()
}

fn rows(model: &str, booster: &Booster, mut steps: Vec<Step>) -> Result<Speed> {
    let ensemble = Ensemble::read("model.json", &booster.save_buffer(false)?)?;
    let mut theirs = Booster::load_buffer(&booster.save_buffer(true)?)?;
    theirs.set_param("nthread", "1")?;
    let width = ensemble.feature_count();
    let values = made_up(&mut Random(2027), width, ROWS);
    let ours: Vec<f32> = ensemble.margins_of_rows(&values)?;
    ensure!(
        ours == theirs.predict_margin(&DMatrix::from_dense(&values, ROWS)?)?,
        "libxgboost computes other margins"
    );
    let few = &values[..width * ROWS_EXPLAINED];
    let one = |row: &[f32]| DMatrix::from_dense(row, 1);
    let row = timed("row", &values, width, |row| drop(black_box(ensemble.margins(row))));
    let explained = timed("TreeSHAP", few, width, |row| drop(black_box(ensemble.contributions(row))));
    let their_row = timed("libxgboost, row", &values, width, |row| {
        drop(black_box(one(row).and_then(|matrix| theirs.predict_margin(&matrix))));
    });
    let their_explained = timed("libxgboost, contributions", few, width, |row| {
        drop(black_box(one(row).and_then(|matrix| theirs.predict_contributions(&matrix))));
    });
    let batches = timed("batch", &values.repeat(BATCHES), width * ROWS, |rows| {
        drop(black_box(ensemble.margins_of_rows(rows)));
    });
    let batch_rows_per_s = ROWS as f64 / batches.p50_us * 1e6;
    let row_times_faster = their_row.p50_us / row.p50_us;
    steps.extend([row, explained, their_row, their_explained]);
    Ok(Speed {
        model: model.to_owned(),
        trees: ensemble.tree_count(),
        features: width,
        rows: ROWS,
        steps,
        batch_rows_per_s,
        row_times_faster,
    })
}

/// A pulse a minute of a patient in intensive care whose vital signs were charted each hour for two days.
fn events(scorer: &Scorer) -> Vec<Step> {
    let mut patient =
        Patient { pid: "bench".into(), age: 64.0, gender: 1.0, unit1: 1.0, ..Patient::default() };
    patient.hosp_adm_time = -12.0;
    let mut state = patient.admitted();
    for iculos in 1..=48 {
        let mut values = Row::EMPTY;
        for (column, value) in CHARTED {
            values[column as usize] = value + f64::from(iculos % 5);
        }
        Patient::observe(&mut state, &Row { values, iculos, label: false, line: 0 });
    }
    let begin = Patient::ADMITTED.0 + 48 * Time::HOUR_MS;
    let beats: Vec<Event> = (0..ROWS as i64).map(|n| pulse(Time(begin + n * 60_000), 70 + n % 40)).collect();
    let mut times: [Vec<f64>; 4] = Default::default();
    for beat in &beats {
        let start = Instant::now();
        state.apply(beat);
        let updated = start.elapsed();
        black_box(scorer.score(&state, beat.at));
        let whole = start.elapsed();
        // A part of the score, which computes them itself.
        black_box(Features::from_state(&state, beat.at));
        let features = start.elapsed() - whole;
        for (times, time) in times.iter_mut().zip([whole, updated, features, whole - updated]) {
            times.push(time.as_secs_f64() * 1e6);
        }
    }
    let names = ["event", "event: state update", "event: features", "event: score with features"];
    names.into_iter().zip(times).map(|(what, times)| step(what, times)).collect()
}

const CHARTED: [(Column, f64); 8] = [
    (Column::Hr, 80.0),
    (Column::O2Sat, 94.0),
    (Column::Temp, 36.5),
    (Column::Sbp, 118.0),
    (Column::Map, 80.0),
    (Column::Resp, 16.0),
    (Column::Creatinine, 1.0),
    (Column::Wbc, 9.0),
];

fn pulse(at: Time, beats: i64) -> Event {
    let number = beats as f64;
    Event {
        patient: PatientId { authority: "cinc2019".into(), id: "bench".into() },
        visit: None,
        at,
        precision: Precision::Second,
        kind: EventKind::Observed(Observation {
            code: Code { system: CodeSystem::Loinc, code: Column::Hr.loinc().into(), display: "".into() },
            value: Value::Quantity {
                number,
                text: beats.to_string().into(),
                unit: Column::Hr.unit().into(),
                comparator: None,
            },
            status: ObservationStatus::Final,
            source_id: String::new(),
            is_version: false,
            sent_at: None,
        }),
    }
}

fn timed(what: &'static str, rows: &[f32], width: usize, mut run: impl FnMut(&[f32])) -> Step {
    // The first rows find the caches cold; a site never is.
    rows.chunks_exact(width).take(100).for_each(&mut run);
    let times = rows.chunks_exact(width).map(|row| {
        let start = Instant::now();
        run(row);
        start.elapsed().as_secs_f64() * 1e6
    });
    step(what, times.collect())
}

fn step(what: &'static str, mut times_us: Vec<f64>) -> Step {
    times_us.sort_by(f64::total_cmp);
    let at = |share: usize| times_us[(times_us.len() - 1) * share / 100];
    Step { what, p50_us: at(50), p99_us: at(99) }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Speed { model, trees, features, rows, .. } = self;
        writeln!(f, "{model}: {trees} trees, {features} features, {rows} rows")?;
        writeln!(f, "  {:<26} {:>10} {:>10}", "", "p50 us", "p99 us")?;
        for Step { what, p50_us, p99_us } in &self.steps {
            writeln!(f, "  {what:<26} {p50_us:>10.1} {p99_us:>10.1}")?;
        }
        writeln!(f, "  in a batch {:.0} rows/s", self.batch_rows_per_s)?;
        writeln!(f, "  one row at a time {:.1} times as fast as libxgboost", self.row_times_faster)
    }
}
