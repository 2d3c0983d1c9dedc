//! What happens to the sites: drawn from the seed, one fault after another.

use super::chance::{chance, one_in, pick, within};
use super::run::Run;
use super::wires::{self, Weather};
use super::{disk, tell};

/// How bad it gets in this run.
pub(super) struct Plan {
    pause_ms_max: u64,
    /// Weights, see [`Fault`].
    weights: [u64; FAULTS.len()],
    pub(super) next_us: u64,
    /// Of those that give their vote.
    pub(super) voter_crashes: f64,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The power of one site goes.
    Crash,
    /// It goes at one of the next steps of the disk.
    CrashAtStep,
    /// It goes everywhere.
    PowerCut,
    /// It goes at more than half of the sites.
    CrashMajority,
    /// Nobody hears from one side what is said at the other.
    Partition,
    /// One direction between two sites is cut.
    OneWay,
    /// The leader alone is cut off, in both directions or one.
    IsolateLeader,
    Heal,
    Weather,
    /// A process stands still for a while; its clock then jumps, or is late.
    Pause,
    /// A clock jumps ahead.
    ClockJump,
    /// The time of day is another, earlier or later, from here on.
    WrongTime,
    SlowDisk,
    /// RocksDB flushes and compacts.
    Background,
    /// Some snapshots are read with a wrong byte, also when all else is calm again.
    DamagedSnapshots,
    /// From here on the power goes at some of the sites that have just given their vote.
    CrashVoters,
    /// A site loses its disk, for good.
    Wipe,
}

const FAULTS: [Fault; 17] = [
    Fault::Crash,
    Fault::CrashAtStep,
    Fault::PowerCut,
    Fault::CrashMajority,
    Fault::Partition,
    Fault::OneWay,
    Fault::IsolateLeader,
    Fault::Heal,
    Fault::Weather,
    Fault::Pause,
    Fault::ClockJump,
    Fault::WrongTime,
    Fault::SlowDisk,
    Fault::Background,
    Fault::DamagedSnapshots,
    Fault::CrashVoters,
    Fault::Wipe,
];

impl Plan {
    pub(super) fn draw() -> Plan {
        // Some kinds are left out of a run, so that others have time to do harm.
        let weights = FAULTS.map(|_| if one_in(3) { 0 } else { within(1..10) });
        Plan { pause_ms_max: pick(&[300, 1_500, 5_000]), weights, next_us: 0, voter_crashes: 0.0 }
    }

    fn next(&self) -> Fault {
        let mut at = within(0..self.weights.iter().sum::<u64>().max(1));
        let found = FAULTS.iter().zip(self.weights).find(|(_, weight)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        found.map_or(Fault::Crash, |(fault, _)| *fault)
    }
}

impl Run {
    /// If it is time for one.
    pub(super) fn fault(&mut self) {
        if self.now_us < self.plan.next_us {
            return;
        }
        self.plan.next_us = self.now_us + 1_000 * within(1..self.plan.pause_ms_max);
        let fault = self.plan.next();
        let site = within(0..self.sites.len() as u64) as usize;
        tell(|| format!("{fault:?} (site {site})"));
        super::event(6, &[fault as u64, site as u64]);
        match fault {
            Fault::Crash => self.crash(site, within(0..6_000)),
            Fault::CrashAtStep => disk::cut_after(site, within(1..200)),
            Fault::PowerCut => (0..self.sites.len()).for_each(|site| self.crash(site, within(0..3_000))),
            Fault::CrashMajority => {
                let count = self.sites.len();
                (0..count / 2 + 1).for_each(|n| self.crash((site + n) % count, within(0..3_000)));
            }
            Fault::Partition => self.partition(),
            Fault::OneWay => wires::block(site, self.other(site)),
            Fault::IsolateLeader => self.isolate_leader(),
            Fault::Heal => wires::heal(),
            Fault::Weather => wires::set_weather(weather()),
            Fault::Pause => self.pause(site, within(10..6_000), one_in(2)),
            Fault::ClockJump => self.jump(site, within(10..5_000)),
            Fault::WrongTime => super::set_time_off(site, pick(&[-1_000_000, -61, -1, 0, 2, 86_400])),
            Fault::SlowDisk => disk::set_sync_ms_max(pick(&[1, 5, 50, 500])),
            Fault::Background => disk::background(site),
            Fault::CrashVoters => self.plan.voter_crashes = pick(&[0.0, 0.3, 0.8]),
            Fault::Wipe => self.wipe(site),
            Fault::DamagedSnapshots => disk::set_damaged_image(pick(&[0.0, 0.3])),
        }
    }

    fn other(&self, site: usize) -> usize {
        (site + within(1..self.sites.len() as u64) as usize) % self.sites.len()
    }

    fn partition(&self) {
        let side: Vec<bool> = self.sites.iter().map(|_| one_in(2)).collect();
        for from in 0..side.len() {
            for to in (0..side.len()).filter(|to| side[from] != side[*to]) {
                wires::block(from, to);
            }
        }
    }

    fn isolate_leader(&self) {
        let Some(leader) = self.leader() else { return };
        let (hears, is_heard) = pick(&[(false, false), (false, true), (true, false)]);
        for other in (0..self.sites.len()).filter(|other| *other != leader) {
            if !hears {
                wires::block(other, leader);
            }
            if !is_heard {
                wires::block(leader, other);
            }
        }
    }
}

fn weather() -> Weather {
    if one_in(3) {
        return Weather::FAIR;
    }
    Weather {
        delay_us_min: 200,
        delay_us_max: pick(&[1_000, 20_000, 150_000, 800_000]),
        lost: pick(&[0.0, 0.0, 0.01, 0.1]),
        doubled: pick(&[0.0, 0.01, 0.1]),
        cut: pick(&[0.0, 0.0, 0.005]),
        unordered: chance(0.5),
    }
}
