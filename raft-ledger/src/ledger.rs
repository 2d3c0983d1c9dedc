//! The handle that callers hold.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::{mpsc, oneshot, watch};

use crate::call::{InFlight, places, weigh};
use crate::cold::Archivist;
use crate::config::Config;
use crate::cosign::{Blame, Cosigner, Newest, Rounds};
use crate::founding::{address_of, configured, contacts, founders, own_node, tell_unknown};
use crate::keys::{IndexKey, SiteKeys};
use crate::keystore::{KeyStore, STORE_FILE};
use crate::membership::{self, Membership};
use crate::network::{Identity, Network, Peers, Reload, Served, Service, Tls, listen};
use crate::observer::Observer;
use crate::outbox::{self, Outbox};
use crate::packer::Packer;
use crate::partner::Partner;
use crate::passed_over::PassingOn;
use crate::raft::Types;
use crate::record::SiteName;
use crate::roster::Roster;
use crate::rules::{APPLY_VERSION, Rules};
use crate::seal::Sealer;
use crate::shredding::Shredder;
use crate::standing::Standing;
use crate::store::applied::load_applied;
use crate::store::ledger_store::LedgerStore;
use crate::store::state_machine::StateMachine;
use crate::store::{KeyValues, LogStore, SiteDb};
use crate::takeover::{Proposer, Takeovers};
use crate::tasks::Tasks;
use crate::types::OWN_KINDS;
use crate::writer::{Drafts, Writer};
use crate::{
    AppendError, CertificateStatus, Draft, Healing, LedgerError, Outcome, PeerStatus, Role, Status, Subject,
    Tag, blocking, cold, heal, high_water, housekeeping, scrub,
};

/// Calls that wait for the writer, beside the limit in bytes.
const CALLS_MAX: usize = 4096;
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// A running ledger of one site. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) keys: Arc<SiteKeys>,
    pub(crate) store: Arc<LedgerStore>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) site_db: Arc<SiteDb>,
    pub(crate) observer: Arc<Observer>,
    pub(crate) cosigner: Arc<Cosigner>,
    pub(crate) newest: Arc<Newest>,
    pub(crate) archivist: Archivist,
    pub(crate) raft: Raft<Types, StateMachine>,
    pub(crate) peers: Peers,
    pub(crate) membership: Arc<Membership>,
    roster: Arc<Roster>,
    rules: Arc<Rules>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) shredder: Arc<Shredder>,
    pub(crate) takeovers: Arc<Takeovers>,
    partner: Arc<Partner>,
    /// One at a time.
    pub(crate) shredding: tokio::sync::Mutex<()>,
    outbox: Outbox,
    in_flight: InFlight,
    space_low: Arc<AtomicBool>,
    calls: Mutex<Option<mpsc::Sender<Drafts>>>,
    written: Mutex<Option<oneshot::Receiver<()>>>,
    tls: Tls,
    tasks: Tasks,
}

impl Ledger {
    /// Opens or makes this site's ledger and joins the others.
    ///
    /// Returns before a leader is known: `append` waits for one.
    ///
    /// # Errors
    /// Keys or configuration that do not fit, storage that cannot be opened or is damaged.
    pub async fn open(config: Config) -> Result<Ledger, LedgerError> {
        Ledger::open_telling(config, |_| ()).await
    }

