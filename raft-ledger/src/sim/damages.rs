//! Ledger databases are damaged, at a minority of the sites at a time: what is not whole must not be served or signed
//! for, and every site is whole again at the end.

use super::chance::{pick, within};
use super::run::Run;
use super::{disk, tell, with};

pub(super) struct Damages {
    /// In this run it happens at all.
    is_busy: bool,
    next_us: u64,
    pause_ms_max: u64,
    count: u64,
    healed: u64,
}

impl Damages {
    pub(super) fn new(is_busy: bool) -> Damages {
        let pause_ms_max = if is_busy { pick(&[800, 3_000, 8_000]) } else { 0 };
        Damages { is_busy, next_us: 0, pause_ms_max, count: 0, healed: 0 }
    }

    pub(super) fn are_busy(&self) -> bool {
        self.is_busy
    }

    pub(super) fn begin(&mut self, at_us: u64) {
        self.next_us = at_us;
    }

    /// A site begins to have its ledger made again by the others.
    pub(super) fn heals(&mut self) {
        self.healed += 1;
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn count_healed(&self) -> u64 {
        self.healed
    }

    fn is_due(&mut self, now_us: u64) -> bool {
        if !self.is_busy || now_us < self.next_us {
            return false;
        }
        self.next_us = now_us + 1_000 * within(50..self.pause_ms_max);
        true
    }
}

impl Run {
    /// The ledger of one site is damaged, if it is time for it. Never so that no majority has everything: nobody could
    /// help.
    pub(super) fn damage(&mut self) {
        let now_us = self.now_us;
        if !with(|world| world.damages.is_due(now_us)).unwrap_or_default() {
            return;
        }
        let count = self.sites.len();
        let site = within(0..count as u64) as usize;
        let damaged = (0..count).filter(|other| *other != site && !disk::is_whole(*other)).count();
        let may = with(|world| world.operator.is_settled()).unwrap_or_default();
        if !may || damaged + 1 > (count - 1) / 2 {
            return;
        }
        let Some(what) = disk::damage(site) else { return };
        tell(|| format!("the ledger of site {site} is damaged: {what}"));
        super::event(12, &[site as u64]);
        with(|world| world.damages.count += 1);
    }
}
