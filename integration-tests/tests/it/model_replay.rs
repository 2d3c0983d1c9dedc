//! `medulla model replay`: what a site that reads the messages knows at each hour's close is what training knew of the
//! row (DESIGN §6.10).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use clinical::{COLUMNS, COLUMNS_2019, Time};
use integration_tests::{Site, SiteOptions, eventually, medulla, run, shared, skip, workspace_root};
use ml_scoring::dataset::{HEADER, Patient};
use serde_json::Value;

const PATIENTS: usize = 12;
const HOURS: usize = 30;
/// The design's bound.
const DIFFERENCE_MAX: f64 = 1e-6;
/// Of each file of the 2019 set.
const SHARED_PATIENTS: u64 = 200;

#[test]
fn each_hour_s_close_is_the_training_row() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = cohort(folder.path())?;
    for standard in ["hl7", "fhir"] {
        let sums = checked(&data, &["--as", standard])?;
        ensure!(sums["standard"] == standard && sums["not_carried"][0] == "SepsisLabel", "{sums}");
        ensure!(sums["patients"] == PATIENTS && sums["rows"] == PATIENTS * HOURS, "{sums}");
        ensure!(
            sums["rows_scored"].as_u64() < sums["rows"].as_u64(),
            "some hours are insufficient data: {sums}"
        );
        for seed in ["1", "2", "3"] {
            let sums = checked(&data, &["--as", standard, "--disturb", "--seed", seed])?;
            let done =
                ["delayed", "duplicated", "corrected", "withdrawn"].map(|what| &sums["disturbed"][what]);
            ensure!(done.iter().all(|count| count.as_u64() > Some(20)), "{sums}");
        }
    }
    let few = checked(&data, &["--patients", "5"])?;
    ensure!(few["patients"] == 5, "{few}");
    Ok(())
}

#[test]
fn patients_of_the_2019_set_are_known_as_in_training() -> anyhow::Result<()> {
    let name = "patients_of_the_2019_set_are_known_as_in_training";
    let Some(data) = shared().map(|shared| shared.join("data")).filter(|data| data.is_dir()) else {
        skip(name, "no data of the 2019 challenge");
        return Ok(());
    };
    for file in ["cinc2019_A_dev.csv.zst", "cinc2019_B_dev.csv.zst"] {
        let file = data.join(file).display().to_string();
        let patients = SHARED_PATIENTS.to_string();
        for more in [&["--as", "hl7"][..], &["--as", "fhir"], &["--disturb"], &["--as", "fhir", "--disturb"]]
        {
            let sums = checked(&file, &[more, &["--patients", &patients]].concat())?;
            ensure!(sums["patients"] == SHARED_PATIENTS, "{sums}");
        }
    }
    Ok(())
}

/// The messages themselves, through a site: MLLP, ledger, shards.
#[tokio::test]
async fn a_site_says_of_the_messages_what_batch_says_of_the_rows() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = cohort(folder.path())?;
    let file = folder.path().join("all.hl7");
    std::fs::write(&file, medulla(&["model", "replay", "--data", &data])?)?;
    let mut batch = BTreeMap::new();
    for line in medulla(&["model", "score", "--model", &model(), "--data", &data])?.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        batch.insert((fields[0].to_owned(), fields[1].parse::<i64>()?), fields[2].parse::<f64>()?);
    }
    // The clock's own tick, once an hour, scores everybody today: then the curves say something else.
    for attempt in ["a", "b"] {
        let Some(compared) = hours_of_a_site(&folder.path().join(attempt), &file, &batch).await? else {
            continue;
        };
        ensure!(compared > PATIENTS * HOURS / 2, "{compared} hours compared");
        return Ok(());
    }
    anyhow::bail!("a tick came in between twice");
}

