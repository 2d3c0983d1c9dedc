//! `medulla replay`: what was misread is mended once the feed reads right, once, by somebody, and without an alert that
//! nobody asked for.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Line, Site, SiteOptions, eventually, medulla, run};
use serde_json::Value;

use crate::explain::explained;

const LIMIT: Duration = Duration::from_secs(20);

fn options() -> SiteOptions {
    let extra = "[[feed]]\nname = \"ward\"\nkind = \"mllp\"\nlisten = \"127.0.0.1:{mllp}\"\nauthority = \"SIMHOSP\"\n\
                 codes = \"ward.csv\"\n[[feed]]\nname = \"rest\"\nkind = \"http\"\nauthority = \"SIMHOSP\"\n";
    SiteOptions { extra: extra.into(), ..SiteOptions::default() }
}

/// What the ward's device calls P1 is a pulse, a rate of breaths, or nothing that anybody knows.
fn write_codes(folder: &Path, loinc: &str) -> anyhow::Result<()> {
    let known = if loinc.is_empty() { String::new() } else { format!("P1,SIM,{loinc},/min\n") };
    Ok(std::fs::write(folder.join("ward.csv"), format!("local_code,local_system,loinc,ucum\n{known}"))?)
}

fn admission(patient: &str) -> String {
    format!(
        "MSH|^~\\&|ADT|SIM|||20260301080000||ADT^A01|A{patient}|P|2.5\rEVN|A01|20260301080000\r\
         PID|1||{patient}^^^SIMHOSP^MR||Doe^Jane||19700101|F\rPV1|1|I|ICU^1^1\r"
    )
}

/// With a value that alarms as a rate of breaths, and three that do not; `minute` tells messages apart.
fn vital_signs(patient: &str, minute: u32) -> String {
    let at = format!("202603010{:02}00", 900 + minute);
    let sign = |number: u32, code: &str, value: &str, unit: &str| {
        format!("OBX|{number}|NM|{code}||{value}|{unit}|||||F|||{at}\r")
    };
    format!(
        "MSH|^~\\&|MON|SIM|||{at}||ORU^R01|R{patient}{minute}|P|2.5\rPID|1||{patient}^^^SIMHOSP^MR||Doe^Jane\r\
         OBR|1||F{patient}{minute}|VS^Vital signs^SIM|||{at}\r{}{}{}{}",
        sign(1, "P1^P1^SIM", "95", "/min"),
        sign(2, "2708-6^SpO2^LN", "98", "%"),
        sign(3, "8480-6^Systolic^LN", "120", "mm[Hg]"),
        sign(4, "8310-5^Temperature^LN", "37.0", "Cel"),
    )
}

struct Desk {
    site: Site,
    config: String,
}

impl Desk {
    /// Whether it ended with 0, what was read anew a message, the counts, and all that was said.
    fn replay(&self, arguments: &[&str]) -> anyhow::Result<(bool, Vec<Value>, Value, String)> {
        let output = run(&[&["replay", "--config", &self.config, "--json"], arguments].concat())?;
        let printed = String::from_utf8(output.stdout)?;
        let said = format!("{printed}{}", String::from_utf8_lossy(&output.stderr));
        let mut rows: Vec<Value> =
            printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let counts = rows.pop().with_context(|| said.clone())?;
        Ok((output.status.success(), rows, counts, said))
    }

