//! One site between peers that misbehave: it is fed over Kafka, AMQP and MLLP and tells Kafka, AMQP and an MLLP receiver of
//! alerts, while peers restart, vanish, read slowly, refuse, or quarrel about partitions. Whatever happens, each accepted
//! message is in the ledger once, each alert is there once and at each sink, and the order per patient is kept.

mod half_open;
mod judge;
mod nack_storm;
mod rebalance;
mod restarts;
pub mod scene;
mod senders;
mod slow_readers;
pub mod traffic;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::brokers::seeds;

/// Decides a storm's faults. `MEDULLA_SEED` replays one; `MEDULLA_LONG` tries many, one after the other.
fn storms(test: &str) -> Vec<(u64, ChaCha8Rng)> {
    let given = std::env::var("MEDULLA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = match (given, std::env::var_os("MEDULLA_LONG")) {
        (Some(seed), _) => vec![seed],
        (None, Some(_)) => (1..=seeds(test).unwrap_or(1)).collect(),
        (None, None) => vec![1],
    };
    seeds.into_iter().map(|seed| (seed, ChaCha8Rng::seed_from_u64(seed))).collect()
}
