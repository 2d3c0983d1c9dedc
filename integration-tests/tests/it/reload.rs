//! A running site takes over its changed configuration: what is the same goes on, what is not is exchanged whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Line, Site, SiteOptions, admission, control_ids, eventually, free_port, run, text};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::board_patients::send_sick;

const WAIT: Duration = Duration::from_secs(60);

/// Feeds by name, MLLP port and what else they say.
fn options(feeds: &[(&str, u16, &str)]) -> SiteOptions {
    let feed = |(name, port, more): &(&str, u16, &str)| {
        format!("[[feed]]\nname = \"{name}\"\nkind = \"mllp\"\nlisten = \"127.0.0.1:{port}\"\n{more}\n")
    };
    SiteOptions { extra: feeds.iter().map(feed).collect(), ..SiteOptions::default() }
}

struct Answer {
    fine: bool,
    printed: Vec<Value>,
    said: String,
}

fn reload(site: &Site, more: &[&str]) -> anyhow::Result<Answer> {
    let config = site.config();
    let output = run(&[&["reload"][..], more, &["--config", text(&config), "--json"]].concat())?;
    let printed = String::from_utf8(output.stdout)?;
    let said = format!("{printed}{}", String::from_utf8_lossy(&output.stderr));
    let printed = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Ok(Answer { fine: output.status.success(), printed, said })
}

/// `subject name difference` of each change.
fn changes(answer: &Answer) -> Vec<String> {
    let changes = answer.printed.first().and_then(|reloaded| reloaded["changes"].as_array());
    let word = |change: &Value, field: &str| change[field].as_str().unwrap_or("?").to_owned();
    let told = |change| ["subject", "name", "difference"].map(|field| word(change, field)).join(" ");
    changes.into_iter().flatten().map(told).collect()
}

/// Sends one message after the other over one connection until it is told to stop; the ids that were acknowledged. An
/// error if the connection breaks.
async fn stream(
    port: u16,
    prefix: &'static str,
    mut stop: oneshot::Receiver<()>,
) -> anyhow::Result<Vec<String>> {
    let mut line = Line::open(port).await?;
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let id = format!("{prefix}{number}");
        line.send(&admission(&id)).await?;
        let answers = line.answers(WAIT, 1).await;
        ensure!(answers == [format!("AA {id}")], "after {} messages: {answers:?}", acknowledged.len());
        acknowledged.push(id);
        if stop.try_recv().is_ok() {
            break;
        }
    }
    Ok(acknowledged)
}

/// As a sender does whose feed goes away and comes again: what was not answered is sent again, over another connection.
async fn persist(port: u16, prefix: &'static str, count: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let ids: Vec<String> = (0..count).map(|number| format!("{prefix}{number}")).collect();
    let mut waiting: Vec<String> = ids;
    while !waiting.is_empty() {
        let Ok(mut line) = Line::open(port).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Several ahead of their answers: some are in flight whenever the feed ends.
        let ahead: Vec<String> = waiting.iter().take(8).cloned().collect();
        for id in &ahead {
            if line.send(&admission(id)).await.is_err() {
                break;
            }
        }
        let answers = line.answers(Duration::from_secs(20), ahead.len()).await;
        for answer in answers {
            if let Some(id) = answer.strip_prefix("AA ") {
                acknowledged.push(id.to_owned());
                waiting.retain(|waits| waits != id);
            }
        }
    }
    acknowledged
}

