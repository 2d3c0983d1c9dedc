//! `medulla model …` as an outsider's script calls it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use integration_tests::{medulla, run, shared, skip, workspace_root};
use ml_scoring::dataset::{HEADER, INTERNAL_TEST, bucket};
use ml_scoring::features::NAMES;
use serde_json::Value;
use sha2::{Digest, Sha256};

const KEYS: [&str; 22] = [
    "task",
    "patients",
    "rows",
    "utility",
    "auroc",
    "auprc",
    "brier",
    "ece",
    "ece_equal_mass",
    "threshold",
    "alerts_per_100_patient_days",
    "alerts",
    "alerts_judged",
    "ppv",
    "sensitivity",
    "sensitivity_in_window",
    "median_lead_h",
    "ci95",
    "baselines",
    "groups",
    "policy",
    "interruptive",
];
const PATIENTS: usize = 60;
const HOURS: usize = 20;

#[test]
fn eval_prints_the_documented_keys() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = cohort(folder.path())?;
    for judge in [["--model", &model()], ["--rule", "ICULOS>=53"], ["--rule", "NEWS2>=5"]] {
        let report = eval(&judge, &data, &["--bootstrap", "5"])?;
        let keys: Vec<&str> = report.as_object().context("an object")?.keys().map(String::as_str).collect();
        let (mut keys, mut expected) = (keys, KEYS.to_vec());
        expected.extend((judge[0] == "--model").then_some("seen_in_training"));
        keys.sort_unstable();
        expected.sort_unstable();
        ensure!(keys == expected, "{judge:?}: {keys:?}");
        ensure!(report["patients"] == PATIENTS && report["rows"] == PATIENTS * HOURS, "{report}");
        ensure!(report["threshold"].is_null() == (judge[0] == "--rule"), "{report}");
        ensure!(
            report["baselines"]["ICULOS>=53"]["utility"].is_number(),
            "the clock stands beside: {report}"
        );
        ensure!(
            report["seen_in_training"]["unknown"] == PATIENTS || judge[0] == "--rule",
            "no card names this file: {report}"
        );
        let interval = report["ci95"]["utility"].as_array().context("an interval of the utility")?;
        ensure!(interval.len() == 2 && interval[0].as_f64() <= interval[1].as_f64(), "{report}");
    }
    Ok(())
}

#[test]
fn rules_are_judged_as_they_are_written() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = cohort(folder.path())?;
    let utility =
        |rule| Ok::<_, anyhow::Error>(eval(&["--rule", rule], &data, &NO_BOOTSTRAP)?["utility"].as_f64());
    ensure!(utility("never")? == Some(0.0), "silence is the zero of the official utility");
    let (always, late) = (utility("always")?, utility("ICULOS>=1000")?);
    ensure!(always != Some(0.0) && late == Some(0.0), "{always:?} {late:?}");
    for rule in ["HR_now>=100", "SIRS>=2", "qSOFA >= 2"] {
        ensure!(utility(rule)?.is_some(), "{rule}");
    }
    let refused = run(&["model", "eval", "--rule", "Lactate>2", "--data", &data])?;
    let said = String::from_utf8(refused.stderr)?;
    ensure!(
        refused.status.code() == Some(2) && said.contains("Lactate>2") && said.contains("qSOFA"),
        "{said}"
    );
    let compared = eval(&["--model", &model()], &data, &["--bootstrap", "5", "--against", "ICULOS>=53"])?;
    ensure!(compared["against"]["ci95"]["utility"].is_array(), "{compared}");
    Ok(())
}

/// The toy model predicts another event than the one that ships: a difference of their figures would mean nothing.
#[test]
fn what_cannot_be_compared_is_refused_with_both_names() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = cohort(folder.path())?;
    let other = folder.path().join("other");
    std::fs::create_dir(&other)?;
    for name in ["model.ubj", "golden.json"] {
        std::fs::copy(workspace_root().join("ml-scoring/models/sepsis").join(name), other.join(name))?;
    }
    let card = std::fs::read(workspace_root().join("ml-scoring/models/sepsis/card.json"))?;
    let mut card: Value = serde_json::from_slice(&card)?;
    card["task"] = "aki".into();
    std::fs::write(other.join("card.json"), card.to_string())?;
    let refused = run(&["model", "eval", "--model", &model(), "--against", &plain(&other), "--data", &data])?;
    let said = String::from_utf8(refused.stderr)?;
    ensure!(refused.status.code() == Some(1) && said.contains("sepsis") && said.contains("aki"), "{said}");
    // A card that does not say that patients were held out holds nobody out.
    card["training_data"].as_object_mut().context("training data")?.remove("held_out");
    std::fs::write(other.join("card.json"), card.to_string())?;
    let refused = run(&["model", "eval", "--model", &plain(&other), "--held-out", "--data", &data])?;
    let said = String::from_utf8(refused.stderr)?;
    ensure!(refused.status.code() == Some(1) && said.contains("--hold-out"), "{said}");
    Ok(())
}

