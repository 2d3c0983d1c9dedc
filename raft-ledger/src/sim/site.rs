//! One site of a simulation: its process, which a power cut ends, composed as `Ledger::open` composes it.

mod judge;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, LocalBoxFuture, pending, poll_immediate};
use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::operator::operate;
use super::releases::raise;
use super::workload::Message;
use super::{chance, disk, number_of, tell, wires, with};
use crate::call::{InFlight, places};
use crate::cold::{self, Archivist};
use crate::config::{Config, PeerConfig};
use crate::cosign::{Blame, Cosigner, Newest, Rounds};
use crate::founding::{configured, own_node};
use crate::heal::open_ledger;
use crate::keys::{Secret, SiteKeys, simulated};
use crate::keystore::{KeyStore, STORE_FILE};
use crate::membership::{self, Candidate, Contacts, Membership};
use crate::network::simulated::{accept, network};
use crate::network::{Identity, Served};
use crate::observer::Observer;
use crate::packer::Packer;
use crate::partner::Partner;
use crate::passed_over::PassingOn;
use crate::raft::Member;
use crate::rules::{APPLY_VERSION, Rules};
use crate::seal::Sealer;
use crate::standing::Standing;
use crate::store::applied::load_applied;
use crate::store::ledger_store::LedgerStore;
use crate::store::state_machine::StateMachine;
use crate::store::{LogStore, SiteDb};
use crate::takeover::{Proposer, Takeovers};
use crate::tasks::Tasks;
use crate::writer::{Drafts, Writer};
use crate::{Healing, LedgerError, high_water, housekeeping, scrub};

/// More than any start takes: openraft reads and applies what is committed.
const START_MAX: Duration = Duration::from_secs(60);
const ANSWER_WAIT: Duration = Duration::from_secs(5);
const CALLS_MAX: usize = 64;
const ARCHIVE_EVERY: Duration = Duration::from_millis(900);

/// What stays when the power goes, beside the disk.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) number: usize,
    keys: Arc<SiteKeys>,
    members: BTreeMap<u64, Member>,
    config: Config,
    senders: usize,
    think_ms: u64,
}

/// What became of a start.
pub(super) enum Start {
    Runs(Process),
    /// The others are asked for the ledger.
    Heals(Beginning),
}

/// A process without a ledger yet.
pub(super) struct Beginning {
    ledger: LocalBoxFuture<'static, Result<Arc<LedgerStore>, String>>,
    base: Base,
    clock: Clock,
}

/// A site's time, in which everything runs that its process does.
struct Clock {
    runtime: Runtime,
    started: Instant,
    us: u64,
}

pub(super) struct Process {
    clock: Clock,
    number: usize,
    opened: Opened,
    /// Size of the newest checkpoint that a receipt was taken under.
    proven: u64,
}

/// What is opened before the ledger.
#[derive(Clone)]
struct Base {
    site_db: Arc<SiteDb>,
    log: LogStore,
    newest: Arc<Newest>,
    rules: Arc<Rules>,
    tasks: Tasks,
}

struct Opened {
    served: Served,
    identity: Arc<Identity>,
    standing: Arc<Standing>,
    partner: Arc<Partner>,
    newest: Arc<Newest>,
    takeovers: Arc<Takeovers>,
}

