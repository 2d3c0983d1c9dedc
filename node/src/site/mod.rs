//! One running site: the parts that the configuration names, started in order and stopped in the other.

mod certificates;
mod exchange;
mod feeds;
mod healing;
mod lookup;
mod reload;
mod scorers;
mod sinks;
mod split;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use actors::{Handle, Parts, Pipeline};
use anyhow::Context;
use connectors::fhir_rest::{self, Door};
use raft_ledger::{Ledger, PeerConfig};

use self::certificates::Certificates;
use self::feeds::Made;
use self::healing::Healing;
use self::reload::{Reloader, Reloads};
pub use self::sinks::receiver;
use crate::api::Reload;
use crate::config::Config;
use crate::http::{Extra, Server};
use crate::log::{self, PublicLog};

/// DESIGN §6.10: hours close for patients who send nothing.
const TICK: Duration = Duration::from_secs(3600);

const DAY_S: u64 = 24 * 3_600;

pub struct RunningSite {
    pub server: Server,
    pub log: Option<PublicLog>,
    /// Has the site take over its file as it now is.
    pub reloader: Reloader,
    handle: Handle,
    ledger: Ledger,
}

impl RunningSite {
    /// `file`: where the configuration was read, and is read again. Must be called inside an actix system. Messages flow
    /// when this returns.
    pub async fn start(config: Config, file: &Path) -> anyhow::Result<RunningSite> {
        let (scorers, shadow_scorers) = scorers::make(&config.scoring)?;
        let ledger = open_ledger(&config).await?;
        let (certificates, door) = (Certificates::new(ledger.clone())?, Door::default());
        let mut feeds = Vec::new();
        for feed in &config.feeds {
            let Made { feed, endpoint, tls } = feeds::make(feed, &ledger).await?;
            if let Some(endpoint) = endpoint {
                door.open(endpoint);
            }
            certificates.set(feeds::listener(&feed.name), tls);
            feeds.push(feed);
        }
        let sinks =
            config.sinks.iter().map(|sink| sinks::make(sink, &config.site.name)).collect::<Result<_, _>>()?;
        let parts = Parts {
            site: config.site.name.clone(),
            ledger: ledger.clone(),
            feeds,
            sinks,
            scorers,
            shadow_scorers,
            policy: config.alerts.policy(),
            tick: TICK,
        };
        let handle = Pipeline::start(parts).await.context("the pipeline does not start")?;
        let (reloader, asking) = reload::channel();
        let extra = routes(door.clone(), &ledger, reloader.clone());
        let server = Server::start(&config.http, &config.site.data, Arc::new(handle.clone()), extra).await?;
        let log = config.log.as_ref().map(|log| PublicLog::start(log, ledger.clone())).transpose()?;
        certificates.set("http".to_owned(), server.tls.clone());
        certificates.set("log".to_owned(), log.as_ref().and_then(|log| log.tls.clone()));
        handle.register(Box::new(certificates.clone()))?;
        let reloads = Reloads {
            // As it was given: relative paths in it are then the same.
            file: file.to_owned(),
            config,
            ledger: ledger.clone(),
            handle: handle.clone(),
            door,
            auth: server.auth.clone(),
            certificates,
            metrics: reload::Metrics::register(&handle)?,
        };
        actix_web::rt::spawn(reloads.run(asking));
        Ok(RunningSite { server, log, reloader, handle, ledger })
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

fn routes(door: Door, ledger: &Ledger, reloader: Reloader) -> Extra {
    let (ledger, door) = (ledger.clone(), web::Data::new(door));
    let reloader: web::Data<dyn Reload> = web::Data::from(Arc::new(reloader) as Arc<dyn Reload>);
    Arc::new(move |config: &mut web::ServiceConfig| {
        log::routes(config, &ledger);
        config.app_data(reloader.clone()).app_data(door.clone()).configure(fhir_rest::routes);
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
