//! Damage under a whole site, a backup of it, and a ledger that goes on from one.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Consortium, Site, SiteOptions, eventually, medulla, run};
use serde_json::Value;

/// Of Linux: opening a pipe that nobody reads fails instead of waiting.
const O_NONBLOCK: i32 = 0o4000;

#[tokio::test]
async fn a_damaged_ledger_heals_at_the_start_and_while_the_site_runs() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut sites = Consortium::start(folder.path(), |_| SiteOptions::default()).await?;
    send(&sites.sites[0], "1")?;
    let before = sites.agree().await?;

    let c = &mut sites.sites[2];
    c.stop()?;
    damage(c)?;
    c.start()?;
    c.ready().await?;
    ensure!(set_aside(c) == 1, "the damaged database is kept");
    ensure!(sites.agree().await? == before, "what was there is there");
    whole(&sites).await?;

    // Restarted, so that it reads from the disk and not from its memory.
    let c = &mut sites.sites[2];
    c.stop()?;
    c.start()?;
    c.ready().await?;
    damage(c)?;
    let id = c.process().id();
    // Reads everything, if nobody has met the damage before; the site may stop while it answers.
    let _ = c.ledger_verify()?;
    let healed = eventually("a site that has healed", Duration::from_secs(60), async || {
        let status = c.get("/api/ledger").await.ok()?;
        (status["damage"].is_null() && set_aside(c) == 2).then_some(())
    });
    healed.await?;
    c.ready().await?;
    ensure!(c.process().id() == id && c.process().is_running(), "the process was to begin anew, not to end");
    ensure!(c.metric("medulla_ledger_damaged").await? == 0.0, "the metric is back");
    send(&sites.sites[2], "2")?;
    sites.agree().await?;
    whole(&sites).await
}

/// It says that it heals as long as nobody helps.
#[tokio::test]
async fn a_site_that_heals_is_not_ready_and_says_why() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut sites, backup) = backed_up(folder.path()).await?;
    for site in &mut sites.sites {
        site.stop()?;
    }
    let c = &mut sites.sites[2];
    restore_over(c, &backup)?;
    c.start()?;
    c.up().await?;
    c.kill_9()?;
    damage(c)?;
    c.start()?;
    let healing = eventually("a site that heals", Duration::from_secs(60), async || {
        let status = c.ledger_status().ok()?;
        (status["role"] == "healing" && status["damage"].is_string()).then_some(())
    });
    healing.await?;
    ensure!(c.text("/readyz").await.is_err(), "a site that heals is not ready");
    ensure!(c.metric("medulla_ledger_healing").await? == 1.0, "the metric tells");
    c.stop()
}

/// It came back from a backup as a new node: its raft log begins behind what the ledger held then.
#[tokio::test]
async fn a_ledger_that_the_log_cannot_bring_back_is_fetched_from_a_peer() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut sites, backup) = backed_up(folder.path()).await?;
    let c = &mut sites.sites[2];
    c.stop()?;
    restore_over(c, &backup)?;
    c.start()?;
    c.up().await?;
    let config = text(&sites.sites[0].config())?;
    for step in ["add", "promote"] {
        let done = async || medulla(&["site", step, "c", "--config", &config]).ok();
        eventually("site c as a member", Duration::from_secs(60), done).await?;
    }
    let before = sites.agree().await?;

    let c = &mut sites.sites[2];
    c.ready().await?;
    c.stop()?;
    damage(c)?;
    c.start()?;
    c.ready().await?;
    ensure!(c.process().has_said("fetching the ledger from a peer"), "{}", c.process().tail());
    ensure!(set_aside(c) == 1, "the damaged database is kept");
    ensure!(sites.agree().await? == before, "what was there is there");
    whole(&sites).await
}

/// Also while it waits for a disk.
#[tokio::test]
async fn a_site_that_heals_ends_when_it_is_told_to() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    site.stop()?;
    // Whoever opens it waits for somebody who writes.
    let mark = site.data().join("ledger/ledgerdb/DAMAGED");
    ensure!(Command::new("mkfifo").arg(&mark).status()?.success(), "no pipe");
    site.start()?;
    let opened = || OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(&mark);
    let pipe = eventually("a site that reads", Duration::from_secs(60), async || opened().ok()).await;
    let log = site.process().tail();
    let pipe = pipe.context(log)?;
    site.stop()?;
    drop(pipe);
    std::fs::remove_file(&mark)?;
    site.start()?;
    site.ready().await?;
    site.stop()
}