/// The sites of a consortium; their keys follow from the seed.
pub(super) fn sites(count: usize) -> Result<Vec<Site>, String> {
    let keys = simulated(count).map_err(|e| e.to_string())?;
    let member = |(n, keys): (usize, &SiteKeys)| (n as u64, Member::founder(keys.site.as_str()));
    let members: BTreeMap<u64, Member> = keys.iter().enumerate().map(member).collect();
    let snapshot_log_entries = chance::pick(&[20, 60, 1_000]);
    // Planted bugs are found by seeds that a further draw would move.
    let is_planted = with(|world| world.plant.is_some()).unwrap_or_default();
    let takeover_after = (!is_planted).then(|| chance::pick(&[None, Some(1), Some(4)])).flatten();
    let takeover_after = takeover_after.map(Duration::from_secs);
    let are_damaged = with(|world| world.damages.are_busy()).unwrap_or_default();
    let scrub_period = Duration::from_secs(if are_damaged { chance::pick(&[1, 5, 20]) } else { 0 });
    let sites = keys.into_iter().enumerate().map(|(number, keys)| {
        let mut config = Config::new(keys.site.as_str(), "/", PathBuf::new());
        config.initialise = number == 0;
        config.free_space_reserve_bytes = 0;
        config.snapshot_log_entries = snapshot_log_entries;
        config.cold_file_bytes = 4_000;
        config.takeover_after = takeover_after;
        config.data = disk::dir(number);
        let others = members.values().filter(|member| member.name != config.site);
        config.peers =
            others.map(|peer| PeerConfig { name: peer.name.clone(), address: String::new() }).collect();
        config.scrub_period = scrub_period;
        Site {
            number,
            keys: Arc::new(keys),
            members: members.clone(),
            config,
            senders: chance::pick(&[1, 3, 8]),
            think_ms: chance::pick(&[5, 50, 400]),
        }
    });
    Ok(sites.collect())
}

