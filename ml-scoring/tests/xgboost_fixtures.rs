//! Small models made by XGBoost 1.0 to 3.4, and what libxgboost itself said about a few rows (`tests/fixtures`).
//!
//! `made_by` in each `.rows` file names the version; rows hold missing values, zeros, a negative zero, huge values and
//! categories that no training row had.

use std::path::{Path, PathBuf};

use ml_scoring::{Ensemble, ModelError};
use serde::Deserialize;

#[derive(Deserialize)]
struct Oracle {
    rows: Vec<Vec<Option<f32>>>,
    margin: Vec<Vec<f32>>,
    output: Vec<Vec<f32>>,
    contributions: Vec<Vec<f64>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

fn models() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| (name.ends_with(".json") || name.ends_with(".ubj")) && !name.starts_with("dart"));
    names.sort();
    names
}

fn oracle(model: &str) -> Oracle {
    serde_json::from_slice(&fixture(&format!("{model}.rows"))).unwrap()
}

fn row(values: &[Option<f32>]) -> Vec<f32> {
    values.iter().map(|value| value.unwrap_or(f32::NAN)).collect()
}

#[test]
fn margins_are_bit_equal_to_libxgboost() {
    let names = models();
    assert!(names.len() >= 20, "{names:?}");
    for name in names {
        let ensemble = Ensemble::read(&name, &fixture(&name)).unwrap();
        let oracle = oracle(&name);
        let mut all_rows = Vec::new();
        let mut all_margins = Vec::new();
        for (i, values) in oracle.rows.iter().enumerate() {
            let row = row(values);
            let margins = ensemble.margins(&row).unwrap();
            if name.contains("-1.0.2.") {
                // 1.0 added the base margin last; every later library, reading that file, adds it first.
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * (1.0 + b.abs());
                assert!(margins.iter().zip(&oracle.margin[i]).all(near), "{name} row {i}: {margins:?}");
            } else {
                assert_eq!(margins, oracle.margin[i], "{name} row {i}");
            }
            for (got, want) in ensemble.predict(&row).unwrap().iter().zip(&oracle.output[i]) {
                assert!((got - want).abs() <= want.abs() * 1e-6, "{name} row {i}: {got} {want}");
            }
            all_rows.extend(row);
            all_margins.extend(margins);
        }
        assert_eq!(ensemble.margins_of_rows(&all_rows).unwrap(), all_margins, "{name} as a batch");
    }
}

#[test]
fn contributions_are_those_of_libxgboost_and_add_up() {
    for name in models() {
        let ensemble = Ensemble::read(&name, &fixture(&name)).unwrap();
        let oracle = oracle(&name);
        for (i, values) in oracle.rows.iter().enumerate() {
            let row = row(values);
            let got = ensemble.contributions(&row).unwrap();
            assert_eq!(got.len(), oracle.contributions[i].len(), "{name}");
            for (feature, (got, want)) in got.iter().zip(&oracle.contributions[i]).enumerate() {
                let bound = 1e-5 * (1.0 + want.abs());
                assert!((got - want).abs() < bound, "{name} row {i} value {feature}: {got} {want}");
            }
            let width = ensemble.feature_count() + 1;
            for (part, margin) in got.chunks(width).zip(ensemble.margins(&row).unwrap()) {
                let sum: f64 = part.iter().sum();
                let bound = 1e-5 * (1.0 + f64::from(margin).abs());
                assert!((sum - f64::from(margin)).abs() < bound, "{name} row {i}: {sum} {margin}");
            }
        }
    }
}

#[test]
fn both_encodings_of_one_version_agree() {
    let name = |ending| format!("logistic-3.4.0.{ending}");
    let json = Ensemble::read(&name("json"), &fixture(&name("json"))).unwrap();
    let ubj = Ensemble::read(&name("ubj"), &fixture(&name("ubj"))).unwrap();
    assert_eq!(ubj.feature_names(), ["hr", "o2", "temp", "age", "x y"]);
    assert_eq!(json.tree_count(), ubj.tree_count());
}

#[test]
fn early_stopping_keeps_the_best_round() {
    let count = |name: &str| Ensemble::read(name, &fixture(name)).unwrap().tree_count();
    assert_eq!(count("best-3.4.0.json"), 3, "best_iteration 2 of 6 rounds");
    assert_eq!(count("forest-best-multi-3.4.0.ubj"), 2 * 3 * 2, "2 rounds, 3 classes, 2 parallel trees");
}