#[tokio::test]
async fn a_new_consortium_goes_on_where_a_lost_one_was_backed_up() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let old = folder.path().join("old");
    std::fs::create_dir(&old)?;
    let mut site = Site::alone(&old, &SiteOptions::default()).await?;
    send(&site, "1")?;
    let backup = folder.path().join("backup");
    let first = back_up(&site, &backup)?;
    let again = back_up(&site, &backup)?;
    ensure!(again["bytes_reused"].as_u64() > Some(0), "nothing was reused: {again}");
    site.stop()?;
    let stopped = back_up(&site, &backup)?;
    ensure!(stopped["size"].as_u64() >= first["size"].as_u64(), "{stopped}");

    let new = folder.path().join("new");
    let (keys, former) = (text(&new.join("keys"))?, text(&old.join("keys"))?);
    medulla(&["keys", "init", "--dir", &keys, "--site", "a", "--continue", &former])?;
    let mut next = Site::new("a", &new);
    next.write_config(&[], true, &SiteOptions::default())?;
    let refused = run(&["ledger", "restore", &text(&backup)?, "--config", &text(&next.config())?])?;
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("--new-consortium"), "{refused:?}");
    let made = restore(&next, &backup, &["--new-consortium"])?;
    ensure!(made["root"] == stopped["root"], "{made}");
    std::fs::copy(site.data().join("ledger/subjects.keys"), next.data().join("ledger/subjects.keys"))?;
    next.start()?;
    next.ready().await?;
    let (size, root) = (stopped["size"].as_u64().context("a size")?, stopped["root"].clone());
    let status = next.ledger_status()?;
    ensure!(status["size"].as_u64() >= Some(size), "{status} after {root}");
    send(&next, "2")?;
    let (passed, said) = next.ledger_verify()?;
    ensure!(passed, "{said}");
    let before = next.ledger_status()?["size"].as_u64();
    ensure!(before > Some(size), "nothing new was committed");
    next.stop()
}

/// A ledger from the backup is behind its raft log's beginning, so the log alone cannot bring it back.
async fn backed_up(folder: &Path) -> anyhow::Result<(Consortium, PathBuf)> {
    let sites = Consortium::start(folder, |_| SiteOptions::default()).await?;
    send(&sites.sites[0], "1")?;
    sites.agree().await?;
    let backup = folder.join("backup");
    back_up(&sites.sites[0], &backup)?;
    Ok((sites, backup))
}

async fn whole(sites: &Consortium) -> anyhow::Result<()> {
    for site in &sites.sites {
        let (passed, said) = site.ledger_verify()?;
        ensure!(passed, "site {}: {said}", site.name);
    }
    Ok(())
}

fn send(site: &Site, seed: &str) -> anyhow::Result<()> {
    let to = site.mllp_target();
    medulla(&["simulate", "--to", &to, "--patients", "10", "--rate", "500", "--seed", seed, "--json"])
        .map(drop)
}

fn back_up(site: &Site, folder: &Path) -> anyhow::Result<Value> {
    let args = ["ledger", "backup", &text(folder)?, "--config", &text(&site.config())?, "--json"];
    Ok(serde_json::from_str(&medulla(&args)?)?)
}

/// In the place of what the site had.
fn restore_over(site: &Site, folder: &Path) -> anyhow::Result<Value> {
    for name in ["raftdb", "sitedb", "ledgerdb"] {
        std::fs::remove_dir_all(site.data().join("ledger").join(name))?;
    }
    restore(site, folder, &[])
}

fn restore(site: &Site, folder: &Path, more: &[&str]) -> anyhow::Result<Value> {
    let (folder, config) = (text(folder)?, text(&site.config())?);
    let args = [&["ledger", "restore", &folder, "--config", &config, "--json"], more].concat();
    Ok(serde_json::from_str(&medulla(&args)?)?)
}

/// In the first block of each table, which an opening does not read.
fn damage(site: &Site) -> anyhow::Result<()> {
    let ledgerdb = site.data().join("ledger/ledgerdb");
    let current = std::fs::read_to_string(ledgerdb.join("CURRENT"))?;
    let mut tables = 0;
    for entry in std::fs::read_dir(ledgerdb.join(current.trim()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sst") {
            let mut bytes = std::fs::read(&path)?;
            *bytes.get_mut(12).context("a table")? ^= 0x40;
            std::fs::write(&path, bytes)?;
            tables += 1;
        }
    }
    ensure!(tables > 0, "no table in {}", ledgerdb.display());
    Ok(())
}

/// The number of the database that was set aside last; 0 if none was.
fn set_aside(site: &Site) -> u64 {
    let entries = std::fs::read_dir(site.data().join("ledger")).into_iter().flatten().flatten();
    let names = entries.map(|entry| PathBuf::from(entry.file_name()).display().to_string());
    let numbers = names.filter_map(|name| name.strip_prefix("ledgerdb.damaged-")?.parse().ok());
    numbers.max().unwrap_or(0)
}

fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("test folders have plain names")?.to_owned())
}
