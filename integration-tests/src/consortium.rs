//! Three sites as three processes on loopback.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::expect::eventually;
use crate::program::medulla;
use crate::site::{Site, SiteOptions};

pub struct Consortium {
    pub sites: Vec<Site>,
}

impl Consortium {
    /// Sites a, b and c, started and ready. `options` for each by its name.
    pub async fn start(folder: &Path, options: impl Fn(&str) -> SiteOptions) -> anyhow::Result<Consortium> {
        let mut consortium = Consortium::prepare(folder, options)?;
        for site in &mut consortium.sites {
            site.start()?;
        }
        for site in &mut consortium.sites {
            site.ready().await?;
        }
        Ok(consortium)
    }

    /// The same, not started.
    pub fn prepare(folder: &Path, options: impl Fn(&str) -> SiteOptions) -> anyhow::Result<Consortium> {
        let keys = folder.join("keys");
        let keys = keys.to_str().context("test folders have plain names")?;
        medulla(&["keys", "init", "--dir", keys, "--site", "a", "--site", "b", "--site", "c"])?;
        let sites: Vec<Site> = ["a", "b", "c"].iter().map(|name| Site::new(name, folder)).collect();
        for site in &sites {
            let peers: Vec<(String, u16)> = sites
                .iter()
                .filter(|peer| peer.name != site.name)
                .map(|peer| (peer.name.clone(), peer.raft))
                .collect();
            site.write_config(&peers, site.name == "a", &options(&site.name))?;
        }
        Ok(Consortium { sites })
    }

    /// Index of the site that leads, as site 0 or another living one knows it.
    pub async fn leader(&self) -> anyhow::Result<usize> {
        let found = eventually("a leader", Duration::from_secs(30), async || {
            for site in &self.sites {
                let Ok(status) = site.get("/api/ledger").await else { continue };
                if let Some(at) = self.sites.iter().position(|s| status["leader"] == s.name.as_str()) {
                    return Some(at);
                }
            }
            None
        });
        found.await
    }

    /// Waits until all sites have the same size and root, and returns them.
    pub async fn agree(&self) -> anyhow::Result<(u64, String)> {
        let agreed = eventually("equal sizes and roots at all sites", Duration::from_secs(60), async || {
            let mut seen = Vec::new();
            for site in &self.sites {
                let status = site.get("/api/ledger").await.ok()?;
                seen.push((status["size"].as_u64()?, status["root"].as_str()?.to_owned()));
            }
            seen.iter().all(|other| *other == seen[0]).then(|| seen.remove(0))
        });
        agreed.await
    }
}
