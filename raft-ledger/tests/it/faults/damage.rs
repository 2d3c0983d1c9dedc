//! One site's files, damaged while it is down: it heals, or says what is damaged and does not start; never does it
//! serve something else, or take from the others what was acknowledged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::load::{Load, agreed, is_long, seed};
use super::nemesis::{World, others};
use super::site::{LONG, Site, copy_dir, until};
use crate::common::flip;

/// A folder in the site's data, and how the names of the files begin or end; the largest one is damaged.
const FILES: [(&str, &str, &str); 9] = [
    ("raftdb", "", ".log"),
    ("raftdb", "", ".sst"),
    ("raftdb", "MANIFEST", ""),
    ("sitedb", "", ".log"),
    ("sitedb", "MANIFEST", ""),
    ("ledgerdb", "", ".sst"),
    ("ledgerdb", "MANIFEST", ""),
    ("ledgerdb", "CURRENT", ""),
    ("", "subjects.keys", ""),
];

type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 3] = [
    ("flipped in the middle", |path| flip(path, 2)),
    ("flipped at its end", |path| {
        let mut bytes = std::fs::read(path).unwrap();
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        bytes[last] ^= 0x10;
        std::fs::write(path, bytes).unwrap();
    }),
    ("cut to half", |path| {
        let length = std::fs::metadata(path).unwrap().len();
        std::fs::File::options().write(true).open(path).unwrap().set_len(length / 2).unwrap();
    }),
];

/// The largest such file.
fn find(data: &Path, (folder, start, end): (&str, &str, &str)) -> Option<PathBuf> {
    let mut folder = data.join(folder);
    if folder.ends_with("ledgerdb") && start != "CURRENT" {
        folder = folder.join(std::fs::read_to_string(folder.join("CURRENT")).unwrap().trim());
    }
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = files.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        path.is_file() && name.starts_with(start) && name.ends_with(end)
    });
    named.max_by_key(|path| path.metadata().unwrap().len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_with_damaged_files_heals_or_does_not_start() {
    let world = World::on_roads(60).await;
    let seed = seed();
    let load = Load::start(&world.sites, seed);
    load.more(400).await;
    load.judge().await;
    let (mut value, mut healed, mut refused) = (90_000_000, 0, 0);
    for (number, file) in FILES.into_iter().enumerate() {
        for (kind, (what, damage)) in DAMAGES.into_iter().enumerate() {
            // A third of them each time.
            if !is_long() && !(number + kind + (seed % 3) as usize).is_multiple_of(3) {
                continue;
            }
            let n = others(world.leader().await).next().unwrap();
            let site = &world.sites[n];
            site.kill_9();
            let Some(path) = find(&site.spec.data(), file) else {
                site.start();
                site.up().await;
                continue;
            };
            let kept = world.dir.path().join("kept");
            copy_dir(&site.spec.data(), &kept);
            let whole = std::fs::read(&path).unwrap();
            damage(&path);
            let damaged = std::fs::read(&path).unwrap();
            value += 1;
            let other = &world.sites[others(n).next().unwrap()];
            let text = format!("append {value}");
            until("the others go on", async || {
                other.ask(&text).await.is_some_and(|answer| answer.starts_with("at "))
            })
            .await;
            let name = path.strip_prefix(site.spec.data()).unwrap().display().to_string();
            if starts(site).await {
                healed += 1;
                println!("{name} {what}: starts");
            } else {
                let said = last_refusal(site);
                println!("{name} {what}: {said}");
                assert!(!said.is_empty(), "it ended without a word: {}", site.words());
                std::fs::remove_dir_all(site.spec.data()).unwrap();
                copy_dir(&kept, &site.spec.data());
                site.start();
                site.up().await;
                refused += 1;
            }
            std::fs::remove_dir_all(&kept).unwrap();
            // Damage inside a table is found when that is read; the start after that heals.
            if site.ask_within(LONG, "verify").await.as_deref() != Some("verify true []") {
                println!("{name} {what}: found when it was read");
                site.kill_9();
                assert!(starts(site).await, "it does not heal: {}", site.words());
            }
            agreed(&world.sites).await;
            // A raft log is read where somebody needs it: the next damage must not meet this one.
            if std::fs::read(&path).is_ok_and(|bytes| bytes == damaged) {
                println!("{name} {what}: not met, and mended");
                site.kill_9();
                std::fs::write(&path, whole).unwrap();
                site.start();
                site.up().await;
            }
        }
    }
    println!("{healed} started, {refused} refused");
    assert!(healed + refused > 5, "hardly any file was found");
}

/// Whether it opens its ledger, which may have to heal first.
async fn starts(site: &Site) -> bool {
    site.start();
    loop {
        if site.ask("up").await.is_some() {
            return true;
        }
        if site.has_ended().is_some() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn last_refusal(site: &Site) -> String {
    let said = site.words();
    let last = said.lines().rev().find(|line| line.contains("not opened: ") || line.contains("failed: "));
    last.unwrap_or_default().chars().take(240).collect()
}
