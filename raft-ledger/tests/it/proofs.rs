//! What a consortium hands out, judged by the verifier that shares no code with it.

use std::path::Path;
use std::time::Duration;

use ledger_verifier::{Keys, Refusal, judge_consistency, judge_export, judge_receipt};
use raft_ledger::Ledger;
use raft_ledger::keys::SiteKeys;

use crate::common::{Consortium, append, close, draft, wait_for_size};

fn keys(consortium: &Consortium) -> (String, Keys) {
    let text = SiteKeys::load(&consortium.config(0).keys).unwrap().verifier_keys();
    let keys = Keys::parse(&text).unwrap();
    (text, keys)
}

async fn covered(ledger: &Ledger, size: u64) {
    while ledger.checkpoint().is_none_or(|checkpoint| checkpoint.size < size) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn receipts_and_consistency_hold_for_an_unrelated_verifier() {
    let consortium = Consortium::new(&["a", "b", "c"]);
    let ledgers = consortium.open_all().await;
    let all: Vec<&Ledger> = ledgers.iter().collect();
    let (text, keys) = keys(&consortium);
    assert_eq!(keys.majority(), 2);
    append(all[1], (0..70).map(draft).collect()).await;
    wait_for_size(&all, 70).await;
    covered(all[0], 70).await;
    let early = all[0].prove(7).unwrap();
    append(all[2], (70..700).map(draft).collect()).await;
    wait_for_size(&all, 700).await;
    for ledger in &all {
        covered(ledger, 700).await;
        for index in [0, 1, 69, 70, 255, 256, 511, 698, 699] {
            let receipt = ledger.prove(index).unwrap();
            let judged = judge_receipt(receipt.as_bytes(), &keys, 2).unwrap();
            let site = if index < 70 { "b" } else { "c" };
            assert_eq!((judged.index, judged.leaf.site.as_str()), (index, site));
            assert_eq!(judged.checkpoint.root, ledger.root_at(700).unwrap());
        }
        for (old, new) in [(70, 700), (1, 700), (0, 700), (700, 700), (64, 128), (70, 71), (5, 5)] {
            let proof = ledger.prove_consistency(old, new).unwrap();
            let before = ledger.prove_consistency(old, old).unwrap();
            let before = before.split_once("\n\n").unwrap().1;
            let judged = judge_consistency(proof.as_bytes(), before.as_bytes(), &keys, 0).unwrap();
            assert_eq!((judged.old.size, judged.new.size), (old, new));
        }
    }
    // What was given early still holds, and the ledger still begins with what it was given under.
    judge_receipt(early.as_bytes(), &keys, 2).unwrap();
    let size = early.lines().nth(early.lines().position(str::is_empty).unwrap() + 2).unwrap();
    let proof = all[2].prove_consistency(size.parse().unwrap(), 700).unwrap();
    judge_consistency(proof.as_bytes(), early.as_bytes(), &keys, 2).unwrap();
    // Keys that know fewer cosigners, or another consortium's.
    let few: String =
        text.lines().filter(|line| !line.contains("/site/c+")).map(|l| format!("{l}\n")).collect();
    assert!(judge_receipt(early.as_bytes(), &Keys::parse(&few).unwrap(), 3).is_err());
    let (_, others) = self::keys(&Consortium::new(&["a", "b", "c"]));
    assert!(matches!(judge_receipt(early.as_bytes(), &others, 0), Err(Refusal::NoLog { .. })));
    for ledger in ledgers {
        close(ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exports_hold_for_an_unrelated_verifier_and_changed_ones_do_not() {
    let consortium = Consortium::new(&["a", "b"]);
    let ledgers = consortium.open_all().await;
    let all: Vec<&Ledger> = ledgers.iter().collect();
    let (_, keys) = keys(&consortium);
    for round in 0..6 {
        append(all[round % 2], (round as u64 * 50..(round as u64 + 1) * 50 + 3).map(draft).collect()).await;
    }
    let mut large = draft(9000);
    large.payload = vec![7; 600 << 10].into();
    append(all[0], vec![large]).await;
    wait_for_size(&all, 304).await;
    let dir = consortium.dir.path().join("export");
    all[0].export(&dir, &mut |_| {}).unwrap();
    let mut seen = 0;
    let report = judge_export(&dir, &keys, &mut |done| seen = done).unwrap();
    assert!(report.ok, "{:?}", report.findings);
    assert_eq!((report.size, seen, report.root), (304, 304, hex(all[0].root_at(304).unwrap())));
    assert_eq!(report.sites.values().sum::<u64>(), 304);
    every_changed_file_is_named(&dir, &keys);
    let (_, others) = self::keys(&Consortium::new(&["a", "b"]));
    let report = judge_export(&dir, &others, &mut |_| {}).unwrap();
    assert!(report.findings.iter().any(|finding| finding.file == "checkpoint"), "{:?}", report.findings);
    assert!(
        report.findings.iter().any(|finding| finding.text.contains("signature")),
        "{:?}",
        report.findings
    );
    for ledger in ledgers {
        close(ledger).await;
    }
}

/// Bytes all over each file, the last one among them.
fn every_changed_file_is_named(dir: &Path, keys: &Keys) {
    for name in ["entries/00000000", "manifest.txt", "checkpoint", "keys.txt"] {
        let path = dir.join(name);
        let good = std::fs::read(&path).unwrap();
        let steps = (0..good.len()).step_by((good.len() / 40).max(1)).chain([good.len() - 1]);
        for at in steps {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let report = judge_export(dir, keys, &mut |_| {}).unwrap();
            assert!(!report.ok && report.findings.iter().any(|f| f.file == name), "{name} byte {at}");
        }
        std::fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(!judge_export(dir, keys, &mut |_| {}).unwrap().ok, "{name} cut off");
        std::fs::remove_file(&path).unwrap();
        assert!(!judge_export(dir, keys, &mut |_| {}).unwrap().ok, "{name} missing");
        std::fs::write(&path, &good).unwrap();
    }
    assert!(judge_export(dir, keys, &mut |_| {}).unwrap().ok);
}

fn hex(root: [u8; 32]) -> String {
    root.iter().map(|byte| format!("{byte:02x}")).collect()
}
