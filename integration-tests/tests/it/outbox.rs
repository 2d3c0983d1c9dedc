//! Feeds with `ack = "site"`: answered without a quorum, forwarded in order after it is back, bounded, never early
//! with an answer that means a quorum.

use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Consortium, Line, SiteOptions, control_ids, eventually, free_port};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(20);

/// Feeds `adt` and `rest` at the site, and `strict`, an MLLP feed on the returned port, at the quorum.
fn options(ledger: &str) -> (SiteOptions, u16) {
    let (mut options, port) = (SiteOptions::default(), free_port());
    for name in ["adt", "rest"] {
        options.extra = options
            .extra
            .replace(&format!("name = \"{name}\""), &format!("name = \"{name}\"\nack = \"site\""));
    }
    options.extra += &format!(
        "[[feed]]\nname = \"strict\"\nkind = \"mllp\"\nlisten = \"127.0.0.1:{port}\"\nauthority = \"TEST\"\n"
    );
    options.ledger = ledger.to_owned();
    (options, port)
}

/// Site a as asked for, its peers as ever.
async fn start(folder: &std::path::Path, ledger: &str) -> anyhow::Result<(Consortium, u16)> {
    let (options, port) = options(ledger);
    let of = |name: &str| if name == "a" { options.clone() } else { SiteOptions::default() };
    Ok((Consortium::start(folder, of).await?, port))
}

fn peers(sites: &mut Consortium, signal: &str) -> anyhow::Result<()> {
    sites.sites[1..].iter_mut().try_for_each(|peer| peer.process().signal(signal))
}

#[tokio::test]
async fn a_site_feed_goes_on_without_a_quorum_and_loses_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut sites, strict) = start(folder.path(), "").await?;
    let mut line = Line::open(sites.sites[0].mllp).await?;
    let mut strict = Line::open(strict).await?;
    send_all(&mut line, 0..5).await?;
    strict.send(&admission("S0", "")).await?;
    ensure!(strict.answers(WAIT, 1).await == ["AA S0"], "with a quorum both are answered");

    committed(&sites, 6).await?;

    peers(&mut sites, "STOP")?;
    strict.send(&admission("S1", "")).await?;
    send_all(&mut line, 5..200).await?;
    let resource = create(&sites, "Observation", observation()).await?;
    let found = fetch(&resource).await?;
    ensure!(is_observation(&found), "before the commit: {found}");
    ensure!(
        create(&sites, "Observation", observation()).await? == resource,
        "a resend hears the same address"
    );
    let refused = create(&sites, "Observation", json!({"resourceType": "Observation"})).await;
    ensure!(refused.is_err_and(|e| e.to_string().contains("422")), "a refusal is answered, too");
    let early = strict.answers(Duration::from_secs(5), 1).await;
    ensure!(early.is_empty(), "the quorum feed is answered: {early:?}");
    ensure!(control_ids(&sites.sites[0], "message").await?.len() == 6, "nothing is committed");

    // All that was answered is on this one disk.
    sites.sites[0].kill_9()?;
    sites.sites[0].start()?;
    sites.sites[0].up().await?;
    ensure!(fetch(&resource).await? == found, "after the restart");
    let mut line = Line::open(sites.sites[0].mllp).await?;
    send_all(&mut line, 200..260).await?;
    let waiting = sites.sites[0].metric("medulla_outbox_entries").await?;
    ensure!(waiting == 257.0, "255 messages, a resource and a refusal wait: {waiting}");
    enhanced_answers_tell_what_is_reached(&mut sites).await?;

    sites.agree().await?;
    ensure!(fetch(&resource).await? == found, "after the commit");
    let kept = control_ids(&sites.sites[0], "message").await?;
    let numbered: Vec<&String> = kept.iter().filter(|id| id.starts_with('N')).collect();
    let expected: Vec<String> = (0..260).map(|number| format!("N{number}")).collect();
    ensure!(numbered == expected.iter().collect::<Vec<_>>(), "each once and in order: {numbered:?}");
    ensure!(control_ids(&sites.sites[0], "rejected").await?.len() == 1);
    for site in &sites.sites {
        let (passed, said) = site.ledger_verify()?;
        ensure!(passed, "site {}: {said}", site.name);
    }
    Ok(())
}

/// CA as soon as the message is here, AA once a quorum has it: the peers come back in between.
async fn enhanced_answers_tell_what_is_reached(sites: &mut Consortium) -> anyhow::Result<()> {
    let mut line = Line::open(sites.sites[0].mllp).await?;
    for id in ["E1", "E2", "E3"] {
        line.send(&admission(id, "AL")).await?;
        let answer = line.answers(WAIT, 1).await;
        ensure!(answer == [format!("CA {id}")], "{answer:?}");
    }
    let early = line.answers(Duration::from_secs(3), 1).await;
    ensure!(early.is_empty(), "an AA without a quorum: {early:?}");
    peers(sites, "CONT")?;
    let answers = line.answers(Duration::from_secs(60), 3).await;
    ensure!(answers == ["AA E1", "AA E2", "AA E3"], "{answers:?}");
    let kept = control_ids(&sites.sites[0], "message").await?;
    ensure!(kept.iter().any(|id| id == "E3"), "AA means that it is in the ledger");
    Ok(())
}

