//! kill -9 under load.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::load::{Load, is_long, seed};
use super::nemesis::{NAMES, World};

const CYCLES: u32 = 6;
const CYCLES_LONG: u32 = 250;

/// `MEDULLA_KILL_CYCLES` says how many else.
fn cycles() -> u32 {
    let usual = if is_long() { CYCLES_LONG } else { CYCLES };
    std::env::var("MEDULLA_KILL_CYCLES").map_or(usual, |cycles| cycles.parse().unwrap())
}

/// The one that leads more often than another, two or all at a time now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_killed_under_load_lose_nothing_and_agree() {
    let world = World::on_roads(100).await;
    let seed = seed();
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let load = Load::start(&world.sites, seed);
    let cycles = cycles();
    for cycle in 1..=cycles {
        load.more(rng.gen_range(5..40)).await;
        let first = if rng.gen_bool(0.5) { world.leader().await } else { rng.gen_range(0..NAMES.len()) };
        let count = *[1, 1, 1, 2, 3].get(rng.gen_range(0..5)).unwrap();
        let killed: Vec<usize> = (0..count).map(|n| (first + n) % NAMES.len()).collect();
        killed.iter().for_each(|site| world.sites[*site].kill_9());
        tokio::time::sleep(Duration::from_millis(rng.gen_range(0..800))).await;
        for site in &killed {
            world.sites[*site].start();
        }
        if cycle % 10 == 0 || cycle == cycles {
            println!("{cycle} kills of {cycles}, {} answered", load.answered());
        }
    }
    load.judge().await;
}
