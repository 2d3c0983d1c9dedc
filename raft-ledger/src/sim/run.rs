//! One seed: time goes on in small steps; in each every site runs for as long by its own clock.

use super::chance::{self, one_in, pick, within};
use super::damages::Damages;
use super::faults::Plan;
use super::model::Model;
use super::operator::Operator;
use super::plant::Plant;
use super::releases::Releases;
use super::site::{self, Beginning, Process, Site, Start};
use super::wires::{self, Weather};
use super::workload::Workload;
use super::{Counts, SITE, WORLD, World, disk, number_of, planted, tell, with};
use crate::keys::SiteKeys;

/// With all faults over, everything is answered and all sites agree within this time.
const CALM_MS_MAX: u64 = 120_000;
/// `Fatal::Panicked` in words.
const PANICKED: &str = "panicked";

/// What became of one seed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub seed: u64,
    /// The first thing that did not hold, if one did not.
    pub violation: Option<String>,
    /// Over all events in their order: equal for equal seeds.
    pub trace: u64,
    pub counts: Counts,
}

pub(super) struct Run {
    pub(super) sites: Vec<Slot>,
    pub(super) now_us: u64,
    pub(super) plan: Plan,
    step_us: u64,
    crashes: u64,
}

pub(super) struct Slot {
    site: Site,
    process: Option<Process>,
    /// One that has its ledger made again.
    beginning: Option<Beginning>,
    /// When it starts again, or goes on after a pause.
    until_us: u64,
    /// What its clock jumps by in its next step.
    jump_us: u64,
    /// Its clock's speed.
    ppm: u64,
}

/// Runs a seed with `sites` sites; `verbose` tells on stderr what happens.
pub fn run_seed(seed: u64, sites: usize, plant: Option<Plant>, verbose: bool) -> Outcome {
    chance::seed(seed);
    disk::begin(sites, plant == Some(Plant::DamagedBlocksServed));
    wires::begin();
    let window = pick(&[4, 16, 64, 1_000_000]);
    WORLD.set(Some(World {
        plant,
        window,
        model: Model::new(window),
        sendings: super::sendings::Sendings::default(),
        workload: Workload::new(sites, window),
        // Planted bugs are found sooner, and old members by themselves must hold, too.
        operator: Operator::new(sites, plant.is_none() && (seed / 2).is_multiple_of(2)),
        // In some seeds only, and never by chance: those that found bugs stay the same.
        releases: Releases::new(
            sites,
            matches!(plant, None | Some(Plant::OldReleaseGoesOn)) && matches!(seed % 10, 2 | 7 | 8),
        ),
        damages: Damages::new(
            matches!(plant, None | Some(Plant::DamagedBlocksServed)) && matches!(seed % 10, 1 | 7 | 8),
        ),
        violation: None,
        voters: Vec::new(),
        events: 0,
        trace: 0xcbf2_9ce4_8422_2325,
        verbose,
        now_us: 0,
        time_off_s: std::collections::BTreeMap::new(),
        // As the releases.
        archives: seed % 10 == 7,
        archived: 0,
    }));
    let mut run = Run::new(sites);
    let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.all()));
    if let Err(panic) = end {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        run.violated(format!("a panic: {text}"));
    }
    let Run { now_us, crashes, sites, .. } = run;
    // Processes go while their world is still there.
    drop(sites);
    let disk_steps = disk::steps();
    let world = WORLD.take();
    wires::begin();
    disk::end();
    chance::forget();
    let Some(world) = world else { return Outcome::default() };
    Outcome {
        seed,
        violation: world.violation,
        trace: world.trace,
        counts: Counts {
            events: world.events,
            simulated_ms: now_us / 1_000,
            leaves: world.model.size(),
            acknowledged: world.workload.count_acknowledged(),
            checkpoints: world.model.proofs.count_signed(),
            receipts: world.model.proofs.count_receipts(),
            crashes,
            disk_steps,
            changes: world.operator.count_changes(),
            archived: world.archived,
            raised: world.releases.count_raised(),
            left_behind: world.releases.count_left_behind(),
            damaged: world.damages.count(),
            healed: world.damages.count_healed(),
            signed_again: world.sendings.again,
            replaced: world.sendings.replaced,
        },
    }
}

