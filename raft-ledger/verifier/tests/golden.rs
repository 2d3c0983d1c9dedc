//! Golden files of a consortium of three, one of whose sites was away: each byte of them counts.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ledger_verifier::{Keys, Refusal, judge_consistency, judge_export, judge_receipt};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(golden(name)).unwrap()
}

fn keys() -> Keys {
    Keys::parse(&String::from_utf8(bytes("keys.txt")).unwrap()).unwrap()
}

/// The keys whose lines satisfy `keep`.
fn some_keys(keep: impl Fn(&str) -> bool) -> Keys {
    let text = String::from_utf8(bytes("keys.txt")).unwrap();
    let kept: String = text.lines().filter(|line| keep(line)).map(|line| format!("{line}\n")).collect();
    Keys::parse(&kept).unwrap()
}

#[test]
fn receipts_hold_for_ever() {
    for (name, index) in [("first.tlog-proof", 0), ("last.tlog-proof", 11)] {
        let receipt = judge_receipt(&bytes(name), &keys(), 2).unwrap();
        assert_eq!((receipt.index, receipt.checkpoint.size), (index, 12), "{name}");
        assert_eq!((receipt.checkpoint.cosigners.len(), receipt.checkpoint.unknown_signatures), (2, 0));
        assert_eq!((receipt.leaf.site.as_str(), receipt.leaf.group_id, receipt.leaf.epoch), ("a", 1, 1));
        assert!(bytes(name).len() <= 2048, "{} bytes", bytes(name).len());
    }
}

#[test]
fn every_flipped_bit_of_a_receipt_is_refused() {
    let (good, keys) = (bytes("last.tlog-proof"), keys());
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(judge_receipt(&bad, &keys, 2).is_err(), "byte {at} bit {bit}");
        }
        assert!(judge_receipt(&good[..at], &keys, 2).is_err(), "the first {at} bytes alone");
    }
    assert!(judge_receipt(&[&good[..], b"\n"].concat(), &keys, 2).is_err());
}

#[test]
fn a_receipt_is_judged_by_the_keys_and_the_number_that_one_brings() {
    let receipt = bytes("last.tlog-proof");
    let judged = |keys: &Keys, k| judge_receipt(&receipt, keys, k);
    assert!(matches!(judged(&keys(), 3), Err(Refusal::TooFewCosigners { found: 2, needed: 3 })));
    let no_logs = some_keys(|line| !line.contains("/group/"));
    assert!(matches!(judged(&no_logs, 0), Err(Refusal::NoLog { .. })));
    let no_cosigners = some_keys(|line| line.contains("/group/"));
    assert!(matches!(judged(&no_cosigners, 1), Err(Refusal::TooFewCosigners { found: 0, .. })));
    assert_eq!(judged(&no_cosigners, 0).unwrap().checkpoint.unknown_signatures, 2);
    // The entry's own site alone vouches for it.
    let own = some_keys(|line| line.contains("/group/") || line.contains("/site/a+"));
    assert!(matches!(judged(&own, 1), Err(Refusal::OnlyItsOrigin { site }) if site == "a"));
    let strangers = Keys::parse(&String::from_utf8(bytes("strangers.txt")).unwrap()).unwrap();
    assert!(judged(&strangers, 0).is_err());
    // A damaged key list is refused as a whole, with its line.
    let text = String::from_utf8(bytes("keys.txt")).unwrap();
    let damaged = text.replacen('A', "B", 1);
    assert!(matches!(Keys::parse(&damaged), Err(Refusal::Keys { .. })));
}

#[test]
fn consistency_holds_and_every_flipped_bit_is_refused() {
    let (proof, old, keys) = (bytes("consistency.txt"), bytes("old-checkpoint.txt"), keys());
    let judged = judge_consistency(&proof, &old, &keys, 2).unwrap();
    assert_eq!((judged.old.size, judged.new.size), (5, 12));
    for at in 0..proof.len() {
        let mut bad = proof.clone();
        bad[at] ^= 1;
        assert!(judge_consistency(&bad, &old, &keys, 2).is_err(), "byte {at} of the proof");
    }
    for at in 0..old.len() {
        let mut bad = old.clone();
        bad[at] ^= 1;
        assert!(judge_consistency(&proof, &bad, &keys, 2).is_err(), "byte {at} of the old checkpoint");
    }
    // A receipt carries its checkpoint.
    let same = judge_consistency(&proof, &bytes("last.tlog-proof"), &keys, 2);
    assert!(matches!(same, Err(Refusal::Form { .. })), "it begins at another size");
}

#[test]
fn an_export_holds_for_ever() {
    let report = judge_export(&golden("export"), &keys(), &mut |_| {}).unwrap();
    assert!(report.ok, "{:?}", report.findings);
    assert_eq!((report.size, report.sites["a"]), (12, 12));
    let strangers = Keys::parse(&String::from_utf8(bytes("strangers.txt")).unwrap()).unwrap();
    assert!(!judge_export(&golden("export"), &strangers, &mut |_| {}).unwrap().ok);
}

fn verify(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_medulla-verify")).args(arguments).output().unwrap()
}

#[test]
fn the_program_answers_with_exit_codes_and_json() {
    let path = |name: &str| golden(name).display().to_string();
    let (keys, receipt) = (path("keys.txt"), path("last.tlog-proof"));
    let judged = verify(&["receipt", &receipt, "--keys", &keys, "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&judged.stdout).unwrap();
    assert!(judged.status.success() && said["ok"] == true && said["index"] == 11, "{said}");
    let judged = verify(&["receipt", &receipt, "--keys", &keys, "-k", "3", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&judged.stdout).unwrap();
    assert_eq!((judged.status.code(), &said["ok"]), (Some(1), &false.into()));
    assert!(said["refusal"].as_str().unwrap().contains("3 are needed"), "{said}");
    let judged = verify(&[
        "consistency",
        &path("consistency.txt"),
        "--old",
        &path("old-checkpoint.txt"),
        "--keys",
        &keys,
    ]);
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
    let judged = verify(&["export", &path("export"), "--keys", &keys, "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&judged.stdout).unwrap();
    assert!(
        judged.status.success() && said["size"] == 12 && said["leaves_per_s"].as_f64() > Some(0.0),
        "{said}"
    );
    assert_eq!(verify(&["export", &path("export"), "--keys", &path("strangers.txt")]).status.code(), Some(1));
    assert_eq!(verify(&["receipt", &path("nowhere"), "--keys", &keys]).status.code(), Some(1));
    assert_eq!(verify(&["receipt", &receipt]).status.code(), Some(2), "no keys");
    for command in ["receipt", "consistency", "evidence", "export"] {
        let help = verify(&[command, "--help"]);
        assert!(String::from_utf8_lossy(&help.stdout).contains("Example"), "{command}");
    }
}
