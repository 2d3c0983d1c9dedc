//! From events to alerts through a model: the model decides, and too little data decides nothing.

use clinical::{
    Column, Encounter, EncounterChange, Event, EventKind, Location, ObservationStatus, PatientId,
    PatientState, Precision, Time,
};
use ml_scoring::dataset::Row;
use ml_scoring::eval::{Hour, Predictor};
use ml_scoring::features::Group;
use ml_scoring::{
    AlertPolicy, Bedside, Features, Insufficient, Model, ModelError, PolicyState, Scorer, Tier,
};
use serde_json::{Value, json};

/// Margin of a heart rate below 100, and from 100 on; no tree at all when `None`.
type Leaves = Option<[f32; 2]>;

fn learner(leaves: Leaves, features: &[&str]) -> Value {
    let tree = |[low, high]: [f32; 2]| {
        json!({
            "base_weights": [0.0, low, high], "categories": [], "categories_nodes": [], "categories_segments": [],
            "categories_sizes": [], "default_left": [1, 0, 0], "id": 0, "left_children": [1, -1, -1],
            "loss_changes": [1.0, 0.0, 0.0], "parents": [2147483647u32, 0, 0], "right_children": [2, -1, -1],
            "split_conditions": [100.0, low, high], "split_indices": [0, 0, 0], "split_type": [0, 0, 0],
            "sum_hessian": [2.0, 1.0, 1.0],
            "tree_param": {"num_deleted": "0", "num_feature": features.len().to_string(), "num_nodes": "3",
                "size_leaf_vector": "1"},
        })
    };
    let trees: Vec<Value> = leaves.into_iter().map(tree).collect();
    let rounds: Vec<usize> = (0..=trees.len()).collect();
    json!({"learner": {
        "attributes": {}, "feature_names": features, "feature_types": [],
        "gradient_booster": {"name": "gbtree", "model": {
            "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": trees.len().to_string()},
            "iteration_indptr": rounds, "tree_info": vec![0; trees.len()], "trees": trees,
        }},
        "learner_model_param": {"base_score": "5E-1", "boost_from_average": "1", "num_class": "0",
            "num_feature": features.len().to_string(), "num_target": "1"},
        "objective": {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}},
    }, "version": [2, 1, 4]})
}

fn golden_row(leaves: Leaves, heart_rate: Option<f32>, features: usize) -> Value {
    let [low, high] = leaves.unwrap_or_default();
    let margin = if heart_rate.is_some_and(|hr| hr >= 100.0) { high } else { low };
    let bias = (low + high) / 2.0;
    let mut contributions = vec![0.0; features + 1];
    contributions[0] = margin - bias;
    contributions[features] = bias;
    let mut row = vec![None; features];
    row[0] = heart_rate;
    json!({"features": row, "margin": margin, "probability": 1.0 / (1.0 + (-margin).exp()),
        "contributions": contributions})
}

fn model(leaves: Leaves, features: &[&str]) -> Result<Model, ModelError> {
    model_for(None, leaves, features)
}

fn model_for(setting: Option<&str>, leaves: Leaves, features: &[&str]) -> Result<Model, ModelError> {
    carded(leaves, features, |card| {
        if let Some(setting) = setting {
            card["setting"] = setting.into();
        }
    })
}

/// It alarms at a heart rate of 100 and more.
fn model_of(card: impl FnOnce(&mut Value)) -> Result<Model, ModelError> {
    carded(Some([-3.0, 2.0]), &["HR", "Lactate"], card)
}

fn carded(leaves: Leaves, features: &[&str], change: impl FnOnce(&mut Value)) -> Result<Model, ModelError> {
    let figures = json!({"patients": 0, "septic_patients": 0, "rows": 0, "alarm_rows": 0});
    let named: Vec<_> = features.iter().map(|name| json!({"name": name, "unit": "1"})).collect();
    let threshold = |value: f64| json!({"value": value, "metric": "none", "chosen_on": "nothing"});
    let mut card = json!({
        "format": 1, "name": "toy", "task": "sepsis", "predicts": "noise", "intended_use": "tests",
        "must_not_claim": ["anything"], "limits": [], "features": named, "threshold": threshold(0.6),
        "interruptive_threshold": threshold(0.8), "calibration": {"method": "none"},
        "training_data": {"description": "", "licence": "", "citation": "", "files": [], "patients": 0, "rows": 0,
            "split": ""},
        "held_out": figures, "clock_rule": figures, "subgroups": [],
    });
    change(&mut card);
    let rows: Vec<_> =
        [None, Some(99.0), Some(100.0)].iter().map(|hr| golden_row(leaves, *hr, features.len())).collect();
    let golden = json!({"made_by": "by hand", "rows": rows});
    Model::load(&[
        ("model.json", learner(leaves, features).to_string().as_bytes()),
        ("card.json", card.to_string().as_bytes()),
        ("golden.json", golden.to_string().as_bytes()),
    ])
}