#[test]
fn a_model_is_judged_on_its_own_patients_with_a_warning() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = cohort(folder.path())?;
    let copied = folder.path().join("copied");
    std::fs::create_dir(&copied)?;
    for name in ["model.ubj", "golden.json"] {
        std::fs::copy(workspace_root().join("ml-scoring/models/sepsis").join(name), copied.join(name))?;
    }
    let card = std::fs::read(workspace_root().join("ml-scoring/models/sepsis/card.json"))?;
    let mut card: Value = serde_json::from_slice(&card)?;
    let hash = format!("{:x}", Sha256::digest(std::fs::read(&data)?));
    card["training_data"]["files"] = serde_json::json!([{ "name": "cohort.csv", "sha256": hash }]);
    std::fs::write(copied.join("card.json"), card.to_string())?;
    let told =
        run(&["model", "eval", "--json", "--bootstrap", "0", "--model", &plain(&copied), "--data", &data])?;
    let (report, said): (Value, _) = (serde_json::from_slice(&told.stdout)?, String::from_utf8(told.stderr)?);
    ensure!(report["seen_in_training"]["patients"] == PATIENTS, "{report}");
    ensure!(said.contains("trained this model") && said.contains("flatters"), "{said}");
    Ok(())
}

#[test]
fn features_are_written_for_others_to_train_on() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = cohort(folder.path())?;
    let out = folder.path().join("features.csv");
    medulla(&["model", "features", "--data", &data, "--out", &plain(&out)])?;
    let text = std::fs::read_to_string(&out)?;
    let header: Vec<&str> = text.lines().next().context("a header")?.split(',').collect();
    ensure!(header.len() == 2 + NAMES.len() && header[2..] == NAMES, "{header:?}");
    ensure!(text.lines().count() == 1 + PATIENTS * HOURS, "a line for every row");
    ensure!(!folder.path().join("features.csv.part").exists(), "nothing is left behind");
    let twice = run(&["model", "features", "--data", &data, &data, "--out", &plain(&out)])?;
    let said = String::from_utf8(twice.stderr)?;
    ensure!(twice.status.code() == Some(1) && said.contains("line 2, column pid"), "{said}");
    Ok(())
}

#[test]
fn held_out_judges_only_patients_that_training_leaves_out() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = cohort(folder.path())?;
    let expected = (0..PATIENTS).filter(|number| INTERNAL_TEST.contains(&bucket(&pid(*number)))).count();
    ensure!(expected > 0 && expected < PATIENTS, "{expected}: the fixture has both kinds");
    let report = eval(&["--rule", "HR_now>=100"], &data, &["--bootstrap", "0", "--held-out"])?;
    ensure!(report["patients"] == expected && report["rows"] == expected * HOURS, "{report}");
    Ok(())
}

#[test]
fn score_has_a_line_for_every_row_of_the_input() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = cohort(folder.path())?;
    let scores = medulla(&["model", "score", "--model", &model(), "--data", &data])?;
    let mut lines = scores.lines();
    ensure!(lines.next() == Some("pid,ICULOS,p,alarm"), "the header");
    let input = std::fs::read_to_string(&data)?;
    let mut probabilities = Vec::new();
    for row in input.lines().skip(1) {
        let fields: Vec<&str> = row.split(',').collect();
        let line: Vec<&str> = lines.next().context("a line for every row")?.split(',').collect();
        ensure!(line.len() == 4 && line[0] == fields[0] && line[1] == fields[40], "{line:?} for {row}");
        let p: f64 = line[2].parse()?;
        ensure!((0.0..=1.0).contains(&p) && ["0", "1"].contains(&line[3]), "{line:?}");
        probabilities.push(p);
    }
    ensure!(lines.next().is_none(), "more lines than rows");
    let high = probabilities.iter().copied().fold(0.0, f64::max);
    let low = probabilities.iter().copied().fold(1.0, f64::min);
    ensure!(high > 2.0 * low, "the model tells the patients apart: {low} to {high}");
    Ok(())
}

