//! A site that nobody thought of when the consortium was founded: its keys come through the ledger.

use std::path::{Path, PathBuf};
use std::time::Duration;

use raft_ledger::keys::{VerifierKeys, admit, join};
use raft_ledger::{Config, Ledger, LedgerError, MemberChange, MemberStatus, PeerConfig, verify_export};

use crate::common::{
    Consortium, append, close, draft, equal_roots, free_addresses, promote, wait_for_leader, wait_for_size,
};

/// A further site `d`, made in a copy of the consortium's folder.
struct Joining {
    folder: PathBuf,
    /// Its verifier keys, one a line.
    keys: String,
    /// The same as the authority has admitted them.
    admission: String,
}

fn keys_of_d(consortium: &Consortium, copy: &str) -> Joining {
    let (keys, copy) = (consortium.dir.path().join("keys"), consortium.dir.path().join(copy));
    std::fs::create_dir_all(copy.join("consortium")).unwrap();
    for name in ["ca-cert.pem", "ca-key.pem", "public.json"] {
        std::fs::copy(keys.join("consortium").join(name), copy.join("consortium").join(name)).unwrap();
    }
    let (folder, file) = join(&copy, "d", "127.0.0.1", &keys.join("a/index-key.hex")).unwrap();
    let admitted = admit(&file, &keys.join("consortium/authority-key.txt"), None).unwrap();
    let admission = std::fs::read_to_string(admitted.file).unwrap();
    Joining { folder, keys: admitted.keys, admission }
}

fn config_of_d(consortium: &Consortium, keys: &Path, address: &str) -> Config {
    let mut config = Config::new("d", consortium.dir.path().join("data/d"), keys);
    config.listen = address.to_owned();
    config.free_space_reserve_bytes = 1 << 20;
    let peer = |(n, name): (usize, &str)| PeerConfig {
        name: name.to_owned(),
        address: consortium.address(n).to_owned(),
    };
    config.peers = ["a", "b", "c"].into_iter().enumerate().map(peer).collect();
    config
}

