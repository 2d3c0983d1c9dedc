//! `medulla alert explain`: every alert can be had again from the ledger, and where it cannot the command says so.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Site, SiteOptions, eventually, medulla, run};
use serde_json::Value;

pub fn explain(site: &Site, id: &str, more: &[&str]) -> anyhow::Result<Output> {
    let config = site.config();
    let config = config.to_str().context("test folders have plain names")?;
    run(&[&["alert", "explain", id, "--config", config], more].concat())
}

pub fn explained(site: &Site, id: &str) -> anyhow::Result<(Option<i32>, Value)> {
    let Output { status, stdout, stderr } = explain(site, id, &["--json"])?;
    let said = String::from_utf8_lossy(&stderr).into_owned();
    Ok((status.code(), serde_json::from_slice(&stdout).context(said)?))
}

async fn alerts(site: &Site) -> anyhow::Result<Vec<Value>> {
    Ok(site.get("/api/alerts?limit=1000").await?.as_array().cloned().unwrap_or_default())
}

fn id(alert: &Value) -> anyhow::Result<&str> {
    alert["id"].as_str().context("an id")
}

/// Until everything that was sent is scored: two looks in a row find the same alerts.
async fn settled(site: &Site) -> anyhow::Result<Vec<Value>> {
    eventually("alerts of all messages", Duration::from_secs(60), async || {
        let before = alerts(site).await.ok().filter(|alerts| !alerts.is_empty())?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = alerts(site).await.ok()?;
        (after.len() == before.len()).then_some(after)
    })
    .await
}

/// The hospital sends corrections, duplicates, late results and merges of patients.
#[tokio::test]
async fn every_alert_is_computed_again_to_the_last_bit() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::with_sepsis_model()).await?;
    let target = site.mllp_target();
    medulla(&["simulate", "--to", &target, "--patients", "30", "--septic", "0.4", "--seed", "5"])?;
    let alerts = settled(&site).await?;
    let by_model = |model: &str| alerts.iter().filter(|alert| alert["model"] == model).count();
    let models: Vec<&str> = alerts.iter().filter_map(|alert| alert["model"].as_str()).collect();
    ensure!(by_model("news2") > 0 && by_model("news2") < alerts.len(), "rule and model alert: {models:?}");
    for alert in &alerts {
        let (code, explained) = explained(&site, id(alert)?)?;
        ensure!(code == Some(0) && explained["equal"] == true, "{explained}");
        ensure!(explained["risk_recomputed"] == alert["risk"] && explained["index"] == alert["index"]);
        ensure!(explained["unreadable"] == 0 && explained["withheld"] == 0, "{explained}");
        let entry = site.get(&format!("/api/messages/{}", alert["index"])).await?;
        ensure!(explained["contributions"] == entry["content"]["contributions"], "the reasons, too");
        ensure!(
            explained["as_of"]
                == *alert["evidence"].as_array().and_then(|all| all.last()).context("a trigger")?
        );
    }
    evidence_stands_in_the_entries(&site, id(&alerts[0])?).await?;
    let text = String::from_utf8(explain(&site, id(&alerts[0])?, &[])?.stdout)?;
    ensure!(text.contains(": equal\n") && text.contains("/min") && !text.contains("NOT EQUAL"), "{text}");

    let sepsis = alerts.iter().find(|alert| alert["model"] != "news2").context("the model's alert")?;
    site.stop()?;
    site.start()?;
    site.ready().await?;
    ensure!(explained(&site, id(sepsis)?)?.0 == Some(0), "also after a restart");

    site.stop()?;
    site.write_config(&[], true, &SiteOptions::default())?;
    site.start()?;
    site.ready().await?;
    let refused = explain(&site, id(sepsis)?, &[])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let hash = sepsis["model_hash"].as_str().context("a hash")?;
    ensure!(refused.status.code() == Some(1) && said.contains("[model-not-configured]"), "{said}");
    ensure!(
        said.contains(hash) && said.contains("news2 ("),
        "it names what made it and what there is: {said}"
    );
    let unknown = explain(&site, "00", &[])?;
    ensure!(unknown.status.code() == Some(1) && unknown.stdout.is_empty());
    ensure!(String::from_utf8_lossy(&unknown.stderr).contains("[not-found]"));
    ensure!(explain(&site, "../patients", &[])?.status.code() == Some(2), "no id");
    Ok(())
}

