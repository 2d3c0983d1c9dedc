//! Every order in which messages of one result can come, at once and by way of two records that are merged.

use std::collections::BTreeSet;

use super::super::{Point, Series};
use crate::ObservationStatus::{self, Corrected, Deleted, Final, Preliminary};
use crate::Time;

/// Of result `a`, measured in this second and sent in that one, with a value of its own.
fn told(at: i64, status: ObservationStatus, sent: i64) -> Point {
    undated(at, status, sent as f32).told_at(Some(Time(sent * 1000)))
}

fn undated(at: i64, status: ObservationStatus, value: f32) -> Point {
    Point::new(Time(at * 1000), "a", status, Ok(value))
}

fn held(series: &Series) -> Vec<(i64, f32)> {
    series.newest_first().map(|(at, value)| (at.0 / 1000, value)).collect()
}

fn series(points: &[Point]) -> Series {
    let mut series = Series::default();
    for point in points {
        series.put(*point, false, Time(0));
    }
    series
}

fn orders(points: &[Point]) -> Vec<Vec<Point>> {
    if points.is_empty() {
        return vec![Vec::new()];
    }
    let first = |i: usize| {
        let (mut rest, first) = (points.to_vec(), points[i]);
        rest.remove(i);
        orders(&rest).into_iter().map(move |order| [vec![first], order].concat())
    };
    (0..points.len()).flat_map(first).collect()
}

/// What holds of them in each order.
fn in_every_order(points: &[Point]) -> BTreeSet<String> {
    orders(points).iter().map(|order| format!("{:?}", held(&series(order)))).collect()
}

/// As the rules of [`super`] say it, of messages sent at different times.
fn what_holds(sent: &[(ObservationStatus, i64)]) -> Vec<(i64, f32)> {
    let rank = |status| [Preliminary, Final, Corrected].iter().position(|s| *s == status);
    let withdrawn = sent.iter().filter(|(status, _)| *status == Deleted).map(|(_, sent)| *sent).max();
    let stands = sent.iter().filter(|(status, sent)| *status != Deleted && Some(*sent) > withdrawn);
    let best = stands.max_by_key(|(status, sent)| (rank(*status), *sent));
    best.map(|(_, sent)| (5, *sent as f32)).into_iter().collect()
}

#[test]
fn what_holds_hangs_on_what_was_sent_and_not_on_the_order_in_which_it_came() {
    let kinds = [None, Some(Preliminary), Some(Final), Some(Corrected), Some(Deleted)];
    let sets = kinds.iter().flat_map(|a| kinds.iter().map(move |b| [*a, *b]));
    let sets = sets.clone().flat_map(|a| sets.clone().map(move |b| [a, b].concat()));
    for set in sets {
        let sent: Vec<_> =
            set.iter().zip([10, 20, 30, 40]).filter_map(|(status, sent)| Some(((*status)?, sent))).collect();
        let points: Vec<_> = sent.iter().map(|(status, sent)| told(5, *status, *sent)).collect();
        let holds = what_holds(&sent);
        for order in orders(&points) {
            let whole = series(&order);
            assert_eq!(held(&whole), holds, "{sent:?}");
            for again in &order {
                let mut twice = whole.clone();
                twice.put(*again, false, Time(0));
                assert_eq!(held(&twice), holds, "{sent:?} and once more {}", words(&[*again]));
            }
            for cut in 0..=order.len() {
                let mut merged = series(&order[..cut]);
                merged.absorb(&series(&order[cut..]), Time(0));
                assert_eq!(held(&merged), holds, "{sent:?} merged");
            }
            // As a checkpoint writes it after each message.
            let stored = order.iter().fold(Series::default(), |mut series, point| {
                series.put(*point, false, Time(0));
                serde_json::from_slice(&serde_json::to_vec(&series).unwrap()).unwrap()
            });
            assert!(stored == whole, "{sent:?}");
        }
    }
}

#[test]
fn of_one_second_a_result_is_void_beside_its_withdrawal_and_of_corrections_the_last_that_comes_holds() {
    assert_eq!(in_every_order(&[told(5, Final, 10), told(5, Deleted, 10)]), set(["[]"]));
    assert_eq!(in_every_order(&[told(5, Final, 10), told(5, Corrected, 10)]), set(["[(5, 10.0)]"]));
    let (first, wrong, right) = (told(5, Final, 9), told(5, Deleted, 10), told(5, Corrected, 10));
    assert_eq!(held(&series(&[first, wrong, right])), [(5, 10.0)]);
    assert_eq!(held(&series(&[first, right, wrong])), []);
}

