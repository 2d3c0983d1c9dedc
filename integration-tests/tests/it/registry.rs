//! The registry of models over three sites: who decided what, and that a retired model is silent everywhere.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Consortium, Site, SiteOptions, eventually, medulla, run, workspace_root};
use serde_json::Value;

use crate::explain::explained;

fn model(site: &Site, args: &[&str]) -> anyhow::Result<Output> {
    let config = site.config();
    let config = config.to_str().context("test folders have plain names")?;
    run(&[&["model"], args, &["--config", config]].concat())
}

fn fine(output: &Output) -> anyhow::Result<()> {
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The one model that the site lists.
fn listed(site: &Site) -> anyhow::Result<Value> {
    let output = model(site, &["list", "--json"])?;
    fine(&output)?;
    serde_json::from_slice(&output.stdout).context("one object, for one model")
}

async fn listed_with(site: &Site, what: &str, is: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    eventually(what, Duration::from_secs(30), async || listed(site).ok().filter(&is)).await
}

async fn scores(site: &Site, scorer: &str) -> anyhow::Result<f64> {
    let of = |outcome| format!("medulla_scores_total{{outcome=\"{outcome}\",scorer=\"{scorer}\"}}");
    Ok(site.metric(&of("scored")).await? + site.metric(&of("insufficient")).await?)
}

/// Scores by rule and model, once everything that was sent is scored.
async fn play(site: &Site, seed: &str) -> anyhow::Result<(f64, f64)> {
    let before = scores(site, "news2").await?;
    let target = site.mllp_target();
    medulla(&["simulate", "--to", &target, "--patients", "12", "--septic", "0.5", "--seed", seed])?;
    let settled = eventually("scores of all messages", Duration::from_secs(60), async || {
        let first = scores(site, "news2").await.ok().filter(|scores| *scores > before)?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        (scores(site, "news2").await.ok()? == first).then_some(first)
    });
    Ok((settled.await?, scores(site, "sepsis").await?))
}

async fn shows_risk_by_model(site: &Site) -> anyhow::Result<bool> {
    let board = site.get("/api/patients").await?;
    Ok(board.to_string().contains("\"scorer\":\"sepsis\""))
}

#[tokio::test]
async fn a_model_is_registered_and_retired_for_all_sites() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut consortium = Consortium::start(folder.path(), |_| SiteOptions::with_sepsis_model()).await?;
    let dir = &dir_of_sepsis();
    let all = |row: &Value| row["loaded_by"] == serde_json::json!(["a", "b", "c"]);
    for site in &consortium.sites {
        let row = listed_with(site, "what all sites load", all).await?;
        ensure!(row["here"] == "live" && row["registered"].is_null() && row["name"] == "sepsis", "{row}");
    }
    let [a, b, c] = consortium.sites.as_slice() else { anyhow::bail!("three sites") };

    ensure!(model(a, &["register", dir])?.status.code() == Some(2), "nobody decides without saying why");
    fine(&model(a, &["register", dir, "--why", "validated locally"])?)?;
    let again = model(a, &["register", "--model", dir, "--why", "once more"])?;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    ensure!(again.status.code() == Some(1) && said.contains("[refused]"), "{said}");
    let row = listed(a)?;
    let registered = &row["registered"];
    ensure!(registered["why"] == "validated locally" && registered["by"].is_string(), "{row}");
    ensure!(registered["site"] == "a" && row["threshold"].is_number(), "{row}");
    for site in [b, c] {
        let there = listed_with(site, "the registration", |row| row["registered"].is_object()).await?;
        ensure!(there["registered"]["index"] == registered["index"], "{there}");
    }
    // a's partner reads the entry; the third site cannot open it and is told of it by its tags.
    eventually("a site that reads tags alone", Duration::from_secs(30), async || {
        let reads = |site: &Site| listed(site).is_ok_and(|row| row["registered"]["by"].is_string());
        (reads(b) != reads(c)).then_some(())
    })
    .await?;

    let (_, by_model) = play(c, "3").await?;
    ensure!(by_model > 0.0 && shows_risk_by_model(c).await?, "the model scores before it is retired");
    let alerts = c.get("/api/alerts?limit=1000").await?;
    let alert = alerts.as_array().into_iter().flatten().find(|alert| alert["model"] == "sepsis");
    let alert = alert.and_then(|alert| alert["id"].as_str()).context("an alert by the model")?.to_owned();

    let unknown = model(b, &["retire", "nobody", "--why", "none"])?;
    ensure!(unknown.status.code() == Some(1));
    let retired = model(a, &["retire", "sepsis", "--why", "drifts"])?;
    fine(&retired)?;
    let said = String::from_utf8_lossy(&retired.stderr).into_owned();
    ensure!(said.contains("still names it: a, b, c"), "{said}");
    ensure!(model(a, &["retire", "sepsis", "--why", "drifts"])?.status.code() == Some(1), "once");
    ensure!(listed(a)?["retired"]["why"] == "drifts" && listed(a)?["here"] == "retired");
    listed_with(c, "the retirement at c", |row| row["here"] == "retired").await?;
    let (_, after) = play(c, "4").await?;
    ensure!(after == by_model, "a retired model is not asked: {by_model} then {after}");
    ensure!(!shows_risk_by_model(c).await?, "nor does the board show what it said");
    let (code, again) = explained(c, &alert)?;
    ensure!(code == Some(0) && again["equal"] == true, "its alerts are explained: {again}");
    restarts_keep_it(&mut consortium, by_model).await?;
    configurations_are_told(&mut consortium).await
}