    fn entries(&self, filter: &[&str]) -> anyhow::Result<Vec<Value>> {
        let listed = medulla(&[&["messages", "--json", "--config", &self.config], filter].concat())?;
        Ok(listed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    fn size(&self) -> anyhow::Result<u64> {
        self.site.ledger_status()?["size"].as_u64().context("a size")
    }

    /// As the code table is now.
    async fn restart(&mut self) -> anyhow::Result<()> {
        self.site.stop()?;
        self.site.start()?;
        self.site.ready().await
    }

    async fn send(&self, message: &str) -> anyhow::Result<()> {
        let mut line = Line::open(self.site.mllp).await?;
        line.send(message).await?;
        let answers = line.answers(LIMIT, 1).await;
        ensure!(answers.iter().all(|answer| answer.starts_with("AA")) && answers.len() == 1, "{answers:?}");
        Ok(())
    }

    /// Until the board shows so many twentieths of NEWS2 of the patient, 5 where one sign alone alarms; `None`: too little
    /// data.
    async fn points(&self, patient: &str, points: Option<u32>) -> anyhow::Result<()> {
        let expected = points.map(|points| f64::from(points) / 20.0);
        eventually(&format!("{points:?} points of {patient}"), LIMIT, async || {
            let board = self.site.get("/api/patients").await.ok()?;
            let row = board["patients"].as_array()?.iter().find(|row| row["id"] == patient)?.clone();
            let risk = row["risks"].as_array()?.first()?["risk"].as_f64();
            let equal = match (risk, expected) {
                (Some(risk), Some(expected)) => (risk - expected).abs() < 1e-6,
                (risk, expected) => risk.is_none() && expected.is_none(),
            };
            equal.then_some(())
        })
        .await
    }

    /// Ids of alerts about the patient, once the board has them.
    async fn alert(&self, patient: &str) -> anyhow::Result<String> {
        eventually(&format!("an alert about {patient}"), LIMIT, async || {
            let entries =
                self.entries(&["--kind", "alert", "--patient", &format!("SIMHOSP|{patient}")]).ok()?;
            let index = entries.first()?["index"].as_u64()?;
            let entry = self.site.get(&format!("/api/messages/{index}")).await.ok()?;
            Some(entry["content"]["facts"]["id"].as_str()?.to_owned())
        })
        .await
    }

    fn alerts(&self, patient: &str) -> anyhow::Result<usize> {
        Ok(self.entries(&["--kind", "alert", "--patient", &format!("SIMHOSP|{patient}")])?.len())
    }
}

#[tokio::test]
async fn what_was_misread_is_mended_once() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    write_codes(folder.path(), "")?;
    let site = Site::alone(folder.path(), &options()).await?;
    let config = site.config().to_str().context("a plain name")?.to_owned();
    let mut desk = Desk { site, config };
    for patient in ["A", "B"] {
        desk.send(&admission(patient)).await?;
        desk.send(&vital_signs(patient, 0)).await?;
        desk.points(patient, None).await?;
    }

    // P1 is a rate of breaths: what a replay would change is shown, and nothing is written.
    write_codes(folder.path(), "9279-1")?;
    desk.restart().await?;
    let size = desk.size()?;
    let (fine, rows, counts, said) = desk.replay(&["--feed", "ward", "--dry-run"])?;
    ensure!(fine && counts["changed"] == 2 && counts["same"] == 2 && counts["written"] == false, "{said}");
    let shown = rows.iter().find(|row| row["control_id"] == "RA0").with_context(|| said.clone())?;
    let difference = &shown["difference"];
    ensure!(difference["counts"]["changed"] == 1 && difference["counts"]["added"] == 0, "{shown}");
    let words = |which: usize| difference["changed"][0][which]["words"].as_str().unwrap_or_default();
    ensure!(
        words(0).contains("SIM P1") && words(1).contains("LOINC 9279-1") && words(1).contains("95 /min"),
        "{shown}"
    );
    let (fine, _, counts, said) = desk.replay(&["--feed", "ward"])?;
    ensure!(!fine && counts["changed"] == 2 && counts["written"] == false, "{said}");
    let (fine, _, counts, said) =
        desk.replay(&["--since", "2026-03-01T09:00:00+01:00", "--type", "ORU^R01", "--dry-run"])?;
    ensure!(fine && counts["messages"] == 2 && counts["changed"] == 2, "{said}");
    let (_, _, counts, said) = desk.replay(&["--feed", "rest", "--dry-run"])?;
    ensure!(counts["messages"] == 0 && desk.size()? == size, "{said}");

    // Replayed, it is known and alerts nobody; replayed with alerts, it does.
    let of_a = ["--patient", "SIMHOSP|A", "--reason", "code table mended", "--yes"];
    let (fine, rows, counts, said) = desk.replay(&of_a)?;
    ensure!(fine && counts["changed"] == 1 && counts["same"] == 1, "{said}");
    let became = rows.iter().find_map(|row| row["became"][0].as_u64()).with_context(|| said.clone())?;
    desk.points("A", Some(5)).await?;
    let (fine, _, counts, said) = desk.replay(&["--patient", "SIMHOSP|B", "--with-alerts", "--yes"])?;
    ensure!(fine && counts["changed"] == 1, "{said}");
    let of_b = desk.alert("B").await?;
    ensure!(desk.alerts("A")? == 0, "the replay of A came first and alerted nobody");
    ensure!(desk.site.metric("medulla_alert_seconds_count").await? == 0.0, "an old message has no latency");
    let (code, again) = explained(&desk.site, &of_b)?;
    ensure!(code == Some(0) && again["equal"] == true, "{again}");

    // The ledger says who did it and why, and what changed.
    let entry = desk.site.get(&format!("/api/messages/{became}")).await?;
    ensure!(entry["content"]["again"]["quiet"] == true && entry["content"]["control_id"] == "RA0", "{entry}");
    let acts = desk.entries(&["--kind", "repaired"])?;
    ensure!(acts.len() == 2, "{acts:?}");
    let act = desk.site.get(&format!("/api/messages/{}", acts[0]["index"])).await?;
    let act = &act["content"];
    ensure!(
        act["act"] == "replayed" && act["by"] == "local" && act["reason"] == "code table mended",
        "{act}"
    );
    ensure!(act["query"].as_str().is_some_and(|query| query.contains("SIMHOSP|A")), "{act}");
    let changed = &act["changed"];
    ensure!(changed["changed"] == 1 && changed["before_sha256"] != changed["after_sha256"], "{act}");

    // Once more, nothing is written, by whichever index it is named.
    let size = desk.size()?;
    for which in [&["--feed", "ward", "--yes"][..], &[&shown["index"].to_string()], &[&became.to_string()]] {
        let (fine, _, counts, said) = desk.replay(which)?;
        ensure!(fine && counts["messages"] == counts["same"] && counts["messages"] != 0, "{said}");
    }
    ensure!(desk.size()? == size);

    // What is so still alerts with the next message, and the alert is explained from the readings that count.
    desk.send(&vital_signs("A", 1)).await?;
    let of_a = desk.alert("A").await?;
    let (code, again) = explained(&desk.site, &of_a)?;
    ensure!(code == Some(0) && again["equal"] == true, "{again}");

    // P1 was a pulse all the time. The rate of breaths has counted by now: a replay says so and changes nothing.
    write_codes(folder.path(), "8867-4")?;
    desk.restart().await?;
    let size = desk.size()?;
    for how in ["--dry-run", "--yes"] {
        let (fine, _, counts, said) = desk.replay(&["--feed", "ward", how])?;
        ensure!(!fine && counts["counted"] == 3 && counts["changed"] == 0, "{said}");
        ensure!(said.contains("only their senders can correct that"), "{said}");
    }
    ensure!(desk.size()? == size);
    desk.points("A", Some(5)).await?;
    Ok(())
}

fn movement(trigger: &str, minute: u32, pv1: &str) -> String {
    let at = format!("202603010{:02}00", 900 + minute);
    format!(
        "MSH|^~\\&|ADT|SIM|||{at}||ADT^{trigger}|M{minute}|P|2.5\rEVN|{trigger}|{at}\r\
         PID|1||M^^^SIMHOSP^MR||Doe^Jane||19700101|F\rPV1|1|I{pv1}\r"
    )
}

#[tokio::test]
async fn a_movement_that_is_read_otherwise_stays_one_and_stays_cancelled() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    write_codes(folder.path(), "")?;
    let site = Site::alone(folder.path(), &options()).await?;
    let config = site.config().to_str().context("a plain name")?.to_owned();
    let mut desk = Desk { site, config };
    let lies_in = async |desk: &Desk, ward: &str| {
        eventually(&format!("the patient in {ward}"), LIMIT, async || {
            let board = desk.site.get("/api/patients").await.ok()?;
            let row = board["patients"].as_array()?.iter().find(|row| row["id"] == "M")?.clone();
            (row["ward"] == ward).then_some(())
        })
        .await
    };
    desk.send(&movement("A01", 0, "|W1^1^1")).await?;
    desk.send(&movement("A02", 1, "|ICU^1^1")).await?;
    lies_in(&desk, "ICU").await?;
    desk.send(&movement("A12", 2, "")).await?;
    lies_in(&desk, "W1").await?;

