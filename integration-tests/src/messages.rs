//! What a site's ledger holds, read back through its own API.

use anyhow::Context;

use crate::site::Site;

/// Control ids of the site's own entries of one kind (`message`, `rejected`), in the ledger's order.
pub async fn control_ids(site: &Site, kind: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut from = 0;
    loop {
        let page = site.get(&format!("/api/messages?from={from}&limit=1000")).await?;
        let rows = page["entries"].as_array().context("a list")?;
        let Some(last) = rows.last() else { return Ok(found) };
        from = last["index"].as_u64().context("an index")? + 1;
        for row in rows.iter().filter(|row| row["kind"] == kind && row["site"] == site.name.as_str()) {
            found.push(row["control_id"].as_str().unwrap_or_default().to_owned());
        }
    }
}
