//! What a site's ledger holds, read back through its own API.

use anyhow::Context;

use crate::site::Site;

/// Control ids of the site's own entries of one kind (`message`, `rejected`), in the ledger's order.
pub async fn control_ids(site: &Site, kind: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let (mut from, mut end) = (0, None);
    loop {
        let page = site.get(&format!("/api/messages?from={from}&limit=1000")).await?;
        // What comes while this reads is not followed: under load there would be no end.
        let end = *end.get_or_insert(page["as_of"].as_u64().context("a size")?);
        let rows = page["entries"].as_array().context("a list")?;
        for row in rows.iter().filter(|row| row["kind"] == kind && row["site"] == site.name.as_str()) {
            found.push(row["control_id"].as_str().unwrap_or_default().to_owned());
        }
        let Some(last) = rows.last() else { return Ok(found) };
        from = last["index"].as_u64().context("an index")? + 1;
        if from >= end {
            return Ok(found);
        }
    }
}