impl Run {
    fn new(count: usize) -> Run {
        let slot = |site| Slot {
            site,
            process: None,
            beginning: None,
            until_us: 1_000 * within(0..500),
            jump_us: 0,
            ppm: within(980_000..1_020_000),
        };
        let sites = site::sites(count).unwrap_or_else(|why| {
            with(|world| world.judge(Err(why)));
            Vec::new()
        });
        Run {
            sites: sites.into_iter().map(slot).collect(),
            now_us: 0,
            plan: Plan::draw(),
            step_us: pick(&[1_000, 2_000, 4_000]),
            crashes: 0,
        }
    }

    fn all(&mut self) {
        disk::set_sync_ms_max(pick(&[1, 5, 20]));
        // First a consortium, then faults.
        self.plan.next_us = 1_000 * within(500..6_000);
        let stormy_us = self.plan.next_us + 1_000 * within(6_000..30_000);
        with(|world| {
            world.releases.begin(self.plan.next_us);
            world.damages.begin(self.plan.next_us);
        });
        while self.now_us < stormy_us && self.holds() {
            with(|world| world.workload.pace(self.now_us, stormy_us));
            self.fault();
            self.exchange();
            self.damage();
            self.step();
        }
        with(|world| world.workload.pace(self.now_us, 0));
        self.calm();
        let calm_us = self.now_us + 1_000 * CALM_MS_MAX;
        while self.holds() && !self.is_settled() {
            if self.now_us > calm_us {
                self.violated(format!(
                    "no agreement within {CALM_MS_MAX} ms after the last fault: {}",
                    self.state()
                ));
            }
            self.exchange();
            self.step();
        }
        if self.holds() {
            self.check();
        }
    }

    fn holds(&self) -> bool {
        with(|world| world.violation.is_none()).unwrap_or_default()
    }

    fn violated(&self, why: String) {
        with(|world| world.judge(Err(why)));
    }

    fn step(&mut self) {
        self.now_us += self.step_us;
        wires::set_now(self.now_us);
        with(|world| world.now_us = self.now_us);
        for number in 0..self.sites.len() {
            SITE.set(number);
            self.step_site(number);
            if disk::is_dead(number) {
                self.crash(number, within(0..4_000));
            }
        }
        for voter in with(|world| std::mem::take(&mut world.voters)).unwrap_or_default() {
            if chance::chance(self.plan.voter_crashes) {
                self.crash(voter, within(0..1_500));
            }
        }
    }

    fn step_site(&mut self, number: usize) {
        let due = self.sites[number].until_us <= self.now_us;
        let slot = &self.sites[number];
        if slot.process.is_none() && slot.beginning.is_none() && due {
            self.start(number);
        }
        if due && let Some(beginning) = self.sites[number].beginning.take() {
            self.heal(number, beginning);
            return;
        }
        let slot = &mut self.sites[number];
        let Some(process) = &mut slot.process else {
            wires::arrived(number).into_iter().for_each(wires::refuse);
            return;
        };
        if !due {
            return;
        }
        wires::arrived(number).into_iter().for_each(|packet| process.receive(packet));
        process.run(self.step_us * slot.ppm / 1_000_000, std::mem::take(&mut slot.jump_us));
        if disk::is_dead(number) {
            return;
        }
        let (leader, stopped) = (process.leader(), process.stopped());
        let (outdated, damaged) = (process.is_outdated(), process.is_damaged());
        let keys = slot.site.keys();
        with(|world| {
            let proven = process.take_receipts(&keys, &mut world.model);
            world.judge(proven.map_err(|why| format!("site {number}: {why}")));
            if let Some((term, leader)) = leader {
                let verdict = world.model.leads(term, leader);
                world.judge(verdict);
            }
            let stopped = stopped.filter(|why| !world.releases.is_left_behind(number, why));
            // A damaged disk may stop consensus, but excuses no panic.
            if let Some(why) = stopped.filter(|why| disk::is_whole(number) || why == PANICKED) {
                world.judge(Err(format!("site {number}: consensus stopped: {why}")));
            }
        });
        if outdated {
            tell(|| format!("site {number} starts again as a new node"));
            self.crash(number, 0);
        } else if damaged && one_in(20) {
            self.crash(number, 0);
        }
    }

