//! Time of one row, a batch row and one explanation: `cargo run --release -p ml-scoring --example bench_score`.
//!
//! With `--features train` and a model file it also times libxgboost, one row at a time, in the same run.
//! Without an argument 300 complete trees of depth 6 over 100 features, a tenth of the values missing; with one, that
//! model file (`model.ubj`). Figures depend on the machine: name it beside them.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use ml_scoring::Ensemble;

const TREES: usize = 300;
const DEPTH: u32 = 6;
const FEATURES: usize = 100;
const ROWS: usize = 2_000;

/// SplitMix64: enough for a bench, and the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}

fn list<T: std::fmt::Display>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// A complete tree in the form of `save_model`.
fn tree(random: &mut Random) -> String {
    let branches = (1usize << DEPTH) - 1;
    let nodes = 2 * branches + 1;
    let child = |i: usize, side: usize| if i < branches { (2 * i + side) as i64 } else { -1 };
    let cover = |i: usize| f64::from(1u32 << (DEPTH - (i + 1).ilog2()));
    let conditions = (0..nodes).map(|i| if i < branches { random.unit() } else { random.unit() * 0.2 - 0.1 });
    let conditions = list(conditions.collect::<Vec<_>>().into_iter());
    let features =
        list((0..nodes).map(|_| random.next() as usize % FEATURES).collect::<Vec<_>>().into_iter());
    let missing_left = list((0..nodes).map(|_| random.next() % 2).collect::<Vec<_>>().into_iter());
    format!(
        r#"{{"tree_param":{{"size_leaf_vector":"1"}},"left_children":[{}],"right_children":[{}],"split_indices":[{features}],"split_conditions":[{conditions}],"default_left":[{missing_left}],"sum_hessian":[{}]}}"#,
        list((0..nodes).map(|i| child(i, 1))),
        list((0..nodes).map(|i| child(i, 2))),
        list((0..nodes).map(cover)),
    )
}

fn model(random: &mut Random) -> String {
    let mut trees = String::new();
    for i in 0..TREES {
        let _ = write!(trees, "{}{}", if i == 0 { "" } else { "," }, tree(random));
    }
    let groups = list((0..TREES).map(|_| 0));
    format!(
        r#"{{"version":[3,4,0],"learner":{{"objective":{{"name":"binary:logistic"}},"learner_model_param":{{"base_score":"[5E-1]","num_class":"0","num_feature":"{FEATURES}"}},"gradient_booster":{{"name":"gbtree","model":{{"gbtree_model_param":{{"num_trees":"{TREES}"}},"tree_info":[{groups}],"trees":[{trees}]}}}}}}}}"#
    )
}

/// Prints p50 and p99 of `run` over rows.
fn report(what: &str, rows: &[f32], width: usize, mut run: impl FnMut(&[f32])) {
    let mut times_us = Vec::with_capacity(ROWS);
    for row in rows.chunks(width) {
        let start = Instant::now();
        run(row);
        times_us.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times_us.sort_by(f64::total_cmp);
    println!(
        "{what}: p50 {:.1} us, p99 {:.1} us",
        times_us[times_us.len() / 2],
        times_us[times_us.len() * 99 / 100]
    );
}

fn main() {
    let mut random = Random(2026);
    let file = std::env::args().nth(1);
    let ensemble = match &file {
        Some(path) => Ensemble::read(path, &std::fs::read(path).expect("the model file")).expect("a model"),
        None => Ensemble::read("model.json", model(&mut random).as_bytes()).expect("the bench's own model"),
    };
    let width = ensemble.feature_count();
    println!("{} trees, {width} features, {ROWS} rows", ensemble.tree_count());
    let value = |random: &mut Random| if random.unit() < 0.1 { f32::NAN } else { random.unit() };
    let rows: Vec<f32> = (0..ROWS * width).map(|_| value(&mut random)).collect();
    for _ in 0..2 {
        report("one row", &rows, width, |row| drop(black_box(ensemble.margins(row))));
    }
    let start = Instant::now();
    black_box(ensemble.margins_of_rows(&rows)).expect("rows of the right length");
    println!("in a batch: {:.1} us a row", start.elapsed().as_secs_f64() * 1e6 / ROWS as f64);
    report("TreeSHAP", &rows, width, |row| drop(black_box(ensemble.contributions(row))));
    #[cfg(feature = "train")]
    if let Some(path) = file {
        let mut booster = xgb::Booster::load(&path).expect("libxgboost reads it");
        booster.set_param("nthread", "1").expect("a known parameter");
        report("libxgboost, one row", &rows, width, |row| {
            let matrix = xgb::DMatrix::from_dense(row, 1).expect("a row");
            drop(black_box(booster.predict_margin(&matrix)));
        });
        report("libxgboost, contributions", &rows[..width * 200], width, |row| {
            let matrix = xgb::DMatrix::from_dense(row, 1).expect("a row");
            drop(black_box(booster.predict_contributions(&matrix)));
        });
    }
}
