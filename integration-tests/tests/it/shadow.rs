//! Two models side by side at a running site: the one in shadow alerts nobody and is counted, until a person promotes it.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Listing, Site, SiteOptions, eventually, medulla, run, workspace_root};
use serde_json::{Value, json};

use crate::explain::explained;

const OLD: &str = "sepsis";
const NEW: &str = "sepsis-2";

fn model(site: &Site, args: &[&str]) -> anyhow::Result<Output> {
    let config = site.config();
    let config = config.to_str().context("test folders have plain names")?;
    run(&[&["model"], args, &["--config", config]].concat())
}

/// What a command that went well printed for programs.
fn printed(site: &Site, args: &[&str]) -> anyhow::Result<Vec<Value>> {
    let output = model(site, &[args, &["--json"]].concat())?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn report(site: &Site, model: &str) -> anyhow::Result<Value> {
    printed(site, &["shadow", model])?.pop().context("one object")
}

fn refusal(site: &Site, args: &[&str]) -> anyhow::Result<String> {
    let output = model(site, args)?;
    ensure!(output.status.code() == Some(1), "{args:?} is refused");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn listed(site: &Site, name: &str) -> anyhow::Result<Value> {
    let rows = printed(site, &["list"])?;
    rows.into_iter().find(|row| row["name"] == name).with_context(|| format!("{name} in the list"))
}

async fn scores(site: &Site) -> anyhow::Result<f64> {
    let of = |outcome| format!("medulla_scores_total{{outcome=\"{outcome}\",scorer=\"news2\"}}");
    Ok(site.metric(&of("scored")).await? + site.metric(&of("insufficient")).await?)
}

/// Sends a hospital's day and waits until all of it is scored.
async fn play(site: &Site, seed: &str) -> anyhow::Result<()> {
    let before = scores(site).await?;
    let target = site.mllp_target();
    // Patients of their own: those of another day were told of within the refractory time.
    let first = format!("{seed}00");
    let numbers = ["--patients", "16", "--first-patient", &first];
    let story = ["simulate", "--to", &target, "--septic", "0.5", "--seed", seed];
    medulla(&[&story[..], &numbers[..]].concat())?;
    eventually("scores of all messages", Duration::from_secs(60), async || {
        let first = scores(site).await.ok().filter(|scores| *scores > before)?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        (scores(site).await.ok()? == first).then_some(())
    })
    .await
}

async fn alerts(site: &Site, model: &str) -> anyhow::Result<Vec<Value>> {
    let all = site.get("/api/alerts?limit=1000").await?;
    let of_it = all.as_array().into_iter().flatten().filter(|alert| alert["model"] == model);
    Ok(of_it.cloned().collect())
}

async fn board_shows(site: &Site, model: &str) -> anyhow::Result<bool> {
    let board = site.get("/api/patients").await?.to_string();
    Ok(board.contains(&format!("\"scorer\":\"{model}\"")))
}

/// The committed model under another name: what it would do is what the committed one does.
pub fn challenger(folder: &Path) -> anyhow::Result<PathBuf> {
    let (from, to) = (workspace_root().join("ml-scoring/models/sepsis"), folder.join(NEW));
    std::fs::create_dir(&to)?;
    for file in ["golden.json", "model.ubj"] {
        std::fs::copy(from.join(file), to.join(file))?;
    }
    let mut card: Value = serde_json::from_slice(&std::fs::read(from.join("card.json"))?)?;
    card["name"] = json!(NEW);
    std::fs::write(to.join("card.json"), card.to_string())?;
    Ok(to)
}

fn ticks(listing: &Listing) -> usize {
    listing.of_kind("tick", "a").count()
}

#[tokio::test]
async fn a_model_in_shadow_alerts_nobody_until_it_is_promoted() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let new = challenger(folder.path())?;
    let mut options = SiteOptions::with_sepsis_model();
    options.scoring.push_str(&format!("shadow_models = [{:?}]\n", new.display().to_string()));
    let mut site = Site::alone(folder.path(), &options).await?;
    // Counted is what follows the entry that says so.
    let is_noted = || listed(&site, NEW).is_ok_and(|row| row["shadow_at"] == json!(["a"]));
    eventually("the model in shadow", Duration::from_secs(30), async || is_noted().then_some(())).await?;
    play(&site, "3").await?;
    would_have_done_the_same(&site).await?;
    restarts_count_on(&mut site).await?;
    promoted(&site).await?;
    restarts_keep_it(&mut site).await
}

async fn would_have_done_the_same(site: &Site) -> anyhow::Result<()> {
    let (old, new) = (alerts(site, OLD).await?, alerts(site, NEW).await?);
    ensure!(!old.is_empty() && new.is_empty(), "{} alerts live, {} in shadow", old.len(), new.len());
    ensure!(board_shows(site, OLD).await? && !board_shows(site, NEW).await?, "nor does the board show it");
    let report = report(site, NEW)?;
    ensure!(report["alerts"] == old.len() && report["live"]["alerts"] == old.len(), "{report}");
    let hours = report["hours_scored"].as_u64().context("hours")?;
    let live = &report["live"];
    ensure!(
        live["both"].as_u64() > Some(0) && live["only_live"] == 0 && live["only_shadow"] == 0,
        "{report}"
    );
    ensure!(
        live["both"].as_u64().zip(live["neither"].as_u64()).map(|(a, b)| a + b) == Some(hours),
        "{report}"
    );
    ensure!(
        report["hours_not_in_intensive_care"].as_u64() > Some(0),
        "wards that it does not speak of: {report}"
    );
    ensure!(live["against"][0]["model"] == OLD && live["against"][0]["threshold"] == report["threshold"]);
    let rate = old.len() as f64 * 2400.0 / hours as f64;
    let told = report["alerts_per_100_patient_days"].as_f64().context("a rate")?;
    ensure!((told - rate).abs() < 1e-9, "{report}");
    let metric = |tier: &str| {
        let hash = report["hash"].as_str().unwrap_or_default();
        format!("medulla_shadow_alerts{{hash=\"{}\",model=\"{NEW}\",tier=\"{tier}\"}}", &hash[..12])
    };
    let counted = site.metric(&metric("watch")).await? + site.metric(&metric("interruptive")).await?;
    ensure!(counted == old.len() as f64, "{counted}");
    let row = listed(site, NEW)?;
    ensure!(
        row["here"] == "shadow" && row["shadow_at"] == json!(["a"]) && row["loaded_by"] == json!([]),
        "{row}"
    );
    let text = String::from_utf8(model(site, &["shadow", NEW])?.stdout)?;
    ensure!(text.contains("would alert") && text.contains("beside it     sepsis "), "{text}");
    Ok(())
}

/// After a kill what is not in the checkpoint is folded again; after a stop nothing is.
async fn restarts_count_on(site: &mut Site) -> anyhow::Result<()> {
    for kill in [true, false] {
        // An hour that closes meanwhile is one more.
        eventually("the same figures after a restart", Duration::from_secs(240), async || {
            let hour = ticks(&Listing::of(site).await.ok()?);
            let before = report(site, NEW).ok()?;
            let ended = if kill { site.kill_9() } else { site.stop() };
            ended.and_then(|()| site.start()).ok()?;
            site.ready().await.ok()?;
            let mut after = json!(null);
            for _ in 0..40 {
                after = report(site, NEW).ok().unwrap_or_default();
                if after == before {
                    return Some(Ok(()));
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            let has_closed = ticks(&Listing::of(site).await.ok()?) > hour;
            (!has_closed).then(|| Err(anyhow::anyhow!("{before} became {after}")))
        })
        .await??;
    }
    Ok(())
}

async fn promoted(site: &Site) -> anyhow::Result<()> {
    let before = alerts(site, OLD).await?.len();
    // No risk: said where it is written, before any site is asked.
    let no_risk = model(site, &["promote", NEW, "--threshold", "7", "--why", "x"])?;
    ensure!(no_risk.status.code() == Some(2));
    ensure!(
        refusal(site, &["promote", OLD, "--threshold", "0.5", "--why", "x", "--replaces", NEW])?
            .contains("[refused]")
    );
    ensure!(
        model(site, &["promote", NEW, "--threshold", "0.02"])?.status.code() == Some(2),
        "without saying why"
    );
    let promotion = ["promote", NEW, "--threshold", "0.02", "--interruptive", "0.99", "--replaces", OLD];
    let row = printed(site, &[&promotion[..], &["--why", "as good, and our own"]].concat())?.remove(0);
    let decided = &row["promoted"];
    ensure!(
        row["here"] == "live" && decided["why"] == "as good, and our own" && decided["by"].is_string(),
        "{row}"
    );
    ensure!(decided["threshold"] == 0.02 && decided["replaces"] == listed(site, OLD)?["hash"], "{row}");
    ensure!(listed(site, OLD)?["here"] == "shadow");
    ensure!(model(site, &["shadow", NEW])?.status.code() == Some(1), "it is in shadow no longer");

    play(site, "4").await?;
    ensure!(alerts(site, OLD).await?.len() == before, "the one that it replaced alerts nobody");
    ensure!(board_shows(site, NEW).await? && !board_shows(site, OLD).await?);
    let new = alerts(site, NEW).await?;
    ensure!(!new.is_empty(), "the one that was promoted alerts");
    for alert in &new {
        ensure!(alert["threshold"] == 0.02 && alert["risk"].as_f64() >= Some(0.02), "{alert}");
        ensure!(alert["tier"] == "watch", "nobody reached the site's own threshold for more: {alert}");
        let (code, again) = explained(site, alert["id"].as_str().context("an id")?)?;
        ensure!(code == Some(0) && again["equal"] == true && again["threshold"] == 0.02, "{again}");
    }
    let first = alerts(site, OLD).await?;
    let (code, again) = explained(site, first[0]["id"].as_str().context("an id")?)?;
    ensure!(
        code == Some(0) && again["threshold"] == first[0]["threshold"],
        "its alerts keep theirs: {again}"
    );
    let report = report(site, OLD)?;
    ensure!(
        report["since_index"] == decided["index"] && report["live"]["against"][0]["threshold"] == 0.02,
        "{report}"
    );
    ensure!(report["live"]["alerts"] == new.len() && report["alerts"].as_u64() > Some(0), "{report}");
    Ok(())
}

/// By the ledger alone: the configuration still says what it said.
async fn restarts_keep_it(site: &mut Site) -> anyhow::Result<()> {
    let old = alerts(site, OLD).await?.len();
    for (kill, seed) in [(true, "5"), (false, "6")] {
        let new = alerts(site, NEW).await?.len();
        if kill {
            site.kill_9()?
        } else {
            site.stop()?
        }
        site.start()?;
        site.ready().await?;
        play(site, seed).await?;
        ensure!(alerts(site, OLD).await?.len() == old, "the one that was replaced stays silent");
        ensure!(alerts(site, NEW).await?.len() > new, "the one that was promoted goes on");
        ensure!(listed(site, NEW)?["here"] == "live" && listed(site, OLD)?["here"] == "shadow");
    }
    let log = std::fs::read_to_string(site.folder.join("a.log"))?;
    ensure!(log.contains("is named in shadow_models and promoted by this entry"), "the log says so");
    ensure!(log.contains("by this entry another model took its place"), "also of the other one");
    Ok(())
}
