//! The care board in a real browser: what the care team sees, hears and answers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Site, SiteOptions, eventually};
use serde::Deserialize;
use serde_json::Value;
use thirtyfour::prelude::*;

use crate::board_browser::{Browser, Screen, with_browser};
use crate::board_cut::Wire;
use crate::board_patients::{correct, merge, send_sick, send_unknown};

const WATCH: &str = include_str!("board_watch.js");
const OPEN_CARDS: &str = "return document.querySelectorAll('#open-alerts [data-alert-id]').length";

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_shows_without_a_reload() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    with_browser("an_alert_shows_without_a_reload", folder.path(), Screen::Desk, async |browser| {
        browser.open_live(&site.url("/")).await?;
        browser.run::<()>("window.loadedOnce = true").await?;
        ensure!(browser.run::<u64>(OPEN_CARDS).await? == 0, "nobody is ill yet");
        send_sick(&site, 7..8).await?;
        browser
            .until("the alert's card", "return document.querySelector('#open-alerts [data-alert-id]')")
            .await?;
        let card = browser.driver.find(By::Css("#open-alerts [data-alert-id]")).await?.text().await?;
        for words in
            ["INTERRUPTIVE", "Sample007", "Ward2", "NEWS2", "threshold 5", "respiratory rate 30 /min"]
        {
            ensure!(card.contains(words), "{words} is missing: {card}");
        }
        browser.until("the patient's row", "return document.querySelector('.row.over .number')").await?;
        ensure!(
            browser.run::<bool>("return window.loadedOnce === true").await?,
            "the page was not loaded again"
        );
        patient_opens(browser).await
    })
    .await?;
    site.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_says_what_was_corrected_since_and_who_the_patient_is_now() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let test = "a_card_says_what_was_corrected_since_and_who_the_patient_is_now";
    with_browser(test, folder.path(), Screen::Desk, async |browser| {
        browser.open_live(&site.url("/")).await?;
        send_sick(&site, 7..8).await?;
        browser.until("the alert's card", "return document.querySelector('#open-alerts .alert-who')").await?;
        let mark = "return document.querySelector('#open-alerts .amended:not([hidden]) a')?.textContent";
        ensure!(browser.run::<Value>(mark).await?.is_null(), "nothing was corrected yet");
        correct(&site, 7).await?;
        browser.until("the mark of a correction", mark).await?;
        let before: Value = site.get("/api/alerts").await?;
        ensure!(before[0]["patient_id"] == "S007", "{before}");
        merge(&site, 7, ("T900", "Survivor^Sue")).await?;
        let who = "return document.querySelector('#open-alerts .alert-who').textContent";
        browser.until("the survivor's name", &format!("{who}.includes('Survivor')")).await?;
        let after: Value = site.get("/api/alerts").await?;
        ensure!(after[0]["id"] == before[0]["id"] && after[0]["patient_id"] == "T900", "{after}");
        ensure!(after[0]["amended"] == before[0]["amended"], "{after}");
        Ok(())
    })
    .await?;
    site.stop()
}

async fn patient_opens(browser: &Browser) -> anyhow::Result<()> {
    browser.driver.find(By::Css(".row a")).await?.click().await?;
    browser.until("the curve", "return document.querySelector('dialog[open] .curve .threshold')").await?;
    let detail = browser.driver.find(By::Css("dialog[open]")).await?.text().await?;
    for words in ["Sample007", "NEWS2", "threshold 5", "Why", "not acknowledged"] {
        ensure!(detail.contains(words), "{words} is missing: {detail}");
    }
    browser.driver.find(By::Id("detail-close")).await?.click().await?;
    browser
        .until("the board again", "return !document.querySelector('dialog[open]') && location.hash === ''")
        .await
}

