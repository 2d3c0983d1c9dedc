//! `medulla messages`: by type and code, and from a message to whoever was told of it.

use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Site, SiteOptions, eventually, run};
use serde_json::Value;

use crate::board_patients::{send_sick, send_unknown};
use crate::takeover::Receiver;

const WAIT: Duration = Duration::from_secs(30);

fn messages(site: &Site, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let config = site.config();
    let config = config.to_str().context("test folders have plain names")?;
    let done = run(&[&["messages", "--config", config, "--json"], arguments].concat())?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.success(), "{said}");
    let lines = String::from_utf8(done.stdout)?;
    Ok(lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn indices(rows: &[Value]) -> Vec<u64> {
    rows.iter().filter_map(|row| row["index"].as_u64()).collect()
}

#[tokio::test]
async fn a_message_is_found_by_type_and_code_and_followed_to_its_delivery() -> anyhow::Result<()> {
    let (folder, pager) = (tempfile::tempdir()?, Receiver::start().await?);
    let mut options =
        SiteOptions { scoring: "[scoring]\nrules = [\"news2\"]\n".into(), ..SiteOptions::default() };
    let sink = format!(
        "[[sink]]\nname = \"pager\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{}/\"\n",
        pager.port
    );
    options.extra.push_str(&sink);
    let site = Site::alone(folder.path(), &options).await?;
    send_sick(&site, 1..3).await?;
    send_unknown(&site).await?;
    let mut line = integration_tests::Line::open(site.mllp).await?;
    line.send(&integration_tests::admission("").replace("|A01|", "|").replace("PID|", "ZID|")).await?;
    line.answers(WAIT, 1).await;
    pager.hears(&["S001", "S002"]).await?;

    let everything = messages(&site, &["--limit", "1000"])?;
    let of = |wanted: &dyn Fn(&Value) -> bool| -> Vec<u64> {
        indices(&everything.iter().filter(|row| wanted(row)).cloned().collect::<Vec<_>>())
    };
    let admissions = of(&|row| row["type"] == "ADT^A01" && row["kind"] == "message");
    ensure!(admissions.len() == 3, "{everything:?}");
    let found = messages(&site, &["--type", "ADT^A01", "--kind", "message"])?;
    ensure!(indices(&found) == admissions, "{found:?}");
    let refused = of(&|row| row["kind"] == "rejected");
    let code = everything.iter().find_map(|row| row["code"].as_str()).context("a refusal's code")?;
    ensure!(refused.len() == 1 && indices(&messages(&site, &["--code", code])?) == refused, "{code}");
    ensure!(messages(&site, &["--code", "no-such-code"])?.is_empty());

    // Its delivery becomes an entry after the receiver has answered.
    let (alert, traced) = eventually("a trace that ends with a delivery", WAIT, async || {
        let alerts = site.get("/api/alerts").await.ok()?;
        let alert = alerts.as_array()?.first()?.clone();
        let trigger = alert["evidence"].as_array()?.last()?.to_string();
        let traced = messages(&site, &["--index", &trigger, "--trace"]).ok()?.pop()?;
        let delivered = traced["alerts"][0]["deliveries"].as_array()?.len() == 1;
        delivered.then_some((alert, traced))
    })
    .await?;
    let of_trigger = &traced["alerts"][0];
    ensure!(of_trigger["id"] == alert["id"] && of_trigger["is_trigger"] == true, "{traced}");
    ensure!(of_trigger["deliveries"][0]["sink"] == "pager", "{traced}");
    let score = traced["scores"].as_array().and_then(|all| all.first()).context("a score")?;
    ensure!(score["model"] == "news2" && score["risk"] == alert["risk"], "{traced}, {alert}");

    // The admission alone had nothing to score.
    let first = admissions[0].to_string();
    let of_admission = messages(&site, &["--index", &first, "--trace"])?;
    ensure!(of_admission[0]["scores"][0]["risk"].is_null(), "{of_admission:?}");
    let refused = messages(&site, &["--index", &refused[0].to_string(), "--trace"])?;
    ensure!(refused[0]["alerts"].as_array().is_some_and(Vec::is_empty), "{refused:?}");
    // Of an alert it says which message to ask for.
    let Err(told) = messages(&site, &["--index", &alert["index"].to_string(), "--trace"]) else {
        anyhow::bail!("an alert has a trace of its own");
    };
    let (told, trigger) = (told.to_string(), alert["evidence"].as_array().and_then(|all| all.last()));
    let trigger = trigger.context("a trigger")?;
    ensure!(told.contains("is an alert") && told.contains(&format!("behind it: {trigger}")), "{told}");
    Ok(())
}
