//! A model directory is loaded whole or refused with the reason.

use std::path::Path;

use ml_scoring::{Model, ModelError};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MODEL: &str = "logistic-3.4.0.ubj";

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn card() -> Value {
    let features: Vec<_> =
        ["hr", "o2", "temp", "age", "x y"].iter().map(|name| json!({"name": name, "unit": "1"})).collect();
    let figures = json!({"patients": 0, "septic_patients": 0, "rows": 0, "alarm_rows": 0});
    json!({
        "format": 1, "name": "toy", "task": "toy", "predicts": "noise", "intended_use": "tests",
        "must_not_claim": ["anything"], "limits": [], "features": features,
        "threshold": {"value": 0.25, "metric": "none", "chosen_on": "nothing"},
        "interruptive_threshold": {"value": 0.5, "metric": "none", "chosen_on": "nothing"},
        "calibration": {"method": "platt", "slope": 2.0, "intercept": -1.0, "fitted_on": "nothing"},
        "training_data": {"description": "", "licence": "", "citation": "", "files": [], "patients": 0, "rows": 0,
            "split": ""},
        "held_out": figures, "clock_rule": figures, "subgroups": [],
    })
}

/// The rows that libxgboost answered for this fixture.
fn golden() -> Value {
    let oracle: Value = serde_json::from_slice(&fixture(&format!("{MODEL}.rows"))).unwrap();
    let count = oracle["rows"].as_array().unwrap().len();
    let row = |i: usize| {
        json!({"features": oracle["rows"][i], "margin": oracle["margin"][i][0],
            "probability": oracle["output"][i][0], "contributions": oracle["contributions"][i]})
    };
    json!({"made_by": oracle["made_by"], "rows": (0..count).map(row).collect::<Vec<_>>()})
}

fn load(card: &Value, golden: &Value) -> Result<Model, ModelError> {
    let (model, card, golden) = (fixture(MODEL), card.to_string(), golden.to_string());
    Model::load(&[
        ("model.ubj", &model),
        ("card.json", card.as_bytes()),
        ("golden.json", golden.as_bytes()),
        ("README", b"?"),
    ])
}

fn refusal(card: &Value, golden: &Value) -> String {
    load(card, golden).unwrap_err().to_string()
}

#[test]
fn a_model_scores_calibrated_and_explains_its_margin() {
    let model = load(&card(), &golden()).unwrap();
    let row = [0.5, f32::NAN, 0.0, -1.0, 2.0];
    let margin = model.margin(&row).unwrap();
    let risk = 1.0 / (1.0 + (-(2.0 * margin - 1.0)).exp());
    assert_eq!(model.score(&row).unwrap(), risk);
    assert_eq!(model.score_rows(&[row, row].concat()).unwrap(), [risk, risk]);
    let explained: f64 = model.explain(&row).unwrap().iter().sum();
    assert!((explained - margin).abs() < 1e-5);
    assert_eq!(model.columns_in(&["age", "temp", "x y", "o2", "hr", "more"]).unwrap(), [4, 3, 1, 0, 2]);
    assert!(matches!(model.columns_in(&["age"]), Err(ModelError::UnknownFeature(name)) if name == "hr"));
    assert!(model.score(&row[..4]).is_err());
}

#[test]
fn the_hash_is_that_of_sha256sum_s_listing() {
    let (model, card, golden) = (fixture(MODEL), card().to_string(), golden().to_string());
    let line = |name: &str, bytes: &[u8]| format!("{}  {name}\n", hex::encode(Sha256::digest(bytes)));
    let listing = [
        line("card.json", card.as_bytes()),
        line("golden.json", golden.as_bytes()),
        line("model.ubj", &model),
    ];
    let loaded = load(&self::card(), &self::golden()).unwrap();
    assert_eq!(loaded.hash(), <[u8; 32]>::from(Sha256::digest(listing.concat())));
}

#[test]
fn golden_rows_that_do_not_reproduce_refuse_the_model() {
    let changed = |pointer: &str, value: Value| {
        let mut golden = golden();
        *golden.pointer_mut(pointer).unwrap() = value;
        refusal(&card(), &golden)
    };
    let margin = golden()["rows"][3]["margin"].as_f64().unwrap();
    let message = changed("/rows/3/margin", json!(margin + 1e-4));
    assert!(
        message.contains("row 3: the margin is") && message.contains("the model is refused"),
        "{message}"
    );
    assert!(changed("/rows/0/probability", json!(0.9)).contains("row 0: the probability"));
    assert!(changed("/rows/0/contributions/2", json!(9.0)).contains("row 0: contribution 2"));
    assert!(changed("/rows/0/contributions", json!([])).contains("row 0: 0 contributions"));
    assert!(changed("/rows", json!([])).contains("0 rows"));
    assert!(changed("/rows/0/features", json!([1.0])).contains("row 0: 1 features, the model takes 5"));
}

#[test]
fn a_card_that_does_not_fit_is_refused() {
    let changed = |pointer: &str, value: Value| {
        let mut card = card();
        *card.pointer_mut(pointer).unwrap() = value;
        refusal(&card, &golden())
    };
    assert!(changed("/features/1/name", json!("hr")).contains("\"hr\" twice"));
    assert!(
        changed("/features/1/name", json!("sbp")).contains("feature 1 is \"sbp\", in the model file \"o2\"")
    );
    assert!(changed("/features", json!([])).contains("0 features, the model takes 5"));
    assert!(changed("/threshold/value", json!(1.5)).contains("threshold 1.5"));
    assert!(changed("/interruptive_threshold/value", json!(0.2)).contains("outside 0.25 to 1"));
    assert!(changed("/calibration/slope", json!(-1.0)).contains("slope -1"));
    assert!(changed("/calibration/method", json!("magic")).contains("magic"));
    assert!(changed("/must_not_claim", json!([])).contains("must_not_claim"));
    assert!(changed("/format", json!(2)).contains("format 2"));
}

#[test]
fn a_missing_file_and_a_model_without_a_probability_are_refused() {
    let model = fixture(MODEL);
    let message = Model::load(&[("model.ubj", &model)]).unwrap_err().to_string();
    assert!(message.contains("0 files named card.json"), "{message}");
    let squared = fixture("squarederror-3.4.0.json");
    let files: [(&str, &[u8]); 3] = [("model.json", &squared), ("card.json", b"{}"), ("golden.json", b"{}")];
    let message = Model::load(&files).unwrap_err().to_string();
    assert!(message.contains("binary:logistic"), "{message}");
}

/// `Booster.predict` goes by all trees of an early-stopped booster: its margins are those of another model.
#[test]
fn golden_rows_of_trees_behind_the_best_one_are_refused_with_what_to_do() {
    let model = fixture("best-3.4.0.json");
    let oracle: Value = serde_json::from_slice(&fixture("best-3.4.0.json.rows")).unwrap();
    let golden = |shift: f64| {
        let margin = oracle["margin"][0][0].as_f64().unwrap() + shift;
        let row = json!({"features": oracle["rows"][0], "margin": margin, "probability": oracle["output"][0][0],
            "contributions": oracle["contributions"][0]});
        json!({"made_by": "xgboost", "rows": [row]}).to_string()
    };
    let load = |golden: String| {
        Model::load(&[
            ("model.json", &model),
            ("card.json", card().to_string().as_bytes()),
            ("golden.json", golden.as_bytes()),
        ])
    };
    assert!(load(golden(0.0)).is_ok());
    let message = load(golden(0.3)).unwrap_err().to_string();
    assert!(message.contains("row 0") && message.contains("(0, best_iteration + 1)"), "{message}");
}
