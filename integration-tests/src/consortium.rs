//! Three sites as three processes on loopback.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::expect::eventually;
use crate::link::Link;
use crate::program::medulla;
use crate::site::{Site, SiteOptions};

pub struct Consortium {
    pub sites: Vec<Site>,
}

impl Consortium {
    /// Sites a, b and c, started and ready. `options` for each by its name.
    pub async fn start(folder: &Path, options: impl Fn(&str) -> SiteOptions) -> anyhow::Result<Consortium> {
        let mut consortium = Consortium::prepare(folder, options)?;
        consortium.start_all().await?;
        Ok(consortium)
    }

    /// The same, not started.
    pub fn prepare(folder: &Path, options: impl Fn(&str) -> SiteOptions) -> anyhow::Result<Consortium> {
        let consortium = Consortium::unconfigured(folder)?;
        consortium.configure(options, |_, peer| peer.raft)?;
        Ok(consortium)
    }

    /// Started and ready, each pair of sites over a network that can be cut.
    pub async fn start_linked(
        folder: &Path,
        options: impl Fn(&str) -> SiteOptions,
    ) -> anyhow::Result<(Consortium, Network)> {
        let mut consortium = Consortium::unconfigured(folder)?;
        let network = Network::between(&consortium.sites).await?;
        consortium.configure(options, |site, peer| network.port(site, peer))?;
        consortium.start_all().await?;
        Ok((consortium, network))
    }

    fn unconfigured(folder: &Path) -> anyhow::Result<Consortium> {
        let keys = folder.join("keys");
        let keys = keys.to_str().context("test folders have plain names")?;
        medulla(&["keys", "init", "--dir", keys, "--site", "a", "--site", "b", "--site", "c"])?;
        let sites = ["a", "b", "c"].iter().map(|name| Site::new(name, folder)).collect();
        Ok(Consortium { sites })
    }

    /// `port`: where a site dials a peer.
    fn configure(
        &self,
        options: impl Fn(&str) -> SiteOptions,
        port: impl Fn(&Site, &Site) -> u16,
    ) -> anyhow::Result<()> {
        for site in &self.sites {
            let others = self.sites.iter().filter(|peer| peer.name != site.name);
            let peers: Vec<(String, u16)> =
                others.map(|peer| (peer.name.clone(), port(site, peer))).collect();
            site.write_config(&peers, site.name == "a", &options(&site.name))?;
        }
        Ok(())
    }

    async fn start_all(&mut self) -> anyhow::Result<()> {
        for site in &mut self.sites {
            site.start()?;
        }
        for site in &mut self.sites {
            site.ready().await?;
        }
        Ok(())
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

/// A link from each site to each other one, by their names.
pub struct Network(BTreeMap<(String, String), Link>);

impl Network {
    pub async fn between(sites: &[Site]) -> anyhow::Result<Network> {
        let mut links = BTreeMap::new();
        for site in sites {
            for peer in sites.iter().filter(|peer| peer.name != site.name) {
                links.insert((site.name.clone(), peer.name.clone()), Link::to(peer.raft).await?);
            }
        }
        Ok(Network(links))
    }

    /// Where `site` dials `peer`.
    pub fn port(&self, site: &Site, peer: &Site) -> u16 {
        self.0.get(&(site.name.clone(), peer.name.clone())).map_or(peer.raft, |link| link.port)
    }

    /// Nothing reaches `site` any more, and nothing comes from it; its process goes on.
    pub fn cut_off(&self, site: &str) {
        self.of(site).for_each(Link::cut);
    }

    /// What it sends, and what is sent to it, comes so much later.
    pub fn slow(&self, site: &str, delay: Duration) {
        self.of(site).for_each(|link| link.slow(delay));
    }

    pub fn heal(&self, site: &str) {
        self.of(site).for_each(Link::heal);
    }

    fn of(&self, site: &str) -> impl Iterator<Item = &Link> {
        self.0.iter().filter(move |((from, to), _)| from == site || to == site).map(|(_, link)| link)
    }
}