#[test]
fn messages_that_do_not_say_when_they_were_sent_are_behind_nothing() {
    let [early, final_, better, wrong] =
        [Preliminary, Final, Corrected, Deleted].map(|status| undated(5, status, 1.0));
    for known in [wrong, told(5, Deleted, 20)] {
        assert_eq!(in_every_order(&[final_, known]), set(["[]"]));
        assert_eq!(in_every_order(&[early, final_, known]), set(["[]"]));
        assert_eq!(held(&series(&[final_, known, better])), [(5, 1.0)]);
        assert_eq!(held(&series(&[final_, better, known])), []);
    }
    assert_eq!(in_every_order(&[told(5, Final, 30), wrong]), set(["[]"]));
    assert_eq!(in_every_order(&[told(5, Final, 30), better]), set(["[(5, 1.0)]"]));
    // Nothing of what stood before such a correction comes back with it.
    assert_eq!(held(&series(&[told(5, Final, 30), better, told(5, Deleted, 20)])), []);
}

#[test]
fn a_withdrawal_takes_a_result_back_wherever_a_correction_has_moved_it() {
    let (first, moved) = (told(5, Final, 10), told(9, Corrected, 20));
    for wrong in [told(5, Deleted, 30), told(9, Deleted, 30)] {
        assert_eq!(held(&series(&[first, moved, wrong])), []);
        assert_eq!(held(&series(&[first, wrong, moved])), [], "it was withdrawn since");
        assert_eq!(held(&series(&[first, moved, wrong, moved, first])), []);
    }
    let elsewhere = Point::new(Time(9_000), "a", Deleted, Ok(0.0));
    assert_eq!(held(&series(&[undated(5, Final, 1.0), elsewhere, undated(5, Final, 1.0)])), []);
    // Withdrawn before it was moved, and another result of the same order.
    let early = told(5, Deleted, 15);
    assert_eq!(held(&series(&[first, moved, early])), [(9, 20.0)]);
    assert_eq!(held(&series(&[first, early, moved])), [(9, 20.0)]);
    let other = told(6, Final, 11);
    assert_eq!(held(&series(&[first, other, told(5, Deleted, 30), told(5, Deleted, 31)])), [(6, 11.0)]);
    assert_eq!(
        held(&series(&[first, moved, other, told(5, Deleted, 30), told(5, Deleted, 31)])),
        [(9, 20.0), (6, 11.0)],
        "which of the two is meant is not known"
    );
    assert_eq!(
        held(&series(&[first, moved, other, told(9, Deleted, 30), told(5, Deleted, 31)])),
        [(6, 11.0)],
        "it was withdrawn already"
    );
}

#[test]
fn a_result_that_is_sent_again_holds_whatever_time_its_withdrawal_named() {
    let (first, wrong, again) = (told(5, Final, 10), told(9, Deleted, 20), told(5, Final, 30));
    assert_eq!(held(&series(&[first, wrong, again])), [(5, 30.0)]);
    assert_eq!(held(&series(&[first, again, wrong])), [(5, 30.0)]);
    assert_eq!(held(&series(&[wrong, first, again])), [(5, 30.0)]);
    // Under the time from which a correction moved it, it is the original, until that is withdrawn.
    let (moved, wrong) = (told(9, Corrected, 20), told(9, Deleted, 25));
    assert_eq!(held(&series(&[first, moved, again])), [(9, 20.0)]);
    let of_moved = told(5, Deleted, 25);
    assert_eq!(held(&series(&[first, moved, again, of_moved])), [(5, 30.0)]);
    assert_eq!(held(&series(&[first, moved, wrong, told(9, Final, 30)])), [(9, 30.0)]);
}

#[test]
fn a_correction_that_moves_a_result_back_leaves_nothing_where_it_was_moved() {
    let (first, moved, back) = (told(5, Final, 10), told(9, Corrected, 20), told(5, Corrected, 30));
    for order in orders(&[moved, back]) {
        let order = [vec![first], order, vec![moved, first]].concat();
        assert_eq!(held(&series(&order)), [(5, 30.0)]);
    }
}

