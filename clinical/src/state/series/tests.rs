use super::*;
use crate::ObservationStatus::{self, Corrected, Deleted, Final, Preliminary};
use crate::SetAside;

fn point(at: i64, source: &str, status: ObservationStatus, value: f32) -> Point {
    Point::new(Time(at), source, status, Ok(value))
}

fn held(points: &[Point]) -> Vec<(i64, f32)> {
    let mut series = Series::default();
    for point in points {
        series.put(*point, false, Time(0));
    }
    series.newest_first().map(|(at, value)| (at.0, value)).collect()
}

#[test]
fn a_correction_replaces_and_its_late_original_does_not_come_back() {
    let (first, better) = (point(5, "a", Final, 1.0), point(5, "a", Corrected, 2.0));
    assert_eq!(held(&[first, better]), [(5, 2.0)]);
    assert_eq!(held(&[first, better, first]), [(5, 2.0)]);
    assert_eq!(held(&[better, first]), [(5, 2.0)]);
    assert_eq!(held(&[point(5, "a", Preliminary, 0.5), first]), [(5, 1.0)]);
}

/// As sent in these seconds, in every order.
fn whatever_the_order(told: [(i64, Point); 3]) -> Vec<(i64, f32)> {
    let told = told.map(|(second, point)| point.told_at(Some(Time(second * 1000))));
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        let found = held(&order.map(|i| told[i]));
        assert_eq!(found, held(&told), "{order:?}");
    }
    held(&told)
}

#[test]
fn of_two_corrections_the_one_that_was_sent_last_stands_whichever_comes_first() {
    let (first, older, newer) =
        (point(5, "a", Final, 1.0), point(5, "a", Corrected, 2.0), point(5, "a", Corrected, 3.0));
    let withdrawn = point(5, "a", Deleted, 0.0);
    assert_eq!(whatever_the_order([(10, first), (20, older), (30, newer)]), [(5, 3.0)]);
    assert_eq!(whatever_the_order([(10, first), (20, older), (30, withdrawn)]), []);
    assert_eq!(whatever_the_order([(10, first), (20, withdrawn), (30, newer)]), [(5, 3.0)]);
    assert_eq!(whatever_the_order([(10, first), (20, newer), (30, first)]), [(5, 3.0)], "a late original");
    let (early, late) = (point(5, "a", Preliminary, 4.0), point(5, "a", Final, 5.0));
    assert_eq!(whatever_the_order([(10, early), (20, first), (30, late)]), [(5, 5.0)]);
    assert_eq!(whatever_the_order([(10, withdrawn), (20, first), (30, early)]), [(5, 1.0)]);
    // Of one second, and of messages that say nothing of it, the last that comes.
    let at = |point: Point, ms| point.told_at(Some(Time(ms)));
    assert_eq!(held(&[at(newer, 20_900), at(older, 20_100)]), [(5, 2.0)]);
    assert_eq!(held(&[at(newer, 30_000), older]), [(5, 2.0)]);
}

#[test]
fn of_two_corrections_of_the_time_the_one_that_was_sent_last_stands() {
    let told = |at, value, second: i64| point(at, "a", Corrected, value).told_at(Some(Time(second * 1000)));
    let first = point(5_000, "a", Final, 1.0).told_at(Some(Time(10_000)));
    let (older, newer) = (told(9_500, 2.0, 20), told(7_000, 3.0, 30));
    assert_eq!(held(&[first, older, newer]), [(7_000, 3.0)]);
    assert_eq!(held(&[first, newer, older]), [(7_000, 3.0)]);
    assert_eq!(held(&[first, newer, older, newer, first]), [(7_000, 3.0)]);
}

#[test]
fn merged_series_hold_what_was_sent_last() {
    let series = |point: Point| {
        let mut series = Series::default();
        series.put(point, false, Time(0));
        series
    };
    let told = |value, second: i64| point(5, "a", Corrected, value).told_at(Some(Time(second * 1000)));
    for (own, other) in [(told(2.0, 20), told(3.0, 30)), (told(3.0, 30), told(2.0, 20))] {
        let mut merged = series(own);
        merged.absorb(&series(other), Time(0));
        assert_eq!(merged.newest_first().collect::<Vec<_>>(), [(Time(5), 3.0)]);
    }
}