fn refused(from: &str, to: &str) -> String {
    let text = String::from_utf8(fixture("logistic-3.4.0.json")).unwrap();
    assert!(text.contains(from), "{from}");
    Ensemble::read("model.json", text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string()
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let dart = Ensemble::read("model.json", &fixture("dart-3.4.0.json")).unwrap_err();
    assert!(matches!(dart, ModelError::Unsupported { .. } | ModelError::Content { .. }), "{dart}");
    let check = |from: &str, to: &str, said: &[&str]| {
        let message = refused(from, to);
        assert!(said.iter().all(|part| message.contains(part)), "{message}");
    };
    check("\"gbtree\"", "\"gblinear\"", &["learner.gradient_booster.name", "gblinear"]);
    check(
        "binary:logistic",
        "rank:pairwise",
        &["learner.objective.name", "rank:pairwise", "binary:logistic"],
    );
    check("[3,4,0]", "[4,0,0]", &["version", "XGBoost [4, 0, 0]"]);
    check("\"num_target\":\"1\"", "\"num_target\":\"2\"", &["num_target", "more than one target"]);
    check("\"base_weights\"", "\"leaf_spline\"", &["trees[0]", "leaf_spline"]);
    check("\"cats\"", "\"dogs\"", &["gradient_booster.model", "dogs"]);
    check("\"size_leaf_vector\":\"1\"", "\"size_leaf_vector\":\"4\"", &["a vector in each leaf"]);
}

#[test]
fn hostile_trees_are_refused_with_their_place() {
    let check = |from: &str, to: &str, said: &str| {
        let message = refused(from, to);
        assert!(message.contains("trees[0]") && message.contains(said), "{message}");
    };
    check("\"left_children\":[1,3,", "\"left_children\":[0,3,", "node 0 is reached twice");
    check("\"left_children\":[1,3,", "\"left_children\":[1,2,", "is reached twice");
    check("\"left_children\":[1,3,", "\"left_children\":[1,99,", "child 99");
    check("\"left_children\":[1,3,", "\"left_children\":[1,-2,", "child -2");
    check("\"left_children\":[1,3,", "\"left_children\":[1,0.5,", "a whole number is expected");
    check("\"left_children\":[1,", "\"left_children\":[", "one length");
    check("\"split_indices\":[", "\"split_indices\":[7,", "one length");
    check("\"categories_nodes\":[]", "\"categories_nodes\":[1]", "different lengths");
    let message = refused("\"base_score\":\"[3E-2]\"", "\"base_score\":\"[1]\"");
    assert!(message.contains("base_score 1 has no margin"), "{message}");
    let message = refused("\"base_score\":\"[3E-2]\"", "\"base_score\":\"[1E-1,2E-1]\"");
    assert!(message.contains("2 values for 1 classes"), "{message}");
}

#[test]
fn a_cut_or_flipped_file_is_an_error_and_no_panic() {
    for name in ["logistic-3.4.0.ubj", "categorical-3.4.0.ubj", "onehot-3.4.0.json"] {
        let whole = fixture(name);
        for end in (0..whole.len()).step_by(7) {
            assert!(Ensemble::read(name, &whole[..end]).is_err(), "{name} cut at {end}");
        }
        let mut flipped = whole.clone();
        for at in 0..whole.len() {
            flipped[at] ^= 1 << (at % 8);
            if let Ok(ensemble) = Ensemble::read(name, &flipped) {
                let row = vec![1.0; ensemble.feature_count()];
                ensemble.margins(&row).unwrap();
                ensemble.contributions(&row).unwrap();
            }
            flipped[at] = whole[at];
        }
    }
}

#[test]
fn a_row_of_the_wrong_length_is_an_error() {
    let ensemble = Ensemble::read("model.ubj", &fixture("logistic-3.4.0.ubj")).unwrap();
    assert!(matches!(ensemble.margins(&[0.0; 4]), Err(ModelError::RowLength { got: 4, want: 5 })));
    assert!(ensemble.margins_of_rows(&[0.0; 7]).is_err());
    assert!(ensemble.contributions(&[]).is_err());
}
