//! Held against a plain filter over everything, on a real ledger of one site.

use bytes::Bytes;
use raft_ledger::Draft;

use super::*;

fn patient(n: u64) -> PatientId {
    PatientId { authority: "HOSP".into(), id: n.to_string().into() }
}

/// Entry `n` of the ledger, and what a search may ask of it.
fn properties(n: u64) -> (PatientId, [&'static str; 3], Kind, String, Time) {
    let feed = ["lab", "adt"][(n % 2) as usize];
    let kind = if n.is_multiple_of(5) { Kind::Rejected } else { Kind::Message };
    let (type_, code) = (["A", "B", "C"][(n / 2 % 3) as usize], ["x", "y"][(n / 5 % 2) as usize]);
    (patient(n % 7), [feed, type_, code], kind, format!("C{}", n / 2), Time(500 - (n as i64 * 37) % 101))
}

/// Mostly in the ledger's order, over some hours; each tenth waited in an outbox.
fn received_at(n: u64) -> Time {
    let waited = if n.is_multiple_of(10) { 2 * Time::HOUR_MS } else { 0 };
    Time(n as i64 * Time::HOUR_MS / 40 - waited)
}

fn draft(ledger: &Ledger, n: u64) -> Draft {
    let (patient, [feed, type_, code], kind, control_id, at) = properties(n);
    let subject = subject_key(&patient);
    Draft {
        kind: kind as u16,
        subject: ledger.subject(&subject),
        tags: vec![
            ledger.tag("kind", kind.tag()),
            ledger.tag("feed", feed.as_bytes()),
            ledger.tag("patient", &subject),
            ledger.tag("control", control_id.as_bytes()),
            ledger.tag(TYPE_TAG, type_.as_bytes()),
            ledger.tag(CODE_TAG, code.as_bytes()),
            ledger.tag(RECEIVED_TAG, &hour_of(received_at(n)).to_be_bytes()),
        ],
        dedupe: None,
        event_time_ms: at.0,
        message_time_ms: 0,
        received_time_ms: received_at(n).0,
        payload: Bytes::from_static(b"payload"),
    }
}

async fn filled(dir: &std::path::Path, entries: u64) -> Ledger {
    let ledger = crate::test_ledger::one_site(dir).await;
    ledger.append((0..entries).map(|n| draft(&ledger, n)).collect()).await.unwrap();
    ledger
}

#[actix::test]
async fn indices_come_in_pages_of_bounded_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = filled(dir.path(), 5).await;
    let large = Draft { payload: vec![7; BYTES_MAX / 2 + 1].into(), ..draft(&ledger, 5) };
    for _ in 0..3 {
        ledger.append(vec![large.clone()]).await.unwrap();
    }
    let asked = BTreeSet::from([1, 3, 5, 6, 7, 99]);
    let found_from = |from| {
        let found = Search::at(&ledger, &asked, from).unwrap();
        (found.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), found.next)
    };
    assert_eq!(found_from(0), (vec![1, 3, 5, 6], Some((None, 7))));
    assert_eq!(found_from(7), (vec![7], None));
    ledger.close().await.unwrap();
}

/// All pages' indices.
fn all(ledger: &Ledger, mut search: Search) -> Vec<u64> {
    let mut indices = Vec::new();
    loop {
        let found = search.run(ledger).unwrap();
        assert!(found.entries.len() <= search.limit && found.as_of == ledger.size());
        indices.extend(found.entries.iter().map(|entry| entry.index));
        // What follows may all be of another time: then the last page is empty.
        let Some(next) = found.next else { return indices };
        search.go_on(next);
    }
}

fn expected(entries: u64, search: &Search) -> Vec<u64> {
    let wanted = |n: &u64| {
        let (patient, [feed, type_, code], kind, control_id, at) = properties(*n);
        search.patient.as_ref().is_none_or(|wanted| *wanted == patient)
            && search.feed.as_ref().is_none_or(|wanted| wanted == feed)
            && search.type_.as_ref().is_none_or(|wanted| wanted == type_)
            && search.code.as_ref().is_none_or(|wanted| wanted == code)
            && search.kind.is_none_or(|wanted| wanted == kind)
            && search.control_id.as_ref().is_none_or(|wanted| *wanted == control_id)
            && search.since.is_none_or(|since| at >= since)
            && search.until.is_none_or(|until| at < until)
            && search.received.is_none_or(|(start, end)| (start..end).contains(&received_at(*n)))
    };
    let mut found: Vec<u64> = (0..entries).filter(wanted).collect();
    let named = search.patient.is_some() || search.control_id.is_some();
    let sorted =
        search.feed.is_some() || search.kind.is_some() || search.type_.is_some() || search.code.is_some();
    let in_ledger_order = named || (sorted && search.in_ledger_order);
    if search.received.is_some() {
        found.sort_by_key(|n| (hour_of(received_at(*n)), *n));
    } else if !in_ledger_order && (search.since.is_some() || search.until.is_some()) {
        found.sort_by_key(|n| (properties(*n).4, *n));
    }
    found
}

#[actix::test]
async fn every_search_finds_what_a_filter_over_everything_finds() {
    const ENTRIES: u64 = 300;
    let dir = tempfile::tempdir().unwrap();
    let ledger = filled(dir.path(), ENTRIES).await;
    let times =
        [(None, None), (Some(430), Some(470)), (Some(480), None), (None, Some(420)), (Some(9999), None)];
    let hours = |from: f64, to: f64| {
        let at = |hours: f64| Time((hours * Time::HOUR_MS as f64) as i64);
        Some((at(from), at(to)))
    };
    // Over several hours, within one, before there was anything.
    let receipts = [None, hours(1.3, 5.6), hours(2.1, 2.9), hours(-9.0, 0.5)];
    let mut tried = 0;
    for (choice, received) in (0..128_u32).flat_map(|choice| receipts.map(|received| (choice, received))) {
        for (since, until) in times {
            for limit in [1, 7, 1000] {
                let asked = |bit: u32| choice & bit != 0;
                let search = Search {
                    limit,
                    patient: asked(1).then(|| patient(3)),
                    feed: asked(2).then(|| "adt".to_owned()),
                    kind: asked(4).then_some(Kind::Rejected),
                    control_id: asked(8).then(|| "C22".to_owned()),
                    type_: asked(16).then(|| "C".to_owned()),
                    code: asked(32).then(|| "x".to_owned()),
                    in_ledger_order: asked(64),
                    since: since.map(Time),
                    until: until.map(Time),
                    received,
                    ..Search::default()
                };
                let expected = expected(ENTRIES, &search);
                let what = format!("{choice} {since:?} {until:?} {received:?} {limit}");
                assert_eq!(all(&ledger, search), expected, "{what}");
                tried += usize::from(!expected.is_empty());
            }
        }
    }
    assert!(tried > 60, "{tried}");
    ledger.close().await.unwrap();
}

/// With a seek for each entry the page would end where it has looked often enough.
#[actix::test]
async fn a_page_of_one_tag_looks_once_for_each_entry() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = filled(dir.path(), 12_800).await;
    let wanted = LOOKS_MAX / 2 + 100;
    let search = Search { kind: Some(Kind::Message), limit: wanted, ..Search::default() };
    let found = search.run(&ledger).unwrap();
    assert_eq!(found.entries.len(), wanted);
    let last = found.entries.last().unwrap().index;
    assert_eq!(found.next, Some((None, if (last + 1).is_multiple_of(5) { last + 2 } else { last + 1 })));
    ledger.close().await.unwrap();
}