/// Sends many at once and takes what answers come until the connection ends.
async fn burst(
    port: u16,
    prefix: &'static str,
    count: usize,
    sent: oneshot::Sender<()>,
) -> anyhow::Result<Vec<String>> {
    let mut line = Line::open(port).await?;
    line.send(&admission(&format!("{prefix}0"))).await?;
    let mut answers = line.answers(WAIT, 1).await;
    let _ = sent.send(());
    for number in 1..count {
        if line.send(&admission(&format!("{prefix}{number}"))).await.is_err() {
            break;
        }
    }
    answers.extend(line.answers(WAIT, count - 1).await);
    Ok(answers.iter().filter_map(|answer| answer.strip_prefix("AA ").map(str::to_owned)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_exchanges_what_differs_and_nothing_else() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let [stays, changes_port, goes, comes] = [free_port(), free_port(), free_port(), free_port()];
    let authority = "authority = \"TEST\"";
    let before =
        [("stays", stays, authority), ("changes", changes_port, authority), ("goes", goes, authority)];
    let mut site = Site::alone(folder.path(), &options(&before)).await?;

    // Before: senders on all of them.
    let (stop, told) = oneshot::channel();
    let steady = tokio::spawn(stream(stays, "S", told));
    let (sent, under_way) = oneshot::channel();
    let ending = tokio::spawn(burst(goes, "G", 2_000, sent));
    let persistent = tokio::spawn(persist(changes_port, "C", 400));
    under_way.await?;

    let after = [
        ("comes", comes, authority),
        ("stays", stays, authority),
        ("changes", changes_port, "authority = \"TEST\"\nsilence = \"15m\"\non_error = { retry = 2 }"),
    ];
    site.write_config(&[], true, &options(&after))?;
    let planned = reload(&site, &["--dry-run"])?;
    let expected = ["feed comes added", "feed changes changed", "feed goes removed"];
    ensure!(planned.fine && changes(&planned) == expected, "{}", planned.said);
    ensure!(planned.printed[0]["outcome"] == "planned" && planned.printed[0]["unchanged"][0] == "feed stays");
    ensure!(TcpStream::connect(("127.0.0.1", comes)).await.is_err(), "a dry run begins nothing");

    let done = reload(&site, &[])?;
    ensure!(done.fine && changes(&done) == expected, "{}", done.said);
    ensure!(done.printed[0]["outcome"] == "done", "{}", done.said);

    // The added one takes messages, the removed one listens no more, the same connection has gone on all along.
    let mut line = Line::open(comes).await?;
    line.send(&admission("N0")).await?;
    ensure!(line.answers(WAIT, 1).await == ["AA N0"]);
    ensure!(TcpStream::connect(("127.0.0.1", goes)).await.is_err(), "removed, and still listening");
    let removed = ending.await??;
    ensure!(!removed.is_empty());
    let changed = persistent.await?;
    let _ = stop.send(());
    let steady = steady.await?.context("the unchanged feed's connection")?;
    ensure!(steady.len() > 1 && changed.len() >= 400);

    // Who answered is in the ledger, once.
    let mut kept: BTreeMap<String, usize> = BTreeMap::new();
    for id in control_ids(&site, "message").await? {
        *kept.entry(id).or_default() += 1;
    }
    let acknowledged = steady.iter().chain(&changed).chain(&removed);
    let wrong: Vec<&String> = acknowledged.filter(|id| kept.get(*id) != Some(&1)).collect();
    ensure!(wrong.is_empty(), "acknowledged and not there once: {wrong:?}");

    // Everything shows the new set.
    let feeds = site.get("/api/feeds").await?;
    let names: Vec<_> = feeds["feeds"].as_array().into_iter().flatten().map(|feed| &feed["name"]).collect();
    ensure!(names == ["comes", "stays", "changes"], "{feeds}");
    ensure!(feeds["feeds"][2]["silence"] == "15m", "{feeds}");
    let metrics = site.text("/metrics").await?;
    ensure!(metrics.contains("medulla_feed_up{feed=\"comes\",kind=\"mllp\"} 1"), "{metrics}");
    ensure!(!metrics.contains("medulla_feed_up{feed=\"goes\""), "{metrics}");
    ensure!(site.metric("medulla_config_reloads_total{outcome=\"done\"}").await? == 1.0);

    // It is written down who did it.
    let index = done.printed[0]["index"].as_u64().context("an entry")?;
    let entry = site.get(&format!("/api/messages/{index}")).await?;
    ensure!(entry["kind"] == "reloaded" && entry["content"]["by"] == "local", "{entry}");
    ensure!(entry["content"]["changes"][2] == "feed goes removed", "{entry}");
    ensure!(entry["content"]["sha256"] == done.printed[0]["sha256"], "{entry}");
    site.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_reads_otherwise_keeps_its_connections() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let codes = folder.path().join("lab.csv");
    const HEAD: &str = "local_code,local_system,loinc,ucum\n";
    std::fs::write(&codes, HEAD)?;
    let port = free_port();
    let lab = [("lab", port, "authority = \"TEST\"\ncodes = \"lab.csv\"")];
    let mut site = Site::alone(folder.path(), &options(&lab)).await?;
    let result = |id: &str| {
        format!(
            "MSH|^~\\&|LAB|TEST|||20260101080000||ORU^R01|{id}|P|2.5\rPID|1||1\rOBR|1||F{id}|VS|||20260101080000\r\
             OBX|1|NM|P1^Pulse^SIM||72|/min|||||F\r"
        )
    };
    let mut line = Line::open(port).await?;
    line.send(&result("R1")).await?;
    ensure!(line.answers(WAIT, 1).await == ["AA R1"]);
    std::fs::write(&codes, format!("{HEAD}P1,SIM,8867-4,/min\n"))?;
    let done = reload(&site, &[])?;
    ensure!(done.fine && changes(&done) == ["feed lab changed"], "{}", done.said);
    let watched = [(
        "lab",
        port,
        "authority = \"TEST\"\ncodes = \"lab.csv\"\nzone = \"Asia/Tokyo\"\nsilence = \"90m\"",
    )];
    site.write_config(&[], true, &options(&watched))?;
    let done = reload(&site, &[])?;
    ensure!(done.fine && changes(&done) == ["feed lab changed"], "{}", done.said);
    ensure!(site.get("/api/feeds").await?["feeds"][0]["silence"] == "90m");
    line.send(&result("R2")).await?;
    ensure!(line.answers(WAIT, 1).await == ["AA R2"], "on the connection of before");
    for (id, is_known) in [("R1", false), ("R2", true)] {
        let found = site.get(&format!("/api/messages?control_id={id}")).await?;
        let index = found["entries"][0]["index"].as_u64().context("an entry")?;
        let entry = site.get(&format!("/api/messages/{index}")).await?;
        let content = entry["content"].to_string();
        ensure!(content.contains("8867-4") == is_known, "{id}: {entry}");
        // 08:00 in Zurich, the site's zone, and in Tokyo.
        let times = [content.contains("1767250800000"), content.contains("1767222000000")];
        ensure!(times == [!is_known, is_known], "{id}: {entry}");
    }
    site.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_cannot_be_done_changes_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let authority = "authority = \"SIMHOSP\"";
    let (stop, told) = oneshot::channel();
    let steady = tokio::spawn(stream(site.mllp, "S", told));
    let right = std::fs::read_to_string(site.config())?;

    // Mistakes are told as `validate` tells them.
    std::fs::write(site.config(), right.replace(authority, "autority = \"SIMHOSP\""))?;
    let refused = reload(&site, &[])?;
    ensure!(!refused.fine && refused.printed.len() > 1, "{}", refused.said);
    ensure!(refused.printed.iter().all(|finding| finding["line"].as_u64() > Some(0)), "{}", refused.said);
    std::fs::write(site.config(), right.replace("[http]", "[http"))?;
    ensure!(!reload(&site, &[])?.fine);
    ensure!(site.metric("medulla_config_last_reload_successful").await? == 0.0);

    // A feed that is added, on a port that somebody else has.
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let one_more = |port| {
        format!(
            "{right}\n[[feed]]\nname = \"more\"\nkind = \"mllp\"\nlisten = \"127.0.0.1:{port}\"\n{authority}\n"
        )
    };
    std::fs::write(site.config(), one_more(taken.local_addr()?.port()))?;
    let refused = reload(&site, &[])?;
    ensure!(!refused.fine && refused.said.contains("feed more does not start"), "{}", refused.said);

    // What needs a restart is named, and nothing of it is done.
    let moved = right.replace("[http]\nlisten = \"127.0.0.1:", "[http]\nlisten = \"127.0.0.2:");
    std::fs::write(site.config(), moved)?;
    let unchanged = reload(&site, &[])?;
    ensure!(unchanged.fine && unchanged.printed[0]["outcome"] == "unchanged", "{}", unchanged.said);
    ensure!(unchanged.printed[0]["changes"][0]["needs_restart"] == true, "{}", unchanged.said);

    // By signal, once it is right again.
    let port = free_port();
    std::fs::write(site.config(), one_more(port))?;
    site.process().signal("HUP")?;
    eventually("the added feed", WAIT, async || TcpStream::connect(("127.0.0.1", port)).await.ok()).await?;
    eventually("a reload that is told", WAIT, async || {
        (site.metric("medulla_config_last_reload_successful").await.ok()? == 1.0).then_some(())
    })
    .await?;
    let _ = stop.send(());
    steady.await?.context("the unchanged feed's connection")?;
    let entries = control_ids(&site, "reloaded").await?;
    ensure!(entries.len() == 1, "only what was done is in the ledger: {entries:?}");
    site.stop()
}

/// What fails once the former feeds have ended, since only then its port can be tried, brings them back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_fails_late_brings_the_former_feeds_back() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (changes_port, goes) = (free_port(), free_port());
    let authority = "authority = \"TEST\"";
    let before = [("changes", changes_port, authority), ("goes", goes, authority)];
    let mut site = Site::alone(folder.path(), &options(&before)).await?;
    let takes = async |port, id: &str| -> anyhow::Result<()> {
        let mut line = Line::open(port).await?;
        line.send(&admission(id)).await?;
        let answers = line.answers(WAIT, 1).await;
        ensure!(answers == [format!("AA {id}")], "{answers:?}");
        Ok(())
    };
    takes(changes_port, "C0").await?;

    // The port of a feed that ends, at another address, which somebody else has.
    let _taken = tokio::net::TcpListener::bind(("127.0.0.2", goes)).await?;
    let mut after = options(&[("changes", changes_port, "authority = \"TEST\"\nsilence = \"15m\"")]);
    after.extra +=
        &format!("[[feed]]\nname = \"late\"\nkind = \"mllp\"\nlisten = \"127.0.0.2:{goes}\"\n{authority}\n");
    site.write_config(&[], true, &after)?;
    let refused = reload(&site, &[])?;
    ensure!(!refused.fine && refused.said.contains("feed late does not start"), "{}", refused.said);
    ensure!(refused.said.contains("run again"), "{}", refused.said);

    takes(changes_port, "C1").await?;
    takes(goes, "G0").await?;
    let feeds = site.get("/api/feeds").await?;
    let names: Vec<_> = feeds["feeds"].as_array().into_iter().flatten().map(|feed| &feed["name"]).collect();
    ensure!(names == ["changes", "goes"] && feeds["feeds"][0]["silence"] != "15m", "{feeds}");
    ensure!(site.metric("medulla_config_last_reload_successful").await? == 0.0);
    // That it was asked for, and that nothing came of it.
    eventually("two entries", WAIT, async || {
        (control_ids(&site, "reloaded").await.ok()?.len() == 2).then_some(())
    })
    .await?;
    site.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_alert_policy_holds_from_a_reload_on() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let budget = |budget| {
        let options = SiteOptions::default();
        let extra = format!("{}[alerts]\nper_ward_budget_per_day = {budget}\n", options.extra);
        SiteOptions { extra, ..options }
    };
    let site = Site::alone(folder.path(), &budget(0)).await?;
    let tiers = async || -> Option<BTreeSet<String>> {
        let alerts = site.get("/api/alerts").await.ok()?;
        let tier = |alert: &Value| alert["tier"].as_str().map(str::to_owned);
        Some(alerts.as_array()?.iter().filter_map(tier).collect())
    };
    send_sick(&site, 1..2).await?;
    let none_is_left =
        eventually("an alert", WAIT, async || tiers().await.filter(|all| !all.is_empty())).await?;
    ensure!(none_is_left == BTreeSet::from(["watch".to_owned()]), "{none_is_left:?}");

    site.write_config(&[], true, &budget(10))?;
    let done = reload(&site, &[])?;
    ensure!(done.fine && changes(&done) == ["section alerts changed"], "{}", done.said);
    ensure!(done.printed[0]["changes"][0]["needs_restart"] == false, "{}", done.said);
    send_sick(&site, 2..3).await?;
    eventually("an interruptive alert", WAIT, async || tiers().await?.contains("interruptive").then_some(()))
        .await
}
