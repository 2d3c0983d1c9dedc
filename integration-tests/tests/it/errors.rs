//! `medulla errors`: what was refused is found, repaired once, discarded, and the ledger says by whom.

use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Line, Site, SiteOptions, eventually, medulla, run};
use serde_json::Value;

/// An admission; without an id nobody can tell whose it is.
fn admission(control_id: &str, patient: &str) -> String {
    format!(
        "MSH|^~\\&|ADT|SIM|||20260301080000||ADT^A01|{control_id}|P|2.5\rEVN|A01|20260301080000\r\
         PID|1||{patient}^^^SIMHOSP^MR||Doe^Jane||19700101|F\rPV1|1|I|ICU^1^1\r"
    )
}

struct Desk {
    config: String,
}

impl Desk {
    fn errors(&self, arguments: &[&str]) -> anyhow::Result<(bool, Vec<Value>, String)> {
        let output =
            run(&[&["errors", arguments[0], "--config", &self.config, "--json"], &arguments[1..]].concat())?;
        let printed = String::from_utf8(output.stdout)?;
        let rows = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok((output.status.success(), rows, format!("{printed}{}", String::from_utf8_lossy(&output.stderr))))
    }

    fn open(&self, filter: &[&str]) -> anyhow::Result<Vec<u64>> {
        let (fine, rows, said) = self.errors(&[&["list"], filter].concat())?;
        ensure!(fine, "{said}");
        Ok(rows.iter().filter_map(|row| row["index"].as_u64()).collect())
    }
}

#[tokio::test]
async fn refused_messages_are_repaired_once_and_by_somebody() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let config = site.config().to_str().context("a plain name")?.to_owned();
    let desk = Desk { config: config.clone() };
    let mut line = Line::open(site.mllp).await?;
    for control_id in ["E1", "E2", "E3"] {
        line.send(&admission(control_id, "")).await?;
    }
    let answers = line.answers(Duration::from_secs(20), 3).await;
    ensure!(answers.len() == 3 && answers.iter().all(|answer| !answer.starts_with("AA")), "{answers:?}");
    let open = desk.open(&[])?;
    ensure!(open.len() == 3 && desk.open(&["--control-id", "E2"])? == [open[1]], "{open:?}");
    ensure!(desk.open(&["--code", "no-such-code"])?.is_empty() && desk.open(&["--feed", "rest"])?.is_empty());

    let first = open[0].to_string();
    let raw = medulla(&["errors", "show", &first, "--raw", "--config", &config])?;
    ensure!(raw == admission("E1", ""), "the bytes as they came");
    let tree = medulla(&["errors", "show", &first, "--tree", "--config", &config])?;
    ensure!(tree.contains("PV1-3  ICU^1^1"), "{tree}");

    // As it came it is refused again, says why, and stays.
    let (fine, told, said) = desk.errors(&["retry", &first])?;
    ensure!(!fine && told[0]["outcome"]["accepted"] == false, "{said}");
    ensure!(told[0]["outcome"]["issues"].as_array().is_some_and(|issues| !issues.is_empty()), "{said}");
    ensure!(desk.open(&[])?.len() == 3);

    // Edited it is taken, flows as any message does, and cannot be taken twice.
    let file = folder.path().join("edited.hl7");
    std::fs::write(&file, admission("E1", "4711"))?;
    let file = file.to_str().context("a plain name")?;
    let (fine, told, said) = desk.errors(&["retry", &first, "--edit", file, "--reason", "id was missing"])?;
    ensure!(fine && told[0]["outcome"]["accepted"] == true, "{said}");
    let became = told[0]["outcome"]["became"][0].as_u64().context("an index")?;
    let of_patient = || {
        medulla(&[
            "messages",
            "--patient",
            "SIMHOSP|4711",
            "--kind",
            "message",
            "--json",
            "--config",
            &config,
        ])
    };
    ensure!(of_patient()?.lines().count() == 1);
    let on_board = eventually("the patient on the board", Duration::from_secs(20), async || {
        let board = site.get("/api/patients").await.ok()?;
        board["patients"].as_array()?.iter().any(|patient| patient["id"] == "4711").then_some(())
    });
    on_board.await?;
    let (fine, _, said) = desk.errors(&["retry", &first, "--edit", file])?;
    ensure!(!fine && said.contains("closed"), "{said}");
    ensure!(of_patient()?.lines().count() == 1 && desk.open(&[])? == open[1..]);

    // Both are kept, and who did it.
    let shown: Value = serde_json::from_str(&medulla(&["errors", "show", &first, "--config", &config])?)?;
    let acts = shown["acts"].as_array().context("acts")?;
    ensure!(acts.len() == 2 && acts[0][1]["act"] == "refused" && acts[1][1]["act"] == "accepted", "{shown}");
    ensure!(acts[1][1]["by"] == "local" && acts[1][1]["reason"] == "id was missing", "{shown}");
    ensure!(acts[1][1]["original_sha256"] != acts[1][1]["repaired_sha256"]);
    ensure!(shown["row"]["became"][0] == became && shown["row"]["state"] == "repaired", "{shown}");

    // What the sender has sent right meanwhile closes the error and makes no second entry.
    line.send(&admission("E2", "4712")).await?;
    ensure!(line.answers(Duration::from_secs(20), 1).await == ["AA E2"]);
    std::fs::write(file, admission("E2", "4712"))?;
    let (fine, told, said) = desk.errors(&["retry", &open[1].to_string(), "--edit", file])?;
    ensure!(fine && told[0]["outcome"]["duplicate"] == true, "{said}");

    // In bulk only when it is meant, and a restart forgets nothing.
    let bulk = ["discard", "--feed", "adt", "--reason", "test messages"];
    let (fine, _, said) = desk.errors(&bulk)?;
    ensure!(!fine && desk.open(&[])? == open[2..], "{said}");
    let (fine, _, said) = desk.errors(&[&bulk[..], &["--yes"]].concat())?;
    ensure!(fine && desk.open(&[])?.is_empty(), "{said}");
    site.stop()?;
    site.start()?;
    site.ready().await?;
    ensure!(desk.open(&[])?.is_empty() && desk.open(&["--all"])? == open);
    let audited = medulla(&["messages", "--kind", "repaired", "--json", "--config", &config])?;
    ensure!(audited.lines().count() == 4, "{audited}");
    Ok(())
}
