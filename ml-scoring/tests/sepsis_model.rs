//! The model that ships: it loads, it is small, and its card is honest.

use std::io::BufReader;
use std::path::Path;

use clinical::{PatientState, Time};
use ml_scoring::dataset::Patient;
use ml_scoring::eval::{Person, Prediction, Utility, auprc, auroc, utility};
use ml_scoring::{Model, Scorer, dataset, features};

const FILES: [&str; 3] = ["card.json", "golden.json", "model.ubj"];
const BYTES_MAX: usize = 2 << 20;

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/sepsis");
    FILES.iter().map(|name| (*name, std::fs::read(folder.join(name)).unwrap())).collect()
}

fn model() -> Model {
    let files = files();
    let borrowed: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    Model::load(&borrowed).unwrap()
}

#[test]
fn it_loads_reproduces_libxgboost_and_takes_the_features_of_this_release() {
    assert!(files().iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < BYTES_MAX);
    let model = model();
    assert_eq!(model.card().task, "sepsis");
    assert!(model.feature_names().eq(features::NAMES.iter().copied()));
    let scorer = Scorer::model(model).unwrap();
    assert_eq!((scorer.name(), scorer.task()), ("sepsis", "sepsis"));
    // The trees would say something even of an empty row; the scorer does not ask them.
    assert_eq!(scorer.score(&PatientState::default(), Time(0)).risk, None);
}

/// Every byte is covered by the hash that alerts cite, also those that no golden row passes.
#[test]
fn a_changed_byte_refuses_the_model_or_changes_its_hash() {
    let hash = model().hash();
    for (file, at) in [(0, 100), (1, 5_000), (2, 20_000), (2, 100_000)] {
        let mut files = files();
        files[file].1[at] ^= 0x01;
        let borrowed: Vec<(&str, &[u8])> =
            files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        assert_ne!(Model::load(&borrowed).map(|model| model.hash()).ok(), Some(hash), "{} {at}", FILES[file]);
    }
}

#[test]
fn the_card_says_how_good_and_beside_what() {
    let model = model();
    let card = model.card();
    let (held_out, clock) = (&card.held_out, &card.clock_rule);
    assert!(held_out.patients > 4_000 && held_out.septic_patients > 250, "{held_out:?}");
    assert_eq!((held_out.patients, held_out.rows), (clock.patients, clock.rows));
    let (utility, beside) = (held_out.utility.unwrap(), clock.utility.unwrap());
    assert!(utility > beside && held_out.auroc > clock.auroc, "{utility} {beside}");
    for word in ["hospital A", "hospital B", "female", "male", "medical unit", "surgical unit"] {
        assert!(card.subgroups.iter().any(|subgroup| subgroup.group == word), "{word}");
    }
    assert!(card.must_not_claim.iter().any(|claim| claim.contains("outcomes")));
    assert!(card.threshold.chosen_on.contains("out-of-fold"));
    assert_eq!(card.training_data.files.len(), 2);
    assert_eq!(dataset::INTERNAL_TEST, 70..80, "the patients that the card's figures are of");
}

/// The 2019 files, where this machine has them.
fn shared() -> Option<[std::path::PathBuf; 2]> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = std::env::var_os("MEDULLA_SHARED").map_or(beside, Into::into).join("data");
    let files = ["A", "B"].map(|hospital| folder.join(format!("cinc2019_{hospital}_dev.csv.zst")));
    files.iter().all(|file| file.exists()).then_some(files)
}

/// What libxgboost said in training is what the Rust evaluator says of the same patients.
#[test]
fn the_card_s_held_out_figures_are_reproduced() {
    let Some(files) = shared() else {
        println!("skipped: no 2019 data (MEDULLA_SHARED)");
        return;
    };
    let model = model();
    let (mut risks, mut labels, mut sum) = (Vec::new(), Vec::new(), Utility::default());
    for file in files {
        let decoder = zstd::Decoder::new(std::fs::File::open(file).unwrap()).unwrap();
        let judged = |patient: &Patient| dataset::INTERNAL_TEST.contains(&dataset::bucket(&patient.pid));
        for patient in dataset::read(BufReader::new(decoder)).map(Result::unwrap).filter(judged) {
            let rows: Vec<f32> =
                patient.features().into_iter().flat_map(|features| features.values).collect();
            let said: Vec<_> =
                model.score_rows(&rows).unwrap().into_iter().map(|p| prediction(&model, p)).collect();
            let person = Person {
                pid: String::new(),
                hospital: dataset::hospital(&patient.pid),
                age: patient.age,
                sex: "unknown",
                unit: "unknown",
                rows: 0..said.len(),
                first_label: patient.first_label(),
            };
            sum.add(&utility(&person, &said), 1.0);
            risks.extend(said.iter().map(|said| said.p));
            labels.extend(patient.rows.iter().map(|row| row.label));
        }
    }
    let held_out = &model.card().held_out;
    assert_eq!(labels.len() as u64, held_out.rows);
    let near = |what: &str, got: Option<f64>, want: Option<f64>| {
        let close = got.zip(want).is_some_and(|(got, want)| (got - want).abs() < 1e-6);
        assert!(close, "{what}: {got:?}, the card says {want:?}");
    };
    near("AUROC", auroc(&risks, &labels), held_out.auroc);
    near("AUPRC", auprc(&risks, &labels), held_out.auprc);
    near("utility", sum.normalised(), held_out.utility);
}

fn prediction(model: &Model, p: f64) -> Prediction {
    Prediction { p, alarm: p >= model.threshold() }
}
