//! The seed's random numbers: two streams, so that the code under test does not move the faults by drawing more.

use std::cell::RefCell;
use std::ops::Range;

use rand::rngs::StdRng;
use rand::{CryptoRng, Error, Rng, RngCore, SeedableRng};

thread_local! {
    /// What the code under test draws from.
    static CODE: RefCell<Option<StdRng>> = const { RefCell::new(None) };
    /// What the network, the disks and the plan of faults draw from.
    static WORLD: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

pub(super) fn seed(seed: u64) {
    CODE.set(Some(StdRng::seed_from_u64(seed)));
    WORLD.set(Some(StdRng::seed_from_u64(!seed)));
}

pub(super) fn forget() {
    CODE.set(None);
    WORLD.set(None);
}

fn with_world<T>(draw: impl FnOnce(&mut StdRng) -> T) -> T {
    WORLD.with_borrow_mut(|rng| draw(rng.get_or_insert_with(|| StdRng::seed_from_u64(0))))
}

pub(super) fn one_in(n: u32) -> bool {
    with_world(|rng| rng.gen_ratio(1, n))
}

pub(super) fn chance(probability: f64) -> bool {
    probability > 0.0 && with_world(|rng| rng.gen_bool(probability))
}

pub(super) fn within(range: Range<u64>) -> u64 {
    with_world(|rng| rng.gen_range(range))
}

pub(super) fn pick<T: Copy>(of: &[T]) -> T {
    of[within(0..of.len() as u64) as usize]
}

/// The seed's stream while a simulation runs on this thread, else `R`.
pub(crate) struct SeededOr<R>(pub(crate) R);

impl<R: RngCore> RngCore for SeededOr<R> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        let seeded = CODE.with_borrow_mut(|rng| rng.as_mut().map(|rng| rng.fill_bytes(bytes)).is_some());
        if !seeded {
            self.0.fill_bytes(bytes);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl<R: CryptoRng> CryptoRng for SeededOr<R> {}

/// openraft's generator: of another version of `rand_core`.
pub(crate) struct ForConsensus;

impl rand_core_0_10::TryRng for ForConsensus {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(crate::random::rng().next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(crate::random::rng().next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        crate::random::rng().fill_bytes(bytes);
        Ok(())
    }
}