    /// As [`Ledger::open`]; `healing` hears what is wrong with the ledger's database before that is made again, which
    /// takes as long as peers need to send it, and what stands against that whenever it is something else.
    pub async fn open_telling(config: Config, healing: impl Fn(Healing<'_>)) -> Result<Ledger, LedgerError> {
        Ledger::open_as(config, APPLY_VERSION, healing).await
    }

    /// As a release that knows the rules of apply up to `known`.
    pub(crate) async fn open_as(
        config: Config,
        known: u32,
        healing: impl Fn(Healing<'_>),
    ) -> Result<Ledger, LedgerError> {
        let rules = Rules::up_to(known);
        let keys = Arc::new(SiteKeys::load(&config.keys)?);
        let founders = founders(&config, &keys)?;
        let data = config.data.clone();
        std::fs::create_dir_all(&data).map_err(|e| io(&data, e))?;
        let site_db = Arc::new(SiteDb::open(&data.join("sitedb"))?);
        let log = LogStore::open(&data.join("raftdb"))?;
        let newest = Arc::new(Newest::open(site_db.clone(), &keys)?);
        let (tls, tasks) = (Tls::new(&keys)?, Tasks::default());
        tasks.spawn(Reload::new(&tls, &config.keys, &keys).run());
        let peers = || {
            // Before the ledger is there the configuration is all that is known of the members.
            let node = own_node(&log, &founders, &config.site, None)?;
            let identity = Identity::healing(&config.site, &site_db, &log, node, &rules)?;
            let _ = identity.authority.set(keys.ring.authority_key());
            let peers = Network::new(address_of(&config), &tls, &identity, &keys, &tasks).peers();
            peers.keep(&configured(&config, &founders));
            Ok((peers, identity.standing.clone()))
        };
        let store = heal::open_ledger(&config, &keys.ring, &log, newest.get(), peers, healing).await?;
        let (key_store, master) = (data.join(STORE_FILE), config.master_key());
        let key_store = blocking::attempt(move || KeyStore::open_from(&key_store, &master)).await?;
        let sealer = Arc::new(Sealer::new(&keys, key_store));
        let shredder = Shredder::open(store.clone(), sealer.clone(), &keys)?;
        let (observer, events) = Observer::new(keys.site.clone());
        let blame = Blame::open(keys.clone(), site_db.clone(), &data.join("evidence"))?;
        let cosigner = Cosigner::open(keys.clone(), store.clone(), observer.clone(), site_db.clone(), blame)?;
        let cosigner = Arc::new(cosigner);
        let applied = load_applied(&store.generation())?;
        if let Some(last) = &applied.last {
            log.cut_before(last)?;
        }
        log.check_reached(applied.last.as_ref())?;
        let machine =
            StateMachine::open(store.clone(), &log, keys.ring.clone(), rules.clone(), observer.clone())?;
        // From here on the keys of later sites are known, too.
        newest.recount(&keys);
        if let Some(kept) = newest.get() {
            cosigner.blame.see(&kept.note)?;
        }
        let node = own_node(&log, &founders, &config.site, Some(&applied))?;
        let (id, is_founder) = node;
        let last = applied.last.as_ref();
        let identity = Identity::new(&config.site, &site_db, &log, node, &applied.membership, last, &rules)?;
        let _ = identity.authority.set(keys.ring.authority_key());
        if let Some(own) = keys.of_joining() {
            let _ = identity.joining.set(own);
        }
        tell_unknown(&config, &keys);
        let (roster, standing) = (identity.roster.clone(), identity.standing.clone());
        let network = Network::new(address_of(&config), &tls, &identity, &keys, &tasks);
        let peers = network.peers();
        let raft_config = crate::raft::config().map_err(LedgerError::Consensus)?;
        let raft = Raft::new(id, raft_config, network, log.clone(), machine).await.map_err(consensus)?;
        let (site, member) = (config.site.clone(), standing.clone());
        let contacts = contacts(&config, &tls, &identity);
        let membership = Membership::new(
            raft.clone(),
            peers.clone(),
            roster.clone(),
            rules.clone(),
            keys.clone(),
            contacts,
        );
        let membership = Arc::new(membership);
        tasks.spawn(high_water::run(
            log.clone(),
            identity.clone(),
            raft.clone(),
            peers.clone(),
            tasks.clone(),
        ));
        let passing_on = PassingOn::new(&keys, &raft, &peers, &observer, &tasks);
        if !config.listen.is_empty() {
            let listener = tokio::net::TcpListener::bind(&config.listen).await;
            let listener =
                listener.map_err(|source| LedgerError::Io { path: config.listen.clone(), source })?;
            let served = Served {
                raft: raft.clone(),
                store: store.clone(),
                cosigner: cosigner.clone(),
                observer: observer.clone(),
                acknowledged: identity.acknowledged.clone(),
                signers: identity.signers.clone(),
                membership: membership.clone(),
                sealer: sealer.clone(),
                passing_on: passing_on.clone(),
                tasks: tasks.clone(),
            };
            tasks.spawn(listen(listener, Service { served, identity, tls: tls.clone() }));
        }
        if config.initialise && is_founder && !raft.is_initialized().await.map_err(consensus)? {
            raft.initialize(founders.clone()).await.map_err(consensus)?;
        }
        membership.begin(&founders, &config.site);
        let changed = move |is_member| if is_member { member.is_member() } else { member.was_removed(&site) };
        tasks.spawn(membership::follow(membership.clone(), newest.clone(), changed));
        let partner = Partner::new(
            sealer.clone(),
            roster.clone(),
            peers.clone(),
            keys.site.clone(),
            config.partner.clone(),
        );
        tasks.spawn(partner.clone().run());
        let (calls, receiver) = mpsc::channel(CALLS_MAX);
        let (done, written) = oneshot::channel();
        let (epoch_open, may_write) = watch::channel(false);
        let space_low = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            keys: keys.clone(),
            raft: raft.clone(),
            peers: peers.clone(),
            store: store.clone(),
            observer: observer.clone(),
            packer: Packer { keys: keys.clone(), sealer: sealer.clone(), partner: partner.clone() },
            calls: receiver,
            events,
            epoch_open,
            passing_on,
            tasks: tasks.clone(),
        };
        tasks.spawn(writer.run(done));
        let in_flight = InFlight::default();
        let outbox = Outbox::open(outbox::Parts {
            site_db: site_db.clone(),
            entries: outbox::Entries {
                store: store.clone(),
                sealer: sealer.clone(),
                site: keys.site.clone(),
            },
            epoch_open: may_write,
            bytes_max: config.outbox_bytes_max,
            in_flight_bytes_max: config.in_flight_bytes_max,
            reserve_bytes: config.free_space_reserve_bytes,
            calls: calls.downgrade(),
            calls_in_flight: in_flight.clone(),
            space_low: space_low.clone(),
            tasks: tasks.clone(),
        })?;
        let tell_free = {
            let outbox = outbox.clone();
            move |bytes| outbox.set_free(bytes)
        };
        let takeovers = Takeovers::new(store.clone(), &keys);
        if let Some(after) = config.takeover_after {
            let proposer = Proposer {
                site: keys.site.clone(),
                partner: config.partner.as_deref().map(site_name).transpose()?,
                after,
                takeovers: takeovers.clone(),
                observer: observer.clone(),
                raft: raft.clone(),
                roster: roster.clone(),
                calls: calls.downgrade(),
            };
            tasks.spawn(proposer.run());
        }
        tasks.spawn(shredder.clone().run(observer.watch_size(), tasks.clone()));
        let (low, store_of) = (space_low.clone(), store.clone());
        tasks.spawn(housekeeping::run(config.clone(), raft.clone(), log, store_of, low, tell_free));
        let rounds = Rounds {
            cosigner: cosigner.clone(),
            newest: newest.clone(),
            observer: observer.clone(),
            raft: raft.clone(),
            peers: peers.clone(),
        };
        tasks.spawn(rounds.run());
        tasks.spawn(scrub::run(store.clone(), config.scrub_period));
        let archivist = Archivist {
            store: store.clone(),
            newest: newest.clone(),
            file_bytes: config.cold_file_bytes,
            reserve_bytes: config.free_space_reserve_bytes,
        };
        if let Some(age) = config.archive_after {
            tasks.spawn(cold::archive_old(archivist.clone(), age, tasks.clone()));
        }
        tasks.spawn(cold::mend(store.clone(), peers.clone(), config.free_space_reserve_bytes));
        let inner = Inner {
            config,
            keys,
            store,
            sealer,
            site_db,
            observer,
            cosigner,
            newest,
            archivist,
            raft,
            peers,
            membership,
            roster,
            rules,
            standing,
            shredder,
            takeovers,
            partner,
            shredding: tokio::sync::Mutex::default(),
            outbox,
            in_flight,
            space_low,
            calls: Mutex::new(Some(calls)),
            written: Mutex::new(Some(written)),
            tls,
            tasks,
        };
        Ok(Ledger { inner: Arc::new(inner) })
    }

    /// Orders drafts: returns once a quorum has them on disk and this site has applied them, one outcome each.
    ///
    /// # Errors
    /// `Pushback`: nothing was taken. `Unavailable`: what became of them is not known yet; append them again
    /// with the same dedupe keys.
    pub async fn append(&self, drafts: Vec<Draft>) -> Result<Vec<Outcome>, AppendError> {
        self.submit(drafts)?.await
    }

    /// The first half of [`Ledger::append`]: takes the drafts or says why not. Drafts are ordered as they were
    /// submitted; the returned future is their commit.
    pub fn submit(
        &self,
        drafts: Vec<Draft>,
    ) -> Result<impl Future<Output = Result<Vec<Outcome>, AppendError>> + Send + use<>, AppendError> {
        if let Some(kind) = drafts.iter().map(|draft| draft.kind).find(|kind| *kind >= OWN_KINDS) {
            return Err(AppendError::OwnKind { kind });
        }
        self.submit_own(drafts)
    }

    /// The same for what the ledger itself has to say.
    pub(crate) fn submit_own(
        &self,
        drafts: Vec<Draft>,
    ) -> Result<impl Future<Output = Result<Vec<Outcome>, AppendError>> + Send + use<>, AppendError> {
        let bytes = self.check(&drafts)?;
        let in_flight = &self.inner.in_flight;
        let pushback = || AppendError::Pushback { in_flight_bytes: in_flight.bytes() };
        let share = in_flight.take(bytes, self.inner.config.in_flight_bytes_max).ok_or_else(pushback)?;
        let none = drafts.is_empty();
        let (places, answer) = places(drafts.len(), share);
        let calls = self.inner.calls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let calls = calls.ok_or(AppendError::Closed)?;
        if !none {
            calls.try_send(drafts.into_iter().zip(places).collect()).map_err(|e| match e {
                mpsc::error::TrySendError::Full(_) => pushback(),
                mpsc::error::TrySendError::Closed(_) => AppendError::Closed,
            })?;
        }
        let wait = self.inner.config.append_wait;
        Ok(async move {
            if none {
                return Ok(Vec::new());
            }
            let start = Instant::now();
            match tokio::time::timeout(wait, answer).await {
                Ok(Ok(outcomes)) => Ok(outcomes),
                Ok(Err(_)) | Err(_) => {
                    Err(AppendError::Unavailable { waited_ms: start.elapsed().as_millis() as u64 })
                }
            }
        })
    }

    /// Bytes that the drafts weigh.
    fn check(&self, drafts: &[Draft]) -> Result<usize, AppendError> {
        if self.inner.space_low.load(Ordering::Relaxed) {
            let reserve_bytes = self.inner.config.free_space_reserve_bytes;
            return Err(AppendError::NoSpace { reserve_bytes });
        }
        weigh(drafts)
    }

    /// Where drafts are durable at this site before a quorum has them.
    pub fn outbox(&self) -> &Outbox {
        &self.inner.outbox
    }

    /// Leaves applied here.
    pub fn size(&self) -> u64 {
        self.inner.observer.view().size
    }

    /// Changes whenever leaves are applied here.
    pub fn watch_size(&self) -> watch::Receiver<u64> {
        self.inner.observer.watch_size()
    }

    /// The search key for `value` of the field `name`; the same at every site of the consortium.
    pub fn tag(&self, name: &str, value: &[u8]) -> Tag {
        self.inner.keys.index.tag(name, value)
    }

    /// The subject that `bytes` name; the same at every site.
    pub fn subject(&self, bytes: &[u8]) -> Subject {
        self.inner.keys.index.subject(bytes)
    }

    /// A hash that only sites can compute: for dedupe keys and ids.
    pub fn keyed_hash(&self, domain: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.inner.keys.index.keyed_hash(domain, parts)
    }

    /// Makes the keys of [`Ledger::tag`], [`Ledger::subject`] and [`Ledger::keyed_hash`] without the ledger.
    pub fn index_key(&self) -> IndexKey {
        self.inner.keys.index.clone()
    }

    /// What this site shows the others.
    pub fn certificate(&self) -> CertificateStatus {
        self.inner.tls.status()
    }

    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        let view = self.inner.observer.view();
        let name_of =
            |id: u64| metrics.membership_config.membership().get_node(&id).map(|member| member.name.clone());
        let last = metrics.last_log_index.unwrap_or(0);
        let lag = metrics.replication.iter().flatten().filter_map(|(id, matched)| {
            let behind = last.saturating_sub(matched.as_ref().map_or(0, |id| id.index));
            name_of(*id).filter(|name| *name != self.inner.config.site).map(|name| (name, behind))
        });
        let known = self.inner.roster.get();
        let peers = self.inner.peers.all().into_iter().map(|(id, peer)| PeerStatus {
            voter: known.voters.contains(&id),
            connected: peer.is_connected(),
            name: peer.name,
            address: peer.address,
        });
        Status {
            site: self.inner.config.site.clone(),
            role: role(&metrics),
            leader: metrics.current_leader.and_then(name_of),
            term: metrics.current_term,
            size: view.size,
            root: hex::encode(view.root),
            lag: lag.collect(),
            peers: peers.collect(),
            duplicates: view.duplicates,
            refused: view.refused,
            log_first_index: metrics.purged.as_ref().map_or(0, |id| id.index + 1),
            in_flight_bytes: self.inner.in_flight.bytes(),
            apply_version: self.inner.rules.applied(),
            apply_version_known: self.inner.rules.known(),
            notice: self.inner.rules.notice().or_else(|| self.inner.standing.notice()),
            keys: self.inner.partner.copies(),
            damage: self.inner.store.damage().found(),
            cold: self.cold_status(),
        }
    }

