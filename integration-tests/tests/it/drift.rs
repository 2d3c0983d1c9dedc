//! Drift at a running site: another population fires, says so everywhere, and survives a crash.

use std::fmt::Write;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Site, SiteOptions, eventually, medulla, run, workspace_root};
use ml_scoring::dataset::HEADER;
use serde_json::Value;

/// A site says nothing of fewer than 200.
const ENOUGH: u64 = 210;
const HOURS: u64 = 4;

#[tokio::test]
async fn another_population_fires_at_a_running_site() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let model = workspace_root().join("ml-scoring/models/sepsis").display().to_string();
    let feed = "[[feed]]\nname = \"icu\"\nkind = \"mllp\"\nlisten = \"127.0.0.1:{mllp}\"\nauthority = \"CINC2019\"\n\
                icu_wards = [\"ICU\", \"MICU\", \"SICU\"]\n";
    let options = SiteOptions {
        extra: feed.into(),
        scoring: format!("[scoring]\nrules = [\"news2\"]\nmodels = [{model:?}]\n"),
        ..SiteOptions::default()
    };
    let mut site = Site::alone(folder.path(), &options).await?;
    send(&site, folder.path(), 0..20).await?;
    let few = eventually("the first stays", Duration::from_secs(60), async || {
        told(&site).ok().map(|(_, report)| report).filter(|report| report["stays"] == 20)
    });
    let few = few.await?;
    ensure!(few["status"] == "too-few" && few["findings"] == serde_json::json!([]), "{few}");
    ensure!(drift(&site, &[])?.status.success(), "too few stays are no alarm");
    let none = eventually("metrics", Duration::from_secs(30), async || indices(&site).await).await?;
    ensure!(none.is_empty(), "and have no index");

    send(&site, folder.path(), 20..ENOUGH).await?;
    let fired = eventually("a verdict", Duration::from_secs(120), async || {
        let all_closed = |report: &Value| {
            report["stays"] == ENOUGH && report["hours"].as_u64() >= Some(ENOUGH * (HOURS - 1))
        };
        told(&site).ok().map(|(_, report)| report).filter(all_closed)
    });
    let fired = fired.await?;
    ensure!(fired["status"] == "alarm", "{fired}");
    let loudest = &fired["findings"][0];
    ensure!(loudest["status"] == "alarm" && loudest["psi"].as_f64() >= Some(0.25), "{fired}");
    let (code, _) = told(&site)?;
    ensure!(code == Some(1), "the command fails where something alarms");
    let text = String::from_utf8(drift(&site, &[])?.stdout)?;
    ensure!(text.contains("210 stays") && text.contains("\nalarm "), "{text}");
    // An hour that closes meanwhile changes both.
    eventually("the same index as a metric", Duration::from_secs(60), async || {
        let (_, report) = told(&site).ok()?;
        let indices = indices(&site).await?;
        let greatest = indices.iter().copied().fold(0.0, f64::max);
        let told = report["findings"][0]["psi"].as_f64()?;
        // What is read from JSON can be the next number.
        ((told - greatest).abs() < 1e-9 && indices.len() <= 68).then_some(())
    })
    .await?;

    for kill in [true, false] {
        if kill {
            site.kill_9()?;
        } else {
            site.stop()?;
        }
        site.start()?;
        site.ready().await?;
        eventually("the same stays after a restart", Duration::from_secs(60), async || {
            let (_, report) = told(&site).ok()?;
            (report["stays"] == ENOUGH && report["since_index"] == fired["since_index"]).then_some(())
        })
        .await?;
    }
    Ok(())
}

/// Of all columns and measures.
async fn indices(site: &Site) -> Option<Vec<f64>> {
    let text = site.text("/metrics").await.ok()?;
    let lines = text.lines().filter(|line| line.starts_with("medulla_model_drift_psi{"));
    Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect())
}

async fn send(site: &Site, folder: &Path, patients: std::ops::Range<u64>) -> anyhow::Result<()> {
    let (rows, messages) = (folder.join("rows.csv"), folder.join("all.hl7"));
    std::fs::write(&rows, cohort(patients)?)?;
    std::fs::write(&messages, medulla(&["model", "replay", "--data", &rows.display().to_string()])?)?;
    let (address, sent) = (format!("127.0.0.1:{}", site.mllp), messages.display().to_string());
    tokio::task::spawn_blocking(move || medulla(&["send", &sent, "--to", &address])).await??;
    Ok(())
}

/// Pulse and temperature alone, each hour: what the model was trained on looks otherwise.
fn cohort(patients: std::ops::Range<u64>) -> anyhow::Result<String> {
    let mut text = format!("{HEADER}\n");
    for number in patients {
        for hour in 1..=HOURS {
            let pulse = 120 + (number * 7 + hour * 3) % 30;
            writeln!(text, "p0{number:05},{pulse},,38.{},{}60,1,1,0,-2,{hour},0", hour % 4, ",".repeat(31))?;
        }
    }
    Ok(text)
}

fn drift(site: &Site, more: &[&str]) -> anyhow::Result<Output> {
    let config = site.config();
    let config = config.to_str().context("test folders have plain names")?;
    run(&[&["model", "drift", "sepsis", "--config", config], more].concat())
}

fn told(site: &Site) -> anyhow::Result<(Option<i32>, Value)> {
    let output = drift(site, &["--json"])?;
    let report = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok((output.status.code(), report))
}
