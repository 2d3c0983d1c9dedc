//! What senders bring: each message until it is acknowledged, some of them again afterwards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::chance::{chance, one_in, pick, within};
use crate::record::sha256;
use crate::types::{Draft, Outcome, Subject, Tag};

/// Carried by every message: what is found by it is everything.
pub(super) const TAG: Tag = Tag([7; 16]);

#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) id: u64,
    bytes: usize,
}

pub(super) struct Workload {
    window: u64,
    /// Messages that will be sent, without those that are sent again.
    total: u64,
    /// Of them, by now.
    allowed: u64,
    sent: u64,
    sites: usize,
    /// Waiting at each site to be sent.
    waiting: Vec<VecDeque<Message>>,
    /// On their way at a site: by a number.
    under_way: BTreeMap<(usize, u64), Vec<Message>>,
    next_number: u64,
    acknowledged: BTreeSet<u64>,
    /// By leaf index: the message there, as its sender was told.
    placed: BTreeMap<u64, Message>,
    large_left: u32,
    again: f64,
}

impl Workload {
    pub(super) fn new(sites: usize, window: u64) -> Workload {
        Workload {
            window,
            total: within(80..600),
            allowed: 0,
            sent: 0,
            sites,
            waiting: vec![VecDeque::new(); sites],
            under_way: BTreeMap::new(),
            next_number: 0,
            acknowledged: BTreeSet::new(),
            placed: BTreeMap::new(),
            large_left: u32::from(one_in(8)),
            again: pick(&[0.02, 0.1, 0.3]),
        }
    }

    /// From now on duplicates are known for so many leaves.
    pub(super) fn set_window(&mut self, window: u64) {
        self.window = window;
    }

    /// They come evenly until `end_us`.
    pub(super) fn pace(&mut self, now_us: u64, end_us: u64) {
        self.allowed = if now_us < end_us { self.total * now_us / end_us } else { self.total };
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Messages of one call, and its number.
    pub(super) fn next(&mut self, site: usize) -> Option<(u64, Vec<Message>)> {
        let mut call = Vec::new();
        for _ in 0..pick(&[1, 1, 1, 2, 5, 20]) {
            call.extend(self.one(site));
        }
        if call.is_empty() {
            return None;
        }
        self.next_number += 1;
        self.under_way.insert((site, self.next_number), call.clone());
        Some((self.next_number, call))
    }

    fn one(&mut self, site: usize) -> Option<Message> {
        if let Some(message) = self.waiting[site].pop_front() {
            return Some(message);
        }
        if self.sent >= self.allowed {
            return None;
        }
        if chance(self.again) && !self.placed.is_empty() {
            return self.again();
        }
        self.sent += 1;
        let bytes = match within(0..100) {
            0 => within(3_000..30_000),
            1 if self.large_left > 0 => {
                self.large_left -= 1;
                within(520_000..800_000)
            }
            _ => within(1..200),
        };
        Some(Message { id: self.sent, bytes: bytes as usize })
    }

    /// One that was acknowledged: most often at the edge of the dedupe window.
    fn again(&self) -> Option<Message> {
        let last = *self.placed.keys().next_back()?;
        let back = match one_in(4) {
            true => within(0..self.window * 2),
            false => (self.window + within(0..5)).saturating_sub(3),
        };
        self.placed.range(..=last.saturating_sub(back)).next_back().map(|(_, message)| *message)
    }

    /// The call was answered.
    pub(super) fn acknowledged(&mut self, site: usize, number: u64, outcomes: &[Outcome]) {
        for (message, outcome) in self.under_way.remove(&(site, number)).into_iter().flatten().zip(outcomes) {
            self.acknowledged.insert(message.id);
            self.placed.insert(outcome.index, message);
        }
    }

    /// Nobody knows what became of the call: its sender tries again, now and then at another site.
    pub(super) fn unanswered(&mut self, site: usize, number: u64) {
        let messages = self.under_way.remove(&(site, number)).unwrap_or_default();
        let to = if one_in(5) { within(0..self.sites as u64) as usize } else { site };
        self.waiting[to].extend(messages);
    }

    /// The site's process is gone, and with it every call there.
    pub(super) fn crashed(&mut self, site: usize) {
        let calls: Vec<u64> =
            self.under_way.keys().filter(|(at, _)| *at == site).map(|(_, number)| *number).collect();
        calls.into_iter().for_each(|number| self.unanswered(site, number));
    }

    pub(super) fn is_done(&self) -> bool {
        self.sent >= self.total && self.under_way.is_empty() && self.waiting.iter().all(VecDeque::is_empty)
    }

    pub(super) fn state(&self) -> String {
        let waiting: usize = self.waiting.iter().map(VecDeque::len).sum();
        let (sent, total, under_way) = (self.sent, self.total, self.under_way.len());
        format!("{sent} of {total} messages sent, {waiting} waiting, {under_way} calls under way")
    }

    pub(super) fn count_acknowledged(&self) -> u64 {
        self.acknowledged.len() as u64
    }
}

impl Message {
    pub(super) fn dedupe(&self) -> [u8; 32] {
        sha256(&[b"dedupe", &self.id.to_be_bytes()])
    }

    pub(super) fn payload(&self) -> Bytes {
        let pattern = self.id.to_be_bytes();
        (0..self.bytes).map(|at| pattern[at % 8]).collect::<Vec<u8>>().into()
    }

    pub(super) fn draft(&self) -> Draft {
        let time = self.id as i64;
        Draft {
            kind: 1,
            subject: Subject([(self.id % 5) as u8; 32]),
            tags: vec![TAG],
            dedupe: Some(self.dedupe()),
            event_time_ms: time,
            message_time_ms: time,
            received_time_ms: time,
            payload: self.payload(),
        }
    }
}
