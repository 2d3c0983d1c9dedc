//! Training end to end on made-up patients: `--features train`.
#![cfg(feature = "train")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use ml_scoring::dataset::{self, HEADER, INTERNAL_TEST};
use ml_scoring::eval::{self, At, Hour, Prediction, Predictor, Report, Rule, StayModel};
use ml_scoring::features::{self, Group};
use ml_scoring::stays;
use ml_scoring::train::{self, Options, Progress, Settings};
use ml_scoring::{Card, Figures, Model, Scorer, Setting, Task};

struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: u64) {}
    fn at(&self, _: u64, _: &str) {}
}

/// 600 patients, one in `septic_every` septic; the pulse of these climbs from hour 10 on, their label begins at hour 16.
/// After hour 3 every third patient's respiration is not measured, and from hour 15 on the pulse alone does not suffice.
fn patients(septic_every: usize) -> String {
    let mut text = format!("{HEADER}\n");
    for i in 0..600 {
        let septic = i % septic_every == septic_every - 1;
        for hour in 1..=24 {
            let climb = if septic && hour >= 10 { (hour - 9) * 4 } else { 0 };
            let pulse = 70 + (i * 7 + hour * 3) % 15 + climb;
            let label = u8::from(septic && hour >= 16);
            let respiration = if i % 3 > 0 || hour <= 3 { (12 + i % 5).to_string() } else { String::new() };
            let (age, gap) = (30 + i % 60, ",".repeat(28));
            let _ = writeln!(text, "p{i:06},{pulse},,,,,,{respiration}{gap}{age},1,1,0,-4.5,{hour},{label}");
        }
    }
    text
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("medulla-train-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn train(folder: &Path, file: &str, text: &str) -> anyhow::Result<Card> {
    train_for(Task::Sepsis, true, folder, file, text)
}

fn train_for(task: Task, hold_out: bool, folder: &Path, file: &str, text: &str) -> anyhow::Result<Card> {
    train::train(&options(task, hold_out, folder, file, text), &Silent)
}

fn options(task: Task, hold_out: bool, folder: &Path, file: &str, text: &str) -> Options {
    let path = folder.join(file);
    std::fs::write(&path, text).unwrap();
    let mut settings = Settings { rounds_max: 20, ..Settings::default() };
    settings.set("min_child_weight", "0.5");
    settings.set("nthread", "1");
    let (files, out) = (vec![path], folder.join("model"));
    Options {
        task,
        files,
        out,
        folds: 2,
        repeats: 2,
        hold_out,
        local: false,
        physiology_only: false,
        settings,
    }
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
    assert_eq!(card.setting, Some(Setting::IntensiveCare));
    // Two repeats of two folds, for what an alarm gains and for the label.
    let objectives = card.training["objectives"].as_array().unwrap();
    let boosters = |objective: &serde_json::Value| objective["rounds_by_member"].as_array().map(Vec::len);
    assert_eq!(objectives.iter().map(boosters).collect::<Vec<_>>(), [Some(4), Some(4)]);
    assert_ne!(objectives[0]["objective"], objectives[1]["objective"]);
    assert!(card.drift.is_some());
    let model = load(&folder);
    assert!(Scorer::model(model.clone()).is_ok());

    let again = self::folder("again");
    train(&again, "toy.csv", &text).unwrap();
    assert_eq!(load(&again).hash(), model.hash(), "the same data give the same model");
    std::fs::remove_dir_all(folder).unwrap();
    std::fs::remove_dir_all(again).unwrap();
}

/// Everybody trains, and everybody is judged by boosters that did not see him.
#[test]
fn without_held_out_patients_the_figures_are_cross_validated() {
    let folder = folder("everybody");
    let card = train_for(Task::Sepsis, false, &folder, "toy.csv", &patients(4)).unwrap();
    let present =
        (0..600).filter(|i| dataset::bucket(&format!("p{i:06}")) < INTERNAL_TEST.end).count() as u64;
    assert_eq!((card.held_out.patients, card.training_data.patients), (present, present));
    assert!(!card.training_data.held_out && card.training_data.split.contains("cross-validated"));
    assert!(card.held_out.auroc > Some(0.9) && card.held_out.utility > card.clock_rule.utility);
    let report = std::fs::read_to_string(folder.join("model/report.html")).unwrap();
    assert!(report.contains("HR") && report.contains("hospital A"));
    assert!(!report.contains("http"), "nothing from outside");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn physiology_alone_knows_no_habits_of_care() {
    let folder = folder("physiology");
    let mut options = options(Task::Sepsis, false, &folder, "toy.csv", &patients(4));
    options.physiology_only = true;
    train::train(&options, &Silent).unwrap();
    let model = load(&folder);
    let names: Vec<&str> = model.feature_names().collect();
    assert!(["HR", "HR_delta", "Age"].iter().all(|name| names.contains(name)), "{names:?}");
    let ends = ["_count", "_count_3h", "_count_6h", "_count_12h", "_rate", "_interval_h"];
    let is_care = |name: &&&str| {
        let group = features::index_of(name).and_then(features::group);
        group == Some(Group::CareProcess) || ends.iter().any(|end| name.ends_with(end)) || **name == "ICULOS"
    };
    assert_eq!(names.iter().find(is_care), None);
    options.task = Task::Mortality;
    let refused = train::train(&options, &Silent).unwrap_err().to_string();
    assert!(refused.contains("mortality"), "{refused}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// At another hospital pulses fall where they climb at this one: the model is wrong there until it is fitted to it.
#[test]
fn a_model_is_fitted_to_another_hospital() {
    let folder = folder("adapt");
    let text = patients(4);
    train(&folder, "toy.csv", &text).unwrap();
    let model = load(&folder);
    let falling: String = text
        .lines()
        .enumerate()
        .map(|(i, line)| {
            let fields: Vec<&str> = line.splitn(3, ',').collect();
            let pulse = |text: &str| 160 - text.parse::<i32>().unwrap();
            if i == 0 {
                format!("{line}\n")
            } else {
                format!("{},{},{}\n", fields[0], pulse(fields[1]), fields[2])
            }
        })
        .collect();
    let mut settings = Settings::to_adapt();
    settings.set("min_child_weight", "0.5");
    settings.set("nthread", "1");
    let out = folder.join("adapted/model");
    let local = options(Task::Sepsis, true, &folder, "local.csv", &falling);
    let options = Options { out, repeats: 1, local: true, settings, ..local };
    let card = train::adapt(&folder.join("model"), &options, &Silent).unwrap();
    let before = evaluate(&falling, &Scorer::model(model.clone()).unwrap());
    assert!(card.held_out.utility > before.utility, "{:?} {:?}", card.held_out.utility, before.utility);
    assert_eq!(card.training["adapted_from"]["model"], hex(&model.hash()));
    assert_eq!(card.training["adapted_from"]["kept"], 0.5);
    assert!(card.threshold.metric.contains("line"), "few have the event: {}", card.threshold.metric);
    let adapted = load(&folder.join("adapted"));
    check(&card.held_out, &evaluate(&falling, &Scorer::model(adapted).unwrap()));
    std::fs::remove_dir_all(folder).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The pressure of every fourth patient falls below 65 from hour 18 on, after a slow decline.
#[test]
fn other_tasks_train_on_the_same_set() {
    let folder = folder("hypotension");
    let mut text = format!("{HEADER}\n");
    for i in 0..600 {
        for hour in 1..=24 {
            let fall = if i % 4 == 3 && hour >= 8 { (hour - 7) * 2 } else { 0 };
            let (pressure, age) = (85 + (i * 5 + hour * 3) % 4 - fall, 30 + i % 60);
            let _ = writeln!(
                text,
                "p{i:06},80,97,,{},{pressure},,14{}{age},1,1,0,-4.5,{hour},0",
                pressure + 40,
                ",".repeat(28)
            );
        }
    }
    let card = train_for(Task::Hypotension, true, &folder, "toy.csv", &text).unwrap();
    assert_eq!((card.task.as_str(), card.held_out.utility), ("hypotension", None));
    assert!(card.held_out.auroc > Some(0.9), "{:?}", card.held_out);
    assert!(card.held_out.rows < card.held_out.patients * 24, "rows that cannot be judged are left out");
    assert!(card.held_out.sensitivity > Some(0.5) && card.threshold.metric.contains("F1"));
    std::fs::remove_dir_all(folder).unwrap();
}

/// 400 stays of two days, one in four of a patient who dies: his coma score falls on the second day.
fn stays() -> (String, String) {
    let mut long = "set,RecordID,Time,Parameter,Value\n".to_owned();
    let mut outcomes = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n".to_owned();
    for i in 1..=400 {
        let dies = i % 4 == 0;
        let mut put = |time: &str, parameter: &str, value: i32| {
            let _ = writeln!(long, "a,{i},{time},{parameter},{value}");
        };
        put("00:00", "RecordID", i);
        put("00:00", "Age", 30 + i % 60);
        put("00:00", "Gender", i / 2 % 2);
        put("00:00", "ICUType", 1 + i / 3 % 4);
        for hour in (0..48).step_by(4) {
            let fall = if dies && hour >= 24 { 2 + i % 3 } else { 0 };
            put(&format!("{hour:02}:10"), "HR", 70 + (i * 7 + hour * 3) % 15);
            put(&format!("{hour:02}:10"), "NISysABP", 110 + (i + hour) % 20);
            put(&format!("{hour:02}:20"), "GCS", 13 + i / 5 % 2 - fall);
        }
        put("20:00", "pH", if i == 1 { 735 } else { 7 });
        let _ = writeln!(outcomes, "{i},{},{},9,-1,{}", 5 + i % 9 + i32::from(dies), i % 7, u8::from(dies));
    }
    (long, outcomes)
}

#[test]
fn death_in_hospital_is_learned_from_whole_stays() {
    let folder = folder("mortality");
    let (long, outcomes) = stays();
    // Of the first 300; the others have no outcome yet.
    let (known, later) =
        (outcomes.lines().take(301), outcomes.lines().take(1).chain(outcomes.lines().skip(301)));
    let text =
        |lines: &mut dyn Iterator<Item = &str>| lines.map(|line| format!("{line}\n")).collect::<String>();
    let (known, later) = (text(&mut known.into_iter()), text(&mut later.into_iter()));
    let files = [("long.csv", &long), ("known.csv", &known)].map(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let mut settings = Settings { rounds_max: 40, ..Settings::for_task(Task::Mortality) };
    settings.set("nthread", "1");
    let out = folder.join("model");
    let options = |files: &[PathBuf], hold_out| Options {
        task: Task::Mortality,
        files: files.to_vec(),
        out: out.clone(),
        folds: 3,
        repeats: 1,
        hold_out,
        local: false,
        physiology_only: false,
        settings: settings.clone(),
    };
    let refused = |files: &[PathBuf], hold_out| {
        format!("{:#}", train::train(&options(files, hold_out), &Silent).map(|_| ()).unwrap_err())
    };
    assert!(refused(&files[..1], false).contains("no outcome file"));
    assert!(refused(&files, true).contains("--hold-out"));
    let card = train::train(&options(&files, false), &Silent).unwrap();
    assert!(card.drift.is_none(), "it has no baseline of hours");

    assert_eq!((card.task.as_str(), card.setting), ("mortality", Some(Setting::EndOfHour48)));
    assert_eq!((card.held_out.patients, card.held_out.rows, card.held_out.septic_patients), (300, 300, 75));
    assert!(card.held_out.auroc > Some(0.9) && card.held_out.sensitivity > Some(0.8), "{:?}", card.held_out);
    assert_eq!((card.held_out.utility, card.training_data.held_out), (None, false));
    assert_eq!(card.training["set_aside_as_implausible"]["pH"], 1);
    assert_eq!(card.training["stays_without_outcome"], 100);
    let beside: Vec<_> = card.beside.iter().map(|beside| beside.name.as_str()).collect();
    assert_eq!(beside, ["SAPS-I", "SOFA", "age"]);
    assert!(card.beside.iter().all(|beside| beside.figures.auroc < card.held_out.auroc));
    assert!(card.subgroups.iter().any(|group| group.group == "coronary care unit"));
    let report = std::fs::read_to_string(folder.join("model/report.html")).unwrap();
    assert!(report.contains("GCS") && report.contains("SAPS-I") && !report.contains("clock rule"));

    let model = load(&folder);
    let refusal = Scorer::model(model.clone()).map(|_| ()).unwrap_err().to_string();
    assert!(refusal.contains("mortality") && refusal.contains("no feed"), "{refusal}");
    // Stays that took no part: the model as it was written, read and asked.
    let open = || {
        let files = [("long.csv", &long), ("later.csv", &later)];
        let set = stays::open(files.map(|(name, text)| (name.to_owned(), text.as_bytes()))).unwrap();
        set.filter(|stay| stay.as_ref().is_ok_and(|stay| stay.outcome.is_some()))
    };
    let cohort = eval::judge_stays(open(), &[&StayModel::new(model).unwrap()], |_| {}).unwrap();
    let report =
        eval::report(&cohort, &eval::Options { bootstrap_samples: 0, ..Default::default() }, |_, _| {});
    assert_eq!((report.patients, report.task.as_str()), (100, "mortality"));
    assert!(report.auroc > Some(0.9) && report.event_1 > Some(0.7), "{report:?}");
    assert_eq!(report.event_1, report.sensitivity.zip(report.ppv).map(|(a, b)| a.min(b)));
    std::fs::remove_dir_all(folder).unwrap();
}

/// The held-out patients as `medulla model eval --held-out` has them judged.
fn evaluate(text: &str, judge: &dyn Predictor) -> Report {
    let held_out = dataset::read(text.as_bytes()).filter(|patient| {
        patient.as_ref().is_ok_and(|patient| INTERNAL_TEST.contains(&dataset::bucket(&patient.pid)))
    });
    let clock: Rule = "ICULOS>=53".parse().unwrap();
    let cohort = eval::judge_as_stream(held_out, Task::Sepsis, &[judge, &clock], |_| {}).unwrap();
    let options =
        eval::Options { baselines: vec!["clock".into()], bootstrap_samples: 0, ..eval::Options::default() };
    eval::report(&cohort, &options, |_, _| {})
}

/// To the last bit.
fn check(figures: &Figures, report: &Report) {
    assert_eq!((figures.patients, figures.rows), (report.patients as u64, report.rows as u64));
    assert_eq!(
        [figures.utility, figures.auroc, figures.auprc, figures.brier, figures.ece],
        [report.utility, report.auroc, report.auprc, report.brier, report.ece]
    );
    assert_eq!(
        [figures.alerts_per_100_patient_days, figures.ppv, figures.sensitivity],
        [report.alerts_per_100_patient_days, report.ppv, report.sensitivity]
    );
}

#[test]
fn the_card_says_what_evaluation_finds_of_the_written_model() {
    let folder = folder("honest");
    let text = patients(4);
    let card = train(&folder, "toy.csv", &text).unwrap();
    let written = std::fs::read_to_string(folder.join("model/card.json")).unwrap();
    assert_eq!(written, serde_json::to_string_pretty(&card).unwrap() + "\n");

    let scorer = Scorer::model(load(&folder)).unwrap();
    let report = evaluate(&text, &scorer);
    check(&card.held_out, &report);
    assert_eq!(card.clock_rule.utility, report.baselines["clock"].utility);
    assert_eq!(card.clock_rule.auroc, report.baselines["clock"].auroc);
    for subgroup in card.subgroups.iter().filter(|subgroup| subgroup.group == "male") {
        let group = report.groups.iter().find(|group| group.group == "male").unwrap();
        assert_eq!((subgroup.model.utility, subgroup.model.ppv), (group.utility, group.ppv));
    }
    let interruptive = card.held_out_interruptive.as_ref().unwrap();
    let at = At { scorer: &scorer, threshold: card.interruptive_threshold.value };
    check(interruptive, &evaluate(&text, &at));
    // The data tell the difference: an alarm in spite of too little data would have made other figures.
    let careless = |hour: &Hour<'_>| {
        let p = scorer.predict(hour).p;
        Prediction::yes_or_no(p, p >= card.threshold.value)
    };
    let careless = evaluate(&text, &careless);
    assert_ne!(careless.utility, report.utility);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn data_that_cannot_train_are_refused_with_the_reason() {
    let folder = folder("refused");
    let refusal = |file: &str, text: &str| format!("{:#}", train(&folder, file, text).unwrap_err());
    let all = patients(4);
    assert!(refusal("toy.txt", &all).contains(".csv or .csv.zst"));
    let few: String = all.lines().take(200).map(|line| format!("{line}\n")).collect();
    assert!(refusal("few.csv", &few).contains("too few"));
    assert!(refusal("healthy.csv", &patients(10_000)).contains("no patient with the event of sepsis"));
    assert!(refusal("broken.csv", &all.replacen(",24,", ",x,", 1)).contains("broken.csv: line 25"));
    assert!(!folder.join("model").exists());
    std::fs::remove_dir_all(folder).unwrap();
}

/// That both evaluators compute the same margins is looked at before anything is timed.
#[test]
fn the_bench_times_the_model_that_it_names() {
    let all = train::measure(10, None, &Silent).unwrap();
    let [speed] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((speed.trees, speed.features), (10, 100));
    assert!(speed.steps.iter().all(|step| step.p50_us > 0.0 && step.p50_us <= step.p99_us), "{all:?}");
    assert!(speed.to_string().contains("libxgboost, row"), "{speed}");
}
