//! What a site's ledger holds, read back through its own API.

use crate::listing::Listing;
use crate::site::Site;

/// Control ids of the site's own entries of one kind (`message`, `rejected`), in the ledger's order.
pub async fn control_ids(site: &Site, kind: &str) -> anyhow::Result<Vec<String>> {
    let listing = Listing::of(site).await?;
    let ids = listing.of_kind(kind, &site.name).map(|row| row.control_id.clone().unwrap_or_default());
    Ok(ids.collect())
}
