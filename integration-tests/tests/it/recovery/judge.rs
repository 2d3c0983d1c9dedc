//! What must hold when the storm is over: said by the ledger and by what the sinks' receivers have, never by a counter of
//! the product's own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Listing, Row, Site, eventually};
use serde_json::Value;

use super::scene::Scene;
use super::traffic::{Traffic, alerts, by_patient, place};

const WAIT: Duration = Duration::from_secs(180);

/// An alert as the ledger has it.
pub struct Kept {
    pub index: u64,
    pub patient: String,
    trigger: u64,
}

/// Each message of each feed once, whichever site brought it in, and in order for each patient.
pub async fn ledger_holds(sites: &[&Site], sent: &[Traffic]) -> anyhow::Result<Listing> {
    let mut listing = Listing::default();
    for traffic in sent {
        let (feed, expected) = (traffic.feed(), traffic.control_ids());
        let all = eventually("all messages in the ledger", WAIT, async || {
            listing = brought_in(sites).await.ok()?;
            (of_feed(&listing, feed).count() >= expected.len()).then_some(())
        });
        if let Err(error) = all.await {
            return Err(error.context(missed(sites, feed, &expected, &listing).await));
        }
        let kept: Vec<&str> = of_feed(&listing, feed).filter_map(|row| row.control_id.as_deref()).collect();
        let once: BTreeSet<&str> = kept.iter().copied().collect();
        ensure!(once.len() == kept.len(), "feed {feed}: {} messages twice", kept.len() - once.len());
        let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
        let missing: Vec<_> = expected.difference(&once).collect();
        ensure!(once == expected, "feed {feed}: missing {missing:?}, or some that nobody sent");
        for (patient, steps) in by_patient(kept.iter().copied()) {
            ensure!(steps.is_sorted(), "feed {feed}: out of order for {patient}: {steps:?}");
        }
    }
    let refused = listing.rows.iter().filter(|row| row.kind == "rejected").count();
    ensure!(refused == 0, "{refused} messages were refused");
    Ok(listing)
}

/// What did not arrive, and what the sites say of the feed.
async fn missed(sites: &[&Site], feed: &str, expected: &[String], listing: &Listing) -> String {
    let kept: BTreeSet<&str> = of_feed(listing, feed).filter_map(|row| row.control_id.as_deref()).collect();
    let missing: Vec<_> = expected.iter().filter(|id| !kept.contains(id.as_str())).collect();
    let first = &missing[..missing.len().min(20)];
    let mut said = format!("feed {feed}: {} of {} missing: {first:?} …", missing.len(), expected.len());
    for site in sites {
        let metrics = site.text("/metrics").await.unwrap_or_else(|error| format!("no metrics: {error:#}"));
        let of_feed = metrics.lines().filter(|line| line.contains(&format!("feed=\"{feed}\"")));
        said.extend(of_feed.map(|line| format!("\n{}: {line}", site.name)));
        said += &format!("\n{}", site.log_end());
    }
    said
}

/// What these sites brought in, in the order of their ledger: a site reads what it has sealed itself.
async fn brought_in(sites: &[&Site]) -> anyhow::Result<Listing> {
    let mut all = Listing::default();
    for site in sites {
        let own = Listing::of(site).await?.rows.into_iter().filter(|row| row.site == site.name);
        all.rows.extend(own);
    }
    all.rows.sort_by_key(|row| row.index);
    Ok(all)
}

fn of_feed<'l>(listing: &'l Listing, feed: &'l str) -> impl Iterator<Item = &'l Row> {
    let is_numbered = move |row: &&Row| {
        row.kind == "message"
            && row.feed.as_deref() == Some(feed)
            && row.control_id.as_deref().is_some_and(|id| place(id).is_some())
    };
    listing.rows.iter().filter(is_numbered)
}

/// By id: one alert for each message that tells of somebody ill, and none else.
pub async fn alerts_kept(site: &Site, listing: &Listing) -> anyhow::Result<BTreeMap<String, Kept>> {
    let ill = listing.rows.iter().filter(|row| row.kind == "message");
    let ill = ill.filter(|row| row.control_id.as_deref().is_some_and(alerts));
    let ill: BTreeSet<u64> = ill.map(|row| row.index).collect();
    ensure!(!ill.is_empty(), "nobody was ill");
    let mut found = BTreeMap::new();
    let mut read_on = Listing::default();
    let mut next = 0;
    let all = eventually("an alert for each who is ill", WAIT, async || {
        read_on.read_on(site).await.ok()?;
        while let Some(row) = read_on.rows.get(next) {
            if row.kind == "alert" {
                let (id, kept) = alert(site, row.index).await.ok()?;
                // Kept under another key where it is there twice, so that it is seen.
                let id = if found.contains_key(&id) { format!("{id} again") } else { id };
                found.insert(id, kept);
            }
            next += 1;
        }
        (found.len() >= ill.len()).then_some(())
    });
    all.await.with_context(|| format!("{} of {} alerts", found.len(), ill.len()))?;
    let triggers: BTreeSet<u64> = found.values().map(|kept| kept.trigger).collect();
    ensure!(triggers == ill && found.len() == ill.len(), "alerts of others: {triggers:?} {ill:?}");
    Ok(found)
}

