//! Seeds for as long as `MEDULLA_SIM_SECONDS` says, and that the simulation can find bugs.

use std::time::Duration;

use super::*;

/// Seeds that each planted bug needs at most, from 1 on.
const PLANTED_SEEDS_MAX: u64 = 400;

fn search(seeds: u64, limit: Option<Duration>, plant: Option<Plant>) -> Found {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let search = Search { first_seed: 1, seeds, limit, sites: None, plant, threads };
    search.run(&mut |_| {})
}

#[test]
fn openrafts_own_tests_of_a_runtime_pass() {
    openraft_rt::testing::Suite::<runtime::Runtime>::test_all();
}

#[test]
fn the_same_seed_gives_the_same_events() {
    for seed in [1, 2, 3] {
        let sites = if seed % 2 == 0 { 3 } else { 5 };
        let [first, second] = [(); 2].map(|()| {
            // Another thread, another random state of the standard library's and tokio's.
            std::thread::spawn(move || run_seed(seed, sites, None, false)).join().unwrap()
        });
        assert_eq!((first.events, first.trace), (second.events, second.trace), "seed {seed}");
        assert!(first.events > 1_000, "{first:?}");
    }
}

#[test]
fn every_seed_holds() {
    let seconds = std::env::var("MEDULLA_SIM_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    let found = search(u64::MAX, Some(Duration::from_secs(seconds)), None);
    println!("{} seeds, {} events, {} crashes", found.seeds, found.events, found.crashes);
    if let Some(failed) = found.failed {
        panic!(
            "seed {} does not hold: {}\nreplay: cargo run -p raft-ledger --features sim --bin ledger-sim -- \
             --seed {} --verbose",
            failed.seed,
            failed.violation.unwrap_or_default(),
            failed.seed
        );
    }
}

#[test]
fn every_planted_bug_is_found() {
    for plant in Plant::ALL {
        let found = search(PLANTED_SEEDS_MAX, None, Some(plant));
        let failed =
            found.failed.unwrap_or_else(|| panic!("{plant:?} was not found in {} seeds", found.seeds));
        println!("{plant:?}: seed {}: {}", failed.seed, failed.violation.unwrap_or_default());
    }
}
