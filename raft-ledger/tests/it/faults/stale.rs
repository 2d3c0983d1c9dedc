//! The judge can fail: reads that do not ask the others are found out.

use super::history::{Answer, Call, Op, check};
use super::nemesis::{World, others};
use super::site::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_asks_nobody_is_found_where_the_network_is_cut() {
    let world = World::on_roads(1_000).await;
    let leader = world.leader().await;
    let alone = others(leader).next().unwrap();
    let appended = |value, from, index| Op {
        who: "one".into(),
        call: Call::Append(value),
        from,
        answer: Some((from + 1, Answer::At(index))),
    };
    assert_eq!(world.sites[leader].ask("append 1").await.as_deref(), Some("at 0"));
    until("both know of it", async || world.sites[alone].number("stale").await == Some(1)).await;
    others(alone).for_each(|other| world.net.cut_both(alone, other));
    assert_eq!(world.sites[leader].ask("append 2").await.as_deref(), Some("at 1"));
    let answered = world.sites[alone].number("stale").await.unwrap();
    let asked =
        Op { who: "other".into(), call: Call::Size, from: 4, answer: Some((5, Answer::Size(answered))) };
    let ops = [appended(1, 0, 0), appended(2, 2, 1), asked];
    let found = check(&ops, &[1, 2]).unwrap_err();
    assert!(found.contains("must come after"), "{found}");
    // Asked as it should be, it says nothing rather than something old.
    assert_eq!(world.sites[alone].ask("size").await.as_deref(), Some("unknown"));
    world.net.heal();
    until("it knows again", async || world.sites[alone].number("size").await == Some(2)).await;
}
