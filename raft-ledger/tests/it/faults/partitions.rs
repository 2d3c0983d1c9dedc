//! Every kind of partition, one after the other, under load: in namespaces, and on forwarded loopback, which needs no
//! rights.

use std::time::Duration;

use super::load::{Load, seed};
use super::nemesis::{Net, World, others};

const CUT: Duration = Duration::from_secs(4);

async fn all_kinds(world: World) {
    let load = Load::start(&world.sites, seed());
    load.more(30).await;
    // The one that leads is cut off; the others go on without it, and it answers nothing that is old.
    let leader = world.leader().await;
    others(leader).for_each(|other| world.net.cut_both(leader, other));
    healed(&world, &load, "symmetric").await;

    // It is heard and hears nobody; then the other way round.
    for is_heard in [true, false] {
        let leader = world.leader().await;
        for other in others(leader) {
            if is_heard { world.net.cut(other, leader) } else { world.net.cut(leader, other) }
        }
        healed(&world, &load, if is_heard { "one way, deaf" } else { "one way, dumb" }).await;
    }

    // One sees both others, which do not see each other: the one that leads in the middle, and at an end.
    let leader = world.leader().await;
    let [one, other] = [others(leader).next().unwrap(), others(leader).last().unwrap()];
    world.net.cut_both(one, other);
    let before = load.answered();
    let during = healed(&world, &load, "bridge around the leader").await;
    assert!(during > before, "a leader that sees all goes on");
    let leader = world.leader().await;
    world.net.cut_both(leader, others(leader).next().unwrap());
    healed(&world, &load, "bridge beside the leader").await;

    let leader = world.leader().await;
    for _ in 0..8 {
        others(leader).for_each(|other| world.net.cut_both(leader, other));
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.net.heal();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    healed(&world, &load, "flapping").await;
    load.judge().await;
}

/// What was answered until the network was whole again.
async fn healed(world: &World, load: &Load, what: &str) -> u64 {
    tokio::time::sleep(CUT).await;
    let during = load.answered();
    world.net.heal();
    load.more(30).await;
    println!("{what}: {during} answered when it was healed");
    during
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_on_loopback() {
    all_kinds(World::on_roads(200).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_in_network_namespaces() {
    match World::in_namespaces(200).await {
        Ok(world) => all_kinds(world).await,
        Err(why) => println!("SKIPPED partitions_in_network_namespaces: {why}"),
    }
}

/// By forwarders that take their time: not every kernel has netem.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_that_are_far_apart() {
    let world = World::on_roads(200).await;
    let load = Load::start(&world.sites, seed());
    let Net::Roads(roads) = &world.net else { unreachable!("made on roads") };
    for delay_ms in [10, 40, 80] {
        roads.set_delay(Duration::from_millis(delay_ms));
        load.more(60).await;
        // Also an election, and a member that has to catch up.
        let leader = world.leader().await;
        world.sites[leader].kill_9();
        load.more(20).await;
        world.sites[leader].start();
        load.more(40).await;
        println!("{delay_ms} ms one way: {} answered", load.answered());
    }
    load.judge().await;
}