#[test]
fn mistakes_in_the_data_are_named_with_file_and_line() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let good = std::fs::read_to_string(cohort(folder.path())?)?;
    let lines: Vec<&str> = good.lines().collect();
    let with = |number: usize, line: &str| {
        let mut lines = lines.clone();
        lines[number - 1] = line;
        lines.join("\n")
    };
    let row = |column: usize, value: &str| {
        let mut fields: Vec<&str> = lines[6].split(',').collect();
        fields[column] = value;
        with(7, &fields.join(","))
    };
    for (name, text, says) in [
        ("number.csv", row(1, "fast"), "line 7, column HR"),
        ("label.csv", row(41, "2"), "line 7, column SepsisLabel"),
        ("hour.csv", row(40, "1"), "line 7, column ICULOS"),
        ("short.csv", with(9, "p000001,80"), "line 9: 2 fields"),
        ("header.csv", with(1, "id,HR"), "line 1"),
        ("torn.csv", format!("{good}{}\n", lines[1]), "this patient stands from line 2 on already"),
        ("empty.csv", String::new(), "the file is empty"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        let refused = run(&["model", "score", "--model", &model(), "--data", &plain(&path)])?;
        let said = String::from_utf8(refused.stderr)?;
        ensure!(refused.status.code() == Some(1), "{name}: {:?}", refused.status);
        ensure!(said.contains(name) && said.contains(says), "{name}: {said}");
    }
    let refused = run(&["model", "eval", "--rule", "never", "--data", "/nowhere/a.csv"])?;
    ensure!(String::from_utf8(refused.stderr)?.contains("/nowhere/a.csv"), "the missing file is named");
    let refused = run(&["model", "score", "--model", &plain(folder.path()), "--data", "a.csv"])?;
    ensure!(!refused.status.success(), "a folder without a model is refused");
    Ok(())
}

#[test]
fn each_command_explains_itself() -> anyhow::Result<()> {
    for (command, options) in [
        ("train", &["--task", "--data", "--out"][..]),
        ("adapt", &["--model", "--data", "--out"]),
        ("score", &["--model", "--data"]),
        ("features", &["--data", "--out"]),
        ("eval", &["--model", "--rule", "--against", "--data", "--held-out", "--json"]),
        ("drift", &["--model", "--data", "--json"]),
        ("replay", &["--data", "--as", "--out", "--check", "--disturb", "--json"]),
    ] {
        let help = medulla(&["model", command, "--help"])?;
        ensure!(options.iter().all(|option| help.contains(option)) && help.contains("Example"), "{help}");
        ensure!(
            run(&["model", command])?.status.code() == Some(2),
            "{command} without arguments is wrong usage"
        );
    }
    Ok(())
}

/// Two files, told apart by their headers; what cannot be judged so is refused.
#[test]
fn stays_are_judged_once_each() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let [long, outcomes] = stays(folder.path())?;
    let of = |rule: &str, files: &[&str], more: &[&str]| {
        let start = ["model", "eval", "--task", "mortality", "--json", "--rule", rule, "--data"];
        run(&[&start[..], files, more].concat())
    };
    let told = of("NEWS2>=5", &[&long, &outcomes], &["--bootstrap", "5"])?;
    let report: Value = serde_json::from_slice(&told.stdout)?;
    ensure!(report["task"] == "mortality" && report["patients"] == 20 && report["rows"] == 20, "{report}");
    ensure!(report["auroc"].as_f64() > Some(0.9) && report["event_1"].as_f64() > Some(0.5), "{report}");
    for name in ["SAPS-I", "SOFA", "age", "NEWS2>=5"] {
        ensure!(report["baselines"][name]["auroc"].is_number(), "{name}: {report}");
    }
    ensure!(report["baselines"]["ICULOS>=53"].is_null(), "one hour for all: the clock says nothing");
    let said = String::from_utf8(told.stderr)?;
    ensure!(said.contains("pH 1") && said.contains("1 stays without an outcome"), "{said}");
    for (files, more, status, says) in [
        (&[long.as_str()][..], &[][..], 1, "no outcome file"),
        (&[&long, &outcomes, &cohort(folder.path())?], &[], 1, "cohort.csv: line 1: no file of the 2012 set"),
        (&[&long, &long, &outcomes], &[], 1, "read before"),
        (&[&long, &outcomes], &["--held-out"], 2, "2019"),
    ] {
        let refused = of("NEWS2>=5", files, more)?;
        let said = String::from_utf8(refused.stderr)?;
        ensure!(refused.status.code() == Some(status) && said.contains(says), "{said}");
    }
    Ok(())
}