fn scorer(leaves: Leaves) -> Scorer {
    Scorer::model(model(leaves, &["HR", "Lactate"]).unwrap()).unwrap()
}

/// Hourly heart rate and respiration, the former rising above 100 in hour 5.
fn alerts_of(scorer: &Scorer) -> Vec<(i64, Tier)> {
    let (policy, mut memory, mut state) =
        (AlertPolicy::default(), PolicyState::default(), PatientState::default());
    let mut alerts = Vec::new();
    for hour in 0..10 {
        let at = Time(hour * Time::HOUR_MS);
        for (column, value) in [(Column::Hr, 80.0 + 4.0 * hour as f64), (Column::Resp, 18.0)] {
            state.observe(column, at, "", ObservationStatus::Final, value);
        }
        let assessment = scorer.score(&state, at);
        alerts.extend(policy.decide(&mut memory, &assessment, at).map(|decision| (hour, decision.tier)));
    }
    alerts
}

#[test]
fn the_model_fires_and_a_constant_one_does_not() {
    assert_eq!(alerts_of(&scorer(Some([-3.0, 2.0]))), [(5, Tier::Interruptive)]);
    assert_eq!(alerts_of(&scorer(Some([-3.0, 1.0]))), [(5, Tier::Watch)]);
    assert_eq!(alerts_of(&scorer(Some([0.0, 0.0]))), []);
    assert_eq!(alerts_of(&scorer(None)), []);
}

#[test]
fn an_assessment_says_why_in_words_and_its_parts_add_up() {
    let scorer = scorer(Some([-3.0, 2.0]));
    let mut state = PatientState::default();
    state.observe(Column::Hr, Time(0), "", ObservationStatus::Final, 120.0);
    state.observe(Column::Resp, Time(0), "", ObservationStatus::Final, 20.0);
    let assessment = scorer.assess(&state, Time(1));
    let margin = 2.0f64;
    assert!((assessment.risk.unwrap() - 1.0 / (1.0 + (-margin).exp())).abs() < 1e-6);
    assert_eq!(assessment.reasons(3), ["heart rate 120 /min"]);
    assert!((assessment.contributions[0].weight - 2.5).abs() < 1e-6);
    assert_eq!((assessment.task.as_str(), assessment.rests_on_care_process), ("sepsis", false));
    assert_eq!(assessment.risk, scorer.score(&state, Time(1)).risk);
    assert!(scorer.score(&state, Time(1)).contributions.is_empty());
}

#[test]
fn too_little_or_too_old_data_is_insufficient() {
    let scorer = scorer(Some([-3.0, 2.0]));
    let mut state = PatientState::default();
    let answer = |state: &PatientState, hour: i64| {
        let assessment = scorer.assess(state, Time(hour * Time::HOUR_MS));
        (assessment.risk.is_some(), assessment.insufficient)
    };
    let (too_few, spoken) = ((false, Some(Insufficient::TooFewMeasurements)), (true, None));
    assert_eq!(answer(&state, 0), too_few);
    state.observe(Column::Hr, Time(0), "", ObservationStatus::Final, 180.0);
    assert_eq!(answer(&state, 0), too_few);
    state.observe(Column::Sbp, Time(0), "", ObservationStatus::Final, 80.0);
    assert_eq!((answer(&state, 11), answer(&state, 12)), (spoken, too_few));
    let news2 = Scorer::news2().score(&state, Time(0));
    assert_eq!((news2.risk, news2.insufficient), (None, Some(Insufficient::TooFewMeasurements)));
}

/// What the policy makes of measurements, (hour, column, value), when the last hour is judged.
fn alert_of(score: Bedside, measured: &[(i64, Column, f64)]) -> Option<Tier> {
    let mut state = PatientState::default();
    let mut last = Time(0);
    for (hour, column, value) in measured {
        last = Time(hour * Time::HOUR_MS);
        state.observe(*column, last, "", ObservationStatus::Final, *value);
    }
    let assessment = Scorer::bedside(score).assess(&state, last);
    assert_eq!((assessment.scorer.as_str(), assessment.task.as_str()), (score.name(), score.task()));
    assert_eq!(assessment.risk.is_some(), assessment.insufficient.is_none());
    let decision = AlertPolicy::default().decide(&mut PolicyState::default(), &assessment, last);
    decision.map(|decision| decision.tier)
}