/// How many hours were compared; `None` where a tick came in between.
async fn hours_of_a_site(
    folder: &Path,
    file: &Path,
    batch: &BTreeMap<(String, i64), f64>,
) -> anyhow::Result<Option<usize>> {
    std::fs::create_dir(folder)?;
    let extra = "[[feed]]\nname = \"icu\"\nkind = \"mllp\"\nlisten = \"127.0.0.1:{mllp}\"\nauthority = \"CINC2019\"\n\
                 icu_wards = [\"ICU\", \"MICU\", \"SICU\"]\n";
    let options = SiteOptions {
        extra: extra.into(),
        scoring: format!("[scoring]\nrules = []\nmodels = [{:?}]\n", model()),
        ..SiteOptions::default()
    };
    let mut site = Site::alone(folder, &options).await?;
    let (address, sent) = (format!("127.0.0.1:{}", site.mllp), file.display().to_string());
    tokio::task::spawn_blocking(move || medulla(&["send", &sent, "--to", &address])).await??;
    let messages = std::fs::read_to_string(file)?.matches("MSH|").count() as f64;
    eventually("scores of all messages", Duration::from_secs(60), async || {
        let text = site.text("/metrics").await.ok()?;
        let samples = text.lines().filter(|line| line.starts_with("medulla_scores_total"));
        let scores: f64 = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        (scores >= messages).then_some(())
    })
    .await?;
    let board = site.get("/api/patients").await?;
    let mut compared = 0;
    for row in board["patients"].as_array().context("patients")? {
        let (key, pid) = (row["key"].as_str().context("a key")?, row["id"].as_str().context("an id")?);
        let detail = site.get(&format!("/api/patients/{key}")).await?;
        let curves = detail["curves"].as_object().context("curves")?;
        let points = curves.values().next().and_then(Value::as_array).context("a curve")?;
        // The last point of an hour has seen all of the row.
        let mut hours = BTreeMap::new();
        for point in points {
            let at = Time(point["at"].as_i64().context("a time")?);
            hours.insert(at.hours_since(Patient::ADMITTED) + 1, point["risk"].as_f64());
        }
        if hours.last_key_value().is_none_or(|(hour, _)| *hour > 2 * HOURS as i64) {
            return Ok(None);
        }
        for (hour, risk) in hours.into_iter().filter_map(|(hour, risk)| Some((hour, risk?))) {
            let expected = batch.get(&(pid.to_owned(), hour)).context("a row of the hour")?;
            ensure!(
                (risk - expected).abs() <= DIFFERENCE_MAX,
                "{pid}, hour {hour}: {risk}, batch {expected}"
            );
            compared += 1;
        }
    }
    site.stop()?;
    Ok(Some(compared))
}

#[test]
fn messages_are_written_for_others_to_send() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = cohort(folder.path())?;
    let written = |name: &str, more: &[&str]| -> anyhow::Result<String> {
        let out = folder.path().join(name).display().to_string();
        medulla(&[&["model", "replay", "--data", &data, "--out", &out], more].concat())?;
        Ok(out)
    };
    let hl7 = written("hl7", &[])?;
    let checked = medulla(&["hl7", "check", &hl7, "--json"])?;
    let sums = self::checked(&data, &[])?;
    ensure!(checked.lines().count() as u64 == sums["messages"].as_u64().unwrap_or_default(), "{sums}");
    for line in checked.lines() {
        let report: Value = serde_json::from_str(line)?;
        // The cohort's FiO2 is now and then no fraction.
        let issues = report["issues"].as_array().context("issues")?;
        ensure!(issues.iter().all(|issue| issue["code"] == "value-implausible"), "{report}");
        ensure!(report["status"] == if issues.is_empty() { "ok" } else { "warn" }, "{report}");
    }
    ensure!(std::fs::read_dir(&hl7)?.count() == PATIENTS, "a file a patient");

    let fhir = written("fhir", &["--as", "fhir", "--disturb", "--seed", "4"])?;
    let file = std::fs::read_to_string(Path::new(&fhir).join(format!("{}.ndjson", pid(0))))?;
    for line in file.lines() {
        let bundle: Value = serde_json::from_str(line)?;
        ensure!(bundle["resourceType"] == "Bundle" && bundle["type"] == "transaction", "{bundle}");
    }
    let printed = |seed: &str| {
        let seeded = ["--as", "fhir", "--patients", "1", "--disturb", "--seed", seed];
        medulla(&[&["model", "replay", "--data", &data, "--out", "-"][..], &seeded].concat())
    };
    ensure!(printed("4")? == file, "the same seed gives the same messages, wherever they go");
    ensure!(printed("5")? != file, "another seed gives others");

    let refused = run(&["model", "replay", "--data", &data, "--out", &fhir, "--as", "fhir"])?;
    ensure!(refused.status.code() == Some(1), "nothing is written over");
    let both = run(&["model", "replay", "--data", &data, "--out", "-", "--check"])?;
    ensure!(both.status.code() == Some(2), "messages and report do not mix");
    Ok(())
}

#[test]
fn what_no_message_can_say_is_named_by_file_line_and_column() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let good = std::fs::read_to_string(cohort(folder.path())?)?;
    let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let mut fields: Vec<&str> = lines[6].split(',').collect();
    fields[1] = "inf";
    lines[6] = fields.join(",");
    let path = folder.path().join("infinite.csv");
    std::fs::write(&path, lines.join("\n"))?;
    let refused = run(&["model", "replay", "--check", "--data", &path.display().to_string()])?;
    let said = String::from_utf8(refused.stderr)?;
    ensure!(refused.status.code() == Some(1), "{said}");
    ensure!(said.contains("infinite.csv") && said.contains("line 7, column HR"), "{said}");
    Ok(())
}

