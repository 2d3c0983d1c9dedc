//! The model that ships: it loads, it is small, and its card is honest.

mod shared;

use std::collections::BTreeMap;
use std::path::Path;

use clinical::{PatientState, Time};
use ml_scoring::eval::{self, BASELINES, Rule};
use ml_scoring::{Insufficient, Model, Scorer, Setting, Task, dataset, features};
use serde_json::value::RawValue;

const FILES: [&str; 3] = ["card.json", "golden.json", "model.ubj"];
const BYTES_MAX: usize = 5 << 20;

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
    assert!(model.feature_names().all(|name| features::index_of(name).is_some()));
    let scorer = Scorer::model(model).unwrap();
    assert_eq!((scorer.name(), scorer.task()), ("sepsis", "sepsis"));
    // The trees would say something even of an empty row; the scorer does not ask them.
    let assessment = scorer.score(&PatientState::default(), Time(0));
    assert_eq!((assessment.risk, assessment.insufficient), (None, Some(Insufficient::NotInIntensiveCare)));
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
    assert_eq!(card.setting, Some(Setting::IntensiveCare), "the claims say: nothing outside intensive care");
    assert!(card.must_not_claim.iter().any(|claim| claim.contains("outcomes")));
    assert!(card.threshold.chosen_on.contains("out-of-fold"));
    assert_eq!(card.training_data.files.len(), 2);
    assert_eq!(dataset::INTERNAL_TEST, 70..80, "the patients that the card's figures are of");
}

/// What `medulla model eval --held-out` prints is what the card says, to the last digit. A card of cross-validated figures
/// says so, and of how many patients; the trained model alone cannot repeat them.
#[test]
fn the_card_s_held_out_figures_are_reproduced() {
    let model = model();
    let training = &model.card().training_data;
    if !training.held_out {
        assert!(training.split.contains("cross-validated"), "{}", training.split);
        assert_eq!(model.card().held_out.patients, training.patients);
        return;
    }
    let Some(data) = shared::data() else { return };
    let options = eval::Options {
        threshold: Some(model.threshold()),
        baselines: vec![BASELINES[0].into()],
        bootstrap_samples: 0,
        ..eval::Options::default()
    };
    let (scorer, clock) = (Scorer::model(model).unwrap(), BASELINES[0].parse::<Rule>().unwrap());
    let hospitals = ["cinc2019_A_dev", "cinc2019_B_dev"];
    let patients = hospitals.into_iter().flat_map(|file| dataset::read(shared::open(&data, file)));
    let held_out = patients.filter(|patient| {
        patient.as_ref().is_ok_and(|patient| dataset::INTERNAL_TEST.contains(&dataset::bucket(&patient.pid)))
    });
    let cohort = eval::judge(held_out, Task::Sepsis, &[&scorer, &clock], |_| {}).unwrap();
    let report = serde_json::to_value(eval::report(&cohort, &options, |_, _| {})).unwrap();
    let card = card_as_written();
    for key in [
        "patients",
        "rows",
        "utility",
        "auroc",
        "auprc",
        "brier",
        "ece",
        "alerts_per_100_patient_days",
        "ppv",
        "sensitivity",
    ] {
        assert_eq!(card["held_out"][key], report[key].to_string(), "{key}");
    }
    let clock = &report["baselines"][BASELINES[0]];
    for key in ["utility", "auroc", "auprc"] {
        assert_eq!(card["clock_rule"][key], clock[key].to_string(), "{key} of the clock rule");
    }
}

/// Numbers of the card's figures as they stand in the file.
fn card_as_written() -> BTreeMap<&'static str, BTreeMap<String, String>> {
    let files = files();
    let card: BTreeMap<String, &RawValue> = serde_json::from_slice(&files[0].1).unwrap();
    ["held_out", "clock_rule"]
        .into_iter()
        .map(|name| {
            let figures: BTreeMap<String, &RawValue> = serde_json::from_str(card[name].get()).unwrap();
            (name, figures.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect())
        })
        .collect()
}