async fn restarts_keep_it(consortium: &mut Consortium, before: f64) -> anyhow::Result<()> {
    let c = consortium.sites.last_mut().context("three sites")?;
    c.kill_9()?;
    c.start()?;
    c.ready().await?;
    // What came before the retirement may be folded and scored again, as it was: the decision stands at its place.
    let (_, by_model) = play(c, "5").await?;
    ensure!(by_model <= before, "{before} scores before it, {by_model} after a kill");
    ensure!(!shows_risk_by_model(c).await?, "nor does the board show any after a kill");
    c.stop()?;
    c.start()?;
    c.ready().await?;
    let (by_rule, by_model) = play(c, "6").await?;
    ensure!(by_rule > 0.0 && by_model == 0.0, "also after a restart: {by_model}");
    let log = std::fs::read_to_string(c.folder.join("c.log"))?;
    ensure!(log.contains("is named in [scoring] and retired"), "the site says what its configuration names");
    Ok(())
}

async fn configurations_are_told(consortium: &mut Consortium) -> anyhow::Result<()> {
    let [a, b, c] = consortium.sites.as_mut_slice() else { anyhow::bail!("three sites") };
    let text = std::fs::read_to_string(c.config())?;
    let (before, after) = text.split_once("models = [").context("the models")?;
    let (_, after) = after.split_once('\n').context("a line")?;
    c.stop()?;
    std::fs::write(c.config(), format!("{before}{after}"))?;
    c.start()?;
    c.ready().await?;
    let without = |row: &Value| row["loaded_by"] == serde_json::json!(["a", "b"]);
    listed_with(a, "that c no longer loads it", without).await?;

    fine(&model(b, &["register", &dir_of_sepsis(), "--why", "trained anew"])?)?;
    let row = listed_with(a, "the model, live again", |row| row["here"] == "live").await?;
    ensure!(row["retired"].is_null() && row["registered"]["site"] == "b", "{row}");
    let shown = model(b, &["show", "sepsis", "--json"])?;
    fine(&shown)?;
    let shown: Value = serde_json::from_slice(&shown.stdout)?;
    let steps: Vec<&str> =
        shown["history"].as_array().into_iter().flatten().filter_map(|step| step["step"].as_str()).collect();
    let counts = ["loaded", "unloaded", "registered", "retired"]
        .map(|step| steps.iter().filter(|said| **said == step).count());
    ensure!(counts == [3, 1, 2, 1], "once each, also after restarts: {steps:?}");
    ensure!(shown["card"]["intended_use"].is_string(), "{shown}");
    let text = String::from_utf8(model(b, &["show", "sepsis"])?.stdout)?;
    ensure!(text.contains("no claim") && text.contains("trained anew"), "{text}");
    Ok(())
}

fn dir_of_sepsis() -> String {
    workspace_root().join("ml-scoring/models/sepsis").display().to_string()
}
