//! One site alone: what is acknowledged is there, once, also after it was opened again.

use bytes::Bytes;
use raft_ledger::{AppendError, Payload};

use crate::common::{Consortium, append, close, draft};

fn open(payload: &Payload) -> Bytes {
    match payload {
        Payload::Open(bytes) => bytes.clone(),
        _ => panic!("not open"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appended_entries_are_read_in_order_and_outlive_a_restart() {
    let consortium = Consortium::new(&["a"]);
    let ledger = consortium.open(0).await;
    let outcomes = append(&ledger, (0..100).map(draft).collect()).await;
    assert_eq!(outcomes.iter().map(|o| o.index).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert!(outcomes.iter().all(|outcome| !outcome.duplicate));
    let root = ledger.status().root;
    close(ledger).await;

    let ledger = consortium.open(0).await;
    assert_eq!((ledger.size(), ledger.status().root), (100, root));
    let entries = ledger.read_from(10, 5).unwrap();
    let read: Vec<_> = entries.iter().map(|entry| (entry.index, open(&entry.payload))).collect();
    let expected: Vec<_> = (10..15).map(|n| (n, Bytes::from(format!("payload {n}")))).collect();
    assert_eq!(read, expected);
    // A new epoch goes on where the old one ended.
    assert_eq!(append(&ledger, vec![draft(100)]).await[0].index, 100);
    let entry = &ledger.read_from(100, 1).unwrap()[0];
    assert_eq!((entry.epoch, entry.site_seq, entry.site.as_str()), (2, 0, "a"));
    close(ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_found_by_tag_and_by_event_time() {
    let consortium = Consortium::new(&["a"]);
    let ledger = consortium.open(0).await;
    let tag = ledger.tag("parity", b"odd");
    let mut drafts: Vec<_> = (0..10).map(draft).collect();
    for (n, draft) in drafts.iter_mut().enumerate() {
        // Newest first, two of each time, before and after 1970.
        draft.event_time_ms = 2 - n as i64 / 2;
        draft.tags = if n % 2 == 1 { vec![tag] } else { Vec::new() };
    }
    append(&ledger, drafts).await;
    assert_eq!(ledger.by_tag(tag, 4, 2).unwrap(), [5, 7]);
    assert_eq!(ledger.by_time((i64::MIN, 0), 0, 9).unwrap(), [(-2, 8), (-2, 9), (-1, 6), (-1, 7)]);
    assert_eq!(ledger.by_time((-1, 7), i64::MAX, 2).unwrap(), [(-1, 7), (0, 4)]);
    assert_eq!(ledger.by_time((3, 0), 2, 9).unwrap(), []);
    assert_eq!(ledger.catch_up().await.unwrap(), 10);
    close(ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_gets_the_first_ones_index_and_makes_no_leaf() {
    let consortium = Consortium::new(&["a"]);
    let ledger = consortium.open(0).await;
    let outcomes = append(&ledger, vec![draft(1), draft(2), draft(1)]).await;
    assert_eq!(
        outcomes.iter().map(|o| (o.index, o.duplicate)).collect::<Vec<_>>(),
        [(0, false), (1, false), (0, true)]
    );
    close(ledger).await;
    let ledger = consortium.open(0).await;
    let again = append(&ledger, vec![draft(2)]).await[0];
    assert_eq!((again.index, again.duplicate), (1, true));
    assert_eq!((ledger.size(), ledger.status().duplicates), (2, 2));
    close(ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_payloads_go_in_chunks_and_make_one_leaf() {
    let consortium = Consortium::new(&["a"]);
    let ledger = consortium.open(0).await;
    let mut large = draft(1);
    large.payload = (0..3_000_000u32).map(|n| (n * 7) as u8).collect::<Vec<_>>().into();
    let outcomes = append(&ledger, vec![draft(0), large.clone(), draft(2)]).await;
    assert_eq!(outcomes.iter().map(|o| o.index).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(open(&ledger.read_from(1, 1).unwrap()[0].payload), large.payload);
    let mut too_large = draft(3);
    too_large.payload = vec![0; (64 << 20) + 1].into();
    assert!(matches!(ledger.append(vec![too_large]).await, Err(AppendError::TooLarge { .. })));
    close(ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_find_entries_and_sizes_are_watched() {
    let consortium = Consortium::new(&["a"]);
    let ledger = consortium.open(0).await;
    let mut sizes = ledger.watch_size();
    let (red, blue) = (ledger.tag("colour", b"red"), ledger.tag("colour", b"blue"));
    let tagged = |n: u64| {
        let mut draft = draft(n);
        draft.tags = if n.is_multiple_of(2) { vec![red] } else { vec![blue, red] };
        draft
    };
    append(&ledger, (0..10).map(tagged).collect()).await;
    assert_eq!(*sizes.wait_for(|size| *size == 10).await.unwrap(), 10);
    assert_eq!(ledger.by_tag(blue, 0, 100).unwrap(), [1, 3, 5, 7, 9]);
    assert_eq!(ledger.by_tag(blue, 4, 2).unwrap(), [5, 7]);
    assert_eq!(ledger.by_tag(red, 0, 100).unwrap().len(), 10);
    close(ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_named_errors() {
    let consortium = Consortium::new(&["a"]);
    let mut config = consortium.config(0);
    config.in_flight_bytes_max = 10_000;
    let ledger = raft_ledger::Ledger::open(config.clone()).await.unwrap();
    let drafts = |from: u64| (from..from + 15).map(draft).collect::<Vec<_>>();
    // Both at once are over the limit: the second is refused without being taken.
    let (first, second) = tokio::join!(ledger.append(drafts(0)), ledger.append(drafts(100)));
    assert_eq!(first.unwrap().len(), 15);
    assert!(matches!(second, Err(AppendError::Pushback { .. })));
    assert_eq!(ledger.size(), 15);
    let mut many_tags = draft(50);
    many_tags.tags = vec![ledger.tag("t", b"v"); 17];
    assert!(matches!(ledger.append(vec![many_tags]).await, Err(AppendError::TooManyTags { .. })));
    close(ledger).await;

    config.free_space_reserve_bytes = u64::MAX;
    let ledger = raft_ledger::Ledger::open(config).await.unwrap();
    while !matches!(ledger.append(vec![draft(200)]).await, Err(AppendError::NoSpace { .. })) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    close(ledger.clone()).await;
    assert!(matches!(
        ledger.append(vec![draft(201)]).await,
        Err(AppendError::NoSpace { .. } | AppendError::Closed)
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sites_own_values_outlive_a_restart() {
    let consortium = Consortium::new(&["a"]);
    let ledger = consortium.open(0).await;
    ledger.site_put(b"cursor", b"7", true).unwrap();
    ledger.site_put(b"cursor", b"8", false).unwrap();
    assert_eq!(ledger.site_get(b"none").unwrap(), None);
    close(ledger).await;
    let ledger = consortium.open(0).await;
    assert_eq!(ledger.site_get(b"cursor").unwrap().as_deref(), Some(b"8".as_slice()));
    close(ledger).await;
}
