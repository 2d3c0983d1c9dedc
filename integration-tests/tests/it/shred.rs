//! `medulla patient shred` at one of three sites: unreadable everywhere, for good, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Consortium, Site, SiteOptions, eventually, medulla, run};
use ledger_verifier::{Keys, judge_export};
use serde_json::{Value, json};

use crate::board_patients::send_sick;

const WAIT: Duration = Duration::from_secs(30);
const SHRED: [&str; 6] = ["patient", "shred", "--authority", "SIMHOSP", "--id", "S001"];

#[tokio::test]
async fn a_shredded_patient_is_unreadable_everywhere_and_nothing_else_is() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut sites = Consortium::start(folder.path(), |_| SiteOptions::default()).await?;
    send_sick(&sites.sites[0], 1..3).await?;
    alerted(&sites.sites[0], "S001").await?;
    alerted(&sites.sites[0], "S002").await?;
    let resource = create(&sites.sites[0], "S001").await?;
    ensure!(reqwest::get(&resource).await?.status() == 200);
    sites.agree().await?;
    let before = of_patient(&sites.sites[0], "S001").await?;
    ensure!(before.len() >= 4 && before.iter().all(|row| row["shredded"] == false), "{before:?}");
    let key_store = sites.sites[0].data().join("ledger/subjects.keys");
    let image = std::fs::read(&key_store)?;

    let config = sites.sites[0].config();
    let config = config.to_str().context("test folders have plain names")?.to_owned();
    let unconfirmed = run(&[&SHRED[..], &["--config", &config]].concat())?;
    ensure!(unconfirmed.status.code() == Some(2), "without a terminal it wants --yes");
    let done = medulla(&[&SHRED[..], &["--yes", "--json", "--config", &config]].concat())?;
    let done: Value = serde_json::from_str(&done)?;
    ensure!(done["keys"].as_u64() >= Some(1) && done["shredded"] == before.len(), "{done}");
    ensure!(done["remaining"] == json!([]) && done["elsewhere"] == json!({}), "{done}");
    let index = done["index"].as_u64().context("the entry that says so")?;
    let again = medulla(&[&SHRED[..], &["--yes", "--config", &config]].concat())?;
    ensure!(again.contains("shredded already"), "{again}");

    judge(&sites, folder.path(), before.len(), index).await?;
    ensure!(reqwest::get(&resource).await?.status() == 410);
    let board = sites.sites[0].get("/api/patients").await?.to_string();
    ensure!(!board.contains("S001") && board.contains("S002"), "{board}");
    let alerts = sites.sites[0].get("/api/alerts").await?.to_string();
    ensure!(!alerts.contains("S001") && alerts.contains("S002"), "{alerts}");

    // An old image of the key store, put back, and every process anew.
    sites.sites.iter_mut().try_for_each(Site::stop)?;
    let left = keys_in(&std::fs::read(&key_store)?);
    let destroyed: Vec<Vec<u8>> =
        keys_in(&image).into_iter().filter(|(id, _)| !left.contains_key(id)).map(|(_, key)| key).collect();
    ensure!(done["keys"] == destroyed.len(), "{} keys are gone", destroyed.len());
    std::fs::write(&key_store, image)?;
    sites.sites.iter_mut().try_for_each(Site::start)?;
    for site in &mut sites.sites {
        site.ready().await?;
    }
    judge(&sites, folder.path(), before.len(), index).await?;
    let gone = reqwest::get(&resource).await?;
    ensure!(gone.status() == 410);
    let outcome: Value = gone.json().await?;
    ensure!(
        outcome["resourceType"] == "OperationOutcome" && outcome["issue"][0]["code"] == "deleted",
        "{outcome}"
    );

    // A new visit. Its times have seconds: within the same one it would be a duplicate of the first.
    let fresh = eventually("a new visit that is kept and readable", WAIT, async || {
        send_sick(&sites.sites[0], 1..2).await.ok()?;
        let rows = of_patient(&sites.sites[0], "S001").await.ok()?;
        rows.iter().any(|row| row["kind"] == "message" && row["shredded"] == false).then_some(())
    });
    fresh.await?;
    alerted(&sites.sites[0], "S001").await?;

    sites.sites.iter_mut().try_for_each(Site::stop)?;
    let plain = holders(folder.path(), b"Sample001")?;
    ensure!(plain.is_empty(), "the patient's name lies in the clear in {plain:?}");
    for key in destroyed {
        let held = holders(folder.path(), &key)?;
        ensure!(held.is_empty(), "a key that was destroyed lies in {held:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_alerts_rested_on_is_the_same_after_a_restart() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::with_sepsis_model()).await?;
    let target = site.mllp_target();
    medulla(&["simulate", "--to", &target, "--patients", "40", "--septic", "0.5", "--seed", "5"])?;
    let by_model = async || -> anyhow::Result<Vec<Value>> {
        let alerts = site.get("/api/alerts?limit=1000").await?;
        let of_model = |alert: &&Value| alert["model"] == "sepsis";
        Ok(alerts.as_array().context("a list")?.iter().filter(of_model).cloned().collect())
    };
    let told = eventually("the last alert of the model", WAIT, async || {
        let is_enough =
            |alerts: &Vec<Value>| alerts.iter().any(|alert| alert["patient_id"] != alerts[0]["patient_id"]);
        let before = by_model().await.ok().filter(is_enough)?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        (by_model().await.ok()?.len() == before.len()).then_some(before)
    });
    let told = told.await?;
    let hash = told[0]["model_hash"].as_str().context("a hash")?.to_owned();
    let shredded = told[0]["patient_id"].as_str().context("an id")?.to_owned();
    let left = told.iter().filter(|alert| alert["patient_id"] != shredded.as_str()).count();
    ensure!(0 < left && left < told.len(), "{left} of {} alerts are about others", told.len());

    let config = site.config();
    let config = config.to_str().context("test folders have plain names")?.to_owned();
    let shred =
        ["patient", "shred", "--authority", "SIMHOSP", "--id", &shredded, "--yes", "--config", &config];
    medulla(&shred)?;
    let rested = async |site: &Site| {
        site.get(&format!("/api/models/{hash}")).await.ok()?.get("contributions").cloned()
    };
    let counted = async |site: &Site| {
        eventually("what the alerts that are left rested on", WAIT, async || {
            rested(site).await.filter(|rested| rested["alerts"] == left)
        })
        .await
    };
    let before = counted(&site).await?;
    site.stop()?;
    site.start()?;
    site.ready().await?;
    let after = counted(&site).await?;
    ensure!(after == before, "{before} before, {after} after a restart");
    Ok(())
}

/// What is shredded is so at every site, the other patient is as before, and every proof holds.
async fn judge(sites: &Consortium, folder: &Path, entries: usize, index: u64) -> anyhow::Result<()> {
    sites.agree().await?;
    let keys = medulla(&["ledger", "keys", "--config", sites.sites[0].config().to_str().context("plain")?])?;
    for site in &sites.sites {
        let rows = of_patient(site, "S001").await?;
        let shredded = rows.iter().filter(|row| row["shredded"] == true).count();
        ensure!(shredded == entries, "{shredded} of {entries} at site {}: {rows:?}", site.name);
        ensure!(rows.iter().all(|row| row["index"] == index || row["sha256"].is_null()), "{rows:?}");
        let said = site.get(&format!("/api/messages/{index}")).await?;
        ensure!(said["kind"] == "shred" && said["site"] == "a", "{said}");
        ensure!(said["content"]["by"].as_str().is_some_and(|by| !by.is_empty()), "who ordered it: {said}");
        let other = of_patient(site, "S002").await?;
        let readable = site.name == "a";
        ensure!(
            !other.is_empty()
                && other.iter().all(|row| row["shredded"] == false && row["sealed"] != readable),
            "{other:?}"
        );
        let (passed, said) = site.ledger_verify()?;
        ensure!(passed, "site {}: {said}", site.name);
        let export = folder.join(format!("export-{}", site.name));
        site.export(&export)?;
        let report = judge_export(&export, &Keys::parse(&keys)?, &mut |_| {})?;
        ensure!(report.ok, "{:?}", report.findings);
        std::fs::remove_dir_all(export)?;
    }
    Ok(())
}

async fn of_patient(site: &Site, id: &str) -> anyhow::Result<Vec<Value>> {
    let page = site.get(&format!("/api/messages?limit=1000&patient=SIMHOSP%7C{id}")).await?;
    Ok(page["entries"].as_array().context("entries")?.clone())
}

async fn alerted(site: &Site, id: &str) -> anyhow::Result<()> {
    let alerted = eventually("an alert", WAIT, async || {
        let alerts = site.get("/api/alerts").await.ok()?;
        alerts.as_array()?.iter().any(|alert| alert["patient_id"] == id).then_some(())
    });
    alerted.await
}

/// The address of an Observation of the patient, without its version.
async fn create(site: &Site, id: &str) -> anyhow::Result<String> {
    let observation = json!({
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"identifier": {"value": id}},
        "effectiveDateTime": "2026-01-01T12:00:00Z",
        "valueQuantity": {"value": 80, "system": "http://unitsofmeasure.org", "code": "/min"}
    });
    let url = site.url("/fhir/Observation");
    let answer = reqwest::Client::new().post(url).json(&observation).timeout(WAIT).send().await?;
    ensure!(answer.status() == 201, "{}", answer.text().await?);
    let location = answer.headers().get("location").context("a Location")?.to_str()?;
    Ok(location.split("/_history/").next().context("a versioned Location")?.to_owned())
}

/// Key ids and wrapped keys in a key store's file (raft-ledger/src/keystore/file.rs).
fn keys_in(file: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    // One that was written anew says how long it was.
    let header = if file.get(7) == Some(&2) { 36 } else { 24 };
    let (mut found, mut at) = (BTreeMap::new(), header);
    while let Some(header) = file.get(at..at + 16) {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        // Frames of another mark hold keys of other sites.
        let is_own = header.starts_with(b"KFR1");
        let records = file.get(at + 16..at + 16 + length).unwrap_or_default().chunks(109);
        let records = records.filter(|_| is_own);
        found.extend(records.map(|record| (record[33..49].to_vec(), record[61..].to_vec())));
        at += 16 + length;
    }
    found
}

/// Files under `folder` that hold `part`.
fn holders(folder: &Path, part: &[u8]) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(holders(&path, part)?);
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(part.len()).any(|window| window == part)
        {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}