    // Now ICU is intensive care: the cancelled transfer is read otherwise, and is cancelled all the same.
    let text = std::fs::read_to_string(&desk.config)?;
    let mended = text.replace("codes = \"ward.csv\"\n", "codes = \"ward.csv\"\nicu_wards = [\"ICU\"]\n");
    ensure!(mended != text, "{text}");
    std::fs::write(&desk.config, mended)?;
    desk.restart().await?;
    let of_patient = ["--patient", "SIMHOSP|M", "--yes"];
    let (fine, _, counts, said) = desk.replay(&of_patient)?;
    ensure!(fine && counts["changed"] == 1 && counts["same"] == 2, "{said}");
    let (fine, _, counts, said) = desk.replay(&of_patient)?;
    ensure!(fine && counts["changed"] == 0, "{said}");
    // Behind what the replay wrote.
    desk.send(&movement("A08", 3, "").replace("Doe^Jane", "Doe^Joan")).await?;
    let renamed = eventually("the new name", LIMIT, async || {
        let board = desk.site.get("/api/patients").await.ok()?;
        let row = board["patients"].as_array()?.iter().find(|row| row["id"] == "M")?.clone();
        row["name"].as_str()?.contains("Joan").then_some(row)
    });
    let row = renamed.await?;
    ensure!(row["ward"] == "W1", "{row}");
    Ok(())
}

