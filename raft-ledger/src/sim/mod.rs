//! Simulation: a seed decides what the network, the disks, the clocks and the power do to a few sites; the sites
//! run production's consensus, stores, apply, packer, sealing and writer. The same seed gives the same events.
//!
//! ```text
//! run      one seed: time goes on in small steps, each site's runtime runs for one step at a time
//! faults   what happens to them, drawn from the seed
//! damages  damages ledger databases
//! releases gives sites other releases, and has the consortium go on to later rules
//! operator lets members go and come back, and a site with a wiped disk join anew
//! workload what senders bring: acknowledged or sent again, now and then twice
//! model    what must hold; hears of every entry that any site applies
//! proofs   the same of checkpoints and receipts: hears of every signature
//! sendings the same of what leaders sign
//! wires    the network     disk     what survives a power cut     runtime, chance     openraft's and ours
//! ```
//! Production has seams for it where a second implementation is needed and nowhere else: `store/db.rs` and
//! `store/files.rs` (disks), `network/simulated.rs` (connections), `random.rs`, `blocking.rs`, `store/sync.rs`
//! (no threads). Without the feature `sim` none of it is compiled.

pub(crate) mod chance;
mod counts;
mod damages;
pub(crate) mod disk;
mod faults;
mod model;
mod operator;
mod plant;
mod proofs;
mod releases;
mod run;
pub(crate) mod runtime;
mod search;
mod sendings;
mod site;
#[cfg(test)]
mod tests;
pub(crate) mod wires;
mod workload;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;

use crate::apply::Effect;
use crate::authors::Sending;
use crate::raft::Entry;
use crate::record::Hash;
use crate::store::applied::Applied;
use crate::store::generation::Family;

pub use self::counts::Counts;
pub use self::plant::Plant;
pub use self::run::{Outcome, run_seed};
pub use self::search::{Found, Search};

use self::damages::Damages;
use self::model::Model;
use self::operator::Operator;
use self::releases::Releases;
use self::sendings::Sendings;
use self::workload::Workload;

/// Unix time at which every simulation begins.
const BEGINNING_S: u64 = 1_700_000_000;

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    /// The site whose code runs now.
    static SITE: Cell<usize> = const { Cell::new(0) };
}

/// What one seed's run knows beside the sites.
struct World {
    plant: Option<Plant>,
    window: u64,
    model: Model,
    sendings: Sendings,
    workload: Workload,
    operator: Operator,
    releases: Releases,
    damages: Damages,
    violation: Option<String>,
    /// Sites that gave their vote in this step.
    voters: Vec<usize>,
    events: u64,
    trace: u64,
    verbose: bool,
    now_us: u64,
    /// By how many seconds a site's time of day is off.
    time_off_s: BTreeMap<usize, i64>,
    /// Sites move what is old to cold files.
    archives: bool,
    archived: u64,
}

fn with<T>(f: impl FnOnce(&mut World) -> T) -> Option<T> {
    WORLD.with_borrow_mut(|world| world.as_mut().map(f))
}

/// Whether this thread runs a simulation.
pub(crate) fn is_running() -> bool {
    WORLD.with_borrow(Option::is_some)
}

pub(crate) fn planted(plant: Plant) -> bool {
    WORLD.with_borrow(|world| world.as_ref().is_some_and(|world| world.plant == Some(plant)))
}

pub(crate) fn dedupe_window() -> Option<u64> {
    WORLD.with_borrow(|world| world.as_ref().map(|world| world.window))
}

/// Counts an event and adds it to the hash over all of them.
fn event(kind: u64, values: &[u64]) {
    with(|world| world.event(kind, values));
}

impl World {
    fn event(&mut self, kind: u64, values: &[u64]) {
        self.events += 1;
        for value in [self.now_us, kind].iter().chain(values) {
            // FNV-1a over words.
            self.trace = (self.trace ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5);
        }
    }

    /// The consortium has gone on to later rules.
    fn raised(&mut self) {
        self.workload.set_window(self.model.window());
        let verdict = self.releases.raised(self.model.version(), self.operator.is_busy());
        self.judge(verdict);
    }

