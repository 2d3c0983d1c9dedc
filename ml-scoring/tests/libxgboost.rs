//! The evaluator against libxgboost itself on random models and rows: `--features train`.
#![cfg(feature = "train")]

use ml_scoring::Ensemble;
use xgb::parameters::BoosterParameters;
use xgb::{Booster, DMatrix};

const FEATURES: usize = 7;
const ROWS: usize = 300;

/// SplitMix64: a failure names the seed that repeats it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Missing, zeros of both signs, ties on few values, and numbers of very different sizes.
    fn value(&mut self) -> f32 {
        let unit = self.below(1 << 24) as f32 / (1 << 24) as f32 - 0.5;
        match self.below(10) {
            0 | 1 => f32::NAN,
            2 => 0.0,
            3 => -0.0,
            4..=6 => (unit * 6.0).round(),
            7 => unit * 1e6,
            _ => unit,
        }
    }
}

/// A booster with random settings on random data.
fn random_booster(random: &mut Random) -> (Booster, usize) {
    let values: Vec<f32> = (0..ROWS * FEATURES).map(|_| random.value()).collect();
    let objective = random.pick(&[
        "binary:logistic",
        "binary:logitraw",
        "reg:squarederror",
        "count:poisson",
        "multi:softprob",
        "multi:softmax",
    ]);
    let classes = if objective.starts_with("multi") { random.below(3) + 2 } else { 2 };
    let labels: Vec<f32> = (0..ROWS).map(|_| random.below(classes) as f32).collect();
    let mut matrix = DMatrix::from_dense(&values, ROWS).unwrap();
    matrix.set_labels(&labels).unwrap();
    let mut booster = Booster::new_with_cached_dmats(&BoosterParameters::default(), &[&matrix]).unwrap();
    let rounds = random.below(12) as i32;
    let (depth, trees) = (random.below(9) + 1, random.below(3) + 1);
    let mut set = |name: &str, value: &str| booster.set_param(name, value).unwrap();
    set("objective", objective);
    set("base_score", random.pick(&["0.01", "0.5", "0.93"]));
    if objective.starts_with("multi") {
        set("num_class", &classes.to_string());
    }
    set("tree_method", random.pick(&["hist", "exact", "approx"]));
    set("max_depth", &depth.to_string());
    set("num_parallel_tree", &trees.to_string());
    set("subsample", "0.8");
    set("min_child_weight", "0");
    set("eta", random.pick(&["0.05", "0.3", "1"]));
    set("seed", &random.below(1000).to_string());
    set("nthread", "1");
    for round in 0..rounds {
        booster.update(&matrix, round).unwrap();
    }
    (booster, rounds as usize)
}

fn check(seed: u64) {
    let mut random = Random(seed);
    let (trained, rounds) = random_booster(&mut random);
    if rounds == 0 {
        return;
    }
    let rows: Vec<f32> = (0..50 * FEATURES).map(|_| random.value()).collect();
    let matrix = DMatrix::from_dense(&rows, 50).unwrap();
    for (file, binary) in [("model.json", false), ("model.ubj", true)] {
        let bytes = trained.save_buffer(binary).unwrap();
        // What the file says, not what the trainer still remembers.
        let oracle = Booster::load_buffer(&bytes).unwrap();
        let ensemble = Ensemble::read(file, &bytes).unwrap();
        let margins = ensemble.margins_of_rows(&rows).unwrap();
        assert_eq!(margins, oracle.predict_margin(&matrix).unwrap(), "seed {seed}, {file}");
        let (contributions, _) = oracle.predict_contributions(&matrix).unwrap();
        let width = ensemble.group_count() * (FEATURES + 1);
        for (i, row) in rows.chunks(FEATURES).enumerate() {
            assert_eq!(
                ensemble.margins(row).unwrap(),
                margins[i * ensemble.group_count()..][..ensemble.group_count()]
            );
            let got = ensemble.contributions(row).unwrap();
            for (got, want) in got.iter().zip(&contributions[i * width..][..width]) {
                let bound = 1e-4 * (1.0 + f64::from(want.abs()));
                assert!((got - f64::from(*want)).abs() < bound, "seed {seed}, {file}, row {i}: {got} {want}");
            }
            for (part, margin) in got.chunks(FEATURES + 1).zip(ensemble.margins(row).unwrap()) {
                let (sum, margin) = (part.iter().sum::<f64>(), f64::from(margin));
                assert!(
                    (sum - margin).abs() < 1e-5 * (1.0 + margin.abs()),
                    "seed {seed}, row {i}: {sum} {margin}"
                );
            }
        }
    }
}

#[test]
fn random_models_are_evaluated_bit_equal_to_libxgboost() {
    for seed in 0..60 {
        check(seed);
    }
}