#[tokio::test]
async fn what_was_refused_is_taken_and_what_cannot_be_read_stays() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    write_codes(folder.path(), "9279-1")?;
    let site = Site::alone(folder.path(), &options()).await?;
    let config = site.config().to_str().context("a plain name")?.to_owned();
    let desk = Desk { site, config };
    // Refused for the address that it was sent to; and for a patient that nobody can name.
    let patient =
        r#"{"resourceType":"Patient","id":"p1","identifier":[{"system":"urn:id:SIMHOSP","value":"7"}]}"#;
    let posted = reqwest::Client::new()
        .post(desk.site.url("/fhir/Observation"))
        .header("Content-Type", "application/fhir+json")
        .body(patient)
        .send()
        .await?;
    ensure!(posted.status() == 422, "{}", posted.status());
    let mut line = Line::open(desk.site.mllp).await?;
    line.send(&admission("").replace("SIMHOSP", "")).await?;
    let answers = line.answers(LIMIT, 1).await;
    ensure!(answers.iter().all(|answer| !answer.starts_with("AA")) && answers.len() == 1, "{answers:?}");

    let rejected = ["--kind", "rejected", "--since", "2026-01-01T00:00:00Z"];
    let (fine, rows, counts, said) = desk.replay(&[&rejected[..], &["--dry-run"]].concat())?;
    ensure!(!fine && counts["taken"] == 1 && counts["refused"] == 1, "{said}");
    ensure!(rows.iter().any(|row| row["difference"]["counts"]["added"].as_u64() > Some(0)), "{said}");
    let (fine, _, counts, said) = desk.replay(&[&rejected[..], &["--yes"]].concat())?;
    ensure!(!fine && counts["taken"] == 1 && counts["refused"] == 1, "{said}");
    ensure!(desk.entries(&["--patient", "SIMHOSP|7", "--kind", "message"])?.len() == 1);
    // What was taken is open no longer; what was refused was not tried for the record.
    let (_, _, counts, said) = desk.replay(&[&rejected[..], &["--dry-run"]].concat())?;
    ensure!(counts["messages"] == 1 && counts["refused"] == 1, "{said}");
    ensure!(desk.entries(&["--kind", "repaired"])?.len() == 1);
    let (fine, _, _, said) = desk.replay(&["--code", "no-such-code", "--dry-run"])?;
    ensure!(fine, "{said}");
    Ok(())
}
