//! Three sites, one of which goes: who delivers.

use std::time::Duration;

use clinical::PatientId;
use raft_ledger::{Config, Draft, PeerConfig};

use super::*;
use crate::entry::{self, Kind};

fn config(dir: &std::path::Path, ports: &[u16], n: usize) -> Config {
    let names = ["a", "b", "c"];
    let address = |n: usize| format!("127.0.0.1:{}", ports[n]);
    let mut config = Config::new(names[n], dir.join(names[n]), dir.join("keys").join(names[n]));
    config.initialise = n == 0;
    config.free_space_reserve_bytes = 1 << 20;
    config.listen = address(n);
    config.takeover_after = Some(Duration::from_secs(5));
    let peers = (0..3).filter(|peer| *peer != n);
    config.peers = peers.map(|n| PeerConfig { name: names[n].into(), address: address(n) }).collect();
    config
}

fn facts(site: &str, takeover_for: Option<&str>, tier: &str, minute: i64) -> AlertFacts {
    AlertFacts {
        id: format!("{site}-{minute}"),
        patient: PatientId { authority: "H".into(), id: "1".into() },
        visit: None,
        ward: String::new(),
        at: Time(minute * 60_000),
        task: "sepsis".into(),
        model: String::new(),
        model_hash: String::new(),
        risk: 0.5,
        threshold: 0.2,
        tier: tier.into(),
        reasons: Vec::new(),
        indices: vec![0],
        site: site.into(),
        takeover_for: takeover_for.map(str::to_owned),
    }
}

/// Appends it, and whether another site told of it before.
async fn is_told(ledger: &Ledger, facts: AlertFacts) -> bool {
    is_told_where(ledger, &["a"], facts).await
}

/// The same where some sink delivers for these sites.
async fn is_told_where(ledger: &Ledger, stands_for: &[&str], facts: AlertFacts) -> bool {
    let stands_for = stands_for.iter().map(|site| (*site).to_owned()).collect();
    let policy = AlertPolicy { refractory_h: 1, ..AlertPolicy::default() };
    let told = Told::new(ledger.clone(), watch::channel(policy).1);
    told.stand_for(stands_for);
    let draft = Draft {
        kind: Kind::Alert as u16,
        subject: ledger.subject(&reading::subject_key(&facts.patient)),
        tags: told.tag(&facts).into_iter().collect(),
        dedupe: None,
        event_time_ms: facts.at.0,
        message_time_ms: facts.at.0,
        received_time_ms: facts.at.0,
        payload: entry::encode(&entry::Tick { at: facts.at }, b""),
    };
    let index = loop {
        match ledger.append(vec![draft.clone()]).await {
            Ok(outcomes) => break outcomes[0].index,
            Err(raft_ledger::AppendError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    };
    told.is_told(&facts, index).unwrap()
}

async fn leases(ledger: &Ledger, count: usize) {
    while ledger.leases_before(ledger.size()).unwrap().len() != count {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[actix::test]
async fn the_first_that_counts_silences_the_other_site() {
    let dir = tempfile::tempdir().unwrap();
    let sites = [("a", "127.0.0.1"), ("b", "127.0.0.1"), ("c", "127.0.0.1")];
    raft_ledger::keys::init(&dir.path().join("keys"), &sites).unwrap();
    let held = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = held.each_ref().map(|listener| listener.local_addr().unwrap().port());
    drop(held);
    let open = |n| Ledger::open(config(dir.path(), &ports, n));
    let (a, b, c) = (open(0).await.unwrap(), open(1).await.unwrap(), open(2).await.unwrap());

    assert!(!is_told(&a, facts("a", None, "watch", 0)).await);
    assert!(!is_told(&a, facts("a", None, "watch", 1)).await, "a site's own policy knows its own alerts");
    // Without a lease it is void, and silences nobody.
    assert!(is_told(&b, facts("b", Some("a"), "watch", 2)).await);
    assert!(!is_told(&b, facts("b", Some("a"), "interruptive", 200)).await);
    assert!(!is_told(&a, facts("a", None, "interruptive", 201)).await);
    a.close().await.unwrap();
    drop(a);
    leases(&b, 1).await;

    assert!(is_told(&b, facts("b", Some("a"), "watch", 202)).await, "the site was louder before it went");
    assert!(!is_told(&b, facts("b", Some("a"), "watch", 300)).await);
    assert!(!is_told(&c, facts("c", None, "watch", 300)).await, "its own patient of that name");
    for stands_for in [&[][..], &["c"]] {
        assert!(!is_told_where(&b, stands_for, facts("b", Some("a"), "watch", 500)).await);
    }
    let a = open(0).await.unwrap();
    leases(&b, 0).await;
    assert!(is_told(&a, facts("a", None, "watch", 301)).await);
    assert!(!is_told(&a, facts("a", None, "interruptive", 301)).await, "louder than its partner was");
    assert!(!is_told(&a, facts("a", None, "watch", 360)).await, "the refractory time is over");
    assert!(!is_told(&a, facts("a", None, "watch", 501)).await, "no sink of its partner delivered that");
    for ledger in [a, b, c] {
        ledger.close().await.unwrap();
    }
}