/// No HL7 time says a year before Christ: the stream takes the patient for admitted when intensive care began.
#[test]
fn a_row_that_differs_is_named_by_file_line_and_column() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let good = std::fs::read_to_string(cohort(folder.path())?)?;
    let path = folder.path().join("ancient.csv");
    // Of the first patient, who has all rows up to line 31.
    std::fs::write(&path, good.replacen(",-12.53,", ",-1000000000,", HOURS))?;
    let path = path.display().to_string();
    let arguments = ["model", "replay", "--check", "--data", &path];
    let found = run(&arguments)?;
    let said = String::from_utf8(found.stdout)?;
    let first =
        format!("{path}:2: column HospAdmTime: HospAdmTime is 0 in the stream and -1000000000 in batch");
    ensure!(found.status.code() == Some(1) && said.starts_with(&first), "{said}");
    ensure!(said.contains(&format!("rows with unequal features or probabilities: {HOURS}\n")), "{said}");
    let found = run(&[&arguments[..], &["--json"]].concat())?;
    let said = String::from_utf8(found.stdout)?;
    let lines: Vec<Value> = said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(lines.len() == HOURS + 1 && lines[HOURS]["rows_unequal"] == HOURS, "{said}");
    ensure!(
        lines[0]["file"] == path && lines[0]["line"] == 2 && lines[0]["column"] == "HospAdmTime",
        "{said}"
    );
    Ok(())
}

/// Checked with the model; an error if anything differs.
fn checked(data: &str, more: &[&str]) -> anyhow::Result<Value> {
    let arguments = ["model", "replay", "--check", "--json", "--data", data, "--model", &model()];
    let printed = medulla(&[&arguments[..], more].concat())?;
    let sums: Value = serde_json::from_str(printed.lines().last().context("the sums")?)?;
    ensure!(printed.lines().count() == 1 && sums["rows_unequal"] == 0, "{printed}");
    ensure!(sums["largest_difference"].as_f64().is_some_and(|p| p <= DIFFERENCE_MAX), "{sums}");
    ensure!(sums["rows_scored"].as_u64() > sums["rows"].as_u64().map(|rows| rows / 2), "{sums}");
    Ok(sums)
}

fn model() -> String {
    workspace_root().join("ml-scoring/models/sepsis").display().to_string()
}

fn pid(number: usize) -> String {
    format!("p{}{number:05}", number % 2)
}

/// Invented patients with every column of the set, each now and then: odd digits, implausible values, hours without
/// any, stays that do not begin with hour 1, ages, sexes and units that are missing, too little for a probability.
fn cohort(folder: &Path) -> anyhow::Result<String> {
    let mut text = format!("{HEADER}\n");
    for number in 0..PATIENTS {
        let first = 1 + number % 3;
        for hour in first..first + HOURS {
            let mut fields = vec![String::new(); 42];
            fields[0] = pid(number);
            for (at, column) in COLUMNS[..COLUMNS_2019].iter().enumerate() {
                let every = if at < 8 { 1 + at / 3 % 2 } else { 3 + at % 7 };
                // At first too little for a probability.
                let unwatched = number % 4 == 3 && hour < first + 6 && (1..8).contains(&at);
                if hour % 9 != 5 && (hour + number) % every == 0 && !unwatched {
                    fields[at + 1] = value(column.name(), number, hour);
                }
            }
            let (age, gender) = [("83.14", "1"), ("41", "0"), ("", "")][number % 3];
            let (medical, surgical) = [("1", "0"), ("0", "1"), ("", "")][number / 3 % 3];
            let admitted = ["-12.53", "-0.0005", "3.7", ""][number % 4];
            let label = u8::from(number % 5 == 0 && hour >= 12);
            for (column, value) in [age, gender, medical, surgical, admitted].into_iter().enumerate() {
                fields[35 + column] = value.into();
            }
            fields[40] = hour.to_string();
            fields[41] = label.to_string();
            writeln!(text, "{}", fields.join(","))?;
        }
    }
    let path = folder.join("cohort.csv");
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

fn value(column: &str, number: usize, hour: usize) -> String {
    let wave = ((number * 31 + hour * 7) % 13) as f64 / 13.0;
    let (low, high) = match column {
        "HR" => (60.0, 140.0),
        "O2Sat" => (88.0, 100.0),
        "Temp" => (35.0, 40.0),
        "SBP" => (80.0, 160.0),
        "MAP" => (55.0, 110.0),
        "DBP" => (40.0, 90.0),
        "Resp" => (10.0, 35.0),
        // Some of these are no fractions: as in the set.
        "FiO2" => (-0.1, 1.2),
        "pH" => (7.1, 7.6),
        "SaO2" => (85.0, 100.0),
        "BaseExcess" => (-12.0, 8.0),
        _ => (0.7, 60.0),
    };
    (low + wave * (high - low)).to_string()
}
