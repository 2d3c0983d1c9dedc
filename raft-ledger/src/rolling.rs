//! Tests: the sites of a consortium go on to the next release, one after the other, while they are written to.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::backup::restore_as;
use crate::network::RpcError;
use crate::ports::free_address;
use crate::rules::{APPLY_VERSION as OLD, NEXT, NEXT_DEDUPE_WINDOW};
use crate::{
    AppendError, Config, Draft, Ledger, LedgerError, MemberChange, MemberStatus, PeerConfig, Role, Subject,
    restore,
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Folders, addresses, and whoever runs now.
struct Sites {
    dir: tempfile::TempDir,
    addresses: [String; 4],
    running: [Mutex<Option<Ledger>>; 4],
}

impl Sites {
    fn new() -> Arc<Sites> {
        let dir = tempfile::tempdir().unwrap();
        crate::keys::init(&dir.path().join("keys"), &NAMES.map(|name| (name, "127.0.0.1"))).unwrap();
        let addresses = NAMES.map(|_| free_address());
        Arc::new(Sites { dir, addresses, running: Default::default() })
    }

    /// The first three are the founders. They take snapshots often.
    fn config(&self, n: usize) -> Config {
        let (dir, name) = (self.dir.path(), NAMES[n]);
        let mut config = Config::new(name, dir.join(name), dir.join("keys").join(name));
        config.listen = self.addresses[n].clone();
        config.initialise = n == 0;
        config.free_space_reserve_bytes = 1 << 20;
        config.snapshot_log_entries = 40;
        let peer = |n: usize| PeerConfig { name: NAMES[n].into(), address: self.addresses[n].clone() };
        config.peers = (0..3).filter(|peer| *peer != n).map(peer).collect();
        config
    }

    async fn start(&self, n: usize, release: u32) -> Ledger {
        let ledger = Ledger::open_as(self.config(n), release, |_| ()).await.unwrap();
        *self.running[n].lock().unwrap() = Some(ledger.clone());
        ledger
    }

    async fn stop(&self, n: usize) {
        let ledger = self.running[n].lock().unwrap().take().unwrap();
        ledger.close().await.unwrap();
    }

    fn at(&self, n: usize) -> Ledger {
        self.running[n].lock().unwrap().clone().unwrap()
    }

    /// Appends at one site until told to stop, each draft until it is acknowledged; its number and index.
    fn load(self: &Arc<Sites>, n: usize, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<(u64, u64)>> {
        let (sites, stop) = (self.clone(), stop.clone());
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in (n as u64..).step_by(NAMES.len()) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let index = loop {
                    let ledger = sites.running[n].lock().unwrap().clone();
                    let Some(ledger) = ledger else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    };
                    match ledger.append(vec![draft(number)]).await {
                        Ok(outcomes) => break outcomes[0].index,
                        Err(
                            AppendError::Closed
                            | AppendError::Pushback { .. }
                            | AppendError::Unavailable { .. },
                        ) => tokio::time::sleep(Duration::from_millis(20)).await,
                        Err(error) => panic!("{error}"),
                    }
                };
                acknowledged.push((number, index));
            }
            acknowledged
        })
    }
}

fn draft(n: u64) -> Draft {
    let mut dedupe = [0; 32];
    dedupe[..8].copy_from_slice(&n.to_be_bytes());
    Draft {
        kind: 1,
        subject: Subject([(n % 5) as u8; 32]),
        tags: Vec::new(),
        dedupe: Some(dedupe),
        event_time_ms: n as i64,
        message_time_ms: 0,
        received_time_ms: 0,
        payload: Bytes::from(format!("payload {n}")),
    }
}

