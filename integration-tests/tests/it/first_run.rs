//! One site, the simulated hospital over MLLP: what was sent is in the ledger once, and alerts came of it.

use std::time::Duration;

use integration_tests::{Site, SiteOptions, control_ids, eventually, medulla};

#[tokio::test]
async fn a_site_keeps_scores_and_alerts() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::with_sepsis_model()).await?;
    let truth = folder.path().join("truth.jsonl");
    let target = site.mllp_target();
    let arguments =
        ["simulate", "--to", &target, "--patients", "20", "--septic", "0.4", "--seed", "5", "--json"];
    let sent = medulla(&[&arguments[..], &["--truth", truth.to_str().unwrap()]].concat())?;
    let sent: serde_json::Value = serde_json::from_str(&sent)?;

    let truth = std::fs::read_to_string(truth)?;
    let count = |expected: &str| truth.matches(&format!("\"expected\":\"{expected}\"")).count() as u64;
    assert_eq!(sent["accepted"], count("committed") + count("duplicate"));
    assert_eq!(sent["refused"], count("rejected"));
    let alerts = eventually("an alert", Duration::from_secs(20), async || {
        let alerts = site.get("/api/alerts").await.ok()?;
        alerts.as_array().filter(|alerts| !alerts.is_empty()).cloned()
    });
    assert!(alerts.await?.iter().all(|alert| alert["risk"].as_f64() >= alert["threshold"].as_f64()));

    let before = site.ledger_status()?;
    let (passed, said) = site.ledger_verify()?;
    assert!(passed, "{said}");
    site.stop()?;
    site.start()?;
    site.ready().await?;
    let after = site.ledger_status()?;
    assert!(after["size"].as_u64() >= before["size"].as_u64(), "a restart keeps every leaf");
    Ok(())
}

/// Every message that got its AA before the process died is there after it, exactly once.
#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let truth = folder.path().join("truth.jsonl");
    let (target, truth_path) = (site.mllp_target(), truth.to_str().unwrap().to_owned());
    let sender = tokio::task::spawn_blocking(move || {
        medulla(&[
            "simulate",
            "--to",
            &target,
            "--patients",
            "30",
            "--rate",
            "400",
            "--json",
            "--truth",
            &truth_path,
        ])
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        site.kill_9()?;
        site.start()?;
        site.ready().await?;
    }
    let sent: serde_json::Value = serde_json::from_str(&sender.await??)?;
    assert!(sent["reconnects"].as_u64() >= Some(1), "the kills must have hit the sender: {sent}");
    let truth = std::fs::read_to_string(truth)?;
    let mut expected: Vec<String> = Vec::new();
    for line in truth.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        if line["expected"] == "committed" {
            expected.push(line["control_id"].as_str().unwrap().to_owned());
        }
    }
    let mut kept = control_ids(&site, "message").await?;
    expected.sort();
    kept.sort();
    assert_eq!(kept, expected);
    Ok(())
}