#[test]
fn the_last_version_stands_whatever_its_status() {
    let after = |points: &[Point]| -> Vec<(i64, f32)> {
        let mut series = Series::default();
        for point in points {
            series.put(*point, true, Time(0));
        }
        series.newest_first().map(|(at, value)| (at.0, value)).collect()
    };
    let (first, wrong) = (point(5, "a", Final, 1.0), point(5, "a", Deleted, 0.0));
    let better = point(5, "a", Corrected, 2.0);
    assert_eq!(after(&[first, wrong, first]), [(5, 1.0)]);
    assert_eq!(after(&[better, first]), [(5, 1.0)]);
    assert_eq!(after(&[first, better]), [(5, 2.0)]);
    assert_eq!(after(&[better, point(5, "a", Preliminary, 3.0)]), [(5, 3.0)]);
    // One whose time moves keeps both, unless it says that the former was wrong.
    assert_eq!(after(&[first, point(6, "a", Final, 1.0)]), [(6, 1.0), (5, 1.0)]);
    assert_eq!(after(&[first, point(6, "a", Corrected, 2.0)]), [(6, 2.0)]);
}

#[test]
fn what_no_longer_holds_is_told_with_its_time() {
    let told = |points: &[Point]| -> Vec<Option<i64>> {
        let mut series = Series::default();
        points.iter().map(|point| series.put(*point, false, Time(0)).map(|at| at.0)).collect()
    };
    let first = point(5, "a", Final, 1.0);
    let implausible = Point::new(Time(5), "a", Corrected, Err(SetAside::Implausible));
    assert_eq!(told(&[first, first, point(5, "a", Corrected, 1.0)]), [None; 3], "nothing else came of it");
    assert_eq!(told(&[first, point(5, "a", Final, 2.0)]), [None, Some(5)]);
    assert_eq!(told(&[first, point(5, "a", Deleted, 0.0), first]), [None, Some(5), None]);
    assert_eq!(told(&[first, implausible, implausible]), [None, Some(5), None]);
    assert_eq!(told(&[first, point(9, "a", Corrected, 1.0)]), [None, Some(5)], "its time was wrong");
    assert_eq!(told(&[point(5, "a", Corrected, 2.0), first]), [None; 2], "it was never known");
    assert_eq!(told(&[first, point(9, "b", Final, 2.0)]), [None; 2]);
}

#[test]
fn a_deletion_uncovers_the_value_before_it() {
    let points = [point(4, "a", Final, 1.0), point(5, "b", Final, 2.0), point(5, "b", Deleted, 0.0)];
    assert_eq!(held(&points), [(4, 1.0)]);
}

#[test]
fn a_correction_of_the_time_moves_the_point() {
    let (wrong, right) = (point(5, "a", Final, 1.0), point(9, "a", Corrected, 1.5));
    assert_eq!(held(&[wrong, right, wrong]), [(9, 1.5)]);
    // Two points of one source: which of them was meant is not known, so none is lost.
    assert_eq!(held(&[wrong, point(6, "a", Final, 2.0), right]), [(9, 1.5), (6, 2.0), (5, 1.0)]);
}

#[test]
fn a_point_is_written_as_a_list_and_read_either_way() {
    let listed = r#"[5,0,1.5,1,"Held"]"#;
    let named = r#"{"at":5,"source":0,"value":1.5,"rank":1,"standing":"Held"}"#;
    let point = point(5, "", Final, 1.5);
    assert_eq!(serde_json::to_string(&point).unwrap(), listed);
    for written in [listed, named] {
        assert!(serde_json::from_str::<Point>(written).unwrap() == point, "{written}");
    }
    let (mut sibling, mut seeking) = (point, point.told_at(Some(Time(65_000))));
    (sibling.has_siblings, seeking.seeks) = (true, true);
    for point in [point.told_at(Some(Time(65_000))), sibling, seeking] {
        let written = serde_json::to_string(&point).unwrap();
        assert!(serde_json::from_str::<Point>(&written).unwrap() == point, "{written}");
    }
}

/// (hour, last value), newest first: what features are made of.
fn hours(series: &Series, start: Time) -> Vec<(i64, f32)> {
    let mut hours: Vec<_> = series.newest_first().map(|(at, value)| (at.hours_since(start), value)).collect();
    hours.dedup_by_key(|(hour, _)| *hour);
    hours
}

/// Both series get the points, one of them without any bound.
fn bounded_and_not(points: impl IntoIterator<Item = Point>, start: Time) -> (Series, Series) {
    let (mut bounded, mut whole) = (Series::default(), Series::default());
    for point in points {
        bounded.put(point, false, start);
        whole.place(point, false);
    }
    assert!(bounded.0.len() <= KEPT && bounded.0.iter().is_sorted_by_key(|p| (p.at, p.source)));
    (bounded, whole)
}

const MINUTE: i64 = 60_000;
const START: Time = Time(1_234_567);

