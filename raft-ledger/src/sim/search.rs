//! Many seeds, one after another on each thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Counts, Outcome, Plant, run_seed};

/// Which seeds to run.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    pub first_seed: u64,
    /// At most so many.
    pub seeds: u64,
    /// No seed begins after so long.
    pub limit: Option<Duration>,
    /// `None`: three for even seeds, five for odd ones.
    pub sites: Option<usize>,
    pub plant: Option<Plant>,
    pub threads: usize,
    /// Go on when a seed fails.
    pub all: bool,
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub seeds: u64,
    pub counts: Counts,
    pub elapsed: Duration,
    /// The seeds that failed, in their order.
    pub failed: Vec<Outcome>,
}

impl Search {
    pub fn sites_of(&self, seed: u64) -> usize {
        self.sites.unwrap_or(if seed.is_multiple_of(2) { 3 } else { 5 })
    }

    fn run_one(&self, seed: u64) -> Outcome {
        run_seed(seed, self.sites_of(seed), self.plant, false)
    }

    /// Runs until the limits are reached or, unless `all`, a seed fails; `progress` is called after each seed.
    pub fn run(&self, progress: &mut dyn FnMut(&Found)) -> Found {
        let begun = Instant::now();
        let (next, stop) = (AtomicU64::new(self.first_seed), AtomicBool::new(false));
        let mut found = Found::default();
        std::thread::scope(|scope| {
            let (outcomes, ended) = mpsc::channel();
            for _ in 0..self.threads.max(1) {
                let (outcomes, next, stop) = (outcomes.clone(), &next, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed)
                        && self.limit.is_none_or(|limit| begun.elapsed() < limit)
                    {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed - self.first_seed >= self.seeds || outcomes.send(self.run_one(seed)).is_err()
                        {
                            return;
                        }
                    }
                });
            }
            drop(outcomes);
            for outcome in ended {
                stop.fetch_or(outcome.violation.is_some() && !self.all, Ordering::Relaxed);
                found.add(outcome);
                found.elapsed = begun.elapsed();
                progress(&found);
            }
        });
        found
    }
}

impl Found {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.counts.add(&outcome.counts);
        if outcome.violation.is_some() {
            self.failed.push(outcome);
            self.failed.sort_by_key(|failed| failed.seed);
        }
    }
}
