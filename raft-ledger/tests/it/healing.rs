//! A damaged ledger heals from its peers, and nothing of it is served meanwhile.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use raft_ledger::{Config, Healing, Ledger, LedgerError, MemberChange, Payload};

use crate::common::{Consortium, add, append, close, draft, promote, wait_for_size};

/// Sites that take snapshots often.
struct Sites(Consortium);

impl Sites {
    fn config(&self, n: usize) -> Config {
        self.0.config_with_snapshots(n)
    }

    async fn open(&self, n: usize) -> Ledger {
        Ledger::open(self.config(n)).await.unwrap()
    }

    /// Opens site `n`; why it had to heal.
    async fn heal(&self, n: usize) -> (Ledger, Vec<String>) {
        let told = Mutex::new(Vec::new());
        let tell = |now: Healing<'_>| told.lock().unwrap().push(now.damage.to_owned());
        loop {
            match Ledger::open_telling(self.config(n), tell).await {
                Ok(ledger) => return (ledger, told.into_inner().unwrap()),
                // A read that was under way when the site was closed may hold the database for a moment: of two
                // processes the second would find no lock.
                Err(error) if error.to_string().contains("lock hold by current process") => {
                    told.lock().unwrap().clear();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn ledgerdb(&self, n: usize) -> PathBuf {
        self.0.data(n).join("ledgerdb")
    }

    fn tables(&self, n: usize) -> Vec<PathBuf> {
        let dir = self.ledgerdb(n);
        let current = std::fs::read_to_string(dir.join("CURRENT")).unwrap();
        let files = std::fs::read_dir(dir.join(current.trim())).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).collect()
    }
}

/// In the first block of data of each, which an opening does not read.
fn damage(tables: &[PathBuf]) {
    let one = |table: &PathBuf| {
        // A site that runs may just have compacted it.
        let Ok(mut bytes) = std::fs::read(table) else { return false };
        bytes[12] ^= 0x40;
        std::fs::write(table, bytes).unwrap();
        true
    };
    assert!(tables.iter().filter(|table| one(table)).count() > 0);
}

/// Three sites that have a log of their own no longer; how many leaves.
async fn filled() -> (Sites, Vec<Ledger>, u64) {
    let sites = Sites(Consortium::new(&["a", "b", "c"]));
    let mut ledgers = Vec::new();
    for n in 0..3 {
        ledgers.push(sites.open(n).await);
    }
    let mut n = 0;
    while ledgers.iter().any(|ledger| ledger.status().log_first_index < 4) {
        append(&ledgers[n % 3], vec![draft(n as u64)]).await;
        n += 1;
    }
    wait_for_size(&ledgers.iter().collect::<Vec<_>>(), n as u64).await;
    (sites, ledgers, n as u64)
}

/// All three agree, everything can be read, and the healed one writes again.
async fn whole(ledgers: &[&Ledger], healed: usize, size: u64) {
    wait_for_size(ledgers, size).await;
    let index = append(ledgers[healed], vec![draft(size + 1_000)]).await[0].index;
    wait_for_size(ledgers, index + 1).await;
    let root = ledgers[0].root_at(index + 1).unwrap();
    for ledger in ledgers {
        assert_eq!(ledger.root_at(index + 1).unwrap(), root);
        let report = ledger.verify(&mut |_| {}).unwrap();
        assert!(report.ok && report.size > size, "{report:?}");
        assert_eq!(ledger.status().damage, None);
    }
    let own = ledgers[healed].status().site;
    for entry in ledgers[healed].read_from(0, 10_000).unwrap() {
        assert_eq!(matches!(entry.payload, Payload::Open(_)), entry.site == own);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_table_that_is_found_damaged_at_the_start_comes_from_a_peer() {
    let (sites, mut ledgers, size) = filled().await;
    close(ledgers.pop().unwrap()).await;
    damage(&sites.tables(2));
    let (c, why) = sites.heal(2).await;
    assert!(why.len() == 1 && why[0].contains("Corruption"), "{why:?}");
    assert!(sites.0.data(2).join("ledgerdb.damaged-1").is_dir());
    ledgers.push(c);
    whole(&ledgers.iter().collect::<Vec<_>>(), 2, size).await;

    // And once more: the older one goes, its tables are of use.
    close(ledgers.pop().unwrap()).await;
    let current = std::fs::read_to_string(sites.ledgerdb(2).join("CURRENT")).unwrap();
    std::fs::remove_dir_all(sites.ledgerdb(2).join(current.trim())).unwrap();
    let (c, why) = sites.heal(2).await;
    assert!(why.len() == 1 && why[0].contains("which is not there"), "{why:?}");
    ledgers.push(c);
    whole(&ledgers.iter().collect::<Vec<_>>(), 2, size).await;
    for ledger in ledgers {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn damage_under_a_running_site_is_found_and_healed() {
    let (sites, mut ledgers, size) = filled().await;
    close(ledgers.remove(0)).await;
    let config = Config { scrub_period: Duration::from_millis(300), ..sites.config(0) };
    let a = Ledger::open(config).await.unwrap();
    damage(&sites.tables(0));
    let found = a.damaged().await;
    assert!(found.contains("Corruption"), "{found}");
    assert_eq!(a.status().damage, Some(found.clone()));
    // It gives its ledger to nobody, and the others go on without it.
    append(&ledgers[0], vec![draft(size)]).await;
    close(a).await;
    let (a, why) = sites.heal(0).await;
    assert_eq!(why, [found]);
    let (b, c) = (&ledgers[0], &ledgers[1]);
    whole(&[&a, b, c], 0, size + 1).await;
    close(a).await;
    for ledger in ledgers {
        close(ledger).await;
    }
}

/// A site alone that has not all of its log any more; how many leaves.
async fn grown(sites: &Sites) -> (Ledger, u64) {
    let ledger = sites.open(0).await;
    let mut n = 0;
    while ledger.status().log_first_index < 4 {
        append(&ledger, vec![draft(n)]).await;
        n += 1;
    }
    (ledger, n)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_site_alone_heals_from_its_own_snapshot_and_log() {
    let sites = Sites(Consortium::new(&["a"]));
    let (ledger, size) = grown(&sites).await;
    let root = ledger.status().root;
    close(ledger).await;
    // Its snapshot has a file of the same kind, but of its own.
    let dir = sites.ledgerdb(0).join("g00000001");
    let mut files = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let manifest = files.find(|path| path.to_str().unwrap().contains("MANIFEST")).unwrap();
    let mut bytes = std::fs::read(&manifest).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&manifest, bytes).unwrap();
    let (ledger, why) = sites.heal(0).await;
    assert_eq!(why.len(), 1, "{why:?}");
    wait_for_size(&[&ledger], size).await;
    assert_eq!(ledger.status().root, root);
    close(ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_site_alone_without_a_whole_snapshot_says_what_to_do() {
    let sites = Sites(Consortium::new(&["a"]));
    let (ledger, _) = grown(&sites).await;
    close(ledger).await;
    damage(&sites.tables(0));
    for entry in std::fs::read_dir(sites.ledgerdb(0)).unwrap().map(Result::unwrap) {
        if entry.file_name().to_str().unwrap().starts_with('s') {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    let error = Ledger::open(sites.config(0)).await.err();
    let Some(LedgerError::Damaged(text)) = error else { panic!("{error:?}") };
    assert!(text.contains("medulla ledger restore"), "{text}");
}

/// The only one that can help has another raft log, and so another number, than when the consortium was founded.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_site_heals_from_one_that_has_become_a_new_node() {
    let (sites, mut ledgers, size) = filled().await;
    close(ledgers.remove(1)).await;
    sites.0.wipe(1);
    let b = sites.open(1).await;
    b.outdated().await;
    close(b).await;
    let b = sites.open(1).await;
    add(&ledgers[0], "b", None).await.unwrap();
    promote(&ledgers[0], "b").await;
    wait_for_size(&[&b], size).await;

    close(ledgers.pop().unwrap()).await;
    damage(&sites.tables(2));
    close(ledgers.pop().unwrap()).await;
    let (c, why) = sites.heal(2).await;
    assert_eq!(why.len(), 1, "{why:?}");
    let a = sites.open(0).await;
    whole(&[&a, &b, &c], 2, size).await;
    for ledger in [a, b, c] {
        close(ledger).await;
    }
}

/// It says what to do, and that works.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_damaged_site_that_is_no_member_any_more_says_so() {
    let (sites, mut ledgers, size) = filled().await;
    close(ledgers.pop().unwrap()).await;
    let a = &ledgers[0];
    // A leader that has just been elected has yet to hear from the other one.
    while let Err(error) = a.change_members(MemberChange::Remove { site: "c".into() }).await {
        assert!(matches!(error, LedgerError::Unavailable(_) | LedgerError::Refused(_)), "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    damage(&sites.tables(2));
    let (told, mut notices) = tokio::sync::mpsc::unbounded_channel();
    let config = sites.config(2);
    // Of its own: with it everything ends, as with a process.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.spawn(async move {
        let tell = |now: Healing<'_>| drop(told.send(now.notice.map(str::to_owned)));
        Ledger::open_telling(config, tell).await.map(drop)
    });
    assert_eq!(notices.recv().await.unwrap(), None, "first what is damaged");
    let notice = notices.recv().await.unwrap().unwrap();
    assert!(notice.contains("no member") && notice.contains("`medulla site add c`"), "{notice}");
    assert!(notice.contains("move `raftdb` and `ledgerdb` out of"), "{notice}");
    tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();

    for name in ["raftdb", "ledgerdb"] {
        std::fs::rename(sites.0.data(2).join(name), sites.0.dir.path().join(name)).unwrap();
    }
    let c = sites.open(2).await;
    c.outdated().await;
    close(c).await;
    let c = sites.open(2).await;
    add(a, "c", None).await.unwrap();
    promote(a, "c").await;
    ledgers.push(c);
    whole(&ledgers.iter().collect::<Vec<_>>(), 2, size).await;
    for ledger in ledgers {
        close(ledger).await;
    }
}
