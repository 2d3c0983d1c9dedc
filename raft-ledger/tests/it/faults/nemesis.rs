//! Three sites and their network, and what a seed does to them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::disk::{EIO, ENOSPC, EROFS};
use super::load::{Load, Sites, is_long, seed};
use super::namespaces::{self, Namespaces};
use super::roads::Roads;
use super::shim::Shim;
use super::site::{Site, Spec, until};
use crate::common::free_addresses;

pub const NAMES: [&str; 3] = ["a", "b", "c"];

pub enum Net {
    Roads(Roads),
    Namespaces(Namespaces),
}

impl Net {
    pub fn cut(&self, from: usize, to: usize) {
        match self {
            Net::Roads(roads) => roads.cut(from, to),
            Net::Namespaces(namespaces) => namespaces.cut(from, to),
        }
    }

    pub fn cut_both(&self, a: usize, b: usize) {
        self.cut(a, b);
        self.cut(b, a);
    }

    pub fn heal(&self) {
        match self {
            Net::Roads(roads) => roads.heal(),
            Net::Namespaces(namespaces) => namespaces.heal(),
        }
    }
}

pub struct World {
    pub sites: Sites,
    pub net: Net,
    pub shims: Vec<Shim>,
    pub dir: tempfile::TempDir,
}

impl World {
    /// On loopback; snapshots are taken every so many entries.
    pub async fn on_roads(snapshot_entries: u64) -> World {
        World::on_roads_with(snapshot_entries, 64 << 20).await
    }

    /// The same; appends are refused below so many free bytes.
    pub async fn on_roads_with(snapshot_entries: u64, reserve_bytes: u64) -> World {
        let addresses = free_addresses(NAMES.len());
        let (roads, entrances) = Roads::between(&addresses).await;
        let world = World::new(Net::Roads(roads), "127.0.0.1".into(), |n, spec| {
            spec.listen = addresses[n].clone();
            spec.peers = others(n).map(|peer| (NAMES[peer].into(), entrances[&(n, peer)].clone())).collect();
            spec.snapshot_entries = snapshot_entries;
            spec.reserve_bytes = reserve_bytes;
        });
        world.start().await;
        world
    }

    pub async fn in_namespaces(snapshot_entries: u64) -> Result<World, String> {
        let built = Namespaces::build(NAMES.len())?;
        let through: Vec<_> = (0..NAMES.len()).map(|n| built.through(n)).collect();
        let world = World::new(Net::Namespaces(built), namespaces::host(0), |n, spec| {
            spec.listen = namespaces::address(n);
            spec.peers = others(n).map(|peer| (NAMES[peer].into(), namespaces::address(peer))).collect();
            spec.snapshot_entries = snapshot_entries;
            spec.through = through[n].clone();
        });
        world.start().await;
        Ok(world)
    }

    fn new(net: Net, host: String, fit: impl Fn(usize, &mut Spec)) -> World {
        let dir = tempfile::tempdir().unwrap();
        raft_ledger::keys::init(&dir.path().join("keys"), &NAMES.map(|name| (name, host.as_str()))).unwrap();
        let shims: Result<Vec<Shim>, String> =
            NAMES.iter().map(|name| Shim::build(dir.path(), name)).collect();
        let shims = shims.unwrap_or_default();
        let site = |(n, name): (usize, &&str)| {
            let mut spec = Spec {
                name: (*name).into(),
                dir: dir.path().into(),
                listen: String::new(),
                peers: Vec::new(),
                snapshot_entries: 0,
                reserve_bytes: 64 << 20,
                through: Vec::new(),
                environment: BTreeMap::new(),
            };
            fit(n, &mut spec);
            spec.environment = shims.get(n).map(|shim| shim.environment(&spec.data())).unwrap_or_default();
            Site::new(spec)
        };
        let sites = Arc::new(NAMES.iter().enumerate().map(site).collect());
        World { sites, net, shims, dir }
    }

    async fn start(&self) {
        self.sites.iter().for_each(Site::start);
        for site in self.sites.iter() {
            site.up().await;
        }
    }

    /// Number of the site that leads, as most say.
    pub async fn leader(&self) -> usize {
        let mut found = None;
        until("a leader", async || {
            for site in self.sites.iter() {
                let said = site.ask("leader").await.unwrap_or_default();
                found = NAMES.iter().position(|name| said == format!("leader {name}"));
                if found.is_some() {
                    return true;
                }
            }
            false
        })
        .await;
        found.unwrap()
    }

    /// No shim: nothing to try, and why.
    pub fn can_shim(&self, test: &str) -> bool {
        if self.shims.is_empty() {
            println!("SKIPPED {test}: no C compiler for the shim");
        }
        !self.shims.is_empty()
    }
}

pub fn others(n: usize) -> impl Iterator<Item = usize> {
    (0..NAMES.len()).filter(move |other| *other != n)
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    KillAll,
    Stop,
    CutOff,
    OneWay,
    Bridge,
    Flapping,
    Slow,
    Lead,
    Leave,
    Clock,
    Disk,
}

const FAULTS: [Fault; 12] = [
    Fault::Kill,
    Fault::KillAll,
    Fault::Stop,
    Fault::CutOff,
    Fault::OneWay,
    Fault::Bridge,
    Fault::Flapping,
    Fault::Slow,
    Fault::Lead,
    Fault::Leave,
    Fault::Clock,
    Fault::Disk,
];