impl Site {
    /// Starts the process on what is on the disk.
    pub(super) fn start(&self) -> Result<Start, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        let begun = runtime.block_on(async {
            let start = Instant::now();
            let base = self.base()?;
            let mut ledger = self.clone().ledger(base.clone()).boxed_local();
            let opened = match poll_immediate(&mut ledger).await {
                Some(ledger) => Ok(self.open_in_time(base, ledger?).await?),
                None => Err((ledger, base)),
            };
            Ok::<_, String>((start, opened))
        });
        let (started, opened) = begun?;
        let us = runtime.block_on(async { started.elapsed().as_micros() as u64 });
        let clock = Clock { runtime, started, us };
        Ok(match opened {
            Ok(opened) => Start::Runs(Process { clock, number: self.number, opened, proven: 0 }),
            Err((ledger, base)) => Start::Heals(Beginning { ledger, base, clock }),
        })
    }

    /// The process goes on with the ledger that was made for it.
    pub(super) fn go_on(&self, beginning: Beginning, ledger: Arc<LedgerStore>) -> Result<Process, String> {
        let Beginning { ledger: healing, base, mut clock } = beginning;
        drop(healing);
        let opened = clock.runtime.block_on(self.open_in_time(base, ledger))?;
        clock.us = clock.runtime.block_on(async { clock.started.elapsed().as_micros() as u64 });
        Ok(Process { clock, number: self.number, opened, proven: 0 })
    }

    fn base(&self) -> Result<Base, String> {
        let (dir, text) = (&self.config.data, |e: LedgerError| e.to_string());
        let site_db = Arc::new(SiteDb::open(&dir.join("sitedb")).map_err(text)?);
        let log = LogStore::open(&dir.join("raftdb")).map_err(text)?;
        let newest = Arc::new(Newest::open(site_db.clone(), &self.keys).map_err(text)?);
        let known = with(|world| world.releases.known(self.number));
        let rules = Rules::up_to(known.unwrap_or(APPLY_VERSION));
        Ok(Base { site_db, log, newest, rules, tasks: Tasks::default() })
    }

    async fn ledger(self, base: Base) -> Result<Arc<LedgerStore>, String> {
        let peers = || {
            let node = own_node(&base.log, &self.members, &self.config.site, None)?;
            let identity = Identity::healing(&self.config.site, &base.site_db, &base.log, node, &base.rules)?;
            let peers = network(self.number, &identity, &self.keys, &base.tasks).peers();
            peers.keep(&configured(&self.config, &self.members));
            Ok((peers, identity.standing.clone()))
        };
        let told = |healing: Healing<'_>| {
            tell(|| format!("site {} heals: {} ({:?})", self.number, healing.damage, healing.notice));
        };
        let ring = &self.keys.ring;
        let opened = open_ledger(&self.config, ring, &base.log, base.newest.get(), peers, told).await;
        opened.map_err(|e| e.to_string())
    }

    async fn open_in_time(&self, base: Base, store: Arc<LedgerStore>) -> Result<Opened, String> {
        timeout(START_MAX, self.open(base, store)).await.map_err(|_| "its start takes too long")?
    }

    async fn open(&self, base: Base, store: Arc<LedgerStore>) -> Result<Opened, String> {
        let Base { site_db, log, newest, rules, tasks } = base;
        let text = |e: LedgerError| e.to_string();
        let key_store =
            KeyStore::open(&self.config.data.join(STORE_FILE), Secret::new([self.number as u8; 32]));
        let sealer = Arc::new(Sealer::new(&self.keys, key_store.map_err(text)?));
        let (observer, events) = Observer::new(self.keys.site.clone());
        let cosigner = self.cosigner(&store, &observer, site_db.clone(), &newest).map_err(text)?;
        let applied = load_applied(&store.generation()).map_err(text)?;
        if let Some(last) = &applied.last {
            log.cut_before(last).map_err(text)?;
        }
        let machine =
            StateMachine::open(store.clone(), &log, self.keys.ring.clone(), rules.clone(), observer.clone())
                .map_err(text)?;
        log.check_reached(applied.last.as_ref()).map_err(text)?;
        let node = own_node(&log, &self.members, &self.config.site, Some(&applied)).map_err(text)?;
        let (id, is_founder) = node;
        let last = applied.last.as_ref();
        let identity =
            Identity::new(&self.config.site, &site_db, &log, node, &applied.membership, last, &rules);
        let identity = identity.map_err(text)?;
        let (roster, standing) = (identity.roster.clone(), identity.standing.clone());
        with(|world| world.operator.started(self.number, id));
        wires::is_present(
            self.number,
            Candidate { node: id, store: identity.store_id, apply_version: rules.known(), keys: None },
        );
        let network = network(self.number, &identity, &self.keys, &tasks);
        let peers = network.peers();
        let raft = Raft::new(id, crate::raft::config()?, network, log.clone(), machine).await;
        let raft = raft.map_err(|e| e.to_string())?;
        let contacts = contacts(self.number, &identity);
        let membership =
            Membership::new(raft.clone(), peers.clone(), roster.clone(), rules, self.keys.clone(), contacts);
        let membership = Arc::new(membership);
        if self.config.initialise && is_founder && !raft.is_initialized().await.map_err(|e| e.to_string())? {
            raft.initialize(self.members.clone()).await.map_err(|e| e.to_string())?;
        }
        membership.begin(&self.members, &self.config.site);
        tasks.spawn(membership::follow(membership.clone(), newest.clone(), |_| ()));
        tasks.spawn(operate(self.number, membership.clone()));
        if with(|world| world.releases.are_busy()).unwrap_or_default() {
            tasks.spawn(raise(self.number, membership.clone()));
        }
        let partner = Partner::new(sealer.clone(), roster, peers.clone(), self.keys.site.clone(), None);
        tasks.spawn(partner.clone().run());
        let (calls, receiver) = mpsc::channel(CALLS_MAX);
        let (done, _) = oneshot::channel();
        let passing_on = PassingOn::new(&self.keys, &raft, &peers, &observer, &tasks);
        let writer = Writer {
            keys: self.keys.clone(),
            raft: raft.clone(),
            peers: peers.clone(),
            store: store.clone(),
            observer: observer.clone(),
            packer: Packer { keys: self.keys.clone(), sealer: sealer.clone(), partner: partner.clone() },
            calls: receiver,
            events,
            epoch_open: watch::Sender::new(false),
            passing_on: passing_on.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(writer.run(done));
        let takeovers = Takeovers::new(store.clone(), &self.keys);
        if let Some(after) = self.config.takeover_after {
            let proposer = Proposer {
                site: self.keys.site.clone(),
                partner: None,
                after,
                takeovers: takeovers.clone(),
                observer: observer.clone(),
                raft: raft.clone(),
                roster: identity.roster.clone(),
                calls: calls.downgrade(),
            };
            tasks.spawn(proposer.run());
        }
        let rounds = Rounds {
            cosigner: cosigner.clone(),
            newest: newest.clone(),
            observer: observer.clone(),
            raft: raft.clone(),
            peers: peers.clone(),
        };
        tasks.spawn(rounds.run());
        tasks.spawn(high_water::run(
            log.clone(),
            identity.clone(),
            raft.clone(),
            peers.clone(),
            tasks.clone(),
        ));
        let space_low = Arc::new(AtomicBool::new(false));
        tasks.spawn(housekeeping::run(
            self.config.clone(),
            raft.clone(),
            log,
            store.clone(),
            space_low,
            |_| (),
        ));
        if with(|world| world.archives).unwrap_or_default() {
            let archivist = Archivist {
                store: store.clone(),
                newest: newest.clone(),
                file_bytes: self.config.cold_file_bytes,
                reserve_bytes: 0,
            };
            tasks.spawn(archive(self.number, archivist));
            tasks.spawn(cold::mend(store.clone(), peers, 0));
        }
        if with(|world| world.damages.are_busy()).unwrap_or_default() {
            tasks.spawn(scrub::run(store.clone(), self.config.scrub_period));
        }
        for _ in 0..self.senders {
            tasks.spawn(send(self.number, calls.clone(), self.config.in_flight_bytes_max, self.think_ms));
        }
        let served = Served {
            raft,
            store,
            cosigner,
            observer,
            acknowledged: identity.acknowledged.clone(),
            signers: identity.signers.clone(),
            membership,
            sealer,
            passing_on,
            tasks,
        };
        Ok(Opened { served, identity, standing, partner, newest, takeovers })
    }

    fn cosigner(
        &self,
        store: &Arc<LedgerStore>,
        observer: &Arc<Observer>,
        site_db: Arc<SiteDb>,
        newest: &Newest,
    ) -> Result<Arc<Cosigner>, LedgerError> {
        let dir = disk::dir(self.number).join("evidence");
        let blame = Blame::open(self.keys.clone(), site_db.clone(), &dir)?;
        if let Some(kept) = newest.get() {
            blame.see(&kept.note)?;
        }
        let (store, observer) = (store.clone(), observer.clone());
        Cosigner::open(self.keys.clone(), store, observer, site_db, blame).map(Arc::new)
    }
}