/// 21 invented stays, the last without an outcome; every fourth patient breathes fast, and dies.
fn stays(folder: &Path) -> anyhow::Result<[String; 2]> {
    let mut long = "set,RecordID,Time,Parameter,Value\n".to_owned();
    let mut outcomes = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n".to_owned();
    for record in 1..=21 {
        let dies = record % 4 == 0;
        let breaths = if dies { 28 } else { 14 };
        for (time, parameter, value) in [
            ("00:00", "Age", (40 + record).to_string()),
            ("46:00", "HR", "85".into()),
            ("46:00", "RespRate", breaths.to_string()),
            ("46:10", "NISysABP", if dies { "88" } else { "120" }.into()),
            ("47:00", "Temp", "37.0".into()),
            ("47:30", "GCS", "15".into()),
            ("47:40", "pH", if record == 5 { "735" } else { "7.4" }.into()),
        ] {
            writeln!(long, "a,{record},{time},{parameter},{value}")?;
        }
        if record <= 20 {
            writeln!(outcomes, "{record},{},{},9,-1,{}", 5 + record % 7, record % 5, u8::from(dies))?;
        }
    }
    let files = [("long.csv", long), ("outcomes.csv", outcomes)];
    let written = files.map(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text).map(|()| plain(&path))
    });
    let [long, outcomes] = written;
    Ok([long?, outcomes?])
}

/// The figures of the organisers' own script.
#[test]
fn rules_reach_the_official_figures() -> anyhow::Result<()> {
    let name = "rules_reach_the_official_figures";
    let Some(data) = shared().map(|shared| shared.join("data")).filter(|data| data.is_dir()) else {
        skip(name, "no data of the 2019 challenge");
        return Ok(());
    };
    let golden = std::fs::read_to_string(data.join("golden_utility.tsv"))?;
    let mut checked = 0;
    for line in golden.lines().filter(|line| line.starts_with("cinc2019")) {
        let fields: Vec<&str> = line.split('\t').collect();
        let file = plain(&data.join(format!("{}.csv.zst", fields[0])));
        let report = eval(&["--rule", fields[1]], &file, &NO_BOOTSTRAP)?;
        ensure!(report["patients"].as_u64() == fields[2].parse().ok(), "{line}");
        for (key, column) in [("auroc", 3), ("auprc", 4), ("utility", 7)] {
            // The script prints n/a where every row has one probability.
            let Ok(expected) = fields[column].parse::<f64>() else { continue };
            let found = report[key].as_f64().with_context(|| format!("{key} of {line}"))?;
            ensure!((found - expected).abs() <= 1e-9, "{line}: {key} {found}");
            checked += 1;
        }
    }
    ensure!(checked >= 15, "{checked} figures checked");
    Ok(())
}

const NO_BOOTSTRAP: [&str; 2] = ["--bootstrap", "0"];

fn eval(judge: &[&str], data: &str, more: &[&str]) -> anyhow::Result<Value> {
    let arguments = [&["model", "eval", "--json", "--data", data][..], judge, more].concat();
    Ok(serde_json::from_str(&medulla(&arguments)?)?)
}

fn model() -> String {
    plain(&workspace_root().join("ml-scoring/models/sepsis"))
}

fn plain(path: &Path) -> String {
    path.display().to_string()
}

fn pid(number: usize) -> String {
    format!("p{}{number:05}", number % 2)
}

/// Invented patients in the columns of the 2019 set; every fifth turns septic: fast, hot and breathless.
fn cohort(folder: &Path) -> anyhow::Result<String> {
    let mut text = format!("{HEADER}\n");
    for number in 0..PATIENTS {
        for hour in 1..=HOURS {
            let ill = if number % 5 == 0 { hour.saturating_sub(6) } else { 0 };
            let label = u8::from(number % 5 == 0 && hour >= 12);
            let mut fields = vec![String::new(); 42];
            let mut put = |column: &str, value: String| {
                let at = HEADER.split(',').position(|name| name == column).expect("a column of the set");
                fields[at] = value;
            };
            put("pid", pid(number));
            put("HR", (72 + number % 9 + 4 * ill).to_string());
            put("O2Sat", (98 - ill / 2).to_string());
            put("Resp", (14 + number % 3 + ill).to_string());
            put("SBP", (125 - 3 * ill).to_string());
            put("MAP", (85 - 2 * ill).to_string());
            if hour % 4 == 1 {
                put("Temp", format!("{:.1}", 36.6 + 0.2 * ill as f64));
                put("WBC", format!("{:.1}", 8.0 + 0.7 * ill as f64));
                put("Lactate", format!("{:.1}", 1.0 + 0.3 * ill as f64));
            }
            put("Age", (40 + number % 45).to_string());
            put("Gender", (number / 2 % 2).to_string());
            put("Unit1", (number % 2).to_string());
            put("Unit2", (1 - number % 2).to_string());
            put("HospAdmTime", "-12.5".into());
            put("ICULOS", hour.to_string());
            put("SepsisLabel", label.to_string());
            writeln!(text, "{}", fields.join(","))?;
        }
    }
    let path: PathBuf = folder.join("cohort.csv");
    std::fs::write(&path, text)?;
    Ok(plain(&path))
}