/// Until the site holds another one's keys, whichever voter held them before.
async fn holds_keys(ledger: &Ledger, home: &str) {
    while ledger.status().keys.held.get(home).is_none_or(|count| *count == 0) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Again while nobody leads, as the error says.
async fn add(ledger: &Ledger, address: &str, keys: Option<&str>) -> Result<Vec<MemberStatus>, String> {
    loop {
        let (site, address) = ("d".to_owned(), Some(address.to_owned()));
        let change = MemberChange::Add { site, address, keys: keys.map(str::to_owned) };
        match ledger.change_members(change).await {
            Ok(members) => return Ok(members),
            Err(LedgerError::Refused(why)) => return Err(why),
            Err(LedgerError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Appends the drafts from `n` on until every site has a checkpoint that d, among others, has cosigned: who is late for
/// one is in time for another.
async fn cosigned_by_d(ledgers: &[&Ledger], mut n: u64) -> u64 {
    let signed = |names: &[String]| names.iter().any(|name| name.ends_with("/site/d"));
    while !ledgers
        .iter()
        .all(|at| at.checkpoint().is_some_and(|newest| newest.size > 10 && signed(&newest.cosigners)))
    {
        append(ledgers[0], vec![draft(n)]).await;
        n += 1;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    wait_for_size(ledgers, n).await;
    n
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_site_that_none_of_the_founders_knew_joins_writes_cosigns_and_leaves() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let Joining { folder, keys, admission } = keys_of_d(&consortium, "later");
    let other = keys_of_d(&consortium, "other");
    let stranger = keys_of_d(&Consortium::new(&["a"]), "stranger").admission;
    let mut ledgers = consortium.open_all().await;
    append(&ledgers[0], (0..10).map(draft).collect()).await;
    let address = free_addresses(1).remove(0);
    let config = || config_of_d(&consortium, &folder, &address);
    let founding = Ledger::open(Config { initialise: true, ..config() }).await.err().unwrap();
    assert!(founding.to_string().contains("initialise = false"), "{founding}");
    let d = Ledger::open(config()).await.unwrap();
    let a = ledgers[0].clone();
    let refusals = [
        (None, "neither in public.json nor in the ledger"),
        (Some("nonsense"), "something else than the admission"),
        (Some(&admission[..admission.len() / 2]), "something else than the admission"),
        (Some(&keys[..]), "without the authority's signature"),
        (Some(&stranger[..]), "the admission is not good here"),
        (Some(&other.admission[..]), "says that it has other keys"),
        (Some(&admission[..]), "`medulla ledger upgrade` first"),
    ];
    for (given, expected) in refusals {
        let why = add(&a, &address, given).await.unwrap_err();
        assert!(why.contains(expected), "{why}");
    }
    wait_for_leader(&ledgers.iter().collect::<Vec<_>>()).await;
    while let Err(error) = a.upgrade().await {
        assert!(error.to_string().contains("try again"), "{error}");
    }
    add(&a, &address, Some(&admission)).await.unwrap();
    promote(&a, "d").await;
    assert_eq!(append(&d, vec![draft(10)]).await[0].index, 10);
    drop(a);
    ledgers.push(d);
    let all: Vec<&Ledger> = ledgers.iter().collect();
    wait_for_size(&all, 11).await;
    equal_roots(&all, 11);
    for ledger in &all {
        assert_eq!(ledger.verifier_keys(), all[0].verifier_keys());
    }
    append(&ledgers[2], vec![draft(11)]).await;
    wait_for_size(&all, 12).await;
    let n = cosigned_by_d(&all, 12).await;
    // It votes: the site before it by name entrusts its keys to it, and the first one holds its own.
    holds_keys(&ledgers[3], "c").await;
    holds_keys(&ledgers[0], "d").await;
    let brought = all[0].verifier_keys();
    assert!(brought.lines().count() == 12 + 1 && brought.contains(&keys), "{brought}");
    let judged = ledger_verifier::Keys::parse(&brought).unwrap();
    let receipt = all[1].prove(10).unwrap();
    assert_eq!(ledger_verifier::judge_receipt(receipt.as_bytes(), &judged, 3).unwrap().leaf.site, "d");

    let founders: String =
        brought.lines().filter(|line| !keys.contains(line)).map(|l| format!("{l}\n")).collect();
    // Who has the founders' keys and the authority's needs no more than its word.
    let judged = ledger_verifier::Keys::parse(&format!("{founders}{}", all[2].admissions())).unwrap();
    assert_eq!(ledger_verifier::judge_receipt(receipt.as_bytes(), &judged, 3).unwrap().leaf.site, "d");

    // A site that starts again knows it from its ledger; one that has lost everything from a snapshot or the log.
    close(ledgers.remove(0)).await;
    let mut config = consortium.config(0);
    config.peers.push(PeerConfig { name: "d".into(), address: address.clone() });
    ledgers.insert(0, Ledger::open(config).await.unwrap());
    assert_eq!(ledgers[0].verifier_keys(), brought);
    append(&ledgers[3], vec![draft(n)]).await;
    let all: Vec<&Ledger> = ledgers.iter().collect();
    wait_for_size(&all, n + 1).await;
    equal_roots(&all, n + 1);

    // What it has signed is judged by its keys also when it is gone, and nobody takes its name.
    while let Err(error) = all[1].change_members(MemberChange::Remove { site: "d".into() }).await {
        assert!(matches!(error, LedgerError::Unavailable(_) | LedgerError::Refused(_)), "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let why = add(all[1], &address, Some(&other.admission)).await.unwrap_err();
    assert!(why.contains("is known with other keys"), "{why}");
    close(ledgers.pop().unwrap()).await;
    let data = consortium.dir.path().join("data/other-d");
    let impostor =
        Ledger::open(Config { data, ..config_of_d(&consortium, &other.folder, &address) }).await.unwrap();
    let all: Vec<&Ledger> = ledgers.iter().collect();
    let why = add(all[1], &address, None).await.unwrap_err();
    assert!(why.contains("has other keys than the ledger knows"), "{why}");
    close(impostor).await;
    append(all[1], vec![draft(n + 1)]).await;
    wait_for_size(&all[..3], n + 2).await;
    equal_roots(&all[..3], n + 2);
    let export = consortium.dir.path().join("export");
    all[1].export(&export, &mut |_| {}).unwrap();
    let report = verify_export(&export, Some(&VerifierKeys::parse(&brought).unwrap()), &mut |_| {}).unwrap();
    assert!(report.ok, "{:?}", report.findings);
    // So does who has the founders' keys and the authority's; who has the founders' alone cannot tell who d is.
    let report = verify_export(&export, Some(&VerifierKeys::parse(&founders).unwrap()), &mut |_| {}).unwrap();
    assert!(report.ok, "{:?}", report.findings);
    let judged = ledger_verifier::Keys::parse(&founders).unwrap();
    let report = ledger_verifier::judge_export(&export, &judged, &mut |_| {}).unwrap();
    assert!(report.ok && report.admitted == ["d"], "{:?}", report.findings);
    let alone: String =
        founders.lines().filter(|line| !line.contains("/authority+")).map(|l| format!("{l}\n")).collect();
    let report = verify_export(&export, Some(&VerifierKeys::parse(&alone).unwrap()), &mut |_| {}).unwrap();
    assert!(
        !report.ok && report.findings[0].text.contains("no batch key of site d"),
        "{:?}",
        report.findings
    );
    let judged = ledger_verifier::Keys::parse(&alone).unwrap();
    let report = ledger_verifier::judge_export(&export, &judged, &mut |_| {}).unwrap();
    assert!(
        !report.ok
            && report.admitted.is_empty()
            && report.findings[0].text.contains("no batch key of site d")
    );
    // What somebody has put there in the authority's name is named.
    let file = export.join("admissions.txt");
    let mut bytes = std::fs::read(&file).unwrap();
    let in_the_signature = bytes.len() - 20;
    bytes[in_the_signature] = if bytes[in_the_signature] == b'A' { b'B' } else { b'A' };
    std::fs::write(&file, bytes).unwrap();
    let judged = ledger_verifier::Keys::parse(&founders).unwrap();
    let report = ledger_verifier::judge_export(&export, &judged, &mut |_| {}).unwrap();
    let named = report.findings.iter().find(|found| found.file == "admissions.txt").unwrap();
    assert!(named.text.contains("has not signed"), "{}", named.text);
    let report = verify_export(&export, Some(&VerifierKeys::parse(&founders).unwrap()), &mut |_| {}).unwrap();
    assert!(
        report
            .findings
            .iter()
            .any(|found| found.file == "admissions.txt" && found.text.contains("has not signed"))
    );
    for ledger in ledgers {
        close(ledger).await;
    }
}
