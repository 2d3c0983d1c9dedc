//! A message to send, and what a site's ledger holds, read back through its own API.

use crate::listing::Listing;
use crate::site::Site;

/// Control ids of the site's own entries of one kind (`message`, `rejected`), in the ledger's order.
pub async fn control_ids(site: &Site, kind: &str) -> anyhow::Result<Vec<String>> {
    let listing = Listing::of(site).await?;
    let ids = listing.of_kind(kind, &site.name).map(|row| row.control_id.clone().unwrap_or_default());
    Ok(ids.collect())
}

/// Of a patient of its own.
pub fn admission(id: &str) -> String {
    format!(
        "MSH|^~\\&|TEST|TEST|MEDULLA|TEST|20260101120000||ADT^A01^ADT_A01|{id}|P|2.5\r\
         EVN|A01|20260101120000\rPID|1||{id}^^^TEST||Example^Person||19600101|F\rPV1|1|I|ICU^1^1\r"
    )
}
