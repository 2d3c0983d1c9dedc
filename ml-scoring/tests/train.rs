//! Training end to end on made-up patients: `--features train`.
#![cfg(feature = "train")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use ml_scoring::dataset::{self, HEADER, INTERNAL_TEST};
use ml_scoring::train::{self, Options, Progress, Settings};
use ml_scoring::{Model, Scorer};

struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: u64) {}
    fn at(&self, _: u64, _: &str) {}
}

/// 600 patients, every fourth septic; the pulse of these climbs from hour 10 on, their label begins at hour 16.
fn patients(septic_every: usize) -> String {
    let mut text = format!("{HEADER}\n");
    for i in 0..600 {
        let septic = i % septic_every == septic_every - 1;
        for hour in 1..=24 {
            let climb = if septic && hour >= 10 { (hour - 9) * 4 } else { 0 };
            let pulse = 70 + (i * 7 + hour * 3) % 15 + climb;
            let label = u8::from(septic && hour >= 16);
            let age = 30 + i % 60;
            let _ = writeln!(text, "p{:06},{pulse}{}{age},1,1,0,-4.5,{hour},{label}", i, ",".repeat(34));
        }
    }
    text
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("medulla-train-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn train(folder: &Path, file: &str, text: &str) -> anyhow::Result<ml_scoring::Card> {
    let path = folder.join(file);
    std::fs::write(&path, text).unwrap();
    let mut settings = Settings { rounds_max: 12, ..Settings::default() };
    settings.set("min_child_weight", "0.5");
    settings.set("nthread", "1");
    train::sepsis(&Options { files: vec![path], out: folder.join("model"), folds: 2, settings }, &Silent)
}

fn load(folder: &Path) -> Model {
    let read = |name: &str| std::fs::read(folder.join("model").join(name)).unwrap();
    let (model, card, golden) = (read("model.ubj"), read("card.json"), read("golden.json"));
    Model::load(&[("model.ubj", &model), ("card.json", &card), ("golden.json", &golden)]).unwrap()
}

#[test]
fn a_trained_model_learns_loads_and_says_what_it_was_trained_on() {
    let folder = folder("learns");
    let text = patients(4);
    let card = train(&folder, "toy.csv", &text).unwrap();
    let judged =
        (0..600).filter(|i| INTERNAL_TEST.contains(&dataset::bucket(&format!("p{i:06}")))).count() as u64;
    let set_aside =
        (0..600).filter(|i| dataset::bucket(&format!("p{i:06}")) >= INTERNAL_TEST.end).count() as u64;
    assert_eq!((card.held_out.patients, card.training_data.patients), (judged, 600 - judged - set_aside));
    assert!(card.held_out.auroc > Some(0.9), "{:?}", card.held_out);
    assert!(card.held_out.utility > card.clock_rule.utility, "{:?}", card.held_out);
    assert_eq!(card.training_data.files[0].name, "toy.csv");
    let model = load(&folder);
    let written = model.card().held_out.auroc.zip(card.held_out.auroc);
    assert!(written.is_some_and(|(read, said)| (read - said).abs() < 1e-12), "{written:?}");
    assert!(Scorer::model(model.clone()).is_ok());

    let again = self::folder("again");
    train(&again, "toy.csv", &text).unwrap();
    assert_eq!(load(&again).hash(), model.hash(), "the same data give the same model");
    std::fs::remove_dir_all(folder).unwrap();
    std::fs::remove_dir_all(again).unwrap();
}

#[test]
fn data_that_cannot_train_are_refused_with_the_reason() {
    let folder = folder("refused");
    let refusal = |file: &str, text: &str| format!("{:#}", train(&folder, file, text).unwrap_err());
    let all = patients(4);
    assert!(refusal("toy.txt", &all).contains(".csv or .csv.zst"));
    let few: String = all.lines().take(200).map(|line| format!("{line}\n")).collect();
    assert!(refusal("few.csv", &few).contains("too few"));
    assert!(refusal("healthy.csv", &patients(10_000)).contains("no septic patient"));
    assert!(refusal("broken.csv", &all.replacen(",24,", ",x,", 1)).contains("broken.csv: line 25"));
    assert!(!folder.join("model").exists());
    std::fs::remove_dir_all(folder).unwrap();
}