    /// Returns once this site's ledger database was found damaged and opening it again heals it, which a site alone
    /// cannot. What was found, in words.
    pub async fn damaged(&self) -> String {
        let found = self.inner.store.damage().is_found().await;
        if self.inner.config.peers.is_empty() {
            std::future::pending::<()>().await;
        }
        found
    }

    /// Puts a value of this site's own; with `sync` it is on the disk when this returns. Blocks.
    pub fn site_put(&self, key: &[u8], value: &[u8], sync: bool) -> Result<(), LedgerError> {
        self.inner.site_db.put(&site_key(key), value, sync)
    }

    /// All of it or nothing, on the disk when this returns; `None` removes. Blocks.
    pub fn site_write(&self, writes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), LedgerError> {
        self.inner.site_db.write(writes.into_iter().map(|(key, value)| (site_key(&key), value)))
    }

    /// Every value whose key begins with `prefix`, in the order of the keys. Blocks.
    pub fn site_scan(&self, prefix: &[u8]) -> Result<KeyValues, LedgerError> {
        let own = site_key(b"").len();
        let found = self.inner.site_db.scan(&site_key(prefix))?;
        Ok(found.into_iter().map(|(key, value)| (key[own..].to_vec(), value)).collect())
    }

    pub(crate) fn site_compact(&self, prefix: &[u8]) {
        let end = [prefix, &[0xff; 64]].concat();
        self.inner.site_db.compact(&site_key(prefix), &site_key(&end));
    }

