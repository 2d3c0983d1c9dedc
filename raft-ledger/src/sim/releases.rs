//! Sites are given later releases, now and then an earlier one again, while all else happens, and an operator has the
//! consortium go on to later rules of apply. A release that does not know them must stop where they begin, and its site
//! goes on once it was given a later one.
//!
//! The latest release does not exist: [`NEXT`] shortens the dedupe window.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::chance::{one_in, pick, within};
use super::model::Verdict;
use super::run::Run;
use super::{disk, tell, with};
use crate::membership::{Membership, Request};
use crate::rules::{APPLY_VERSION, NEXT};

/// What `LedgerError::OldRelease` says.
const LEFT_BEHIND: &str = "run the later release";

pub(super) struct Releases {
    /// In this run they are exchanged at all.
    is_busy: bool,
    is_calm: bool,
    /// Per site, the latest rules that its release knows.
    known: Vec<u32>,
    /// The latest that one of its releases has known.
    highest: Vec<u32>,
    /// Sites whose present release stopped.
    stopped: BTreeSet<usize>,
    next_us: u64,
    pause_ms_max: u64,
    raised: u64,
    left_behind: u64,
}

impl Releases {
    pub(super) fn new(sites: usize, is_busy: bool) -> Releases {
        let (first, pause_ms_max) = match is_busy {
            true => (within(0..u64::from(NEXT)) as u32, pick(&[1_500, 3_000, 6_000])),
            false => (APPLY_VERSION, 0),
        };
        Releases {
            is_busy,
            is_calm: false,
            known: vec![first; sites],
            highest: vec![first; sites],
            stopped: BTreeSet::new(),
            next_us: 0,
            pause_ms_max,
            raised: 0,
            left_behind: 0,
        }
    }

    pub(super) fn are_busy(&self) -> bool {
        self.is_busy
    }

    pub(super) fn begin(&mut self, at_us: u64) {
        self.next_us = at_us;
    }

    /// From here on every site is given the latest one.
    pub(super) fn calm(&mut self, at_us: u64) {
        self.is_calm = true;
        self.next_us = at_us;
    }

    pub(super) fn known(&self, site: usize) -> u32 {
        self.known[site]
    }

    /// All apply by the latest rules, as every release knows them by then.
    pub(super) fn is_done(&self, version: u32) -> bool {
        !self.is_busy || version == NEXT
    }

    pub(super) fn count_raised(&self) -> u64 {
        self.raised
    }

    pub(super) fn count_left_behind(&self) -> u64 {
        self.left_behind
    }

    pub(super) fn state(&self) -> String {
        format!("releases {:?}", self.known)
    }

    /// A site holds a ledger that goes on by the rules of `version`.
    pub(super) fn knows(&self, site: usize, version: u32) -> Verdict {
        match version <= self.known[site] {
            true => Ok(()),
            false => Err(format!(
                "site {site}, whose release knows version {}, applies by the rules of version {version}",
                self.known[site]
            )),
        }
    }

    /// The consortium goes on by these rules. Where its members stay the same, all of them have known these.
    pub(super) fn raised(&mut self, version: u32, members_change: bool) -> Verdict {
        self.raised += 1;
        match self.highest.iter().position(|highest| *highest < version) {
            Some(site) if !members_change => {
                Err(format!("version {version} was raised, which site {site} never knew"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a site's consensus stopped, or never began, for these words: because its release is too old.
    pub(super) fn is_left_behind(&mut self, site: usize, why: &str) -> bool {
        let is_left = self.is_busy && self.known[site] < NEXT && why.contains(LEFT_BEHIND);
        if is_left && self.stopped.insert(site) {
            self.left_behind += 1;
        }
        is_left
    }

    /// A site whose release is exchanged now.
    fn next(&mut self, now_us: u64) -> Option<usize> {
        if !self.is_busy || now_us < self.next_us {
            return None;
        }
        self.next_us = now_us + 1_000 * within(50..self.pause_ms_max);
        let site = match self.is_calm {
            true => self.known.iter().position(|known| *known < NEXT)?,
            false => within(0..self.known.len() as u64) as usize,
        };
        let now = self.known[site];
        // What is raised is raised for good: only from there on a release can be left behind.
        let goes_back = !self.is_calm && one_in(if self.raised > 0 { 2 } else { 10 });
        self.known[site] = match goes_back {
            true => now.checked_sub(1)?,
            false if now == NEXT => return None,
            false => within(u64::from(now) + 1..u64::from(NEXT) + 1) as u32,
        };
        self.highest[site] = self.highest[site].max(self.known[site]);
        self.stopped.remove(&site);
        Some(site)
    }
}

impl Run {
    /// Another release at one of the sites, if it is time for one.
    pub(super) fn exchange(&mut self) {
        let now_us = self.now_us;
        let next = with(|world| world.releases.next(now_us).map(|site| (site, world.releases.known(site))));
        let Some((site, known)) = next.flatten() else { return };
        tell(|| format!("site {site} is given a release that knows version {known}"));
        super::event(10, &[site as u64, u64::from(known)]);
        self.crash(site, within(0..2_000));
    }
}

/// The operator at one site: `medulla ledger upgrade`, again and again.
pub(super) async fn raise(site: usize, membership: Arc<Membership>) {
    loop {
        sleep(Duration::from_millis(within(300..4_000))).await;
        let told = membership.ask(Request::Upgrade).await;
        if disk::is_dead(site) {
            return;
        }
        tell(|| format!("site {site} asks for later rules and is told: {:?}", told.as_ref().map(Vec::len)));
        super::event(11, &[site as u64, u64::from(told.is_ok())]);
    }
}
