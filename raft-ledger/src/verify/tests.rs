use std::path::PathBuf;
use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use super::*;
use crate::export::{ExportBatch, ExportLeaf, RECORD_HEADER_LEN, export_in_files};
use crate::keys::SiteKeys;
use crate::merkle::Tree;
use crate::record::{Batch, BatchHead, Chunk, Item, Provenance, ProvenanceItem};
use crate::seal::Sealer;
use crate::types::{Draft, Outcome, Subject, Tag};

/// Two sites in turn, three batches each in two epochs, with duplicates and a chunked payload.
struct History {
    _dir: tempfile::TempDir,
    keys: Vec<SiteKeys>,
    batches: Vec<ExportBatch>,
    root: Hash,
    size: u64,
}

static HISTORY: LazyLock<History> = LazyLock::new(history);

fn history() -> History {
    let dir = tempfile::tempdir().unwrap();
    let dirs = crate::keys::init(dir.path(), &[("a", "h"), ("b", "h")]).unwrap();
    let keys: Vec<_> = dirs.iter().map(|dir| SiteKeys::load(dir).unwrap()).collect();
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let (mut batches, mut tree) = (Vec::new(), Tree::default());
    let mut previous = [[0; 32]; 2];
    let sealers: Vec<_> = dirs
        .iter()
        .zip(&keys)
        .map(|(dir, keys)| Sealer::open_store(&dir.join("subjects.keys"), keys).unwrap())
        .collect();
    for round in 0..3u64 {
        for site in 0..2 {
            let (epoch, first_site_seq) = if round < 2 { (1, round * 3) } else { (4, 0) };
            let (items, whole) = items(&sealers[site], epoch, first_site_seq, &mut rng);
            let name = keys[site].site.clone();
            let head = BatchHead { group_id: 1, site: name, epoch, first_site_seq, previous: previous[site] };
            let (batch, hash) = Batch::sign(head, items, &keys[site].batch);
            previous[site] = hash;
            batches.push(exported(&batch, &keys[site], whole, &mut tree));
        }
    }
    let (size, root) = (tree.size(), tree.root());
    History { _dir: dir, keys, batches, root, size }
}

fn items(sealer: &Sealer, epoch: u64, first: u64, rng: &mut ChaCha12Rng) -> (Vec<Item>, Vec<Bytes>) {
    let subject = Subject([first as u8; 32]);
    sealer.ensure(&[subject]).unwrap();
    sealer.key_store().kept(&sealer.key_store().pending(), true);
    let ready = sealer.ready(&[subject]).unwrap();
    let (mut items, mut whole) = (Vec::new(), Vec::new());
    for n in 0..3 {
        let draft = Draft {
            kind: 1,
            subject,
            tags: vec![Tag([n as u8; 16])],
            dedupe: None,
            event_time_ms: 1,
            message_time_ms: 2,
            received_time_ms: 3,
            payload: Bytes::from(vec![n as u8; 40]),
        };
        let mut message = sealer.seal(&draft, &ready, (epoch, first + n), rng).unwrap();
        whole.push(message.ciphertext.clone());
        if n == 2 {
            items.push(Item::Chunk(Chunk { offset: 0, bytes: message.ciphertext.split_to(20) }));
        }
        items.push(Item::Message(message));
    }
    (items, whole)
}

fn exported(batch: &Batch, keys: &SiteKeys, whole: Vec<Bytes>, tree: &mut Tree) -> ExportBatch {
    let verified = batch.verify(&keys.batch.verifying_key()).unwrap();
    let first_index = tree.size();
    // From the second batch on, the middle message repeats index 0.
    let duplicate = |n: usize| first_index > 0 && n == 1;
    let outcomes: Vec<_> = (0..3).map(|n| Outcome { index: 0, duplicate: duplicate(n) }).collect();
    let mut leaves = Vec::new();
    for (n, (message, ciphertext)) in verified.messages.iter().zip(whole).enumerate() {
        if !duplicate(n) {
            tree.append(message.leaf_hash);
            leaves.push(ExportLeaf { leaf: message.leaf_bytes.clone(), ciphertext: Some(ciphertext) });
        }
    }
    ExportBatch { provenance: Provenance::new(batch, &verified, first_index, &outcomes).unwrap(), leaves }
}

fn written(batches: &[ExportBatch]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("export");
    let batches = batches.iter().cloned().map(Ok);
    let mut seen = Vec::new();
    let tree = (HISTORY.size, HISTORY.root);
    // About two batches a file.
    export_in_files(1000, &path, batches, tree, &HISTORY.keys[0], &mut |p| seen.push(p)).unwrap();
    assert_eq!(seen.last(), Some(&Progress { done: HISTORY.size, total: HISTORY.size }));
    (dir, path)
}

