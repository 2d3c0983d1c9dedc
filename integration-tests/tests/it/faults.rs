//! Three sites over MLLP: no answer without a quorum, nothing acknowledged lost, equal roots, damage named.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{
    Consortium, Line, Listing, SiteOptions, TruthFile, admission, eventually, medulla, run,
};
use serde_json::Value;

const MESSAGES: usize = 20;

/// One peer hangs and one is dead.
#[tokio::test]
async fn without_living_peers_no_positive_answer_leaves() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut sites = Consortium::start(folder.path(), |_| SiteOptions::default()).await?;
    let line = answered_once(&sites).await?;
    sites.sites[1].process().signal("STOP")?;
    sites.sites[2].kill_9()?;
    let line = unanswered(line).await?;
    sites.sites[1].process().signal("CONT")?;
    sites.sites[2].start()?;
    sites.sites[2].ready().await?;
    all_answered_after_healing(sites, line).await
}

/// One peer hangs and one, alive, is cut off by the network.
#[tokio::test]
async fn without_reachable_peers_no_positive_answer_leaves() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut sites, network) = Consortium::start_linked(folder.path(), |_| SiteOptions::default()).await?;
    let line = answered_once(&sites).await?;
    sites.sites[1].process().signal("STOP")?;
    network.cut_off("c");
    let line = unanswered(line).await?;
    sites.sites[1].process().signal("CONT")?;
    network.heal("c");
    all_answered_after_healing(sites, line).await
}

async fn answered_once(sites: &Consortium) -> anyhow::Result<Line> {
    let mut line = Line::open(sites.sites[0].mllp).await?;
    line.send(&admission("0")).await?;
    ensure!(line.answers(Duration::from_secs(20), 1).await == ["AA 0"], "a first one is answered");
    Ok(line)
}

async fn unanswered(mut line: Line) -> anyhow::Result<Line> {
    for number in 1..=MESSAGES {
        line.send(&admission(&number.to_string())).await?;
    }
    let early = line.answers(Duration::from_secs(8), 1).await;
    ensure!(early.is_empty(), "answered without a quorum: {early:?}");
    Ok(line)
}

async fn all_answered_after_healing(mut sites: Consortium, mut line: Line) -> anyhow::Result<()> {
    // A real sender: what stays without an answer is sent again on a new connection.
    let mut open: Vec<usize> = (1..=MESSAGES).collect();
    for _ in 0..10 {
        for answer in line.answers(Duration::from_secs(20), open.len()).await {
            let number = answer.strip_prefix("AA ").with_context(|| format!("not accepted: {answer}"))?;
            let number: usize = number.parse()?;
            open.retain(|other| *other != number);
        }
        if open.is_empty() {
            break;
        }
        line = Line::open(sites.sites[0].mllp).await?;
        for number in &open {
            line.send(&admission(&number.to_string())).await?;
        }
    }
    ensure!(open.is_empty(), "not answered after healing: {open:?}");
    sites.agree().await?;
    let expected: Vec<String> = (0..=MESSAGES).map(|number| number.to_string()).collect();
    for site in &sites.sites {
        let listing = Listing::of(site).await?;
        ensure!(listing.count_incoming("a") == expected.len(), "each is there once at {}", site.name);
    }
    let listing = Listing::of(&sites.sites[0]).await?;
    let mut kept: Vec<String> =
        listing.of_kind("message", "a").filter_map(|row| row.control_id.clone()).collect();
    kept.sort_by_key(|id| id.parse::<usize>().ok());
    ensure!(kept == expected, "{kept:?}");
    for site in &mut sites.sites {
        site.stop()?;
    }
    Ok(())
}

#[tokio::test]
async fn each_site_killed_in_turn_loses_nothing_acknowledged() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut sites = Consortium::start(folder.path(), |_| SiteOptions::default()).await?;
    // Victims while `a` receives, then `a` itself while `b` receives.
    for (receiver, victims, seed) in [(0, &[2, 1][..], "21"), (1, &[0][..], "22")] {
        let truth = folder.path().join(format!("truth-{seed}.jsonl"));
        let (target, file) = (sites.sites[receiver].mllp_target(), truth.display().to_string());
        let sender = tokio::task::spawn_blocking(move || {
            let common = ["simulate", "--to", &target, "--patients", "70", "--rate", "150", "--json"];
            medulla(&[&common[..], &["--seed", seed, "--truth", &file]].concat())
        });
        for victim in victims {
            let before = sites.sites[receiver].ledger_status()?["size"].as_u64();
            let more = eventually("load", Duration::from_secs(60), async || {
                let size = sites.sites[receiver].ledger_status().ok()?["size"].as_u64();
                (size > before.map(|size| size + 100)).then_some(())
            });
            more.await?;
            sites.sites[*victim].kill_9()?;
            sites.sites[*victim].start()?;
            sites.sites[*victim].ready().await?;
            ensure!(!sender.is_finished(), "site {victim} was to be killed under load");
        }
        let sent: Value = serde_json::from_str(&sender.await??)?;
        let truth = TruthFile::read(&truth)?;
        let accepted = truth.count("committed") + truth.count("duplicate");
        ensure!(sent["accepted"] == accepted && sent["refused"] == truth.count("rejected"), "{sent}");
        holds(&sites, receiver, &truth).await?;
    }
    let (size, root) = sites.agree().await?;
    for site in &sites.sites {
        let (passed, said) = site.ledger_verify()?;
        ensure!(passed, "site {}: {said}", site.name);
    }
    println!("size {size}, root {root} at all three sites after each was killed");
    one_flipped_byte_is_named(&sites, folder.path())
}

/// Everything acknowledged is there once.
async fn holds(sites: &Consortium, receiver: usize, truth: &TruthFile) -> anyhow::Result<()> {
    let site = &sites.sites[receiver];
    let listing = Listing::of(site).await?;
    let kept: Vec<(String, String)> = listing
        .of_kind("message", &site.name)
        .map(|row| (row.control_id.clone().unwrap_or_default(), row.sha256.clone().unwrap_or_default()))
        .collect();
    let expected = truth.committed();
    ensure!(kept.len() == expected.len(), "{} messages kept of {}", kept.len(), expected.len());
    ensure!(kept.iter().all(|one| expected.contains(one)), "kept and sent differ");
    Ok(())
}

fn one_flipped_byte_is_named(sites: &Consortium, folder: &Path) -> anyhow::Result<()> {
    let export = folder.join("export");
    sites.sites[0].export(&export)?;
    let at = export.to_str().context("a plain name")?;
    medulla(&["ledger", "verify", at])?;
    let files = files_below(&export)?;
    ensure!(!files.is_empty(), "the export is empty");
    for file in files {
        let good = std::fs::read(&file)?;
        let mut bad = good.clone();
        let Some(byte) = bad.get_mut(good.len() / 2) else { continue };
        *byte ^= 1;
        std::fs::write(&file, &bad)?;
        let judged = run(&["ledger", "verify", at, "--json"])?;
        let said = String::from_utf8(judged.stdout)? + String::from_utf8(judged.stderr)?.as_str();
        let name = file.strip_prefix(&export)?.display().to_string();
        ensure!(judged.status.code() == Some(1), "{name}: a flipped byte passed: {said}");
        ensure!(said.contains(&name), "{name} is not named: {said}");
        println!("flipped a byte of {name}: {}", said.trim().chars().take(200).collect::<String>());
        std::fs::write(&file, &good)?;
    }
    medulla(&["ledger", "verify", at]).map(drop)
}

fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}
