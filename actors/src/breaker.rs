//! Spares a receiver that fails: the pause between two tries grows with the failures in a row, whichever messages they were
//! about, and begins anew once one is taken.

use std::time::Duration;

const PAUSE_MS: u64 = 200;
const PAUSE_MS_MAX: u64 = 30_000;
/// So many failures in a row are no accident: the breaker is open.
const FAILURES_MAX: u32 = 5;

#[derive(Default)]
pub(crate) struct Breaker {
    failures: u32,
}

impl Breaker {
    /// How long to wait before the next try.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.pause()
    }

    pub fn taken(&mut self) {
        self.failures = 0;
    }

    pub fn is_open(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    pub fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        Duration::from_millis((PAUSE_MS << doublings).min(PAUSE_MS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_begin_anew() {
        let mut breaker = Breaker::default();
        let pauses: Vec<u128> = (0..10).map(|_| breaker.failed().as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
        assert!(breaker.is_open());
        breaker.taken();
        assert!(!breaker.is_open());
        assert_eq!(breaker.failed().as_millis(), 200);
        for _ in 0..100 {
            breaker.failed();
        }
        assert_eq!(breaker.pause().as_millis(), 30_000);
    }
}
