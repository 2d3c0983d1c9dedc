//! Clocks that are wrong and jump.

use super::load::{Load, seed};
use super::nemesis::{NAMES, World};

const DAY_S: i64 = 86_400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_jump_change_nothing() {
    let world = World::on_roads(60).await;
    if !world.can_shim("clocks_that_jump_change_nothing") {
        return;
    }
    let load = Load::start(&world.sites, seed());
    for off in [3_600, -1, -2 * 3_600, 30 * DAY_S, -30 * DAY_S, 0] {
        // The one that leads jumps, and the one after it jumps the other way.
        let leader = world.leader().await;
        world.shims[leader].clock_is_off(off);
        world.shims[(leader + 1) % NAMES.len()].clock_is_off(-off);
        load.more(40).await;
        // A process that begins under a wrong clock.
        world.sites[leader].kill_9();
        world.sites[leader].start();
        load.more(40).await;
        println!("{off} s: {} answered", load.answered());
    }
    load.judge().await;
}