/// Again while nobody leads or another change is under way, as the errors say.
async fn ask<T, F: Future<Output = Result<T, LedgerError>>>(ask: impl Fn() -> F) -> Result<T, String> {
    loop {
        match ask().await {
            Ok(done) => return Ok(done),
            Err(LedgerError::Refused(why)) if !why.contains("try again when") => return Err(why),
            Err(LedgerError::Refused(_) | LedgerError::Unavailable(_)) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn change(at: &Ledger, change: MemberChange) -> Result<Vec<MemberStatus>, String> {
    ask(|| at.change_members(change.clone())).await
}

async fn upgrade(at: &Ledger) -> Result<u32, String> {
    ask(|| at.upgrade()).await
}

/// Once the leader reaches everybody.
async fn raise(at: &Ledger) -> u32 {
    loop {
        match upgrade(at).await {
            Ok(version) => return version,
            Err(why) => assert!(why.contains("cannot be reached"), "{why}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Until the answer is this refusal: what the leader knows of the others may be a moment old.
async fn refused(at: &Ledger, expected: &str) -> String {
    loop {
        match upgrade(at).await {
            Err(why) if why.contains(expected) => return why,
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within 60 s: {what}");
}

/// Whether the draft `n` is known again after more leaves than the next release's window.
async fn is_known_again(ledger: &Ledger, n: u64) -> bool {
    let fill = (0..NEXT_DEDUPE_WINDOW).map(|step| draft(n + 1 + step)).collect();
    ledger.append(vec![draft(n)]).await.unwrap();
    ledger.append(fill).await.unwrap();
    ledger.append(vec![draft(n)]).await.unwrap()[0].duplicate
}

fn add(n: usize, sites: &Sites) -> MemberChange {
    MemberChange::Add { site: NAMES[n].into(), address: Some(sites.addresses[n].clone()), keys: None }
}

async fn equal(ledgers: &[Ledger]) {
    let size = ledgers[0].catch_up().await.unwrap();
    until("all have everything", || ledgers.iter().all(|ledger| ledger.size() >= size)).await;
    let root = ledgers[0].root_at(size).unwrap();
    for ledger in ledgers {
        assert_eq!(ledger.root_at(size).unwrap(), root, "{}", ledger.status().site);
        let report = ledger.verify(&mut |_| {}).unwrap();
        assert!(report.ok, "{:?}", report.findings);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_sites_and_a_learner_go_on_to_the_next_release_one_by_one_under_load() {
    let sites = Sites::new();
    for n in 0..3 {
        sites.start(n, OLD).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..3).map(|n| sites.load(n, &stop)).collect();
    until("load", || sites.at(0).size() > 50).await;
    assert!(is_known_again(&sites.at(0), 1 << 40).await, "the old rules");
    // What there is to be raised, and nothing once nobody knows later rules.
    for _ in 0..2 {
        assert_eq!(raise(&sites.at(1)).await, OLD);
    }

    // A learner that is not upgraded.
    sites.start(3, OLD).await;
    change(&sites.at(0), add(3, &sites)).await.unwrap();
    for n in 0..3 {
        sites.stop(n).await;
        let other = sites.at((n + 1) % 3);
        refused(&other, &format!("site {} cannot be reached", NAMES[n])).await;
        sites.start(n, NEXT).await;
        until("it takes part again", || {
            let size = other.size();
            sites.at(n).size() >= size && size > 0
        })
        .await;
        assert!(is_known_again(&sites.at(n), (2 + n as u64) << 40).await, "still the old rules");
        if n < 2 {
            let why = refused(&other, "knows no later ones").await;
            assert!(why.contains(&format!("site {}", NAMES[n + 1..3].join(", "))), "{why}");
        }
    }
    let all: Vec<Ledger> = (0..3).map(|n| sites.at(n)).collect();
    equal(&all).await;

    assert_eq!(raise(&all[1]).await, NEXT);
    let members = all[1].members().await;
    let known: Vec<_> = members.iter().map(|member| (member.site.as_str(), member.apply_version)).collect();
    assert_eq!(known, [("a", Some(NEXT)), ("b", Some(NEXT)), ("c", Some(NEXT)), ("d", Some(OLD))]);
    until("all apply by the next rules", || all.iter().all(|site| site.status().apply_version == NEXT)).await;
    assert!(!is_known_again(&all[2], 9 << 40).await, "the next rules");
    left_behind(&sites).await;

    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for sender in load {
        acknowledged.extend(sender.await.unwrap());
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let all: Vec<Ledger> = (0..4).map(|n| sites.at(n)).collect();
    equal(&all).await;
    for (number, index) in acknowledged {
        let entry = all[1].read_from(index, 1).unwrap().remove(0);
        assert_eq!(entry.event_time_ms, number as i64, "entry {index}");
    }
    goes_on_from_a_backup(&sites, &all[1]).await;
    drop(all);
    for n in 0..4 {
        sites.stop(n).await;
    }
    // A release that knows less never opens it again.
    // (Of a copy: what is still under way in this process may hold the other open.)
    let mut config = sites.config(2);
    let copy = sites.dir.path().join("again");
    let copied = std::process::Command::new("cp").arg("-r").args([&config.data, &copy]).status();
    assert!(copied.unwrap().success());
    config.data = copy;
    let error = Ledger::open_as(config, OLD, |_| ()).await.err();
    assert!(matches!(error, Some(LedgerError::OldRelease { applied: NEXT, known: OLD })), "{error:?}");
}

/// The learner d, whose release knows less than the consortium applies by.
async fn left_behind(sites: &Arc<Sites>) {
    let (a, d) = (sites.at(0), sites.at(3));
    until("d stops and says why", || {
        let status = d.status();
        status.role == Role::Stopped && status.notice.is_some_and(|notice| notice.contains("later release"))
    })
    .await;
    let why = change(&a, MemberChange::Promote { site: "d".into() }).await.unwrap_err();
    assert!(why.contains("run the later release there first"), "{why}");
    drop(d);
    sites.stop(3).await;
    // As often as it is started.
    match Ledger::open_as(sites.config(3), OLD, |_| ()).await {
        Err(error) => assert!(error.to_string().contains("run the later release"), "{error}"),
        Ok(d) => {
            until("d says why again", || {
                d.status().notice.is_some_and(|told| told.contains("later release"))
            })
            .await;
            d.close().await.unwrap();
        }
    }

    // With an empty disk it is refused before it hears of anything.
    std::fs::remove_dir_all(sites.dir.path().join("d")).unwrap();
    change(&a, MemberChange::Remove { site: "d".into() }).await.unwrap();
    let d = sites.start(3, OLD).await;
    until("d is told", || {
        d.status().notice.is_some_and(|notice| notice.contains("run the later release there"))
    })
    .await;
    let why = change(&a, add(3, sites)).await.unwrap_err();
    assert!(why.contains("run the later release there first"), "{why}");
    assert_eq!(d.size(), 0);
    drop(d);
    sites.stop(3).await;

    let d = sites.start(3, NEXT).await;
    change(&a, add(3, sites)).await.unwrap();
    change(&a, MemberChange::Promote { site: "d".into() }).await.unwrap();
    until("d applies by the next rules", || d.status().apply_version == NEXT).await;
    until("the log begins late", || a.status().log_first_index > 10).await;
    until("d takes part", || d.status().notice.is_none()).await;
}

async fn goes_on_from_a_backup(sites: &Sites, ledger: &Ledger) {
    let root = sites.dir.path();
    let folder: PathBuf = root.join("backup");
    let made = ledger.backup(&folder, &mut |_, _| ()).unwrap();
    let keys = crate::keys::init_continuing(&root.join("new"), &[("a", "127.0.0.1")], &root.join("keys"));
    let config = Config::new("a", root.join("restored"), &keys.unwrap()[0]);
    let error = restore(&folder, &config, true, &mut |_, _| ()).unwrap_err();
    assert!(matches!(error, LedgerError::OldRelease { .. }), "{error}");
    assert_eq!(std::fs::read_dir(&config.data).map_or(0, Iterator::count), 0);

    restore_as(&folder, &config, NEXT, true, &mut |_, _| ()).unwrap();
    let config = Config { initialise: true, free_space_reserve_bytes: 1 << 20, ..config };
    assert!(Ledger::open_as(config.clone(), OLD, |_| ()).await.is_err(), "a release that knows less");
    let ledger = Ledger::open_as(config, NEXT, |_| ()).await.unwrap();
    assert_eq!((ledger.status().apply_version, ledger.size()), (NEXT, made.size));
    assert!(!is_known_again(&ledger, 10 << 40).await, "the rules that the backup was made by");
    ledger.close().await.unwrap();
}

/// The connection, which others' votes and entries go over, lives on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_release_may_ask_is_refused_in_words() {
    let sites = Sites::new();
    let (a, b) = (sites.start(0, OLD).await, sites.start(1, OLD).await);
    a.append(vec![draft(0)]).await.unwrap();
    let (_, peer) = b.inner.peers.all().into_iter().find(|(_, peer)| peer.name == "a").unwrap();
    until("a connection", || peer.is_connected()).await;
    for error in peer.ask_unknown().await {
        let RpcError::Remote { why, .. } = error else { panic!("{error}") };
        assert!(why.contains("does not know that request") || why.contains("could not be read"), "{why}");
    }
    assert!(peer.is_connected() && peer.membership(&crate::membership::Request::List).await.is_ok());
    drop((a, b, peer));
    sites.stop(0).await;
    sites.stop(1).await;
}