#[test]
fn a_bedside_score_alerts_at_the_limits_of_its_source() {
    use Column::{BilirubinTotal, Creatinine, Hr, Map, O2Sat, Platelets, Resp, Sbp, Temp, Wbc};
    let (watch, interruptive) = (Some(Tier::Watch), Some(Tier::Interruptive));
    let news2 = |resp: f64, sbp: f64| {
        alert_of(Bedside::News2, &[(0, Resp, resp), (0, Sbp, sbp), (0, O2Sat, 97.0), (0, Hr, 70.0)])
    };
    assert_eq!(
        (news2(24.0, 100.0), news2(25.0, 120.0)),
        (None, watch),
        "a total of 4; one parameter in the red"
    );
    assert_eq!(
        alert_of(Bedside::News2, &[(0, Resp, 30.0), (0, Sbp, 80.0), (0, O2Sat, 93.0)]),
        None,
        "too little"
    );
    let red = [(0, Resp, 30.0), (0, Sbp, 80.0), (0, O2Sat, 95.0), (0, Hr, 70.0)];
    assert_eq!(alert_of(Bedside::News2, &red), interruptive);

    let sirs = [(0, Temp, 39.0), (0, Hr, 80.0), (0, Resp, 24.0), (0, Wbc, 9.0)];
    assert_eq!(alert_of(Bedside::Sirs, &sirs), watch);
    assert_eq!(alert_of(Bedside::Sirs, &[(0, Temp, 37.0), (0, Hr, 80.0), (0, Resp, 24.0)]), None);
    let all_four = [(0, Temp, 39.0), (0, Hr, 130.0), (0, Resp, 30.0), (0, Wbc, 20.0)];
    assert_eq!(
        alert_of(Bedside::Sirs, &all_four),
        watch,
        "its source has one limit, which interrupts nobody"
    );

    assert_eq!(alert_of(Bedside::Qsofa, &[(0, Resp, 22.0), (0, Sbp, 101.0)]), None);
    assert_eq!(alert_of(Bedside::Qsofa, &[(0, Resp, 22.0), (0, Sbp, 100.0)]), watch);

    let sofa =
        |map: f64| alert_of(Bedside::Sofa, &[(0, Map, map), (0, Platelets, 140.0), (0, BilirubinTotal, 1.0)]);
    assert_eq!((sofa(70.0), sofa(69.0)), (None, watch));

    let kdigo = |value: f64| alert_of(Bedside::Kdigo, &[(0, Creatinine, 1.0), (24, Creatinine, value)]);
    assert_eq!([1.2, 1.3, 1.9, 2.0].map(kdigo), [None, watch, watch, interruptive]);
}

fn moves(state: &mut PatientState, hour: i64, change: EncounterChange, ward: &str) {
    let location = Location { ward: ward.into(), icu: ward == "ICU", ..Location::default() };
    let encounter = Encounter { location: Some(location), ..Encounter::of(change) };
    state.apply(&Event {
        patient: PatientId { authority: "H".into(), id: "1".into() },
        visit: None,
        at: Time(hour * Time::HOUR_MS),
        precision: Precision::Second,
        kind: EventKind::Encounter(encounter),
    });
}

#[test]
fn a_model_for_intensive_care_speaks_of_nobody_else() {
    use EncounterChange::{Admitted, Discharged, Transferred};
    let features = ["HR", "Lactate"];
    let for_icu =
        Scorer::model(model_for(Some("intensive care"), Some([-3.0, 2.0]), &features).unwrap()).unwrap();
    let anywhere = scorer(Some([-3.0, 2.0]));
    let mut state = PatientState::default();
    // Hour by hour: what happens at its beginning, and whether the model speaks.
    for (hour, moved, speaks) in [
        (0, None, false),
        (1, Some((Admitted, "MED")), false),
        (2, Some((Transferred, "ICU")), true),
        (3, None, true),
        (4, Some((Transferred, "MED")), false),
        (5, Some((Transferred, "ICU")), true),
        (6, Some((Discharged, "ICU")), false),
        (7, Some((Admitted, "ICU")), true),
    ] {
        if let Some((change, ward)) = moved {
            moves(&mut state, hour, change, ward);
        }
        let at = Time(hour * Time::HOUR_MS);
        for (column, value) in [(Column::Hr, 120.0), (Column::Resp, 18.0)] {
            state.observe(column, at, "", ObservationStatus::Final, value);
        }
        let assessment = for_icu.assess(&state, at);
        let reason = (!speaks).then_some(Insufficient::NotInIntensiveCare);
        assert_eq!((assessment.risk.is_some(), assessment.insufficient), (speaks, reason), "hour {hour}");
        assert_eq!(assessment.contributions.is_empty(), !speaks, "hour {hour}");
        assert!(anywhere.score(&state, at).risk.is_some(), "hour {hour}");
    }
}