    fn judge(&mut self, verdict: Result<(), String>) {
        if let Err(violation) = verdict
            && self.violation.is_none()
        {
            self.violation = Some(format!("{} ms: {violation}", self.now_us / 1_000));
        }
    }
}

/// For the report of one seed with `--verbose`.
fn tell(text: impl FnOnce() -> String) {
    with(|world| {
        if world.verbose {
            eprintln!("{:>9.3} s  {}", world.now_us as f64 / 1e6, text());
        }
    });
}

/// What a site without power still does is not heard: it dies within this step.
fn with_living<T>(f: impl FnOnce(&mut World, usize) -> T) -> Option<T> {
    let site = SITE.get();
    if disk::is_dead(site) { None } else { with(|world| f(world, site)) }
}

/// The machine read what its disk holds, or took in a snapshot.
pub(crate) fn loaded(applied: &Applied) {
    with_living(|world, site| {
        world.event(2, &[site as u64, applied.size, u64::from(applied.root[0])]);
        let verdict = world.model.loaded(site, applied);
        world.judge(verdict);
        let verdict = world.releases.knows(site, applied.apply_version);
        world.judge(verdict);
    });
}

pub(crate) fn applying(entry: &Entry) {
    with_living(|world, site| {
        let version = world.model.version();
        let verdict = world.model.applying(site, entry);
        world.judge(verdict);
        if world.model.version() > version {
            world.raised();
        }
    });
}

pub(crate) fn applied(entry: &Entry, effect: &Effect, applied: &Applied) {
    with_living(|world, site| {
        let index = entry.log_id.index;
        world.event(3, &[site as u64, index, applied.size, u64::from(applied.root[0])]);
        let verdict = world.model.applied(site, index, effect, applied);
        world.judge(verdict);
        let verdict = world.releases.knows(site, applied.apply_version);
        world.judge(verdict);
    });
}

/// A site granted its vote.
pub(crate) fn voted(voter: usize, term: u64, candidate: u64) {
    with_living(|world, _| {
        world.event(4, &[voter as u64, term, candidate]);
        world.voters.push(voter);
        let node = world.operator.node(voter);
        let verdict = world.model.voted(node, term, candidate);
        world.judge(verdict);
    });
}

/// A site puts its signature under this checkpoint.
pub(crate) fn signed(size: u64, root: &Hash) {
    with_living(|world, site| {
        world.event(8, &[site as u64, size, u64::from(root[0])]);
        let verdict = world.model.proofs.signed(site, size, *root);
        world.judge(verdict);
    });
}

/// A site was sent this by its leader, which has signed it.
pub(crate) fn sent(sending: &Sending) {
    with_living(|world, _| {
        let verdict = world.sendings.sent(sending);
        world.judge(verdict);
    });
}

/// A site believes to hold evidence against another. All sites of a simulation are honest.
pub(crate) fn blamed(site: &str, kind: &str) {
    with_living(|world, by| {
        world.judge(Err(format!("site {by} blames the honest {site}: {kind}")));
    });
}

/// Sites are named by their numbers.
pub(crate) fn number_of(site: &str) -> Option<usize> {
    site.strip_prefix("site-")?.parse().ok()
}

/// Unix time, as the site has it.
pub(crate) fn unix_s() -> Option<u64> {
    with(|world| {
        let off_s = world.time_off_s.get(&SITE.get()).copied().unwrap_or_default();
        (BEGINNING_S + world.now_us / 1_000_000).saturating_add_signed(off_s)
    })
}

fn set_time_off(site: usize, off_s: i64) {
    with(|world| world.time_off_s.insert(site, off_s));
}

/// The process would end here. Nothing in a simulation but damage gives it a reason.
pub(crate) fn process_ended(what: &str, error: &dyn Display) -> ! {
    let site = SITE.get();
    if disk::is_whole(site) {
        with_living(|world, site| {
            world.judge(Err(format!("site {site} ended its process: {what}: {error}")));
        });
    } else {
        disk::cut_power(site);
    }
    panic!("{what}: {error}");
}

/// Column families, by which the simulated disk names its tables.
fn families() -> Vec<&'static str> {
    Family::names().to_vec()
}
