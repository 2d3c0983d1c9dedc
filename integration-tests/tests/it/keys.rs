//! `medulla keys rotate`, `backup` and `restore` at a site that runs and at one that does not: what was sealed opens as
//! before, whatever happens to the key store.

use std::path::Path;

use anyhow::{Context, ensure};
use integration_tests::{Listing, Site, SiteOptions, medulla, run};
use serde_json::Value;

#[tokio::test]
async fn keys_are_rotated_lost_and_restored_and_every_message_opens() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let config = text(&site.config())?;
    send(&site, "1")?;
    let keys = |more: &[&str]| -> anyhow::Result<Value> {
        let said = medulla(&[&["keys"], more, &["--json", "--config", &config]].concat())?;
        Ok(serde_json::from_str(&said)?)
    };
    let before = open(&site).await?;
    ensure!(before > 10, "{before} messages");

    let subjects = keys(&["rotate", "--subjects"])?;
    ensure!(subjects["keys"].as_u64() > Some(1) && subjects["master"].is_null(), "{subjects}");
    let master = keys(&["rotate"])?;
    let master_file = folder.path().join("keys/a/master-key.hex");
    ensure!(master["master"] == text(&master_file)?.as_str(), "{master}");
    send(&site, "2")?;
    let all = open(&site).await?;
    ensure!(all > before, "{all} messages after {before}");
    let backup = text(&folder.path().join("a.keys"))?;
    let made = keys(&["backup", &backup, "--days", "3"])?;
    ensure!(
        made["expires_ms"]
            .as_i64()
            .zip(made["made_ms"].as_i64())
            .is_some_and(|(end, at)| end - at == 259_200_000)
    );
    let refused = run(&["keys", "restore", &backup, "--config", &config])?;
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("stop it"), "{refused:?}");
    site.stop()?;

    // Its keys are lost; then its master key moves into a command, and the configuration follows.
    std::fs::remove_file(site.data().join("ledger/subjects.keys"))?;
    ensure!(keys(&["restore", &backup])?["keys"] == made["keys"]);
    let vault = folder.path().join("vault");
    std::fs::write(&vault, "0f".repeat(32))?;
    let moved =
        medulla(&["keys", "rotate", "--json", "--config", &config, "--to-command", "cat", &text(&vault)?])?;
    ensure!(serde_json::from_str::<Value>(&moved)?["keys"] == made["keys"], "{moved}");
    let started = run(&["run", "--config", &config])?;
    ensure!(String::from_utf8_lossy(&started.stderr).contains("another master key"), "{started:?}");
    std::fs::remove_file(&master_file)?;
    let written = std::fs::read_to_string(site.config())?;
    let command = format!("[ledger]\nmaster_key_command = [\"cat\", {:?}]\n", text(&vault)?);
    std::fs::write(site.config(), written.replacen("[ledger]\n", &command, 1))?;
    medulla(&["validate", "--config", &config])?;
    site.start()?;
    site.ready().await?;
    ensure!(open(&site).await? == all, "messages that opened before");
    send(&site, "3")?;
    ensure!(open(&site).await? > all);
    site.stop()
}

fn send(site: &Site, seed: &str) -> anyhow::Result<()> {
    let to = site.mllp_target();
    medulla(&["simulate", "--to", &to, "--patients", "5", "--rate", "500", "--seed", seed, "--json"])
        .map(drop)
}

/// How many messages the site opens; none may be sealed for it.
async fn open(site: &Site) -> anyhow::Result<usize> {
    let listing = Listing::of(site).await?;
    ensure!(
        listing.of_kind("message", "a").all(|row| row.sha256.is_some()),
        "a message is sealed for its own site"
    );
    Ok(listing.count_incoming("a"))
}

fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("test folders have plain names")?.to_owned())
}
