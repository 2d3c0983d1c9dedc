//! One running site: the parts that the configuration names, started in order and stopped in the other.

mod certificates;
mod feeds;
mod healing;
mod lookup;
mod scorers;
mod sinks;
mod split;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use actors::{Handle, Parts, Pipeline};
use anyhow::Context;
use connectors::fhir_rest;
use raft_ledger::{Ledger, PeerConfig};

use self::certificates::Certificates;
use self::healing::Healing;
use crate::config::Config;
use crate::http::{Extra, Server};
use crate::log::{self, PublicLog};

/// DESIGN §6.10: hours close for patients who send nothing.
const TICK: Duration = Duration::from_secs(3600);

const DAY_S: u64 = 24 * 3_600;

pub struct RunningSite {
    pub server: Server,
    pub log: Option<PublicLog>,
    handle: Handle,
    ledger: Ledger,
}

impl RunningSite {
    /// Must be called inside an actix system. Messages flow when this returns.
    pub async fn start(config: &Config) -> anyhow::Result<RunningSite> {
        let (scorers, shadow_scorers) = scorers::make(&config.scoring)?;
        let ledger = open_ledger(config).await?;
        let feeds = feeds::start(&config.feeds, &ledger).await?;
        let sinks =
            config.sinks.iter().map(|sink| sinks::make(sink, &config.site.name)).collect::<Result<_, _>>()?;
        let parts = Parts {
            site: config.site.name.clone(),
            ledger: ledger.clone(),
            feeds: feeds.feeds,
            sinks,
            scorers,
            shadow_scorers,
            policy: config.alerts.policy(),
            tick: TICK,
        };
        let handle = Pipeline::start(parts).await.context("the pipeline does not start")?;
        let extra = routes(feeds.endpoint, &ledger);
        let server = Server::start(&config.http, &config.site.data, Arc::new(handle.clone()), extra).await?;
        let log = config.log.as_ref().map(|log| PublicLog::start(log, ledger.clone())).transpose()?;
        let mut certificates = feeds.certificates;
        certificates.extend(server.tls.clone().map(|tls| ("http".to_owned(), tls)));
        certificates.extend(log.as_ref().and_then(|log| log.tls.clone()).map(|tls| ("log".to_owned(), tls)));
        handle.register(Box::new(Certificates::new(certificates, ledger.clone())?))?;
        Ok(RunningSite { server, log, handle, ledger })
    }

    /// Until this site must start again, as a new node.
    pub async fn outdated(&self) {
        self.ledger.outdated().await;
    }

    /// Returns once the ledger was found damaged, and opening it again heals it.
    pub async fn damaged(&self) -> String {
        self.ledger.damaged().await
    }

    /// Stops reading, settles what is in flight, answers it, saves and flushes.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.handle.stop().await;
        // The server last: requests that wait for their verdict get it.
        self.server.stop().await;
        if let Some(log) = self.log {
            log.stop().await;
        }
        self.ledger.close().await.context("the ledger does not close")
    }
}

/// While a damaged ledger heals, the site says so where it is asked.
async fn open_ledger(config: &Config) -> anyhow::Result<Ledger> {
    let healing: RefCell<Option<Healing>> = RefCell::new(None);
    let tell = |now: raft_ledger::Healing<'_>| {
        if let Some(notice) = now.notice {
            tracing::error!("{notice}");
        }
        let mut face = healing.borrow_mut();
        if let Some(face) = &*face {
            return face.tell(now.notice);
        }
        // It heals all the same.
        let started = Healing::start(&config.http, &config.site, now.damage)
            .inspect_err(|error| tracing::error!(%error, "nothing answers while the ledger heals"));
        *face = started.ok();
    };
    let opened = Ledger::open_telling(ledger_config(config), tell).await;
    if let Some(healing) = healing.take() {
        healing.stop().await;
    }
    opened.context("the ledger does not open")
}

fn routes(endpoint: Option<fhir_rest::Endpoint>, ledger: &Ledger) -> Extra {
    let ledger = ledger.clone();
    Arc::new(move |config: &mut web::ServiceConfig| {
        log::routes(config, &ledger);
        if let Some(endpoint) = &endpoint {
            config.app_data(web::Data::new(endpoint.clone())).configure(fhir_rest::routes);
        }
    })
}

pub fn ledger_config(config: &Config) -> raft_ledger::Config {
    let (site, ledger) = (&config.site, &config.ledger);
    let mut made = raft_ledger::Config::new(&site.name, site.data.join("ledger"), &ledger.keys);
    made.listen = ledger.listen.to_string();
    made.initialise = ledger.initialise;
    made.master.clone_from(&ledger.master);
    made.outbox_bytes_max = ledger.outbox_max_bytes;
    made.archive_after = ledger.retention.after_days.map(|days| Duration::from_secs(days * DAY_S));
    made.cold_dir.clone_from(&ledger.retention.dir);
    made.takeover_after = Some(Duration::from_secs(ledger.takeover_after_s));
    let peer =
        |peer: &crate::config::Peer| PeerConfig { name: peer.name.clone(), address: peer.address.clone() };
    made.partner.clone_from(&ledger.takeover);
    made.peers = ledger.peers.iter().map(peer).collect();
    made
}