    fn start(&mut self, number: usize) {
        SITE.set(number);
        let started = self.sites[number].site.start();
        self.started(number, started);
    }

    fn started(&mut self, number: usize, started: Result<Start, String>) {
        match started {
            Ok(Start::Runs(process)) => {
                tell(|| format!("site {number} runs"));
                self.sites[number].process = Some(process);
            }
            Ok(Start::Heals(beginning)) => {
                tell(|| format!("site {number} has the others make its ledger again"));
                with(|world| world.damages.heals());
                self.sites[number].beginning = Some(beginning);
            }
            Err(_) if disk::is_dead(number) => {}
            Err(why) if with(|world| world.releases.is_left_behind(number, &why)).unwrap_or_default() => {
                self.crash(number, 1_000);
            }
            // It is started again, and heals.
            Err(_) if !disk::is_whole(number) => self.crash(number, 300),
            Err(why) => self.violated(format!("site {number} does not start: {why}")),
        }
    }

    /// One step of a site that has its ledger made again: it asks, and answers nobody.
    fn heal(&mut self, number: usize, mut beginning: Beginning) {
        wires::arrived(number).into_iter().for_each(|packet| wires::deliver(packet, None, |_, _, _| ()));
        let slot = &mut self.sites[number];
        let step_us = self.step_us * slot.ppm / 1_000_000;
        match beginning.run(step_us, std::mem::take(&mut slot.jump_us)) {
            None => slot.beginning = Some(beginning),
            Some(ledger) => {
                let started = ledger.and_then(|ledger| slot.site.go_on(beginning, ledger));
                self.started(number, started.map(Start::Runs));
            }
        }
    }

    /// The power goes; it is back after `down_ms`.
    pub(super) fn crash(&mut self, number: usize, down_ms: u64) {
        SITE.set(number);
        disk::cut_power(number);
        let slot = &mut self.sites[number];
        slot.until_us = self.now_us + 1_000 * down_ms;
        let (process, beginning) = (slot.process.take(), slot.beginning.take());
        if process.is_some() || beginning.is_some() {
            self.crashes += 1;
        }
        drop((process, beginning));
        tell(|| format!("site {number} has no power"));
        wires::forget(number);
        disk::restore_power(number);
        with(|world| {
            world.event(7, &[number as u64]);
            world.workload.crashed(number);
            world.operator.crashed(number);
        });
    }

    /// A site comes back with an empty disk, if no other one is away and the others know it by the old one. Not before
    /// the first entry: a consortium whose founder was lost before anything was in it is set up again, not healed.
    pub(super) fn wipe(&mut self, number: usize) {
        let name = format!("site-{number}");
        let mut others = self.sites.iter().enumerate().filter(|(other, _)| *other != number);
        let known =
            others.all(|(_, slot)| slot.process.as_ref().is_some_and(|process| process.has_met(&name)));
        let may = |world: &mut World| world.operator.may_wipe() && world.model.size() > 0;
        let whole = (0..self.sites.len()).all(disk::is_whole);
        if !known || !whole || !with(may).unwrap_or_default() {
            return;
        }
        self.crash(number, within(0..3_000));
        tell(|| format!("site {number} has a new disk"));
        disk::wipe(number);
        with(|world| {
            world.model.wiped(number);
            world.operator.wiped(number);
        });
    }

    pub(super) fn pause(&mut self, number: usize, pause_ms: u64, jumps: bool) {
        let slot = &mut self.sites[number];
        if slot.process.is_some() && slot.until_us <= self.now_us {
            slot.until_us = self.now_us + 1_000 * pause_ms;
            slot.jump_us += if jumps { 1_000 * pause_ms } else { 0 };
        }
    }

