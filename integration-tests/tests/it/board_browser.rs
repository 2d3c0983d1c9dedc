//! A headless Chromium under chromedriver, as the distribution ships both.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Process, eventually, free_port, skip};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thirtyfour::prelude::*;
use thirtyfour::{ChromeCapabilities, ChromiumLikeCapabilities};

/// Nothing but the page: no profile, no updates, no calls home.
const FLAGS: [&str; 8] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-sync",
    // What fades in has no text for the driver while it is still transparent.
    "--force-prefers-reduced-motion",
];
const PATIENCE: Duration = Duration::from_secs(40);

pub struct Browser {
    pub driver: WebDriver,
}

#[derive(Clone, Copy)]
pub enum Screen {
    Desk,
    /// 360 × 740 CSS pixels, a small phone of today.
    Phone,
}

/// Runs `visit` in a browser that is gone afterwards, whatever came of it. Says so where there is no chromedriver.
pub async fn with_browser(
    test: &str,
    folder: &Path,
    screen: Screen,
    visit: impl AsyncFnOnce(&Browser) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let version = Command::new("chromedriver").arg("--version").stdout(Stdio::null()).status();
    if version.is_err() {
        skip(test, "chromedriver is not installed");
        return Ok(());
    }
    let port = free_port();
    let mut command = Command::new("chromedriver");
    let _chromedriver =
        Process::spawn(command.arg(format!("--port={port}")), &folder.join("chromedriver.log"))?;
    let url = format!("http://127.0.0.1:{port}");
    let capabilities = capabilities(screen)?;
    let start = async || WebDriver::new(&url, capabilities.clone()).await.ok();
    let browser = Browser { driver: eventually("a browser", PATIENCE, start).await? };
    let visited = visit(&browser).await;
    browser.driver.quit().await?;
    visited
}

fn capabilities(screen: Screen) -> anyhow::Result<ChromeCapabilities> {
    let mut capabilities = DesiredCapabilities::chrome();
    for flag in FLAGS {
        capabilities.add_arg(flag)?;
    }
    match screen {
        Screen::Desk => capabilities.add_arg("--window-size=1400,1000")?,
        Screen::Phone => {
            let metrics = json!({"width": 360, "height": 740, "pixelRatio": 2.0, "touch": true});
            capabilities.add_experimental_option("mobileEmulation", json!({"deviceMetrics": metrics}))?;
        }
    }
    Ok(capabilities)
}

impl Browser {
    /// The answer of a function body run in the page; a promise is awaited.
    pub async fn run<T: DeserializeOwned>(&self, script: &str) -> anyhow::Result<T> {
        let answer = self.driver.execute(script, Vec::<Value>::new()).await?;
        Ok(answer.convert()?)
    }

    /// Until the function body gives something true.
    pub async fn until(&self, awaited: &str, script: &str) -> anyhow::Result<()> {
        let check = format!("return Boolean((() => {{ {script} }})())");
        let seen = async || self.run::<bool>(&check).await.ok()?.then_some(());
        let waited = eventually(awaited, PATIENCE, seen).await;
        if waited.is_err() {
            let text: String = self.run("return document.body.innerText.slice(0, 1500)").await?;
            return waited.with_context(|| format!("the page shows: {text}"));
        }
        waited
    }

    pub async fn open(&self, url: &str) -> anyhow::Result<()> {
        Ok(self.driver.goto(url).await?)
    }

    pub async fn open_live(&self, url: &str) -> anyhow::Result<()> {
        self.open(url).await?;
        self.until("a live page", "return document.querySelector('#connection')?.dataset.state === 'live'")
            .await
    }

    /// Sideways scrolling on a phone hides what stands on the right.
    pub async fn fits(&self, page: &str) -> anyhow::Result<()> {
        let widest = "const all = [...document.querySelectorAll('body *')].filter((e) => \
                      e.getClientRects().length && getComputedStyle(e).clipPath === 'none' && !e.closest('.skip'));\
                      const edge = Math.max(...all.map((e) => e.getBoundingClientRect().right));\
                      return [innerWidth, document.documentElement.scrollWidth, Math.ceil(edge)]";
        let [width, scrolls, edge]: [i64; 3] = self.run(widest).await?;
        ensure!(width == 360 && scrolls <= 360 && edge <= 360, "{page}: {width} px wide, {scrolls}, {edge}");
        Ok(())
    }
}