/// A copy of one whole export.
fn copied() -> (tempfile::TempDir, PathBuf) {
    static WHOLE: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| written(&HISTORY.batches));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("export");
    fs::create_dir_all(path.join(ENTRIES)).unwrap();
    for name in files_in(&WHOLE.1).unwrap() {
        fs::copy(WHOLE.1.join(&name), path.join(&name)).unwrap();
    }
    (dir, path)
}

fn judged(path: &Path) -> Report {
    verify_export(path, Some(&HISTORY.keys[1].verifiers()), &mut |_| {}).unwrap()
}

/// Findings that name `file`.
fn named<'a>(report: &'a Report, file: &str) -> Vec<&'a Finding> {
    assert!(!report.ok);
    report.findings.iter().filter(|finding| finding.file == file).collect()
}

#[test]
fn a_whole_export_passes() {
    let (_dir, path) = written(&HISTORY.batches);
    let report = judged(&path);
    assert_eq!(report.findings, []);
    assert!(report.ok && report.keys_brought);
    assert_eq!((report.size, report.root.clone()), (HISTORY.size, hex::encode(HISTORY.root)));
    assert_eq!((report.batches, report.payloads_absent, report.size), (6, 0, 6 * 3 - 5));
    assert!(files_in(&path).unwrap().len() >= 6, "several files of entries");
    let own = verify_export(&path, None, &mut |_| {}).unwrap();
    assert!(own.ok && !own.keys_brought);
}

#[test]
fn payloads_kept_elsewhere_are_counted_and_the_rest_still_proves() {
    let mut batches = HISTORY.batches.clone();
    batches[0].leaves[1].ciphertext = None;
    let (_dir, path) = written(&batches);
    let report = judged(&path);
    assert!(report.ok);
    assert_eq!(report.payloads_absent, 1);
}

#[test]
fn an_export_of_another_tree_or_into_a_used_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = |path: &Path, size, root| {
        let batches = HISTORY.batches.iter().cloned().map(Ok);
        crate::export::export(path, batches, size, root, &HISTORY.keys[0], &mut |_| {}).map(|_| ())
    };
    let other = run(&dir.path().join("1"), HISTORY.size, [0; 32]).unwrap_err();
    assert!(other.to_string().contains("another tree"), "{other}");
    let report = judged(&dir.path().join("1"));
    assert!(named(&report, MANIFEST)[0].text.contains("interrupted"));
    run(&dir.path().join("2"), HISTORY.size, HISTORY.root).unwrap();
    let used = run(&dir.path().join("2"), HISTORY.size, HISTORY.root).unwrap_err();
    assert!(used.to_string().contains("not empty"), "{used}");
}

#[test]
fn strangers_keys_accept_nothing() {
    let (dir, path) = written(&HISTORY.batches);
    let strangers = crate::keys::init(&dir.path().join("keys"), &[("a", "h"), ("b", "h")]).unwrap();
    let stranger = SiteKeys::load(&strangers[0]).unwrap();
    let report = verify_export(&path, Some(&stranger.verifiers()), &mut |_| {}).unwrap();
    assert_eq!(report.findings.len(), 6 + 1);
    assert!(named(&report, CHECKPOINT)[0].text.contains("no signature by a known log key"));
    let none = verify_export(&path, Some(&VerifierKeys::default()), &mut |_| {}).unwrap();
    assert!(none.findings[0].text.contains("no batch key of site a"));
}