#[derive(Deserialize)]
struct Seen {
    /// Times that a card came into the page, by alert.
    cards: BTreeMap<String, u64>,
    announced: Vec<String>,
    /// States of the connection, as they changed.
    states: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_100_alerts_shows_once_though_the_connection_is_cut() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let test = "each_of_100_alerts_shows_once_though_the_connection_is_cut";
    with_browser(test, folder.path(), Screen::Desk, async |browser| {
        let mut wire = Wire::to(site.http).await?;
        browser.open_live(&format!("http://127.0.0.1:{}/", wire.port)).await?;
        browser.run::<()>(WATCH).await?;
        for batch in 0..5 {
            let first = batch * 20;
            send_sick(&site, first..first + 10).await?;
            wire.cut().await;
            browser.until("a lost connection", "return seen.states.at(-1) === 'lost'").await?;
            // What came before the cut is drawn a moment later.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let before: u64 = browser.run(OPEN_CARDS).await?;
            send_sick(&site, first + 10..first + 20).await?;
            alerts_at_site(&site, first + 20).await?;
            ensure!(browser.run::<u64>(OPEN_CARDS).await? == before, "nothing comes over a cut wire");
            ensure!(before < first as u64 + 20, "the cut hides something");
            wire.mend().await?;
            browser.until("the connection again", "return seen.states.at(-1) === 'live'").await?;
        }
        browser
            .until(
                "100 cards",
                "return document.querySelectorAll('#open-alerts [data-alert-id]').length >= 100",
            )
            .await?;
        // What would come twice comes now.
        tokio::time::sleep(Duration::from_secs(2)).await;
        check_once(browser).await
    })
    .await?;
    site.stop()
}

async fn alerts_at_site(site: &Site, count: usize) -> anyhow::Result<()> {
    let counted = eventually("the site's alerts", Duration::from_secs(30), async || {
        let alerts: Value = site.get("/api/alerts?limit=1000").await.ok()?;
        (alerts.as_array()?.len() >= count).then_some(())
    });
    counted.await
}

async fn check_once(browser: &Browser) -> anyhow::Result<()> {
    ensure!(browser.run::<u64>(OPEN_CARDS).await? == 100);
    let seen: Seen = browser.run("return seen").await?;
    ensure!(seen.cards.len() == 100, "{} alerts came into the page", seen.cards.len());
    let twice: Vec<_> = seen.cards.iter().filter(|(_, times)| **times != 1).collect();
    ensure!(twice.is_empty(), "came more than once: {twice:?}");
    let announced: u64 = seen.announced.iter().map(|text| announced_count(text)).sum();
    ensure!(announced == 100, "{announced} alerts were announced: {:?}", seen.announced);
    ensure!(seen.states.iter().filter(|state| *state == "lost").count() >= 5, "{:?}", seen.states);
    Ok(())
}

/// "12 new alerts, 3 interruptive", or one alert in words.
fn announced_count(text: &str) -> u64 {
    let number = text.split_once(" new alert").and_then(|(number, _)| number.parse().ok());
    number.unwrap_or(1)
}

/// `calm-board-1`, hashed by `medulla password hash`.
const ACCOUNT: &str = "[[http.user]]\nname = \"n.meier\"\nroles = [\"care\", \"engineer\"]\npassword_hash = \"$argon2id$v=19$m=19456,t=2,p=1$qI/tQ0vDFDqckLPemuNf6g$ioZ2s+QhLwuqTdFIvMD0F/u+Up986Qthp0giroCVMSw\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_reaches_the_ledger() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut options = SiteOptions::default();
    options.extra.push_str(ACCOUNT);
    let mut site = Site::alone(folder.path(), &options).await?;
    with_browser("an_acknowledgement_reaches_the_ledger", folder.path(), Screen::Desk, async |browser| {
        sign_in(browser, &site.url("/")).await?;
        send_sick(&site, 1..2).await?;
        browser
            .until("the alert's card", "return document.querySelector('#open-alerts .acknowledge-open')")
            .await?;
        let size_before = site.ledger_status()?["size"].as_u64();
        acknowledge(browser).await?;
        let answer = browser.driver.find(By::Css("#answered-alerts .answer")).await?;
        let shown: String = answer.prop("textContent").await?.context("the answer's text")?;
        ensure!(
            shown.starts_with("n.meier") && shown.contains("antibiotics given · snoozed for 12 h"),
            "{shown}"
        );
        ensure!(site.ledger_status()?["size"].as_u64() > size_before, "an acknowledgement is an entry");
        check_entry(browser, &site).await
    })
    .await?;
    let (passed, said) = site.ledger_verify()?;
    ensure!(passed, "{said}");
    site.stop()
}