#[tokio::test]
async fn a_small_outbox_warns_slows_and_refuses_and_loses_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut sites, _) = start(folder.path(), "outbox_max_bytes = 65536\n").await?;
    peers(&mut sites, "STOP")?;
    let mut line = Line::open(sites.sites[0].mllp).await?;
    let (mut seen, mut answered) = (Vec::new(), 0);
    let mut note = async |site: &integration_tests::Site| -> anyhow::Result<()> {
        for state in ["normal", "warn", "slow", "refuse"] {
            let is = site.metric(&format!("medulla_outbox_state{{state=\"{state}\"}}")).await? == 1.0;
            if is && seen.last() != Some(&state) {
                seen.push(state);
            }
        }
        Ok(())
    };
    loop {
        line.send(&admission(&format!("N{answered}"), "")).await?;
        let answer = line.answers(Duration::from_secs(3), 1).await;
        note(&sites.sites[0]).await?;
        if answer.is_empty() {
            break;
        }
        ensure!(answer == [format!("AA N{answered}")], "{answer:?}");
        answered += 1;
        ensure!(answered < 1000, "64 KiB are never full");
    }
    ensure!(seen == ["normal", "warn", "slow", "refuse"], "{seen:?}");
    let body = reqwest::get(sites.sites[0].url("/readyz")).await?.text().await?;
    ensure!(body.contains("outbox: refuse"), "{body}");
    let refused = post(&sites, "Observation", observation()).await?;
    ensure!(refused.status() == 503, "HTTP is told to come again: {}", refused.status());
    ensure!(refused.headers().contains_key("retry-after"), "and when");

    // A sender that heard nothing sends again. Both wait in line, and become one.
    let mut line = Line::open(sites.sites[0].mllp).await?;
    line.send(&admission(&format!("N{answered}"), "")).await?;
    peers(&mut sites, "CONT")?;
    let answer = line.answers(Duration::from_secs(25), 1).await;
    ensure!(answer == [format!("AA N{answered}")], "{answer:?}");
    // AA says that it is on this disk: the last ones may still wait.
    let empty = eventually("an empty outbox", WAIT, async || {
        let waiting = sites.sites[0].metric("medulla_outbox_entries").await.ok()?;
        (waiting == 0.0).then_some(())
    });
    empty.await?;
    sites.agree().await?;
    let kept = control_ids(&sites.sites[0], "message").await?;
    let kept: Vec<&String> = kept.iter().filter(|id| id.starts_with('N')).collect();
    let expected: Vec<String> = (0..=answered).map(|number| format!("N{number}")).collect();
    ensure!(kept == expected.iter().collect::<Vec<_>>(), "each once and in order: {kept:?}");
    let normal = eventually("the state normal", WAIT, async || {
        let state = sites.sites[0].metric("medulla_outbox_state{state=\"normal\"}").await.ok()?;
        (state == 1.0).then_some(())
    });
    normal.await
}

/// Waits until the site's ledger holds so many messages.
async fn committed(sites: &Consortium, messages: usize) -> anyhow::Result<()> {
    let all = eventually("messages in the ledger", WAIT, async || {
        let kept = control_ids(&sites.sites[0], "message").await.ok()?;
        (kept.len() == messages).then_some(())
    });
    all.await
}

/// Sends messages one after the other, each answered with AA before the next.
async fn send_all(line: &mut Line, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
    for number in numbers {
        line.send(&admission(&format!("N{number}"), "")).await?;
        let answer = line.answers(WAIT, 1).await;
        ensure!(answer == [format!("AA N{number}")], "{answer:?}");
    }
    Ok(())
}

async fn post(sites: &Consortium, type_: &str, body: Value) -> anyhow::Result<reqwest::Response> {
    let url = sites.sites[0].url(&format!("/fhir/{type_}"));
    Ok(reqwest::Client::new().post(url).json(&body).timeout(Duration::from_secs(60)).send().await?)
}

/// The address that the create was answered with, without its version.
async fn create(sites: &Consortium, type_: &str, body: Value) -> anyhow::Result<String> {
    let answer = post(sites, type_, body).await?;
    ensure!(answer.status() == 201, "{}", answer.status());
    let location = answer.headers().get("location").context("a Location")?.to_str()?;
    let (resource, version) = location.split_once("/_history/").context("a versioned Location")?;
    ensure!(version == "1", "{location}");
    Ok(resource.to_owned())
}

async fn fetch(url: &str) -> anyhow::Result<Value> {
    Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
}

/// As it was sent, under the id that the answer gave it.
fn is_observation(found: &Value) -> bool {
    let mut sent = observation();
    (sent["id"], sent["meta"]) = (found["id"].clone(), found["meta"].clone());
    found["meta"]["versionId"] == "1" && *found == sent
}

fn observation() -> Value {
    json!({
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"identifier": {"system": "urn:oid:1.2.3", "value": "77"}},
        "effectiveDateTime": "2026-01-01T12:00:00Z",
        "valueQuantity": {"value": 80, "system": "http://unitsofmeasure.org", "code": "/min"}
    })
}

/// `asks`: MSH-15 and MSH-16, what the sender wants to hear in enhanced mode.
fn admission(id: &str, asks: &str) -> String {
    format!(
        "MSH|^~\\&|TEST|TEST|MEDULLA|TEST|20260101120000||ADT^A01^ADT_A01|{id}|P|2.5|||{asks}|{asks}\r\
         EVN|A01|20260101120000\rPID|1||{id}^^^TEST||Example^Person||19600101|F\rPV1|1|I|ICU^1^1\r"
    )
}
