//! `medulla errors`: what was refused is found, repaired once, discarded, and the ledger says by whom.

use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Consortium, Line, Site, SiteOptions, eventually, medulla, run};
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

/// Posts FHIR to an address that is not its own, which is refused whatever is in it.
async fn post_astray(site: &Site, body: String) -> anyhow::Result<()> {
    let posted = reqwest::Client::new()
        .post(site.url("/fhir/Observation"))
        .header("Content-Type", "application/fhir+json")
        .body(body)
        .send()
        .await?;
    ensure!(posted.status() == 422, "{}", posted.status());
    Ok(())
}

fn patient(id: &str) -> String {
    format!(
        r#"{{"resourceType":"Patient","id":"p{id}","identifier":[{{"system":"urn:id:SIMHOSP","value":"{id}"}}]}}"#
    )
}

#[tokio::test]
async fn a_retry_is_tried_first_for_another_feed_and_in_fhir() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let config = site.config().to_str().context("a plain name")?.to_owned();
    let desk = Desk { config: config.clone() };
    post_astray(&site, patient("1")).await?;
    post_astray(&site, patient("2")).await?;
    let mut line = Line::open(site.mllp).await?;
    line.send(&admission("E1", "")).await?;
    let answers = line.answers(Duration::from_secs(20), 1).await;
    ensure!(answers.len() == 1 && !answers[0].starts_with("AA"), "{answers:?}");
    let open = desk.open(&[])?;
    let [first, second, hl7] = [open[0], open[1], open[2]].map(|index| index.to_string());
    ensure!(desk.open(&["--feed", "rest"])? == open[..2] && desk.open(&["--control-id", "p2"])? == [open[1]]);
    let show = |index: &str, how: &str| medulla(&["errors", "show", index, how, "--config", &config]);
    ensure!(show(&first, "--raw")? == patient("1") && show(&first, "--fhir")?.trim() == patient("1"));
    let bundle: Value = serde_json::from_str(&show(&hl7, "--fhir")?)?;
    ensure!(bundle["resourceType"] == "Bundle", "{bundle}");

    // Tried, nothing is written: neither by index, nor edited, nor in bulk.
    let size = site.ledger_status()?["size"].clone();
    let (fine, told, said) = desk.errors(&["retry", &first, "--dry-run"])?;
    let outcome = &told[0]["outcome"];
    ensure!(fine && outcome["accepted"] == true && outcome["messages"] == 1, "{said}");
    ensure!(outcome["difference"]["counts"]["added"].as_u64() > Some(0), "{said}");
    let file = folder.path().join("edited.hl7");
    let file = file.to_str().context("a plain name")?;
    std::fs::write(file, admission("E1", "4711"))?;
    let words = run(&["errors", "retry", &hl7, "--edit", file, "--dry-run", "--config", &config])?;
    let words = String::from_utf8(words.stdout)?;
    ensure!(words.contains("would be taken") && words.contains("admitted in ICU 1 1"), "{words}");
    let (fine, told, said) = desk.errors(&["retry", "--since", "2026-01-01T00:00:00Z", "--dry-run"])?;
    ensure!(!fine && told.len() == 3, "{said}");
    ensure!(told.iter().filter(|told| told["outcome"]["accepted"] == true).count() == 2, "{said}");
    ensure!(site.ledger_status()?["size"] == size && desk.open(&[])? == open);

    // Read for another feed it is that feed's message.
    let (fine, _, said) = desk.errors(&["retry", &first, "--as-feed", "nobody"])?;
    ensure!(!fine && said.contains("feed-unknown"), "{said}");
    let (fine, told, said) = desk.errors(&["retry", &first, "--as-feed", "adt"])?;
    ensure!(fine && told[0]["outcome"]["accepted"] == true, "{said}");
    let entry = site.get(&format!("/api/messages/{}", told[0]["outcome"]["became"][0])).await?;
    ensure!(entry["content"]["feed"] == "adt" && entry["content"]["again"]["of"] == open[0], "{entry}");

    // An edit may be as large as the feed takes it, and is told where it is larger.
    let note = |bytes: usize| format!("{}NTE|1||{}\r", admission("E1", "4711"), "x".repeat(bytes));
    std::fs::write(file, note(17 << 20))?;
    let (fine, _, said) = desk.errors(&["retry", &hl7, "--edit", file])?;
    ensure!(!fine && said.contains("too-large") && said.contains("feed adt takes"), "{said}");
    std::fs::write(file, note(3 << 20))?;
    let (fine, _, said) = desk.errors(&["retry", &hl7, "--edit", file])?;
    ensure!(fine && desk.open(&[])? == [open[1]], "{said}");
    std::fs::write(file, note(70 << 20))?;
    let (fine, _, said) = desk.errors(&["retry", &second, "--edit", file])?;
    ensure!(!fine && said.contains("too-large"), "{said}");
    Ok(())
}

#[tokio::test]
async fn what_several_sites_refused_waits_at_each_of_them() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let sites = Consortium::start(folder.path(), |_| SiteOptions::default()).await?;
    for site in &sites.sites {
        let mut line = Line::open(site.mllp).await?;
        // The same bytes to the same feed, twice: one error of this site's.
        for _ in 0..2 {
            line.send(&admission("E1", "")).await?;
        }
        let answers = line.answers(Duration::from_secs(20), 2).await;
        ensure!(answers.iter().all(|answer| !answer.starts_with("AA")), "{answers:?}");
        let desk = Desk { config: site.config().to_str().context("a plain name")?.to_owned() };
        let open = desk.open(&[])?;
        ensure!(open.len() == 1, "site {}: {open:?}", site.name);
        let shown = medulla(&["errors", "show", &open[0].to_string(), "--raw", "--config", &desk.config])?;
        ensure!(shown == admission("E1", ""), "it can be opened here: {shown}");
    }
    Ok(())
}