#[test]
fn a_setting_that_this_release_does_not_know_is_refused_by_name() {
    let error = model_for(Some("nursery"), None, &["HR"]).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("nursery") && error.contains("intensive care"), "{error}");
}

/// `[scoring]`, `validate` and `replay` load by this.
#[test]
fn a_model_that_no_feed_can_serve_is_refused_by_name() {
    let model = model_for(Some("intensive care, once, at the end of hour 48"), None, &["HR"]).unwrap();
    let error = Scorer::model(model).map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("\"toy\"") && error.contains("hour 48") && error.contains("model eval"),
        "{error}"
    );
}

#[test]
fn a_model_of_unknown_features_is_refused_by_name() {
    let error = Scorer::model(model(None, &["HR", "moon_phase"]).unwrap()).map(|_| ()).unwrap_err();
    assert!(matches!(&error, ModelError::UnknownFeature(name) if name == "moon_phase"), "{error}");
}

/// A card from before `population` was: its words say for whom the model is.
#[test]
fn a_model_for_adults_says_nothing_of_children() {
    let of = |words: &str, population: Option<&str>| {
        Scorer::model(
            model_of(|card| {
                card["intended_use"] = words.into();
                if let Some(population) = population {
                    card["population"] = population.into();
                }
            })
            .unwrap(),
        )
        .unwrap()
    };
    let in_words = of("Adults in intensive care, hourly.", None);
    let by_field = of("tests", Some("adults"));
    let for_all = of("Not of adults alone.", Some("any age"));
    let silent = of("tests", None);
    for (born, adult) in [("1969-08-01", false), ("1952-06-01", false), ("1951-12-01", true), ("", true)] {
        let mut state = PatientState::default();
        if !born.is_empty() {
            let person = clinical::Person { birth_date: Some(born.into()), ..clinical::Person::default() };
            state.apply(&Event {
                patient: PatientId { authority: "H".into(), id: "1".into() },
                visit: None,
                at: Time(0),
                precision: Precision::Second,
                kind: EventKind::Person(person),
            });
        }
        for (column, value) in [(Column::Hr, 120.0), (Column::Resp, 18.0)] {
            state.observe(column, Time(0), "", ObservationStatus::Final, value);
        }
        for (scorer, speaks) in [(&in_words, adult), (&by_field, adult), (&for_all, true), (&silent, true)] {
            let assessment = scorer.score(&state, Time(1));
            let reason = (!speaks).then_some(Insufficient::NotAnAdult);
            assert_eq!((assessment.risk.is_some(), assessment.insufficient), (speaks, reason), "{born}");
            // Evaluation hears the same.
            let row = Row { values: Row::EMPTY, iculos: 1, label: false, line: 0 };
            let features = Features::from_state(&state, Time(1));
            let said = scorer.predict(&Hour { row: &row, state: &state, features: &features });
            assert_eq!((said.alarm, said.risk().is_some()), (speaks, speaks), "{born}");
        }
    }
    let refused = model_of(|card| card["population"] = "seals".into()).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("seals") && refused.contains("adults"), "{refused}");
}

/// Its weight says that nobody measured it; the patient's body has no part in that.
#[test]
fn what_is_missing_is_the_care_process_and_no_physiology() {
    let scorer = scorer(Some([2.0, -3.0]));
    let mut state = PatientState::default();
    for (column, value) in [(Column::Sbp, 120.0), (Column::Resp, 18.0)] {
        state.observe(column, Time(0), "", ObservationStatus::Final, value);
    }
    let unmeasured = scorer.assess(&state, Time(1));
    let told = |assessment: &ml_scoring::Assessment| {
        let strongest = &assessment.contributions[0];
        (strongest.words.clone(), strongest.group, assessment.rests_on_care_process)
    };
    assert_eq!(told(&unmeasured), ("heart rate not measured".into(), Group::CareProcess, true));
    state.observe(Column::Hr, Time(0), "", ObservationStatus::Final, 60.0);
    let measured = scorer.assess(&state, Time(1));
    assert_eq!(told(&measured), ("heart rate 60 /min".into(), Group::Physiology, false));
}