#[test]
fn whose_original_comes_late_is_another_result_and_nothing_is_taken_from_it() {
    let (first, own, original) = (told(9, Final, 15), told(5, Corrected, 20), told(5, Final, 10));
    assert_eq!(held(&series(&[first, own, original, told(9, Corrected, 30)])), [(9, 30.0), (5, 20.0)]);
    assert_eq!(held(&series(&[first, own, original, told(9, Deleted, 30)])), [(5, 20.0)]);
    assert_eq!(held(&series(&[first, own, first, told(9, Corrected, 30)])), [(9, 30.0)]);
}

#[test]
fn what_came_with_a_correction_is_not_told_as_taken_back_by_it() {
    let amended = |points: &[Point]| -> Vec<Option<i64>> {
        let mut series = Series::default();
        points.iter().map(|point| series.put(*point, false, Time(0)).map(|at| at.0 / 1000)).collect()
    };
    assert_eq!(amended(&[told(9, Corrected, 20), told(5, Corrected, 10)]), [None; 2]);
    assert_eq!(amended(&[told(9, Deleted, 20), told(5, Corrected, 10)]), [None; 2]);
    let (first, late) = (told(5, Final, 10), told(9, Corrected, 20));
    assert_eq!(amended(&[first, told(5, Corrected, 30), late]), [None, Some(5), None]);
    assert_eq!(amended(&[first, late, told(5, Corrected, 30)]), [None, Some(5), Some(9)]);
}

#[test]
fn a_result_that_does_not_say_when_it_was_sent_counts_as_sent_first() {
    let (unsaid, early, wrong) = (undated(5, Final, 1.0), told(5, Preliminary, 20), told(5, Deleted, 10));
    assert_eq!(in_every_order(&[unsaid, early, wrong]), set(["[(5, 20.0)]"]));
    assert_eq!(in_every_order(&[told(5, Final, 30), unsaid, told(5, Deleted, 20)]), set(["[(5, 30.0)]"]));
    assert_eq!(in_every_order(&[unsaid, early, wrong, early]), set(["[(5, 20.0)]"]));
}

/// They would let each point of a slot hold.
#[test]
fn builds_that_know_one_point_a_slot_do_not_read_several() {
    let fields = |points: &[Point]| -> Vec<usize> {
        let written = serde_json::to_value(series(points)).unwrap();
        written.as_array().unwrap().iter().map(|point| point.as_array().unwrap().len()).collect()
    };
    assert_eq!(fields(&[told(5, Final, 10), told(7, Deleted, 20)]), [7, 7]);
    let several = [told(5, Final, 10), told(5, Deleted, 20), told(5, Final, 30), told(9, Final, 10)];
    assert_eq!(fields(&several), [8, 8, 7]);
}

#[test]
fn a_value_that_another_one_s_withdrawal_uncovers_is_told_as_a_change() {
    let mut series = series(&[told(5, Final, 40), told(5, Corrected, 20)]);
    assert_eq!(held(&series), [(5, 20.0)]);
    assert_eq!(series.put(told(5, Deleted, 30), false, Time(0)), Some(Time(5_000)));
    assert_eq!(held(&series), [(5, 40.0)]);
}

