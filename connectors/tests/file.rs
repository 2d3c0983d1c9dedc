//! Files and folders: order, cursor, what becomes of refused messages.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use connectors::file::{Config, Piece, source};
use connectors::{Background, Format, Inbound, Refusal, Reply, Source as _};

/// One message a line; those that end with `!` are no good, and with `?` doubtful.
fn lines(content: &Bytes) -> Vec<Piece> {
    let told =
        |is_told: bool| is_told.then(|| Refusal { code: "cut-off".into(), reason: "send it again".into() });
    let mut messages = Vec::new();
    let mut start = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        messages.push(Piece {
            offset: start,
            bytes: content.slice(start..start + text.len()),
            format: Some(Format::Hl7v2),
            fault: told(text.ends_with(b"!")),
            doubt: told(text.ends_with(b"?")),
        });
        start += line.len();
    }
    messages
}

fn numbers(range: std::ops::Range<usize>) -> String {
    range.map(|number| format!("{number}\n")).collect()
}

fn start(path: &Path, change: impl FnOnce(&mut Config)) -> Background {
    let mut config = Config::new(path);
    change(&mut config);
    source(config, lines).unwrap()
}

async fn next(source: &mut Background) -> Option<Inbound> {
    tokio::time::timeout(Duration::from_secs(20), source.next()).await.expect("no message for 20 s")
}

fn text(inbound: &Inbound) -> String {
    String::from_utf8(inbound.payload.to_vec()).unwrap()
}

fn commit(inbound: Inbound) {
    inbound.receipt.committed(Reply::default());
}

#[tokio::test]
async fn a_restart_goes_on_behind_what_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adt.hl7");
    std::fs::write(&path, numbers(0..300)).unwrap();
    let mut source = start(&path, |config| config.max_in_flight = 50);
    let mut held = Vec::new();
    for expected in 0..120 {
        let inbound = next(&mut source).await.unwrap();
        assert_eq!(text(&inbound), expected.to_string());
        match expected {
            100 => held.push(inbound),
            _ => commit(inbound),
        }
    }
    assert!(source.status().in_flight.load(Ordering::Relaxed) <= 50);
    drop(held);
    source.finish().await;
    let mut source = start(&path, |_| {});
    let first = next(&mut source).await.unwrap();
    assert_eq!((text(&first), first.position.as_str()), ("100".into(), "adt.hl7@290"));
    commit(first);
    let mut count = 1;
    while let Some(inbound) = next(&mut source).await {
        count += 1;
        commit(inbound);
    }
    assert_eq!(count, 200);
    source.finish().await;
    let mut source = start(&path, |_| {});
    assert!(next(&mut source).await.is_none(), "all of this file is settled");
    source.finish().await;
    std::fs::write(&path, numbers(7..8)).unwrap();
    assert_eq!(
        text(&next(&mut start(&path, |_| {})).await.unwrap()),
        "7",
        "another file under the same name"
    );
}

#[tokio::test]
async fn what_is_known_of_a_message_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adt.hl7");
    std::fs::write(&path, "1\n2?\n3!\n").unwrap();
    let mut source = start(&path, |_| {});
    let code = |told: &Option<Refusal>| told.as_ref().map(|told| told.code.clone());
    for expected in [(None, None), (None, Some("cut-off")), (Some("cut-off"), None)] {
        let inbound = next(&mut source).await.unwrap();
        assert_eq!((code(&inbound.fault).as_deref(), code(&inbound.doubt).as_deref()), expected);
        commit(inbound);
    }
}

#[tokio::test]
async fn what_cannot_be_kept_now_comes_again_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adt.hl7");
    std::fs::write(&path, numbers(0..100)).unwrap();
    let mut source = start(&path, |_| {});
    let (mut kept, mut retries) = (Vec::new(), 0);
    while let Some(inbound) = next(&mut source).await {
        if matches!(text(&inbound).as_str(), "5" | "6" | "99") && retries < 5 {
            retries += 1;
            inbound.receipt.retry("no quorum");
            continue;
        }
        kept.push(text(&inbound));
        commit(inbound);
    }
    assert_eq!(kept, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(retries, 5);
}

#[tokio::test]
async fn a_watched_folder_is_emptied_and_refused_messages_are_copied() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    std::fs::write(folder.join("b.hl7"), numbers(3..5)).unwrap();
    std::fs::write(folder.join("a.hl7"), numbers(0..3)).unwrap();
    std::fs::write(folder.join(".unfinished"), "x").unwrap();
    let mut source = start(folder, |config| config.watch = true);
    for expected in 0..5 {
        let inbound = next(&mut source).await.unwrap();
        assert_eq!(text(&inbound), expected.to_string());
        match expected {
            1 => inbound
                .receipt
                .rejected(Refusal { code: "no-msh".into(), reason: "not HL7".into() }, Reply::default()),
            _ => commit(inbound),
        }
    }
    std::fs::write(folder.join("a.hl7"), numbers(9..10)).unwrap();
    let late = next(&mut source).await.unwrap();
    assert_eq!((text(&late), late.key.to_string()), ("9".into(), "a.hl7".into()));
    commit(late);
    tokio::time::sleep(Duration::from_millis(500)).await;
    source.finish().await;
    let list = |name: &str| {
        let entries = std::fs::read_dir(folder.join(name)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(list("done"), ["a.hl7", "a.hl7.1", "b.hl7"]);
    assert_eq!(list("failed"), ["a.hl7@2", "a.hl7@2.reason"]);
    assert_eq!(std::fs::read_to_string(folder.join("failed/a.hl7@2.reason")).unwrap(), "no-msh: not HL7\n");
    assert!(folder.join(".unfinished").exists());
}

#[tokio::test]
async fn a_file_too_large_is_put_away_with_a_word_and_the_next_is_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.hl7"), numbers(0..100)).unwrap();
    std::fs::write(dir.path().join("b.hl7"), "0123456789\n").unwrap();
    let mut source = start(dir.path(), |config| {
        (config.max_file_bytes, config.max_message_bytes) = (50, 5);
    });
    let inbound = next(&mut source).await.unwrap();
    assert_eq!(
        (text(&inbound), inbound.fault.as_ref().unwrap().code.as_str()),
        ("01234".into(), "too-large")
    );
    commit(inbound);
    assert!(next(&mut source).await.is_none());
    assert!(source.status().get().1.unwrap().contains("max_file_bytes"));
    assert!(dir.path().join("failed/a.hl7").exists());
}

/// A sender whose disk is full, or that begins a file and never writes it, must not go unnoticed.
#[tokio::test]
async fn a_file_of_nothing_is_put_away_with_a_word_and_the_next_is_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.hl7"), "").unwrap();
    std::fs::write(dir.path().join("b.hl7"), numbers(1..2)).unwrap();
    let mut source = start(dir.path(), |_| {});
    commit(next(&mut source).await.unwrap());
    assert!(next(&mut source).await.is_none());
    assert_eq!(source.status().faults.load(Ordering::Relaxed), 1);
    let told = source.status().get().1.unwrap();
    assert!(told.contains("a.hl7: is 0 bytes and holds no message"), "{told}");
    assert!(dir.path().join("failed/a.hl7").exists() && dir.path().join("done/b.hl7").exists());
}
