//! Models for tests.

use std::path::Path;

use ml_scoring::{Model, Scorer};
use serde_json::{Value, json};

/// The committed sepsis model for every ward, under another name. Another edition is another hash.
pub(crate) fn model(name: &str, edition: &str) -> Scorer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ml-scoring/models/sepsis");
    let read = |file| std::fs::read(folder.join(file)).unwrap();
    let mut card: Value = serde_json::from_slice(&read("card.json")).unwrap();
    (card["name"], card["intended_use"], card["setting"]) = (json!(name), json!(edition), Value::Null);
    let (card, golden, trees) = (card.to_string(), read("golden.json"), read("model.ubj"));
    let files: [(&str, &[u8]); 3] =
        [("card.json", card.as_bytes()), ("golden.json", &golden), ("model.ubj", &trees)];
    Scorer::model(Model::load(&files).unwrap()).unwrap()
}
