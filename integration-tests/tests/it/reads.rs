//! `medulla messages`: what an engineer finds in a ledger of three sites, and how fresh it is.

use anyhow::{Context, ensure};
use integration_tests::{Consortium, Site, SiteOptions, medulla, run};
use serde_json::Value;

fn find(site: &Site, filter: &[&str]) -> anyhow::Result<Vec<Value>> {
    let config = site.config();
    let config = config.to_str().context("test folders have plain names")?;
    let printed = medulla(&[&["messages", "--config", config, "--json"], filter].concat())?;
    printed.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[tokio::test]
async fn entries_are_found_by_what_one_knows_of_them() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut sites = Consortium::start(folder.path(), |_| SiteOptions::default()).await?;
    let (a, b) = (&sites.sites[0], &sites.sites[1]);
    let arguments = ["simulate", "--patients", "6", "--hours", "8", "--seed", "3", "--to", &a.mllp_target()];
    medulla(&arguments)?;
    // No wait: what was answered at one site, a linearizable read at another one does not miss.
    let at_b = find(b, &["--linearizable", "--limit", "100000"])?;
    let at_a = find(a, &["--limit", "100000"])?;
    let indices = |rows: &[Value]| rows.iter().map(|row| row["index"].as_u64()).collect::<Vec<_>>();
    ensure!(at_a.len() > 100 && at_b.len() >= at_a.len());
    ensure!(indices(&at_b) == (0..at_b.len() as u64).map(Some).collect::<Vec<_>>(), "each once, in order");

    let messages: Vec<&Value> = at_a.iter().filter(|row| row["kind"] == "message").collect();
    let some = messages[messages.len() / 2];
    let control_id = some["control_id"].as_str().context("a control id")?;
    ensure!(indices(&find(a, &["--control-id", control_id])?) == [some["index"].as_u64()]);
    // Sites without the key find it as well, by its tag; they may not open it.
    let sealed = find(b, &["--control-id", control_id])?;
    ensure!(indices(&sealed) == [some["index"].as_u64()] && sealed[0]["sealed"] == true, "{sealed:?}");

    let refused = find(a, &["--kind", "rejected", "--limit", "100000"])?;
    let expected = at_a.iter().filter(|row| row["kind"] == "rejected");
    ensure!(
        !refused.is_empty()
            && indices(&refused) == expected.map(|row| row["index"].as_u64()).collect::<Vec<_>>()
    );

    let whole =
        medulla(&["messages", "--index", &some["index"].to_string(), "--config", path(&a.config())?])?;
    let whole: Value = serde_json::from_str(&whole)?;
    let patient = &whole["content"]["events"][0]["patient"];
    let patient = format!("{}|{}", patient["authority"].as_str().unwrap(), patient["id"].as_str().unwrap());
    let of_patient = find(a, &["--patient", &patient, "--kind", "message", "--limit", "100000"])?;
    ensure!(of_patient.len() > 5 && of_patient.len() < messages.len());
    ensure!(indices(&of_patient).contains(&some["index"].as_u64()));

    let half = some["event_time_ms"].as_i64().context("a time")?;
    let before = find(a, &["--until", &half.to_string(), "--limit", "100000"])?;
    let times: Vec<i64> = before.iter().filter_map(|row| row["event_time_ms"].as_i64()).collect();
    ensure!(times.is_sorted() && times.last() < Some(&half) && times.len() > 20, "{times:?}");
    let count = at_a.iter().filter(|row| row["event_time_ms"].as_i64() < Some(half)).count();
    ensure!(before.len() >= count, "{} of {count}", before.len());

    // Alone, a site shows what it has and claims no more.
    sites.sites[1].kill_9()?;
    sites.sites[2].kill_9()?;
    let a = &sites.sites[0];
    ensure!(find(a, &["--control-id", control_id])?.len() == 1);
    let fresh = run(&["messages", "--linearizable", "--config", path(&a.config())?])?;
    let said = String::from_utf8_lossy(&fresh.stderr).into_owned();
    ensure!(fresh.status.code() == Some(1) && said.contains("no-quorum"), "{said}");
    let unclear = run(&["messages", "--since", "yesterday", "--config", path(&a.config())?])?;
    ensure!(unclear.status.code() == Some(1), "a time that is none");
    Ok(())
}

fn path(path: &std::path::Path) -> anyhow::Result<&str> {
    path.to_str().context("test folders have plain names")
}