    pub(super) fn jump(&mut self, number: usize, jump_ms: u64) {
        self.sites[number].jump_us += 1_000 * jump_ms;
    }

    pub(super) fn leader(&self) -> Option<usize> {
        self.sites.iter().position(|slot| slot.process.as_ref().is_some_and(Process::leads))
    }

    /// All faults are over.
    fn calm(&mut self) {
        tell(|| "the faults are over".to_owned());
        wires::heal();
        wires::set_weather(Weather::FAIR);
        disk::set_sync_ms_max(2);
        self.plan.voter_crashes = 0.0;
        with(|world| {
            world.operator.calm();
            world.releases.calm(self.now_us);
        });
        if one_in(2) {
            // What is acknowledged must also survive this.
            (0..self.sites.len()).for_each(|number| self.crash(number, 0));
        }
        for slot in &mut self.sites {
            slot.until_us = slot.until_us.min(self.now_us);
        }
    }

    /// Everything is answered, all sites have applied everything, and hold a cosigned checkpoint of all of it.
    fn is_settled(&self) -> bool {
        let size = with(|world| world.model.size()).unwrap_or_default();
        let cosigned = |slot: &Slot| {
            slot.process
                .as_ref()
                .is_some_and(|process| process.cosigned() == size && process.keys_away() == 0)
        };
        self.sites.iter().all(cosigned)
            && with(|world| {
                world.workload.is_done()
                    && world.model.is_applied_by_all()
                    && world.operator.is_done()
                    && world.releases.is_done(world.model.version())
            })
            .unwrap_or_default()
            && self.sites.iter().all(|slot| slot.process.as_ref().is_some_and(Process::has_cold_files))
            // What nobody finds, nobody heals: what it did is what is to be found then.
            && ((0..self.sites.len()).all(disk::is_whole) || planted(Plant::DamagedBlocksServed))
    }

    fn state(&self) -> String {
        let leader = self.leader();
        let damaged: Vec<Vec<String>> = (0..self.sites.len()).map(disk::damaged_places).collect();
        let cosigned: Vec<Option<u64>> =
            self.sites.iter().map(|slot| slot.process.as_ref().map(Process::cosigned)).collect();
        let away = self.sites.iter().map(|slot| slot.process.as_ref().map(Process::keys_away));
        let away: Vec<Option<u64>> = away.collect();
        with(|world| {
            format!(
                "leader {leader:?}, cosigned {cosigned:?}, damaged {damaged:?}, keys away {away:?}, {}, {}, {}, {}",
                world.workload.state(),
                world.model.state(),
                world.operator.state(),
                world.releases.state()
            )
        })
        .unwrap_or_default()
    }

    /// What a quorum acknowledged to a site is readable without it.
    fn partner_reads(&self, process: &Process, keys: &SiteKeys, model: &Model) -> Result<(), String> {
        let Some(partner) = process.partner().and_then(|name| number_of(&name)) else { return Ok(()) };
        let Some(process) = self.sites[partner].process.as_ref() else { return Ok(()) };
        let read = process.stands_in_for(keys.site.as_str(), model);
        read.map_err(|why| format!("site {partner}: {why}"))
    }

    fn check(&self) {
        for (number, slot) in self.sites.iter().enumerate() {
            SITE.set(number);
            let Some(process) = &slot.process else { continue };
            with(|world| {
                let lost_keys = world.operator.wiped.contains(&number);
                let checked = process.check(&slot.site.keys(), &world.model, lost_keys);
                world.judge(checked.map_err(|why| format!("site {number}: {why}")));
                if !lost_keys {
                    world.judge(self.partner_reads(process, &slot.site.keys(), &world.model));
                }
            });
        }
        with(|world| {
            let closed = world.model.close();
            world.judge(closed);
            if world.workload.count_acknowledged() != world.workload.total() {
                world.judge(Err("a message was never acknowledged".to_owned()));
            }
        });
    }
}