async fn alert(site: &Site, index: u64) -> anyhow::Result<(String, Kept)> {
    let shown = site.get(&format!("/api/messages/{index}")).await?;
    let facts = &shown["content"]["facts"];
    let text = |value: &Value| value.as_str().map(str::to_owned).context("text");
    let trigger = facts["indices"].as_array().and_then(|all| all.last()?.as_u64()).context("a trigger")?;
    Ok((text(&facts["id"])?, Kept { index, patient: text(&facts["patient"]["id"])?, trigger }))
}

/// At a sink: each alert, and each patient's in the ledger's order. One that comes again, since its receiver's word was lost,
/// is known by its id. Returns how many came again.
pub fn told(sink: &str, ids: &[String], kept: &BTreeMap<String, Kept>) -> anyhow::Result<usize> {
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for id in ids {
        if !seen.insert(id.as_str()) {
            continue;
        }
        let Kept { index, patient, .. } =
            kept.get(id).with_context(|| format!("sink {sink}: no alert has the id {id}"))?;
        let before = last.insert(patient, *index);
        ensure!(before < Some(*index), "sink {sink}: out of order for {patient}: {index} after {before:?}");
    }
    ensure!(seen.len() == kept.len(), "sink {sink}: {} of {} alerts", seen.len(), kept.len());
    Ok(ids.len() - seen.len())
}

/// All of it, at all three sinks.
pub async fn all_is_well(scene: &Scene, sent: &[Traffic]) -> anyhow::Result<()> {
    let listing = ledger_holds(&[&scene.site], sent).await?;
    let kept = alerts_kept(&scene.site, &listing).await?;
    let ids = |letters: Vec<integration_tests::Letter>| -> Vec<String> {
        letters.iter().map(|letter| letter.header("id").to_owned()).collect()
    };
    let complete = |ids: &[String]| ids.iter().collect::<BTreeSet<_>>().len() >= kept.len();
    let kafka = eventually("all alerts in the topic", WAIT, async || {
        Some(ids(scene.kafka.letters(&scene.kafka.alerts()).ok()?)).filter(|ids| complete(ids))
    });
    let kafka = kafka.await?;
    let amqp = eventually("all alerts in the queue", WAIT, async || {
        Some(ids(scene.amqp.letters(&scene.amqp.alerts()).await.ok()?)).filter(|ids| complete(ids))
    });
    let amqp = amqp.await?;
    let mllp = eventually("all alerts at the receiver", WAIT, async || {
        Some(heard(scene, &kept)).filter(|ids| complete(ids))
    });
    let mllp = mllp.await?;
    let again = [told("kafka", &kafka, &kept)?, told("amqp", &amqp, &kept)?, told("mllp", &mllp, &kept)?];
    delivered_once(&scene.site, kept.len()).await?;
    let (passed, said) = scene.site.ledger_verify()?;
    ensure!(passed, "{said}");
    let counts: Vec<String> =
        sent.iter().map(|traffic| format!("{} {}", traffic.control_ids().len(), traffic.feed())).collect();
    println!(
        "{} messages once and in order, {} alerts at each sink, again (kafka, amqp, mllp): {again:?}",
        counts.join(", "),
        kept.len()
    );
    Ok(())
}

/// Ids of what the MLLP receiver has, told by their beginnings.
fn heard(scene: &Scene, kept: &BTreeMap<String, Kept>) -> Vec<String> {
    let heard = scene.receiver.heard();
    let full = |control_id: &str| kept.keys().find(|id| id.starts_with(control_id)).cloned();
    heard.iter().map(|one| full(one.control_id()).unwrap_or_else(|| one.control_id().to_owned())).collect()
}

/// The ledger says of each alert and sink once that it was delivered.
async fn delivered_once(site: &Site, alerts: usize) -> anyhow::Result<()> {
    let mut listing = Listing::default();
    let all = eventually("an entry for each delivery", WAIT, async || {
        listing.read_on(site).await.ok()?;
        (listing.of_kind("delivered", &site.name).count() >= 3 * alerts).then_some(())
    });
    all.await?;
    let count = listing.of_kind("delivered", &site.name).count();
    ensure!(count == 3 * alerts, "{count} deliveries of {alerts} alerts to three sinks");
    Ok(())
}