/// As `ledger::contacts`: whoever runs at the site now.
fn contacts(own: usize, identity: &Arc<Identity>) -> Contacts {
    let probe = move |site: String, _: String| {
        let found =
            number_of(&site).and_then(|to| wires::probe(own, to)).ok_or_else(|| "no answer".to_owned());
        Box::pin(std::future::ready(found)) as BoxFuture<'static, _>
    };
    let (known, name) = (identity.clone(), identity.site.clone());
    let store_of = move |site: &str| match site == name {
        true => Some(known.store_id),
        false => known.known_store(site).ok().flatten(),
    };
    Contacts {
        probe: Box::new(probe),
        store_of: Box::new(store_of),
        address_of: Box::new(|site| Some(site.to_owned())),
    }
}

/// All that may move, whatever its age.
async fn archive(site: usize, archivist: Archivist) {
    loop {
        sleep(ARCHIVE_EVERY).await;
        let moved = archivist.step(Duration::ZERO);
        if disk::is_dead(site) {
            return;
        }
        with(|world| match moved {
            Ok(moved) => world.archived += u64::from(moved.is_some()),
            // It stays where it is until the damage is healed.
            Err(LedgerError::Damaged(_)) if !disk::is_whole(site) => {}
            Err(error) => world.judge(Err(format!("site {site}: {error}"))),
        });
    }
}

/// One sender: a call at a time.
async fn send(site: usize, calls: mpsc::Sender<Drafts>, in_flight_max: usize, think_ms: u64) {
    let in_flight = InFlight::default();
    loop {
        let pause = chance::within(0..think_ms + 1);
        sleep(Duration::from_millis(pause)).await;
        let Some((number, messages)) = with(|world| world.workload.next(site)).flatten() else { continue };
        let outcomes = call(&calls, &in_flight, in_flight_max, &messages).await;
        if disk::is_dead(site) {
            return;
        }
        with(|world| match outcomes {
            Some(outcomes) => {
                world.event(5, &[site as u64, number, outcomes.first().map_or(0, |o| o.index)]);
                for (message, outcome) in messages.iter().zip(&outcomes) {
                    let verdict = world.model.acknowledged(message.dedupe(), *outcome);
                    world.judge(verdict.map_err(|why| format!("site {site}: {why}")));
                }
                world.workload.acknowledged(site, number, &outcomes);
            }
            None => world.workload.unanswered(site, number),
        });
    }
}

