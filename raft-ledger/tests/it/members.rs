//! Members come, go, lose their disks and come back, over real disks and sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use raft_ledger::{Config, Ledger, LedgerError, MemberChange, MemberRole, MemberStatus, Payload};

use crate::common::{
    Changed, Consortium, add, append, close, draft, equal_roots, promote, try_promote, wait_for_leader,
    wait_for_size,
};

/// Sites, roles and whether they are founders, in the order of the names.
fn shown(members: &[MemberStatus]) -> Vec<(&str, MemberRole, bool)> {
    let mut shown: Vec<_> =
        members.iter().map(|member| (member.site.as_str(), member.role, member.node < 1_000)).collect();
    shown.sort_by_key(|(site, _, founder)| (*site, !founder));
    shown
}

fn refused(result: Changed) -> String {
    match result {
        Err(LedgerError::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

/// Again while nobody leads, as the error says.
async fn remove(ledger: &Ledger, site: &str) -> Changed {
    for _ in 0..20 {
        match ledger.change_members(MemberChange::Remove { site: site.to_owned() }).await {
            Err(LedgerError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(250)).await,
            done => return done,
        }
    }
    panic!("nobody leads within 5 s");
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Site `n` as one that founds nothing and knows where the others are.
fn joining(consortium: &Consortium, n: usize) -> Config {
    let mut config = consortium.config(n);
    config.initialise = false;
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_site_alone_grows_to_three_and_shrinks_again() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let mut config = consortium.config(0);
    config.peers.clear();
    let a = Ledger::open(config).await.unwrap();
    append(&a, (0..20).map(draft).collect()).await;
    assert_eq!(shown(&a.members().await), [("a", MemberRole::Leader, true)]);

    let nobody = refused(add(&a, "b", Some(consortium.address(1))).await);
    assert!(nobody.contains("does not answer"), "{nobody}");
    let unknown = refused(add(&a, "b", None).await);
    assert!(unknown.contains("--address"), "{unknown}");

    let b = Ledger::open(joining(&consortium, 1)).await.unwrap();
    let members = add(&a, "b", Some(consortium.address(1))).await.unwrap();
    assert_eq!(shown(&members)[1], ("b", MemberRole::Learner, true));
    wait_for_size(&[&b], 20).await;
    // A learner writes as others do, and has no say in what is committed.
    assert_eq!(append(&b, vec![draft(20)]).await[0].index, 20);
    promote(&a, "b").await;

    // The request may be made anywhere.
    let c = Ledger::open(joining(&consortium, 2)).await.unwrap();
    add(&b, "c", Some(consortium.address(2))).await.unwrap();
    let members = promote(&b, "c").await;
    let voting =
        |members: &[MemberStatus]| members.iter().filter(|member| member.role != MemberRole::Learner).count();
    // On a busy machine another one may lead by now.
    assert_eq!((members.len(), voting(&members)), (3, 3), "{members:?}");
    assert!(refused(try_promote(&a, "c").await).contains("votes already"));
    assert!(refused(add(&a, "c", None).await).contains("is a member already"));

    append(&c, (21..40).map(draft).collect()).await;
    wait_for_size(&[&a, &b, &c], 40).await;
    equal_roots(&[&a, &b, &c], 40);
    // Without the first one the two others go on.
    close(a).await;
    append(&c, vec![draft(40)]).await;
    // Who answered a moment ago counts as there.
    while c.members().await.iter().any(|member| member.site == "a" && member.reachable) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let why = refused(remove(&c, "b").await);
    assert!(why.contains("no majority") && why.contains("bring back a"), "{why}");
    remove(&c, "a").await.unwrap();
    let members = remove(&c, "b").await.unwrap();
    assert_eq!(shown(&members), [("c", MemberRole::Leader, true)]);
    assert!(refused(remove(&c, "c").await).contains("last voter"));
    append(&c, vec![draft(41)]).await;
    assert_eq!(c.size(), 42);
    // Its own word, once nobody else has one.
    until(|| c.checkpoint().is_some_and(|newest| newest.size == 42 && newest.cosigners.is_empty())).await;
    for ledger in [b, c] {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wiped_site_is_told_how_to_rejoin_and_comes_back_as_a_new_node() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    // The first one founded the consortium: also its wiped disk must not make another.
    for wiped in [1, 0] {
        wipe_and_rejoin(&consortium, wiped).await;
    }
}

async fn wipe_and_rejoin(consortium: &Consortium, wiped: usize) {
    let ledgers = consortium.open_all().await;
    let first = ledgers[0].size();
    let name = ["a", "b", "c"][wiped];
    append(&ledgers[wiped], (first..first + 30).map(draft).collect()).await;
    let size = first + 30;
    wait_for_size(&ledgers.iter().collect::<Vec<_>>(), size).await;
    let mut ledgers: Vec<Option<Ledger>> = ledgers.into_iter().map(Some).collect();
    close(ledgers[wiped].take().unwrap()).await;
    consortium.wipe(wiped);

    let old = consortium.open(wiped).await;
    old.outdated().await;
    let notice = old.status().notice.unwrap();
    assert!(notice.contains(&format!("`medulla site add {name}`")), "{notice}");
    assert_eq!(old.size(), 0, "a wiped site was served");
    close(old).await;
    let new = consortium.open(wiped).await;
    let other = ledgers.iter().flatten().next().unwrap();
    // Until it is added, it is nobody.
    append(other, vec![draft(size)]).await;
    assert_eq!(new.size(), 0);

    let added = add(other, name, None).await.unwrap();
    assert_eq!(added.len(), 4, "the old node keeps its place until the new one has caught up: {added:?}");
    let members = promote(other, name).await;
    assert_eq!(members.iter().filter(|member| member.site == name).count(), 1);
    assert_eq!(members.len(), 3, "{members:?}");
    wait_for_size(&[&new], size + 1).await;
    until(|| new.status().notice.is_none()).await;
    // Its history goes on: the next epoch, the same name, and no draft twice.
    let outcomes = append(&new, vec![draft(size - 1), draft(size + 1)]).await;
    assert!(outcomes[0].duplicate);
    let entry = new.read_from(outcomes[1].index, 1).unwrap().remove(0);
    assert!(entry.site == name && entry.epoch > 1 && matches!(entry.payload, Payload::Open(_)));

    ledgers[wiped] = Some(new);
    let all: Vec<&Ledger> = ledgers.iter().flatten().collect();
    wait_for_size(&all, size + 2).await;
    equal_roots(&all, size + 2);
    for ledger in ledgers.into_iter().flatten() {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_raft_log_alone_makes_a_new_node_of_what_the_ledger_holds() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let (a, b, c) = (consortium.open(0).await, consortium.open(1).await, consortium.open(2).await);
    append(&c, (0..20).map(draft).collect()).await;
    wait_for_size(&[&a, &b, &c], 20).await;
    close(c).await;
    std::fs::remove_dir_all(consortium.data(2).join("raftdb")).unwrap();
    let c = consortium.open(2).await;
    assert_eq!(c.size(), 20, "what was applied is still there");
    append(&a, vec![draft(20)]).await;
    assert_eq!(c.size(), 20);
    add(&a, "c", None).await.unwrap();
    promote(&a, "c").await;
    append(&c, vec![draft(21)]).await;
    wait_for_size(&[&a, &b, &c], 22).await;
    equal_roots(&[&a, &b, &c], 22);
    for ledger in [a, b, c] {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_removed_site_is_let_in_no_more_and_can_come_back() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let ledgers = consortium.open_all().await;
    let all: Vec<&Ledger> = ledgers.iter().collect();
    append(all[0], (0..10).map(draft).collect()).await;
    wait_for_size(&all, 10).await;
    // Also the leader can go; another one takes its place first.
    let leader = wait_for_leader(&all).await;
    let gone = all[leader];
    let name = ["a", "b", "c"][leader];
    let stays = all[(leader + 1) % 3];
    let members = remove(gone, name).await.unwrap();
    assert_eq!(members.len(), 2, "{members:?}");
    append(stays, vec![draft(10)]).await;
    // It hears why, and votes for nobody.
    until(|| gone.status().notice.is_some()).await;
    let term = stays.status().term;
    append(stays, (11..20).map(draft).collect()).await;
    assert_eq!(stays.status().term, term, "the removed site disturbed the others");
    assert!(gone.size() <= 11);

    add(stays, name, None).await.unwrap();
    promote(stays, name).await;
    assert_eq!(append(gone, vec![draft(20)]).await[0].index, 20);
    wait_for_size(&all, 21).await;
    equal_roots(&all, 21);
    for ledger in ledgers {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_lead_goes_round_under_load_and_nothing_acknowledged_is_lost() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let ledgers = consortium.open_all().await;
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..6u64)
        .map(|sender| {
            let (ledger, stop) = (ledgers[sender as usize % 3].clone(), stop.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in (sender..).step_by(6) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    acknowledged.push((n, append(&ledger, vec![draft(n)]).await[0].index));
                }
                acknowledged
            })
        })
        .collect();
    for (turn, site) in ["b", "c", "a", "b"].into_iter().enumerate() {
        let before = ledgers[0].size();
        wait_for_size(&[&ledgers[0]], before + 50).await;
        // Under load the one that shall lead may be a moment late; an operator asks again.
        while let Err(error) =
            ledgers[turn % 3].change_members(MemberChange::Lead { site: site.to_owned() }).await
        {
            assert!(matches!(error, LedgerError::Unavailable(_) | LedgerError::Refused(_)), "{error}");
        }
        let leads = |ledger: &Ledger| ledger.status().leader.as_deref() == Some(site);
        assert!(leads(&ledgers[turn % 3]), "{site} does not lead");
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for sender in senders {
        acknowledged.extend(sender.await.unwrap());
    }
    let all: Vec<&Ledger> = ledgers.iter().collect();
    let count = acknowledged.len() as u64;
    wait_for_size(&all, count).await;
    assert_eq!(all[0].size(), count, "an entry stands twice, or nobody was told of it");
    for (n, index) in acknowledged {
        let entry = all[0].read_from(index, 1).unwrap().remove(0);
        assert_eq!(entry.event_time_ms, n as i64, "entry {index}");
    }
    equal_roots(&all, count);
    for ledger in ledgers {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_node_catches_up_by_snapshot_where_the_log_is_gone() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let open = |n: usize| Ledger::open(consortium.config_with_snapshots(n));
    let (a, b, c) = (open(0).await.unwrap(), open(1).await.unwrap(), open(2).await.unwrap());
    append(&a, vec![draft(0)]).await;
    wait_for_size(&[&a, &b, &c], 1).await;
    close(c).await;
    consortium.wipe(2);
    let mut n = 1;
    while [&a, &b].iter().any(|ledger| ledger.status().log_first_index <= 3) {
        append(&a, vec![draft(n)]).await;
        n += 1;
    }
    let c = open(2).await.unwrap();
    c.outdated().await;
    close(c).await;
    let c = open(2).await.unwrap();
    add(&b, "c", None).await.unwrap();
    promote(&b, "c").await;
    wait_for_size(&[&a, &b, &c], n).await;
    equal_roots(&[&a, &b, &c], n);
    assert_eq!(append(&c, vec![draft(n)]).await[0].index, n);
    for ledger in [a, b, c] {
        close(ledger).await;
    }
}
