//! A site loses its disk: it is refused, told how to come back, and comes back by just that.

use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Consortium, Line, SiteOptions, admission, eventually, medulla, run};
use serde_json::Value;

#[tokio::test]
async fn a_wiped_site_comes_back_by_the_commands_that_it_is_told() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut sites = Consortium::start(folder.path(), |_| SiteOptions::default()).await?;
    for (number, site) in sites.sites.iter().enumerate() {
        committed(site.mllp, number).await?;
    }
    let before = sites.agree().await?;

    let wiped = &mut sites.sites[1];
    wiped.stop()?;
    std::fs::remove_dir_all(wiped.data())?;
    wiped.start()?;
    wiped.up().await?;
    let told = eventually("what to do, at the wiped site", Duration::from_secs(60), async || {
        wiped.get("/api/ledger").await.ok()?["notice"].as_str().map(str::to_owned)
    });
    let told = told.await?;
    let commands: Vec<&str> = told.split('`').filter(|part| part.starts_with("medulla site ")).collect();
    ensure!(commands == ["medulla site add b", "medulla site promote b"], "{told}");
    // It starts again by itself; until it is added it holds nothing and says so to whoever asks.
    let empty = eventually("the wiped site as a new node", Duration::from_secs(60), async || {
        let status = wiped.get("/api/ledger").await.ok()?;
        (status["size"] == 0 && status["role"] == "learner" && status["notice"].is_string()).then_some(())
    });
    empty.await?;

    // Word for word, at another site.
    let config = sites.sites[0].config();
    let config = config.to_str().context("test folders have plain names")?;
    for command in commands {
        let words: Vec<&str> = command.split(' ').skip(1).chain(["--config", config]).collect();
        let done = async || run(&words).ok().filter(|output| output.status.success());
        eventually(command, Duration::from_secs(60), done).await?;
    }
    let listed = medulla(&["site", "list", "--json", "--config", config])?;
    let members = listed.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    ensure!(members.len() == 3, "{listed}");
    let back = members.iter().find(|member| member["site"] == "b").context("b is listed")?;
    ensure!(back["role"] == "voter" && back["reachable"] == true, "{listed}");
    ensure!(back["node"].as_u64() > Some(2), "another disk is another node: {listed}");

    sites.sites[1].ready().await?;
    committed(sites.sites[1].mllp, 10).await?;
    let after = sites.agree().await?;
    ensure!(after.0 > before.0, "{before:?} {after:?}");
    let (verified, said) = sites.sites[1].ledger_verify()?;
    ensure!(verified, "{said}");
    let again = run(&["site", "add", "b", "--config", config])?;
    let said = String::from_utf8(again.stderr)?;
    ensure!(!again.status.success() && said.contains("is a member already"), "{said}");
    ensure!(sites.sites[1].get("/api/ledger").await?["notice"].is_null(), "it takes part again");

    // The new one counts: it leads, and with it the others can go.
    medulla(&["site", "lead", "b", "--config", config])?;
    ensure!(sites.leader().await? == 1, "b leads");
    medulla(&["site", "remove", "a", "--config", config])?;
    committed(sites.sites[2].mllp, 11).await?;
    Ok(())
}

/// One message, acknowledged.
async fn committed(mllp: u16, number: usize) -> anyhow::Result<()> {
    let mut line = Line::open(mllp).await?;
    line.send(&admission(&number.to_string())).await?;
    let answers = line.answers(Duration::from_secs(30), 1).await;
    ensure!(answers == [format!("AA {number}")], "{answers:?}");
    Ok(())
}