/// The entry that a value is said to come from has an observation of that time and quantity.
async fn evidence_stands_in_the_entries(site: &Site, id: &str) -> anyhow::Result<()> {
    let (_, explained) = explained(site, id)?;
    let evidence = explained["evidence"].as_array().context("evidence")?;
    ensure!(evidence.len() >= 4, "{explained}");
    for value in evidence {
        let entry = site.get(&format!("/api/messages/{}", value["index"])).await?;
        let events = entry["content"]["events"].as_array().context("events")?;
        let told = events.iter().any(|event| {
            let number = event["kind"]["observed"]["value"]["quantity"]["number"].as_f64();
            let same = number.is_none_or(|number| {
                let converted = value["value"].as_f64().unwrap_or_default();
                (number - converted).abs() < 1e-3
                    || event["kind"]["observed"]["value"]["quantity"]["unit"] != value["unit"]
            });
            event["at"] == value["at"] && event["kind"]["observed"].is_object() && same
        });
        ensure!(told, "{value} is not in {entry}");
        ensure!(value["unit"].is_string() && value["index"].as_u64() <= explained["as_of"].as_u64());
    }
    Ok(())
}

/// What the score rested on was in part known under another number, whose entries nobody can read any more.
#[tokio::test]
async fn a_score_that_comes_out_otherwise_is_told() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let (hurried, known) = ("X1", "P1");
    let first = [("8867-4", "95", "/min"), ("8310-5", "38.5", "Cel"), ("9279-1", "14", "/min")];
    let then = [("9279-1", "30", "/min"), ("2708-6", "85", "%"), ("8480-6", "80", "mm[Hg]")];
    let merge = format!(
        "{}EVN|A40|20260301080500\r{}MRG|{hurried}^^^SIMHOSP^MR\r",
        head("ADT^A40^ADT_A39", 2),
        person(known)
    );
    let file = folder.path().join("merged.hl7");
    let messages =
        [measured(hurried, 1, "20260301080000", &first), merge, measured(known, 3, "20260301081000", &then)];
    std::fs::write(&file, messages.concat())?;
    medulla(&["send", &file.display().to_string(), "--to", &format!("127.0.0.1:{}", site.mllp)])?;
    let alerts = settled(&site).await?;
    ensure!(alerts.len() == 1 && alerts[0]["patient_id"] == known, "{alerts:?}");
    let (code, whole) = explained(&site, id(&alerts[0])?)?;
    ensure!(code == Some(0) && whole["equal"] == true && whole["entries"] == 3, "{whole}");
    let from_first =
        whole["evidence"].as_array().context("evidence")?.iter().find(|value| value["column"] == "HR");
    let from_first = from_first.context("the pulse")?;
    ensure!(from_first["value"] == 95.0);
    let traced = site.get(&format!("/api/messages/{}/trace", from_first["index"])).await?;
    ensure!(traced["alerts"][0]["id"] == alerts[0]["id"], "the trace goes on with who survived: {traced}");

    let config = site.config();
    let config = config.to_str().context("a plain name")?;
    medulla(&["patient", "shred", "--authority", "SIMHOSP", "--id", hurried, "--yes", "--config", config])?;
    let (code, less) = explained(&site, id(&alerts[0])?)?;
    ensure!(code == Some(1) && less["equal"] == false && less["unreadable"] == 1, "{less}");
    ensure!(less["risk_alerted"] == whole["risk_alerted"] && less["risk_recomputed"] != less["risk_alerted"]);
    let text = String::from_utf8(explain(&site, id(&alerts[0])?, &[])?.stdout)?;
    ensure!(text.contains("NOT EQUAL") && text.contains("cannot open"), "{text}");

    medulla(&["patient", "shred", "--authority", "SIMHOSP", "--id", known, "--yes", "--config", config])?;
    let gone = explain(&site, id(&alerts[0])?, &[])?;
    let said = String::from_utf8_lossy(&gone.stderr).into_owned();
    ensure!(gone.status.code() == Some(1) && said.contains("[shredded]"), "{said}");
    Ok(())
}

fn head(message: &str, number: usize) -> String {
    format!(
        "MSH|^~\\&|MONITOR|SIMHOSP|MEDULLA||2026030108{number:02}00||{message}|M{number}|P|2.5.1||||||UNICODE UTF-8\r"
    )
}

fn person(number: &str) -> String {
    format!("PID|1||{number}^^^SIMHOSP^MR||Sample^Sam||19500101|F\r")
}

/// At the given minute, UTC.
fn measured(patient: &str, number: usize, at: &str, values: &[(&str, &str, &str)]) -> String {
    let observation = |(i, (code, value, unit)): (usize, &(&str, &str, &str))| {
        format!("OBX|{}|NM|{code}^^LN||{value}|{unit}|||||F|||{at}+0000\r", i + 1)
    };
    let panel = format!("OBR|1||{patient}-{number}|85353-1^Vital signs panel^LN|||{at}+0000\r");
    let values: String = values.iter().enumerate().map(observation).collect();
    format!("{}{}PV1|1|I|Ward1^1^1\r{panel}{values}", head("ORU^R01^ORU_R01", number), person(patient))
}