    pub fn site_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        self.inner.site_db.get(&site_key(key))
    }

    /// Takes no more drafts, lets what is under way finish (10 s at most), flushes and stops.
    pub async fn close(&self) -> Result<(), LedgerError> {
        drop(self.inner.calls.lock().unwrap_or_else(PoisonError::into_inner).take());
        let written = self.inner.written.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(written) = written {
            // Without a quorum what is under way stays unanswered; it may still commit later.
            let _ = tokio::time::timeout(CLOSE_WAIT, written).await;
        }
        let stopped = self.inner.raft.shutdown().await;
        self.inner.tasks.stop().await;
        let store = self.inner.store.clone();
        let site_db = self.inner.site_db.clone();
        let flushed =
            tokio::task::spawn_blocking(move || store.generation().flush().and_then(|()| site_db.sync()));
        let flushed = flushed.await.map_err(|e| LedgerError::Storage(e.to_string()))?;
        if self.inner.store.damage().found().is_some() {
            // What could not be flushed comes again from the raft log, to a database that is whole.
            return Ok(());
        }
        flushed?;
        if self.inner.rules.notice().is_some() {
            // Consensus has stopped by itself.
            return Ok(());
        }
        stopped.map_err(|e| LedgerError::Consensus(e.to_string()))
    }
}

fn site_name(name: &str) -> Result<SiteName, LedgerError> {
    SiteName::new(name).ok_or_else(|| LedgerError::Config(format!("{name:?} is no name of a site")))
}

/// Callers' keys live beside the ledger's own.
fn site_key(key: &[u8]) -> Vec<u8> {
    [b"caller/", key].concat()
}

fn role(metrics: &openraft::RaftMetrics<Types>) -> Role {
    if metrics.running_state.is_err() {
        return Role::Stopped;
    }
    match metrics.state {
        openraft::ServerState::Leader => Role::Leader,
        openraft::ServerState::Follower => Role::Follower,
        openraft::ServerState::Candidate => Role::Candidate,
        openraft::ServerState::Learner => Role::Learner,
        openraft::ServerState::Shutdown => Role::Stopped,
    }
}

fn consensus(error: impl std::fmt::Display) -> LedgerError {
    LedgerError::Consensus(error.to_string())
}

fn io(path: &Path, source: std::io::Error) -> LedgerError {
    LedgerError::Io { path: path.display().to_string(), source }
}
