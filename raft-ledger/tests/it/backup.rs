//! Backups are whole or refused, and a ledger goes on from one.

use std::path::{Path, PathBuf};

use raft_ledger::{Backup, Config, Ledger, LedgerError, Payload, Restored, backup_stopped, restore};

use crate::common::{Consortium, add, append, close, draft, flip, free_addresses, promote, wait_for_size};

fn back_up(ledger: &Ledger, folder: &Path) -> Backup {
    ledger.backup(folder, &mut |_, _| ()).unwrap()
}

fn restored(folder: &Path, config: &Config, new_consortium: bool) -> Result<Restored, LedgerError> {
    restore(folder, config, new_consortium, &mut |_, _| ())
}

fn refused(folder: &Path, config: &Config, new_consortium: bool) -> String {
    let error = restored(folder, config, new_consortium).unwrap_err();
    assert!(!config.data.join("ledgerdb").exists(), "something was restored: {error}");
    error.to_string()
}

/// That hold something.
fn files(folder: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder.join("files")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = found.filter(|path| path.metadata().unwrap().len() > 0).collect();
    found.sort();
    found
}

/// One entry each until this site's log begins at `first`; counts on in `n`.
async fn grow(ledger: &Ledger, n: &mut u64, first: u64) {
    while ledger.status().log_first_index < first {
        append(ledger, vec![draft(*n)]).await;
        *n += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_backup_copies_only_what_is_new() {
    let consortium = Consortium::new(&["a"]);
    let folder = consortium.dir.path().join("backup");
    let ledger = consortium.open(0).await;
    append(&ledger, (0..400).map(draft).collect()).await;
    let first = back_up(&ledger, &folder);
    assert_eq!((first.size, &first.root), (400, &ledger.status().root));
    assert_eq!((first.bytes_reused, first.bytes_copied), (0, first.bytes));
    append(&ledger, (400..410).map(draft).collect()).await;
    let second = back_up(&ledger, &folder);
    assert_eq!((second.size, &second.root), (410, &ledger.status().root));
    assert!(second.files_reused > 0 && second.bytes_copied < second.bytes, "{second:?}");
    assert_eq!(second.bytes_reused + second.bytes_copied, second.bytes);
    let kept: u64 = files(&folder).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!(kept, second.bytes, "what is not needed any more goes");
    // A reused file that has changed meanwhile is copied anew.
    files(&folder).iter().for_each(|path| flip(path, 2));
    let third = back_up(&ledger, &folder);
    assert_eq!((third.bytes_reused, third.bytes_copied), (0, third.bytes));
    close(ledger).await;

    let (data, keys) = (consortium.data(0), consortium.config(0).keys);
    let stopped = backup_stopped(&data, &keys, None, &folder, &mut |_, _| ()).unwrap();
    assert_eq!((stopped.size, stopped.root), (410, second.root));
    for secret in ["subjects.keys", "master-key.hex"] {
        let found = [data.join(secret), keys.join(secret)].into_iter().find(|path| path.exists()).unwrap();
        let secret = std::fs::read(found).unwrap();
        let holds = |path: &PathBuf| std::fs::read(path).unwrap().windows(32).any(|w| w == &secret[..32]);
        assert!(!files(&folder).iter().any(holds));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_with_something_else_is_left_alone() {
    let consortium = Consortium::new(&["a"]);
    let ledger = consortium.open(0).await;
    append(&ledger, (0..5).map(draft).collect()).await;
    let folder = consortium.dir.path().join("folder");
    let backup = |ledger: &Ledger| ledger.backup(&folder, &mut |_, _| ()).unwrap_err().to_string();
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("letter.txt"), "dear").unwrap();
    assert!(backup(&ledger).contains("letter.txt"));
    std::fs::remove_file(folder.join("letter.txt")).unwrap();
    back_up(&ledger, &folder);

    let another = Consortium::new(&["a"]);
    let other = another.open(0).await;
    append(&other, (0..50).map(draft).collect()).await;
    assert!(backup(&other).contains("another ledger"));
    let manifest = folder.join("manifest.txt");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, &text[..text.len() - 10]).unwrap();
    assert!(backup(&ledger).contains("manifest.txt is cut"));
    for ledger in [ledger, other] {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_is_refused_and_named() {
    let consortium = Consortium::new(&["a", "b"]);
    let folder = consortium.dir.path().join("backup");
    let (a, b) = (consortium.open(0).await, consortium.open(1).await);
    append(&a, (0..50).map(draft).collect()).await;
    back_up(&a, &folder);
    close(a).await;
    close(b).await;
    let target = Config { data: consortium.dir.path().join("target"), ..consortium.config(0) };
    for path in files(&folder) {
        let whole = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        flip(&path, 2);
        let why = refused(&folder, &target, false);
        assert!(why.contains(name) && why.contains("is not what its manifest says"), "{why}");
        std::fs::remove_file(&path).unwrap();
        let why = refused(&folder, &target, false);
        assert!(why.contains(name) && why.contains("is missing"), "{why}");
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(refused(&folder, &target, false).contains(name));
        std::fs::write(&path, whole).unwrap();
    }
    let manifest = folder.join("manifest.txt");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("size 50", "size 49")).unwrap();
    assert!(refused(&folder, &target, false).contains("manifest.txt is cut, changed"));
    std::fs::write(&manifest, &text[..text.len() / 2]).unwrap();
    assert!(refused(&folder, &target, false).contains("manifest.txt is cut, changed"));
    std::fs::remove_file(&manifest).unwrap();
    assert!(refused(&folder, &target, false).contains("manifest.txt is missing"));
    std::fs::write(&manifest, text).unwrap();
    assert_eq!(restored(&folder, &target, false).unwrap().size, 50);
}

/// It has never given a vote, so its peers take it as the voter that it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_site_that_begins_from_a_backup_learns_the_rest_from_its_peers() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let folder = consortium.dir.path().join("backup");
    let config = |n: usize| consortium.config_with_snapshots(n);
    let (a, b) = (Ledger::open(config(0)).await.unwrap(), Ledger::open(config(1)).await.unwrap());
    append(&a, (0..100).map(draft).collect()).await;
    back_up(&a, &folder);
    let mut size = 100;
    grow(&a, &mut size, 30).await;
    assert_eq!(restored(&folder, &config(2), false).unwrap().size, 100);
    // Its raft log, and with it the votes that it gave, is gone: it is a new node, with the ledger of the backup.
    let c = Ledger::open(config(2)).await.unwrap();
    assert_eq!(c.size(), 100);
    add(&a, "c", None).await.unwrap();
    promote(&a, "c").await;
    wait_for_size(&[&a, &b, &c], size).await;
    assert_eq!(append(&c, vec![draft(size)]).await[0].index, size);
    assert_eq!(c.root_at(size).unwrap(), a.root_at(size).unwrap());
    let report = c.verify(&mut |_| {}).unwrap();
    assert!(report.ok, "{:?}", report.findings);
    for ledger in [a, b, c] {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_consortium_goes_on_from_a_backup() {
    let old = Consortium::new(&["a", "b", "c"]);
    let (root, folder) = (old.dir.path(), old.dir.path().join("backup"));
    let ledgers = old.open_all().await;
    for (n, ledger) in ledgers.iter().enumerate() {
        append(ledger, (n as u64 * 20..n as u64 * 20 + 20).map(draft).collect()).await;
    }
    wait_for_size(&ledgers.iter().collect::<Vec<_>>(), 60).await;
    let backup = back_up(&ledgers[1], &folder);
    // Nobody has this in a backup.
    append(&ledgers[0], vec![draft(60)]).await;
    for ledger in ledgers {
        close(ledger).await;
    }

    // Of the former sites, c is not there any more and d is new. Only a and b are restored.
    let names = ["a", "b", "d"].map(str::to_owned);
    let sites: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "127.0.0.1")).collect();
    raft_ledger::keys::init_continuing(&root.join("new/keys"), &sites, &root.join("keys")).unwrap();
    let addresses = free_addresses(3);
    let config = |n: usize| crate::common::config(&root.join("new"), &names, &addresses, n);
    assert!(refused(&folder, &config(0), false).contains("--new-consortium"));
    let why = refused(&folder, &Config { data: root.join("elsewhere"), ..old.config(0) }, true);
    assert!(why.contains("an origin of its own"), "{why}");
    for n in [0, 1] {
        let made = restored(&folder, &config(n), true).unwrap();
        assert_eq!((made.size, &made.root), (60, &backup.root));
        std::fs::copy(old.data(n).join("subjects.keys"), config(n).data.join("subjects.keys")).unwrap();
        assert!(restored(&folder, &config(n), true).unwrap_err().to_string().contains("an empty folder"));
    }
    let mut ledgers = Vec::new();
    for n in 0..3 {
        ledgers.push(Ledger::open(config(n)).await.unwrap());
    }
    let all: Vec<&Ledger> = ledgers.iter().collect();
    for (n, ledger) in all.iter().enumerate() {
        let outcome = append(ledger, vec![draft(100 + n as u64), draft(n as u64 * 20)]).await;
        assert_eq!(outcome[0].index, 60 + n as u64);
        // What was acknowledged before stays where it was.
        assert!(outcome[1].duplicate && outcome[1].index < 60, "{outcome:?}");
    }
    wait_for_size(&all, 63).await;
    for (n, ledger) in all.iter().enumerate() {
        assert_eq!(hex::encode(ledger.root_at(60).unwrap()), backup.root);
        let report = ledger.verify(&mut |_| {}).unwrap();
        assert!(report.ok, "{:?}", report.findings);
        let opened = ledger.read_from(0, 60).unwrap();
        let own = opened.iter().filter(|entry| matches!(entry.payload, Payload::Open(_))).count();
        assert_eq!(own, if n < 2 { 20 } else { 0 }, "site {n}");
    }
    while all[0].checkpoint().is_none_or(|newest| newest.size < 63) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(all[0].prove(5).unwrap().contains("index 5"));
    assert!(all[0].prove_consistency(60, 63).unwrap().starts_with("old 60"));

    // A founder that loses its disk and is restored from the same backup again is a new node, as any other would be.
    close(ledgers.remove(1)).await;
    std::fs::remove_dir_all(config(1).data).unwrap();
    restored(&folder, &config(1), true).unwrap();
    std::fs::copy(old.data(1).join("subjects.keys"), config(1).data.join("subjects.keys")).unwrap();
    let b = Ledger::open(config(1)).await.unwrap();
    b.outdated().await;
    close(b).await;
    let b = Ledger::open(config(1)).await.unwrap();
    add(&ledgers[0], "b", None).await.unwrap();
    promote(&ledgers[0], "b").await;
    assert_eq!(append(&b, vec![draft(200)]).await[0].index, 63);
    ledgers.push(b);
    let all: Vec<&Ledger> = ledgers.iter().collect();
    wait_for_size(&all, 64).await;
    crate::common::equal_roots(&all, 64);
    for ledger in ledgers {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_alone_gets_its_ledger_back_from_a_backup_and_its_raft_log() {
    let consortium = Consortium::new(&["a"]);
    let folder = consortium.dir.path().join("backup");
    let config = || consortium.config_with_snapshots(0);
    let ledger = Ledger::open(config()).await.unwrap();
    let mut n = 0;
    grow(&ledger, &mut n, 4).await;
    back_up(&ledger, &folder);
    append(&ledger, (n..n + 10).map(draft).collect()).await;
    let root = ledger.status().root;
    close(ledger).await;
    assert!(restored(&folder, &config(), false).unwrap_err().to_string().contains("can be opened"));
    // Its own snapshots, from which it would heal, and its database.
    for entry in std::fs::read_dir(consortium.data(0).join("ledgerdb")).unwrap() {
        let path = entry.unwrap().path();
        if path.join("CURRENT").is_file() {
            std::fs::write(path.join("CURRENT"), "nonsense").unwrap();
        }
    }
    let error = Ledger::open(config()).await.err().unwrap().to_string();
    assert!(error.contains("medulla ledger restore"), "{error}");
    assert!(restored(&folder, &config(), false).unwrap().has_raft_log);
    assert!(consortium.data(0).join("ledgerdb.damaged-1").is_dir());
    let ledger = Ledger::open(config()).await.unwrap();
    wait_for_size(&[&ledger], n + 10).await;
    assert_eq!(ledger.status().root, root);

    // A log that begins after the backup leaves a gap; without any nobody knows what came after it.
    let entries_at_backup = n + 20;
    n += 10;
    grow(&ledger, &mut n, entries_at_backup).await;
    close(ledger).await;
    std::fs::rename(consortium.data(0).join("ledgerdb"), consortium.dir.path().join("away")).unwrap();
    assert!(refused(&folder, &config(), false).contains("begins after what the backup holds"));
    std::fs::rename(consortium.data(0), consortium.dir.path().join("gone")).unwrap();
    assert!(refused(&folder, &config(), false).contains("a site alone has no peers"));
}