/// As `Ledger::append`.
async fn call(
    calls: &mpsc::Sender<Drafts>,
    in_flight: &InFlight,
    in_flight_max: usize,
    messages: &[Message],
) -> Option<Vec<crate::Outcome>> {
    let share = in_flight.take(messages.len(), in_flight_max)?;
    let (places, answer) = places(messages.len(), share);
    let drafts = messages.iter().map(Message::draft).zip(places).collect();
    calls.try_send(drafts).ok()?;
    timeout(ANSWER_WAIT, answer).await.ok()?.ok()
}

impl Clock {
    /// Lets everything run for `step_us`, after the clock jumped by `jump_us`, or until `end` is there.
    fn run<T>(&mut self, step_us: u64, jump_us: u64, end: impl Future<Output = T>) -> Option<T> {
        self.us += step_us + jump_us;
        let until = self.started + Duration::from_micros(self.us);
        self.runtime.block_on(async {
            if jump_us > 0 {
                tokio::time::advance(Duration::from_micros(jump_us)).await;
            }
            timeout_at(until, end).await.ok()
        })
    }
}

impl Beginning {
    /// Lets the site run for a step; its ledger, once that is made.
    pub(super) fn run(&mut self, step_us: u64, jump_us: u64) -> Option<Result<Arc<LedgerStore>, String>> {
        self.clock.run(step_us, jump_us, &mut self.ledger)
    }
}

impl Process {
    /// Lets the site run for `step_us` by its own clock, after that jumped by `jump_us`.
    pub(super) fn run(&mut self, step_us: u64, jump_us: u64) {
        self.clock.run(step_us, jump_us, pending::<()>());
    }

    /// Its ledger database is known to be damaged: it must start again.
    pub(super) fn is_damaged(&self) -> bool {
        self.opened.served.store.damage().found().is_some()
    }

    pub(super) fn receive(&self, packet: wires::Packet) {
        let _inside = self.clock.runtime.enter();
        let Opened { served, identity, .. } = &self.opened;
        wires::deliver(packet, Some(identity), |wire, signals, hello| {
            accept(self.number, served, (identity.clone(), hello), wire, signals);
        });
    }

    /// The term and the leader that this site knows for certain.
    pub(super) fn leader(&self) -> Option<(u64, u64)> {
        let metrics = self.opened.served.raft.server_metrics();
        let vote = metrics.borrow_watched().vote;
        vote.committed.then_some((vote.leader_id.term, vote.leader_id.voted_for))
    }

    pub(super) fn leads(&self) -> bool {
        let metrics = self.opened.served.raft.server_metrics();
        metrics.borrow_watched().state == openraft::ServerState::Leader
    }

    /// It must start again, as a new node.
    pub(super) fn is_outdated(&self) -> bool {
        *self.opened.standing.watch_outdated().borrow()
    }

    /// It knows with which disk the site came.
    pub(super) fn has_met(&self, site: &str) -> bool {
        let known = self.opened.identity.roster.get();
        let pinned = known.of_site(site).any(|(_, member)| member.store.is_some());
        pinned || self.opened.identity.known_store(site).is_ok_and(|known| known.is_some())
    }

    /// Why consensus has stopped, if it has.
    pub(super) fn stopped(&self) -> Option<String> {
        crate::raft::end_of(&self.opened.served.raft).map(|fatal| fatal.to_string())
    }

    /// Every payload that was moved is here.
    pub(super) fn has_cold_files(&self) -> bool {
        let store = &self.opened.served.store;
        store.cold().is_complete(&store.generation())
    }

    /// Size of the newest checkpoint that a majority has cosigned.
    pub(super) fn cosigned(&self) -> u64 {
        self.opened.newest.size()
    }

    /// Own keys that are not known to be at the partner.
    pub(super) fn keys_away(&self) -> u64 {
        self.opened.partner.copies().not_at_partner
    }

    /// The site that holds this one's keys.
    pub(super) fn partner(&self) -> Option<String> {
        self.opened.partner.copies().partner
    }
}

impl Site {
    pub(super) fn keys(&self) -> Arc<SiteKeys> {
        self.keys.clone()
    }
}