async fn sign_in(browser: &Browser, url: &str) -> anyhow::Result<()> {
    browser.open(url).await?;
    for (field, text) in [("name", "n.meier"), ("password", "calm-board-1")] {
        browser.driver.find(By::Id(field)).await?.send_keys(text).await?;
    }
    browser.driver.find(By::Css("button")).await?.click().await?;
    browser
        .until(
            "the board after the sign-in",
            "return document.querySelector('#user')?.textContent === 'n.meier'",
        )
        .await
}

async fn acknowledge(browser: &Browser) -> anyhow::Result<()> {
    browser.driver.find(By::Css("#open-alerts .acknowledge-open")).await?.click().await?;
    let form = browser.driver.find(By::Css("form.acknowledge")).await?;
    ensure!(form.text().await?.contains("n.meier"), "the form says as whom one answers");
    form.find(By::Css("input[value='Assessed, treatment started']")).await?.click().await?;
    form.find(By::Css("textarea")).await?.send_keys("antibiotics given").await?;
    form.find(By::Css("select")).await?.send_keys("Snooze for 12 h").await?;
    form.find(By::Css("button[type=submit]")).await?.click().await?;
    let folded = "return document.querySelector('#answered-alerts [data-alert-id]') \
                  && !document.querySelector('#open-alerts [data-alert-id]')";
    browser.until("the answered alert folded away", folded).await
}

/// The ledger's own entry, found on the messages page.
async fn check_entry(browser: &Browser, site: &Site) -> anyhow::Result<()> {
    browser.open_live(&site.url("/messages")).await?;
    browser.until("the newest entries", "return document.querySelector('#entry .entries')").await?;
    let form = browser.driver.find(By::Id("search")).await?;
    form.find(By::Css("select[name=kind]")).await?.send_keys("acknowledged").await?;
    let since = "document.querySelector('#search [name=since]').value = '2020-01-01T00:00'";
    browser.run::<()>(since).await?;
    form.find(By::Css("button")).await?.click().await?;
    let found = "return [...document.querySelectorAll('#entry h2')].some((h2) => h2.textContent === '1 found') \
                 && document.querySelector('#entry .dim').textContent.includes('at this site')";
    browser.until("the acknowledgement among all entries", found).await?;
    browser.driver.find(By::Css("#entry .entries a")).await?.click().await?;
    browser.until("the entry", "return document.querySelector('.entry .wire')").await?;
    let entry = browser.driver.find(By::Css(".entry")).await?.text().await?;
    for words in ["n.meier", "Assessed, treatment started: antibiotics given"] {
        ensure!(entry.contains(words), "{words} is missing: {entry}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_a_phone() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    send_sick(&site, 1..13).await?;
    send_unknown(&site).await?;
    alerts_at_site(&site, 12).await?;
    with_browser("every_page_fits_a_phone", folder.path(), Screen::Phone, async |browser| {
        browser.open_live(&site.url("/")).await?;
        browser
            .until("12 cards", "return document.querySelectorAll('#open-alerts li.alert').length === 12")
            .await?;
        browser.until("a row without a score", "return document.querySelector('.insufficient')").await?;
        browser.fits("care board").await?;
        browser
            .run::<()>("document.querySelectorAll('.proof').forEach((proof) => { proof.open = true; })")
            .await?;
        browser.run::<()>("document.querySelector('.acknowledge-open').click()").await?;
        browser.fits("care board with an open form").await?;
        browser.run::<()>("document.querySelector('.row a').click()").await?;
        browser.until("the curve", "return document.querySelector('dialog[open] .curve')").await?;
        browser.fits("patient").await?;
        for (page, shown) in [
            ("/feeds", ".card"),
            ("/messages", ".entries"),
            ("/messages?index=0", ".wire"),
            ("/models", ".model .numbers, #no-models:not([hidden])"),
            ("/ledger", ".facts dd"),
        ] {
            browser.open_live(&site.url(page)).await?;
            browser.until(page, &format!("return document.querySelector('{shown}')")).await?;
            browser.fits(page).await?;
        }
        Ok(())
    })
    .await?;
    site.stop()
}
