//! Models for tests.

use std::path::Path;

use ml_scoring::drift::Baseline;
use ml_scoring::{Model, Scorer};
use serde_json::{Value, json};

/// The committed sepsis model for every ward, under another name. Another edition is another hash.
pub(crate) fn model(name: &str, edition: &str) -> Scorer {
    carded(|card| {
        (card["name"], card["intended_use"], card["setting"]) = (json!(name), json!(edition), Value::Null);
    })
}

/// As if trained on this.
pub(crate) fn compared(baseline: &Baseline) -> Scorer {
    carded(|card| (card["drift"], card["setting"]) = (json!(baseline), Value::Null))
}

/// The committed one as it is.
pub(crate) fn for_intensive_care() -> Scorer {
    carded(|_| {})
}

fn carded(change: impl Fn(&mut Value)) -> Scorer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ml-scoring/models/sepsis");
    let read = |file| std::fs::read(folder.join(file)).unwrap();
    let mut card: Value = serde_json::from_slice(&read("card.json")).unwrap();
    change(&mut card);
    let (card, golden, trees) = (card.to_string(), read("golden.json"), read("model.ubj"));
    let files: [(&str, &[u8]); 3] =
        [("card.json", card.as_bytes()), ("golden.json", &golden), ("model.ubj", &trees)];
    Scorer::model(Model::load(&files).unwrap()).unwrap()
}
