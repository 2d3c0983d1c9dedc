//! Where this crate's randomness comes from: the operating system, or under simulation the seed.

use rand::{CryptoRng, RngCore};

/// For nonces and the keys of single events.
pub(crate) fn rng() -> impl RngCore + CryptoRng {
    seam(rand::thread_rng())
}

/// For keys that last.
pub(crate) fn os_rng() -> impl RngCore + CryptoRng {
    seam(rand::rngs::OsRng)
}

pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rng().fill_bytes(&mut bytes);
    bytes
}

#[cfg(not(any(test, feature = "sim")))]
fn seam<R>(rng: R) -> R {
    rng
}

#[cfg(any(test, feature = "sim"))]
fn seam<R: RngCore + CryptoRng>(rng: R) -> impl RngCore + CryptoRng {
    crate::sim::chance::SeededOr(rng)
}
