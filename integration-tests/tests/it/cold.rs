//! `medulla ledger archive` at a site alone: what was moved reads, proves, exports and is backed up as before.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use integration_tests::{Site, SiteOptions, eventually, medulla, run};
use ledger_verifier::{Keys, judge_export};
use rand::RngCore;
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(60);
/// So many documents of this size fill a cold file (64 MiB, at a multiple of 256 entries).
const DOCUMENTS: usize = 260;
const DOCUMENT_BYTES: usize = 260 << 10;

#[tokio::test]
async fn history_that_was_moved_is_as_before() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("archive"))?;
    let options = SiteOptions {
        ledger: "retention = { after_days = 30, dir = \"archive\" }\n".into(),
        ..SiteOptions::default()
    };
    let mut site = Site::alone(folder.path(), &options).await?;
    let addresses = fill(&site).await?;
    let first = addresses.first().context("a document")?;
    let before = document(first).await?;
    let config = text(&site.config())?;
    let archive = |more: &[&str]| -> anyhow::Result<Value> {
        let args = [&["ledger", "archive", "--json", "--config", &config], more].concat();
        Ok(serde_json::from_str(&medulla(&args)?)?)
    };
    let young = archive(&[])?;
    ensure!(young["entries"] == 0, "nothing is 30 days old: {young}");
    covered(&site).await?;
    let moved = archive(&["--older-than", "0"])?;
    ensure!(moved["files"] == 1 && moved["entries"].as_u64() >= Some(256), "{moved}");
    let status = site.ledger_status()?;
    ensure!(
        status["cold"]["entries"] == moved["cold_entries"] && status["cold"]["lost"] == json!([]),
        "{status}"
    );
    ensure!(Some(site.metric("medulla_cold_entries").await?) == moved["entries"].as_f64());
    ensure!(document(first).await? == before);
    let (passed, said) = site.ledger_verify()?;
    ensure!(passed, "{said}");
    judge(&site, folder.path())?;

    let backup = folder.path().join("backup");
    let args = ["ledger", "backup", &text(&backup)?, "--json", "--config", &config];
    let bytes = moved["bytes"].as_u64().context("bytes")?;
    let made: Value = serde_json::from_str(&medulla(&args)?)?;
    ensure!(made["bytes_copied"].as_u64() > Some(bytes), "{made}");
    site.stop()?;
    let made: Value = serde_json::from_str(&medulla(&args)?)?;
    ensure!(made["bytes_reused"].as_u64() >= Some(bytes), "a stopped site's, again: {made}");

    // The disk of the cold files is not there.
    let (there, away) = (folder.path().join("archive"), folder.path().join("away"));
    std::fs::rename(&there, &away)?;
    site.start()?;
    site.ready().await?;
    let lost = eventually("the lost file is named", WAIT, async || {
        let status = site.ledger_status().ok()?;
        status["cold"]["lost"][0].as_str()?.ends_with("is missing").then_some(())
    });
    lost.await?;
    ensure!(reqwest::get(first).await?.status() == 503);
    let (passed, said) = site.ledger_verify()?;
    ensure!(!passed && said.contains("is missing"), "{said}");
    std::fs::rename(&away, &there)?;
    let back = eventually("it is found again", WAIT, async || {
        let status = site.ledger_status().ok()?;
        (status["cold"]["lost"] == json!([])).then_some(())
    });
    back.await?;
    ensure!(document(first).await? == before);
    site.stop()
}

#[tokio::test]
async fn without_an_age_nothing_is_moved() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let refused = run(&["ledger", "archive", "--config", &text(&site.config())?])?;
    ensure!(refused.status.code() == Some(2), "{refused:?}");
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("--older-than DAYS"), "{refused:?}");
    site.stop()
}

/// Documents that do not compress; the address of each.
async fn fill(site: &Site) -> anyhow::Result<Vec<String>> {
    let (client, url) = (reqwest::Client::new(), site.url("/fhir/DocumentReference"));
    let mut addresses = Vec::new();
    for n in 0..DOCUMENTS {
        let mut noise = vec![0; DOCUMENT_BYTES];
        rand::thread_rng().fill_bytes(&mut noise);
        let document = json!({
            "resourceType": "DocumentReference",
            "status": "current",
            "subject": {"identifier": {"value": format!("S{:03}", n % 5)}},
            "content": [{"attachment": {"contentType": "image/jpeg", "data": STANDARD.encode(noise)}}]
        });
        let answer = client.post(&url).json(&document).timeout(WAIT).send().await?;
        ensure!(answer.status() == 201, "{}", answer.text().await?);
        let location = answer.headers().get("location").context("a Location")?.to_str()?;
        addresses.push(location.split("/_history/").next().context("a versioned Location")?.to_owned());
    }
    Ok(addresses)
}

async fn document(address: &str) -> anyhow::Result<Value> {
    let answer = reqwest::get(address).await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    Ok(answer.json().await?)
}

/// Until the newest checkpoint covers every document.
async fn covered(site: &Site) -> anyhow::Result<()> {
    let size = site.ledger_status()?["size"].as_u64();
    let covered = eventually("a checkpoint", WAIT, async || {
        let newest = site.get("/api/ledger/checkpoint").await.ok()?;
        (newest["size"].as_u64() >= size).then_some(())
    });
    covered.await
}

fn judge(site: &Site, folder: &Path) -> anyhow::Result<()> {
    let keys = medulla(&["ledger", "keys", "--config", &text(&site.config())?])?;
    let export = folder.join("export");
    site.export(&export)?;
    let report = judge_export(&export, &Keys::parse(&keys)?, &mut |_| {})?;
    ensure!(report.ok && report.size >= DOCUMENTS as u64, "{:?}", report.findings);
    Ok(())
}

fn text(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).context("test folders have plain names")
}