struct Nemesis<'w> {
    world: &'w World,
    rng: ChaCha12Rng,
}

impl Nemesis<'_> {
    fn ms(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.rng.gen_range(range))
    }

    fn one(&mut self) -> usize {
        self.rng.gen_range(0..NAMES.len())
    }

    async fn rest(&mut self, range: Range<u64>) {
        let time = self.ms(range);
        tokio::time::sleep(time).await;
    }

    async fn cause(&mut self, fault: Fault) {
        let (World { sites, net, shims, .. }, n) = (self.world, self.one());
        let others: Vec<usize> = others(n).collect();
        match fault {
            Fault::Kill => {
                sites[n].kill_9();
                self.rest(0..3_000).await;
                sites[n].start();
            }
            Fault::KillAll => {
                sites.iter().for_each(Site::kill_9);
                sites.iter().for_each(Site::start);
            }
            Fault::Stop => {
                sites[n].signal("STOP");
                self.rest(100..5_000).await;
                sites[n].signal("CONT");
            }
            Fault::CutOff => {
                others.iter().for_each(|other| net.cut_both(n, *other));
                self.rest(500..6_000).await;
            }
            Fault::OneWay => {
                let (hears, is_heard) = *[(true, false), (false, true)].choose(&mut self.rng).unwrap();
                for other in &others {
                    if !is_heard {
                        net.cut(n, *other);
                    }
                    if !hears {
                        net.cut(*other, n);
                    }
                }
                self.rest(500..6_000).await;
            }
            Fault::Bridge => {
                net.cut_both(others[0], others[1]);
                self.rest(500..6_000).await;
            }
            Fault::Flapping => {
                for _ in 0..self.rng.gen_range(3..10) {
                    others.iter().for_each(|other| net.cut_both(n, *other));
                    self.rest(20..700).await;
                    net.heal();
                    self.rest(20..700).await;
                }
            }
            Fault::Slow => {
                if let Net::Roads(roads) = net {
                    roads.set_delay(self.ms(5..100));
                }
            }
            Fault::Lead => drop(sites[n].ask(&format!("lead {}", NAMES[others[0]])).await),
            Fault::Leave => {
                let name = NAMES[others[1]];
                for what in ["remove", "add", "promote"] {
                    let told = sites[n].ask(&format!("{what} {name}")).await;
                    println!("{what} {name}: {told:?}");
                    self.rest(0..1_000).await;
                }
            }
            Fault::Clock => {
                let off = *[-86_400, -61, -1, 0, 1, 61, 86_400].choose(&mut self.rng).unwrap();
                if let Some(shim) = shims.get(n) {
                    shim.clock_is_off(off);
                }
            }
            Fault::Disk => {
                if let Some(shim) = shims.get(n) {
                    let failing = [(EIO, "s"), (EIO, "ws"), (EIO, "r"), (EROFS, "ws"), (ENOSPC, "w")];
                    let (errno, operations) = *failing.choose(&mut self.rng).unwrap();
                    shim.disk_fails(errno, operations);
                    self.rest(100..3_000).await;
                    shim.disk_works();
                    // As whoever replaces the disk: it may have ended by itself, or not have met the fault.
                    sites[n].kill_9();
                    sites[n].start();
                }
            }
        }
        net.heal();
    }

    /// All faults are over, and every site votes again.
    async fn calm(&mut self) {
        self.world.net.heal();
        if let Net::Roads(roads) = &self.world.net {
            roads.set_delay(Duration::ZERO);
        }
        for (n, name) in NAMES.into_iter().enumerate() {
            until(&format!("{name} votes"), async || {
                // One of them may not vote itself yet: then it changes no members.
                for other in others(n).map(|other| &self.world.sites[other]) {
                    let promoted = other.ask(&format!("promote {name}")).await.unwrap_or_default();
                    if promoted.contains("comes first") {
                        other.ask(&format!("add {name}")).await;
                    }
                    if promoted.contains("votes already") {
                        return true;
                    }
                }
                false
            })
            .await;
        }
    }
}

/// A schedule of everything, for `seconds`; then what clients saw is judged.
async fn storm(world: World, seconds: u64) {
    let seed = seed();
    let load = Load::start(&world.sites, seed);
    load.more(20).await;
    let mut nemesis = Nemesis { world: &world, rng: ChaCha12Rng::seed_from_u64(seed) };
    let begun = Instant::now();
    let mut faults = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        let fault = *FAULTS.choose(&mut nemesis.rng).unwrap();
        println!("{:>4} s, {} answered: {fault:?}", begun.elapsed().as_secs(), load.answered());
        nemesis.cause(fault).await;
        nemesis.rest(0..1_500).await;
        faults += 1;
    }
    nemesis.calm().await;
    println!("{faults} faults");
    load.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_see_is_one_log_whatever_happens() {
    storm(World::on_roads(80).await, if is_long() { 1_800 } else { 25 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_see_is_one_log_whatever_happens_in_namespaces() {
    match World::in_namespaces(80).await {
        Ok(world) => storm(world, if is_long() { 1_800 } else { 25 }).await,
        Err(why) => println!("SKIPPED what_clients_see_is_one_log_whatever_happens_in_namespaces: {why}"),
    }
}