#[test]
fn states_of_earlier_builds_go_on() {
    // As it wrote a final result of 10 s that was withdrawn at 20 s, and one that a correction moved from 5 to 9 s.
    let read = |written: &str| serde_json::from_str::<Series>(written).unwrap();
    let a = told(5, Final, 10).source;
    let withdrawn = read(&format!(r#"[[5000,{a},0.0,2,"Gone",false,15]]"#));
    let mut series = withdrawn.clone();
    series.put(told(5, Final, 10), false, Time(0));
    assert_eq!(held(&series), []);
    series.put(told(5, Final, 30), false, Time(0));
    assert_eq!(held(&series), [(5, 30.0)]);
    let mut series = read(&format!(r#"[[5000,{a},0.0,2,"Gone",false,5],[9000,{a},20.0,2,"Held",false,11]]"#));
    series.put(told(5, Final, 10), false, Time(0));
    assert_eq!(held(&series), [(9, 20.0)]);
    series.put(told(9, Deleted, 30), false, Time(0));
    assert_eq!(held(&series), []);
    let mut undated = read(&format!(r#"[[5000,{a},0.0,2,"Gone"]]"#));
    undated.put(told(5, Final, 30), false, Time(0));
    assert_eq!(held(&undated), []);
    undated.put(told(5, Corrected, 30), false, Time(0));
    assert_eq!(held(&undated), [(5, 30.0)]);
}

/// One result, whose time is in doubt: what comes behind its original, sent at 20, 30 and 40 s. Not first a withdrawal of
/// a time of which nothing was known: what is corrected then under two times stands under both.
fn of_two_times() -> impl Iterator<Item = [Point; 4]> {
    let corrections = |sent| [5, 9].map(|at| [told(at, Corrected, sent), told(at, Deleted, sent)]).concat();
    let last = [corrections(40), vec![told(5, Final, 40)]].concat();
    let first = corrections(20).into_iter().take(3);
    let pairs = first.flat_map(move |a| corrections(30).into_iter().map(move |b| (a, b)));
    pairs.flat_map(move |(a, b)| last.clone().into_iter().map(move |c| [told(5, Final, 10), a, b, c]))
}

#[test]
fn corrections_of_the_time_may_come_in_any_order_behind_their_original() {
    let mut wrong = Vec::new();
    for sent in of_two_times() {
        let holds = held(&series(&sent));
        for order in orders(&sent[1..]) {
            let order = [vec![sent[0]], order].concat();
            let found = held(&series(&order));
            wrong.extend((found != holds).then(|| format!("{}: {found:?} for {holds:?}", words(&order))));
        }
    }
    assert!(wrong.is_empty(), "{} {}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_merge_leaves_what_would_hold_had_all_been_told_of_one_patient() {
    let mut wrong = Vec::new();
    for sent in of_two_times() {
        let holds = held(&series(&sent));
        for own in 0..16 {
            let (own, others): (Vec<_>, Vec<_>) = (0..4).partition(|i| own & (1 << i) != 0);
            let of = |which: &[usize]| which.iter().map(|i| sent[*i]).collect::<Vec<_>>();
            let mut merged = series(&of(&own));
            merged.absorb(&series(&of(&others)), Time(0));
            let found = held(&merged);
            let (own, others) = (words(&of(&own)), words(&of(&others)));
            wrong.extend((found != holds).then(|| format!("{own} and {others}: {found:?} for {holds:?}")));
        }
    }
    assert!(wrong.is_empty(), "{} {}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_merge_hides_no_result_behind_what_the_other_record_has_corrected() {
    let merged = |own: &[Point], other: &[Point]| {
        let (mut merged, mut other_way) = (series(own), series(other));
        merged.absorb(&series(other), Time(0));
        other_way.absorb(&series(own), Time(0));
        assert_eq!(held(&merged), held(&other_way));
        held(&merged)
    };
    let another = told(7, Final, 8);
    assert_eq!(merged(&[another], &[told(5, Final, 10), told(9, Corrected, 20)]), [(9, 20.0), (7, 8.0)]);
    assert_eq!(merged(&[another], &[told(5, Final, 10), told(9, Deleted, 20)]), [(7, 8.0)]);
    assert_eq!(merged(&[another], &[told(5, Final, 10), told(5, Deleted, 20)]), [(7, 8.0)]);
    assert_eq!(merged(&[another], &[told(5, Corrected, 20), told(5, Final, 10)]), [(7, 8.0), (5, 20.0)]);
    // Which of two is meant is not known.
    let (own, other) = ([told(9, Corrected, 20), told(5, Final, 10)], [told(7, Final, 15)]);
    assert_eq!(merged(&own, &other), [(9, 20.0), (7, 15.0), (5, 10.0)]);
    let both = [told(5, Final, 10), told(6, Final, 10)];
    assert_eq!(merged(&both, &[told(9, Corrected, 20)]), [(9, 20.0), (6, 10.0), (5, 10.0)]);
    // One of two corrections that nobody can order holds.
    let mut merged = series(&[undated(5, Corrected, 1.0)]);
    merged.absorb(&series(&[undated(9, Corrected, 2.0)]), Time(0));
    assert_eq!(held(&merged), [(5, 1.0)]);
}

fn words(points: &[Point]) -> String {
    let word = |p: &Point| {
        let layer = ["withdrawal", "preliminary", "final", "correction"][p.layer()];
        format!("{layer} of {} by {}", p.at.0 / 1000, p.value().unwrap_or_default())
    };
    points.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn set<const N: usize>(expected: [&str; N]) -> BTreeSet<String> {
    expected.map(String::from).into()
}
