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

    /// Up to the size that the site has when this begins: under load there would be no end.
    pub async fn read_on(&mut self, site: &Site) -> anyhow::Result<()> {
        let mut end = None;
        loop {
            let from = self.rows.last().map_or(0, |row| row.index + 1);
            let mut page = site.get(&format!("/api/messages?from={from}&limit=1000")).await?;
            let end = *end.get_or_insert(page["as_of"].as_u64().context("a size")?);
            let page: Vec<Row> =
                serde_json::from_value(page["entries"].take()).context("a list of entries")?;
            let done = page.last().is_none_or(|last| last.index + 1 >= end);
            self.rows.extend(page);
            if done {
                return Ok(());
            }
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