fn every(step_ms: i64, hours: i64) -> impl Iterator<Item = Point> {
    (0..hours * Time::HOUR_MS / step_ms)
        .map(move |i| point(START.0 + i * step_ms, &format!("m{i}"), Final, i as f32))
}

#[test]
fn every_hour_keeps_its_last_value_however_often_a_monitor_sends() {
    for (step_ms, days) in [(MINUTE, 4), (MINUTE, 30), (10_000, 10), (1000, 2)] {
        let (bounded, whole) = bounded_and_not(every(step_ms, 24 * days), START);
        assert_eq!(hours(&bounded, START), hours(&whole, START), "every {step_ms} ms for {days} days");
    }
    let (bounded, whole) = bounded_and_not(every(100, 1), START);
    assert_eq!(hours(&bounded, START), hours(&whole, START), "within one hour");
}

#[test]
fn the_last_two_days_stay_whole_at_one_a_minute() {
    let (bounded, whole) = bounded_and_not(every(MINUTE, 200), START);
    let newest = |series: &Series| series.newest_first().take(47 * 60).collect::<Vec<_>>();
    assert_eq!(newest(&bounded), newest(&whole));
}

#[test]
fn after_thinning_corrections_late_values_and_duplicates_say_what_they_would_have() {
    let at = |minute: i64| START.0 + minute * MINUTE;
    // Every hour's values are of one order, as monitors send them.
    let of_order = |i: i64| format!("o{}", i / 60);
    let mut points: Vec<Point> = (0..96 * 60).map(|i| point(at(i), &of_order(i), Final, i as f32)).collect();
    points.extend([
        // The last of hour 3 is taken back, and comes once more; what it uncovers is corrected.
        point(at(239), &of_order(239), Deleted, 0.0),
        point(at(239), &of_order(239), Final, 239.0),
        point(at(238), &of_order(238), Corrected, 1238.0),
        // What was thinned away is corrected, taken back, comes again, and moves: nothing that is left is meant.
        point(at(300), &of_order(300), Corrected, 5.0),
        point(at(301), &of_order(301), Deleted, 0.0),
        point(at(362), &of_order(362), Final, 362.0),
        point(at(310) + 1, &of_order(310), Corrected, 6.0),
        // Late ones, the newest and not the newest of their hours.
        point(at(479) + 1, "late", Final, 7.0),
        point(at(500) + 1, "late", Final, 8.0),
        // Another order's only value had been thinned away.
        point(at(540) + 1, "alone", Final, 9.0),
        point(at(540) + 1, "alone", Corrected, 10.0),
    ]);
    points.extend((96 * 60..120 * 60).map(|i| point(at(i), &of_order(i), Final, i as f32)));
    let (bounded, whole) = bounded_and_not(points, START);
    assert_eq!(hours(&bounded, START), hours(&whole, START));
    let of_hour = |hour| hours(&bounded, START).into_iter().find(|(h, _)| *h == hour).unwrap().1;
    assert_eq!([3, 4, 5, 6, 7].map(of_hour), [1238.0, 299.0, 359.0, 419.0, 7.0]);
}

#[test]
fn the_only_one_left_of_an_order_is_not_taken_for_its_only_one() {
    let in_hour_1 = |minute: i64| START.0 + Time::HOUR_MS + minute * MINUTE + 1;
    // The last of the hour, and one that is thinned away.
    let pair = [59, 3].map(|minute| point(in_hour_1(minute), "pair", Final, 100.0 + minute as f32));
    let moved = point(in_hour_1(4), "pair", Corrected, 99.0);
    let (bounded, whole) = bounded_and_not(pair.into_iter().chain(every(MINUTE, 200)).chain([moved]), START);
    assert_eq!(hours(&bounded, START), hours(&whole, START));
    assert!(bounded.0.iter().any(|p| p.has_siblings && p.source == hash("pair")));
    let written = serde_json::to_string(&bounded).unwrap();
    assert!(serde_json::from_str::<Series>(&written).unwrap() == bounded);
}

#[test]
fn memory_is_bounded_and_the_newest_hours_stay() {
    let series = bounded_and_not(every(Time::HOUR_MS, 2 * KEPT as i64), START).0;
    assert!((KEPT - KEPT / 16..=KEPT).contains(&series.0.len()));
    let newest: Vec<_> = series.newest_first().map(|p| p.0.hours_since(START)).collect();
    let last = 2 * KEPT as i64 - 1;
    assert!(newest.iter().copied().eq((0..=last).rev().take(newest.len())));
    let nothing_held =
        (0..2 * KEPT as i64).map(|i| Point::new(Time(START.0 + i), "", Final, Err(SetAside::Implausible)));
    assert!(bounded_and_not(nothing_held, START).0.0.len() <= KEPT);
}
