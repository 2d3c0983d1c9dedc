//! An old image of a site's disk, put back: it has forgotten what it acknowledged and how it voted, and the others do
//! not let it take part as the member that it was.

use std::time::Duration;

use super::load::{Load, seed};
use super::nemesis::{NAMES, World, others};
use super::site::{copy_dir, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_image_is_refused_and_comes_back_as_a_new_node() {
    let world = World::on_roads(500).await;
    let load = Load::start(&world.sites, seed());
    load.more(50).await;
    let leader = world.leader().await;
    let n = others(leader).next().unwrap();
    let (old, site, name) = (world.dir.path().join("old"), &world.sites[n], NAMES[n]);
    site.kill_9();
    copy_dir(&site.spec.data(), &old);
    site.start();
    let grown = load.answered() + 50;
    until("it acknowledges more", async || site.number("size").await.is_some() && load.answered() > grown)
        .await;
    // Until the one that leads has kept what the others acknowledged.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    site.kill_9();
    // It has told the third, which must see to it alone now.
    world.sites[leader].kill_9();
    std::fs::remove_dir_all(site.spec.data()).unwrap();
    copy_dir(&old, &site.spec.data());
    // The kept file alone would tell; it is as old as the rest.
    assert!(site.spec.data().join("raftdb.reached").is_file());
    site.start();
    let mut notice = String::new();
    until("it is refused", async || {
        notice = site.ask("notice").await.unwrap_or_default();
        notice.contains("is older than it was")
    })
    .await;
    assert!(notice.contains(&format!("`medulla site add {name}`")), "{notice}");
    println!("{notice}");
    world.sites[leader].start();
    world.sites[leader].up().await;

    site.kill_9();
    std::fs::remove_dir_all(site.spec.data().join("raftdb")).unwrap();
    site.start();
    // It has found out that it is another node than it was.
    site.ends().await;
    site.start();
    site.up().await;
    let other = &world.sites[leader];
    until("it is added", async || {
        let told = other.ask(&format!("add {name}")).await.unwrap_or_default();
        told.starts_with("members") || told.contains("member already")
    })
    .await;
    until("it votes", async || {
        let told = other.ask(&format!("promote {name}")).await.unwrap_or_default();
        told.starts_with("members") || told.contains("votes already")
    })
    .await;
    load.more(50).await;
    load.judge().await;
}
