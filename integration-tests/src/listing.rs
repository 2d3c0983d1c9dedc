//! The ledger's own listing, read on from where one stopped.

use anyhow::Context;
use serde::Deserialize;

use crate::site::Site;

#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    pub index: u64,
    pub kind: String,
    pub site: String,
    pub feed: Option<String>,
    pub control_id: Option<String>,
    pub code: Option<String>,
    pub sha256: Option<String>,
}

#[derive(Default)]
pub struct Listing {
    pub rows: Vec<Row>,
}

impl Listing {
    /// Every entry that `site` has now.
    pub async fn of(site: &Site) -> anyhow::Result<Listing> {
        let mut listing = Listing::default();
        listing.read_on(site).await?;
        Ok(listing)
    }

    pub async fn read_on(&mut self, site: &Site) -> anyhow::Result<()> {
        loop {
            let from = self.rows.last().map_or(0, |row| row.index + 1);
            let mut page = site.get(&format!("/api/messages?from={from}&limit=1000")).await?;
            let page: Vec<Row> =
                serde_json::from_value(page["entries"].take()).context("a list of entries")?;
            if page.is_empty() {
                return Ok(());
            }
            self.rows.extend(page);
        }
    }

    /// Entries of one kind that `site` brought in.
    pub fn of_kind<'l>(&'l self, kind: &'l str, site: &'l str) -> impl Iterator<Item = &'l Row> {
        self.rows.iter().filter(move |row| row.kind == kind && row.site == site)
    }

    /// Messages that `site` brought in, refused ones too.
    pub fn count_incoming(&self, site: &str) -> usize {
        self.of_kind("message", site).count() + self.of_kind("rejected", site).count()
    }
}