#[test]
fn dropped_repeated_and_reordered_batches_are_named() {
    let texts = |batches: &[ExportBatch]| {
        let keys = HISTORY.keys[0].verifiers();
        let mut auditor = Auditor::new(Some(&keys), Some(1));
        let flaws: Vec<_> = batches.iter().flat_map(|batch| auditor.batch(batch)).collect();
        flaws.into_iter().map(|flaw| flaw.text).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(texts(&HISTORY.batches), "");
    let mut dropped = HISTORY.batches.clone();
    dropped.remove(2);
    assert!(texts(&dropped).contains("does not follow its batch before"));
    let mut repeated = HISTORY.batches.clone();
    repeated.insert(1, repeated[0].clone());
    assert!(texts(&repeated).contains("site_seq 0 of site a in epoch 1, expected 3"));
    let mut reordered = HISTORY.batches.clone();
    reordered.swap(2, 4);
    assert!(texts(&reordered).contains("epoch 1 of site a comes after epoch 4"));
    let mut forged = HISTORY.batches.clone();
    forged[3].leaves[1].leaf = forged[2].leaves[1].leaf.clone();
    assert!(texts(&forged).contains("is not its batch's"));
    let mut other_group = Auditor::new(None, Some(2));
    assert!(other_group.batch(&HISTORY.batches[0])[0].text.contains("group 1"));
}

/// Whoever writes the export can make checksums and manifest fit; hashes and signatures still tell.
#[test]
fn a_change_by_the_exporter_is_found_and_named() {
    type Change = fn(&mut ExportBatch);
    let changes: [(Change, u64, &str); 7] = [
        (|b| alter(&mut b.leaves[1].ciphertext), 4, "does not match the hash in its leaf"),
        (|b| b.leaves[1].ciphertext = Some(Bytes::from_static(b"short")), 4, "another length"),
        (|b| b.provenance.signature[9] ^= 1, 3, "the signature is not that of site b"),
        (|b| b.provenance.first_index += 1, 4, "begins at index 4, expected 3"),
        (|b| b.provenance.head.previous = [1; 32], 3, "does not follow its batch before"),
        (|b| b.provenance.items.truncate(2), 3, "bytes follow the record"),
        (|b| repeat_later(&mut b.provenance), 3, "a duplicate of index 9, which is not before it"),
    ];
    for (change, index, text) in changes {
        let mut batches = HISTORY.batches.clone();
        change(&mut batches[1]);
        let (_dir, path) = written(&batches);
        let report = judged(&path);
        let found =
            |f: &&Finding| f.file.starts_with(ENTRIES) && f.index == Some(index) && f.text.contains(text);
        assert!(report.findings.iter().any(|f| found(&f)), "{text}: {report:?}");
    }
}

fn alter(payload: &mut Option<Bytes>) {
    let mut bytes = payload.take().unwrap().to_vec();
    bytes[0] ^= 1;
    *payload = Some(bytes.into());
}

fn repeat_later(provenance: &mut Provenance) {
    for item in &mut provenance.items {
        if let ProvenanceItem::Duplicate { first_index, .. } = item {
            *first_index = 9;
        }
    }
}

#[test]
fn missing_and_foreign_files_are_named() {
    for name in [MANIFEST, CHECKPOINT, KEYS, "entries/00000000", "entries/00000001"] {
        let (_dir, path) = copied();
        fs::remove_file(path.join(name)).unwrap();
        assert!(!named(&judged(&path), name).is_empty(), "{name}");
    }
    for name in ["more.txt", "entries/99999999"] {
        let (_dir, path) = copied();
        fs::write(path.join(name), "x").unwrap();
        assert!(!named(&judged(&path), name).is_empty(), "{name}");
    }
}

/// Where the records of a file of entries begin.
fn record_starts(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut starts) = (24, vec![0]);
    while at < bytes.len() {
        starts.push(at);
        let len = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        at += RECORD_HEADER_LEN + len as usize;
    }
    starts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_changed_byte_fails_and_is_named(
        file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), mask in 1u8..,
    ) {
        let (_dir, path) = copied();
        let names: Vec<_> = files_in(&path).unwrap().into_iter().collect();
        let name = &names[file.index(names.len())];
        let mut bytes = fs::read(path.join(name)).unwrap();
        let starts = record_starts_if_entries(name, &bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        fs::write(path.join(name), &bytes).unwrap();
        for report in [judged(&path), verify_export(&path, None, &mut |_| {}).unwrap()] {
            let named = named(&report, name);
            prop_assert!(!named.is_empty(), "{} byte {}: {:?}", name, at, report);
            let start = *starts.iter().rfind(|start| **start <= at).unwrap() as u64;
            let place = start..=at as u64;
            prop_assert!(
                named.iter().any(|f| f.offset.is_some_and(|o| place.contains(&o))),
                "{} byte {}: {:?}", name, at, report
            );
        }
    }

    #[test]
    fn any_cut_fails_and_is_named(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
        let (_dir, path) = copied();
        let names: Vec<_> = files_in(&path).unwrap().into_iter().collect();
        let name = &names[file.index(names.len())];
        let bytes = fs::read(path.join(name)).unwrap();
        fs::write(path.join(name), &bytes[..at.index(bytes.len())]).unwrap();
        prop_assert!(!named(&judged(&path), name).is_empty());
    }

    #[test]
    fn a_record_decoder_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), which in 0usize..6) {
        let mut body = HISTORY.batches[which].encode().split_off(RECORD_HEADER_LEN);
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok((batch, _)) = ExportBatch::decode(body.clone().into()) {
            prop_assert_eq!(&batch.encode()[RECORD_HEADER_LEN..], body.as_slice());
            let keys = HISTORY.keys[0].verifiers();
            let mut auditor = Auditor::new(Some(&keys), Some(1));
            auditor.batch(&batch);
        }
    }
}

fn record_starts_if_entries(name: &str, bytes: &[u8]) -> Vec<usize> {
    if name.starts_with(ENTRIES) { record_starts(bytes) } else { vec![0] }
}
