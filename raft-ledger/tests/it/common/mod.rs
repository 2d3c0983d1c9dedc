//! Consortia of one process for the tests.

pub mod kill;
mod ports;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use raft_ledger::{
    AppendError, Config, Draft, Entry, Ledger, LedgerError, MemberChange, MemberStatus, Outcome, PeerConfig,
    Role, Subject,
};

/// Directories and addresses of a few sites; removed when dropped.
pub struct Consortium {
    pub dir: tempfile::TempDir,
    names: Vec<String>,
    addresses: Vec<String>,
}

impl Consortium {
    pub fn new(names: &[&str]) -> Consortium {
        let dir = tempfile::tempdir().unwrap();
        let sites: Vec<(&str, &str)> = names.iter().map(|name| (*name, "127.0.0.1")).collect();
        raft_ledger::keys::init(&dir.path().join("keys"), &sites).unwrap();
        let addresses = free_addresses(names.len());
        Consortium { dir, names: names.iter().map(|name| (*name).to_owned()).collect(), addresses }
    }

    /// Site number `n`; the first initialises.
    pub fn config(&self, n: usize) -> Config {
        config(self.dir.path(), &self.names, &self.addresses, n)
    }

    pub fn address(&self, n: usize) -> &str {
        &self.addresses[n]
    }

    /// Loses everything that the closed site `n` has on its disk, keys aside.
    pub fn wipe(&self, n: usize) {
        std::fs::remove_dir_all(self.data(n)).unwrap();
    }

    /// Of a site that takes snapshots often, so that its ledger is on the disk and its log begins late.
    pub fn config_with_snapshots(&self, n: usize) -> Config {
        Config { snapshot_log_entries: 30, ..self.config(n) }
    }

    pub async fn open(&self, n: usize) -> Ledger {
        Ledger::open(self.config(n)).await.unwrap()
    }

    pub async fn open_all(&self) -> Vec<Ledger> {
        let mut ledgers = Vec::new();
        for n in 0..self.names.len() {
            ledgers.push(self.open(n).await);
        }
        ledgers
    }

    pub fn data(&self, n: usize) -> PathBuf {
        self.config(n).data
    }
}

pub fn config(dir: &Path, names: &[String], addresses: &[String], n: usize) -> Config {
    let mut config =
        Config::new(&names[n], dir.join("data").join(&names[n]), dir.join("keys").join(&names[n]));
    config.listen = addresses[n].clone();
    config.initialise = n == 0;
    config.free_space_reserve_bytes = 1 << 20;
    config.peers = (0..names.len())
        .filter(|peer| *peer != n)
        .map(|peer| PeerConfig { name: names[peer].clone(), address: addresses[peer].clone() })
        .collect();
    config
}

pub fn free_addresses(count: usize) -> Vec<String> {
    (0..count).map(|_| ports::free_address()).collect()
}

/// A draft whose content, subject and dedupe key follow from `n`.
pub fn draft(n: u64) -> Draft {
    let mut dedupe = [0; 32];
    dedupe[..8].copy_from_slice(&n.to_be_bytes());
    Draft {
        kind: 1,
        subject: Subject([(n % 7) as u8; 32]),
        tags: Vec::new(),
        dedupe: Some(dedupe),
        event_time_ms: n as i64,
        message_time_ms: n as i64,
        received_time_ms: n as i64,
        payload: Bytes::from(format!("payload {n}")),
    }
}

/// Appends as an insistent sender does: again after `Pushback` and `Unavailable`.
pub async fn append(ledger: &Ledger, drafts: Vec<Draft>) -> Vec<Outcome> {
    loop {
        match ledger.append(drafts.clone()).await {
            Ok(outcomes) => return outcomes,
            Err(AppendError::Pushback { .. } | AppendError::Unavailable { .. }) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until every ledger has at least `size` leaves.
pub async fn wait_for_size(ledgers: &[&Ledger], size: u64) {
    for ledger in ledgers {
        let mut sizes = ledger.watch_size();
        sizes.wait_for(|now| *now >= size).await.unwrap();
    }
}

/// The number of the ledger that leads, once one does and says so itself.
pub async fn wait_for_leader(ledgers: &[&Ledger]) -> usize {
    loop {
        if let Some(n) = ledgers.iter().position(|ledger| ledger.status().role == Role::Leader) {
            return n;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Closes a ledger and lets go of its files.
pub async fn close(ledger: Ledger) {
    ledger.close().await.unwrap();
}

/// The same leaves everywhere, and every ledger whole.
pub fn equal_roots(ledgers: &[&Ledger], size: u64) {
    let roots: BTreeSet<_> = ledgers.iter().map(|ledger| ledger.root_at(size).unwrap()).collect();
    assert_eq!(roots.len(), 1, "roots at size {size} differ");
    for ledger in ledgers {
        let report = ledger.verify(&mut |_| {}).unwrap();
        assert!(report.ok, "{:?}", report.findings);
    }
}

/// Flips a bit at the `1 / part` of a file.
pub fn flip(path: &Path, part: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    assert!(!bytes.is_empty(), "{} is empty", path.display());
    let at = bytes.len() / part;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

pub type Changed = Result<Vec<MemberStatus>, LedgerError>;

pub async fn add(ledger: &Ledger, site: &str, address: Option<&str>) -> Changed {
    let address = address.map(str::to_owned);
    ledger.change_members(MemberChange::Add { site: site.to_owned(), address, keys: None }).await
}

pub async fn try_promote(ledger: &Ledger, site: &str) -> Changed {
    ledger.change_members(MemberChange::Promote { site: site.to_owned() }).await
}

/// As an operator does: again while it is refused for being behind or busy.
pub async fn promote(ledger: &Ledger, site: &str) -> Vec<MemberStatus> {
    loop {
        match try_promote(ledger, site).await {
            Ok(members) => return members,
            Err(LedgerError::Refused(why)) if why.contains("again") => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// All that the ledger holds, in its order.
pub fn entries(ledger: &Ledger) -> Vec<Entry> {
    let (mut found, mut next) = (Vec::new(), 0);
    loop {
        let page = ledger.read_from(next, 1000).unwrap();
        let Some(last) = page.last() else { return found };
        next = last.index + 1;
        found.extend(page);
    }
}

/// Files under `dir` that hold any of these.
pub fn holders(dir: &Path, wanted: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path, wanted));
        } else if let Ok(bytes) = std::fs::read(&path)
            && wanted.iter().any(|part| bytes.windows(part.len()).any(|window| window == part))
        {
            found.push(path.display().to_string());
        }
    }
    found
}
