//! The observations of one column, in event time. What is kept depends on the set of observations and not on
//! the order of their arrival.

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize, Serializer};

use super::SetAside;
use crate::{ObservationStatus, Time};

/// Beyond this, hours that are over are thinned: three days of a value a minute.
const KEPT: usize = 4096;

/// How much of an hour is kept: its newest values, because features ask for the last one of each hour, and what is
/// taken back uncovers the one before it.
struct Thinning {
    /// Of hours that begin so long before the newest value's.
    hours_old: i64,
    values: usize,
}

/// From the mildest on, until few enough are left: first what lies behind the last two days, which alone are asked for
/// more than their hours' last values (volumes add up), then a monitor's that sends more often than every minute, then
/// the newest hour's.
const THINNINGS: [Thinning; 5] = [
    Thinning { hours_old: 48, values: 4 },
    Thinning { hours_old: 48, values: 1 },
    Thinning { hours_old: 1, values: 30 },
    Thinning { hours_old: 1, values: 1 },
    Thinning { hours_old: 0, values: 1024 },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Standing {
    Held,
    /// Deleted, cancelled, or moved elsewhere by a correction: stays, so that a late duplicate revives nothing.
    Gone,
    Implausible,
    /// Missing, too.
    UnitUnknown,
    NotANumber,
}

impl From<SetAside> for Standing {
    fn from(why: SetAside) -> Standing {
        match why {
            SetAside::NotANumber => Standing::NotANumber,
            SetAside::UnitNotConvertible | SetAside::UnitMissing => Standing::UnitUnknown,
            SetAside::Implausible => Standing::Implausible,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
pub(super) struct Point {
    at: Time,
    /// Hash of the observation's `source_id`; 0 = it has none.
    source: u64,
    value: f32,
    rank: u8,
    standing: Standing,
    /// Others of its source were thinned away, so it is not the only one, whatever is left of them.
    #[serde(default)]
    has_siblings: bool,
    /// When its message was sent, in whole seconds behind those of `at`, if that is known.
    #[serde(default)]
    told: Option<i32>,
}

/// As a list: a checkpoint holds thousands a patient, and their names would be half of it. Reading takes fields by
/// name too, as they were written once. The last ones are left out where they say nothing, as earlier releases did.
impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Point { at, source, value, rank, standing, has_siblings, told } = *self;
        match (has_siblings, told) {
            (false, None) => (at, source, value, rank, standing).serialize(serializer),
            (true, None) => (at, source, value, rank, standing, true).serialize(serializer),
            (_, Some(_)) => (at, source, value, rank, standing, has_siblings, told).serialize(serializer),
        }
    }
}

impl Point {
    pub fn at(&self) -> Time {
        self.at
    }

    pub fn new(at: Time, source_id: &str, status: ObservationStatus, value: Result<f32, SetAside>) -> Point {
        let taken_back = matches!(status, ObservationStatus::Deleted | ObservationStatus::Cancelled);
        let (value, standing) = match value {
            _ if taken_back => (0.0, Standing::Gone),
            Ok(value) => (value, Standing::Held),
            Err(why) => (0.0, why.into()),
        };
        let (source, rank) = (hash(source_id), rank(status));
        Point { at, source, value, rank, standing, has_siblings: false, told: None }
    }

    /// As a message said that was sent then.
    pub fn told_at(self, sent_at: Option<Time>) -> Point {
        let behind = |sent_at: Time| seconds(sent_at).saturating_sub(seconds(self.at));
        let told = sent_at.map(|at| behind(at).clamp(i32::MIN.into(), i32::MAX.into()) as i32);
        Point { told, ..self }
    }

    /// Which of two that speak of the same result is right, if one of them is more so: the correction, and of two of one
    /// rank what was sent last. A final result behind a correction is a late original, whenever it was sent: by HL7 table
    /// 0085 a correction alone changes a final one.
    fn precedence(&self, other: &Point) -> Ordering {
        self.rank.cmp(&other.rank).then(self.sent_behind(other))
    }

    /// By what has corrected it; its time, if it held a value.
    fn retire(&mut self) -> Option<Time> {
        let held = self.standing == Standing::Held;
        (self.standing, self.value, self.rank) = (Standing::Gone, 0.0, CORRECTION);
        held.then_some(self.at)
    }

    /// Equal where nobody knows.
    fn sent_behind(&self, other: &Point) -> Ordering {
        let sent = |point: &Point| point.told.map(|told| seconds(point.at).saturating_add(told.into()));
        sent(self).zip(sent(other)).map_or(Ordering::Equal, |(own, others)| own.cmp(&others))
    }
}

fn seconds(at: Time) -> i64 {
    at.0.div_euclid(1000)
}

const CORRECTION: u8 = 2;

/// It speaks of what was sent before.
pub(super) fn is_correction(status: ObservationStatus) -> bool {
    rank(status) == CORRECTION
}

fn rank(status: ObservationStatus) -> u8 {
    match status {
        ObservationStatus::Preliminary => 0,
        ObservationStatus::Final => 1,
        ObservationStatus::Corrected | ObservationStatus::Deleted | ObservationStatus::Cancelled => {
            CORRECTION
        }
    }
}

/// Sorted by (time, source): equal times of two sources have an order that no arrival changes.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Series(VecDeque<Point>);

impl Series {
    /// Adds a point, or lets it replace what it corrects: then, the time of a value that no longer holds. Hours count
    /// from `start`. The last version of a thing that is sent whole each time replaces the one before, whatever its rank.
    ///
    /// A correction replaces the point with its source and time; where there is none at that time, the only
    /// point of its source (its time was what was wrong). With several, it stands beside them.
    pub fn put(&mut self, point: Point, is_version: bool, start: Time) -> Option<Time> {
        let amended = self.place(point, is_version);
        self.bound(start);
        amended
    }

    fn place(&mut self, point: Point, is_version: bool) -> Option<Time> {
        let i = match self.find(&point) {
            Ok(i) => i,
            Err(place) => return self.insert(place, point),
        };
        let known = self.0.get_mut(i).filter(|known| is_version || point.precedence(known).is_ge())?;
        let before = std::mem::replace(known, Point { has_siblings: known.has_siblings, ..point });
        let holds = point.standing == Standing::Held && point.value == before.value;
        (before.standing == Standing::Held && !holds).then_some(before.at)
    }

    /// All points of both; where both hold the same, the one that is right, then `self`'s.
    pub fn absorb(&mut self, other: &Series, start: Time) {
        for point in &other.0 {
            match self.find(point) {
                Ok(i) => {
                    if let Some(known) = self.0.get_mut(i)
                        && point.precedence(known).is_gt()
                    {
                        *known = Point { has_siblings: known.has_siblings || point.has_siblings, ..*point };
                    }
                }
                Err(place) => drop(self.insert(place, *point)),
            }
        }
        self.bound(start);
    }

    /// Newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (Time, f32)> + '_ {
        self.0.iter().rev().filter(|p| p.standing == Standing::Held).map(|p| (p.at, p.value))
    }

    fn find(&self, point: &Point) -> Result<usize, usize> {
        self.0.binary_search_by(|p| (p.at, p.source).cmp(&(point.at, point.source)))
    }

    fn insert(&mut self, place: usize, mut point: Point) -> Option<Time> {
        let mut retired = None;
        if point.rank == CORRECTION
            && let Some(only) = self.only_point_of(point.source)
        {
            // Retiring moves none: the place stays right.
            match only.rank == CORRECTION && only.sent_behind(&point).is_gt() {
                true => drop(point.retire()),
                false => retired = only.retire(),
            }
        }
        self.0.insert(place, point);
        retired
    }

    fn bound(&mut self, start: Time) {
        for thinning in &THINNINGS {
            if self.0.len() <= KEPT {
                return;
            }
            self.thin(thinning, start);
        }
        // After a hundred days and more the oldest go, some at once: each look at all of them costs.
        if self.0.len() > KEPT {
            self.0.drain(..self.0.len() - KEPT + KEPT / 16);
        }
    }

    fn thin(&mut self, Thinning { hours_old, values }: &Thinning, start: Time) {
        let Some(newest) = self.0.back().map(|p| p.at.hours_since(start)) else { return };
        let (mut hour, mut seen) = (i64::MAX, 0);
        let mut thinned = BTreeSet::new();
        let mut kept = VecDeque::with_capacity(KEPT);
        while let Some(point) = self.0.pop_back() {
            let own_hour = point.at.hours_since(start);
            if own_hour != hour {
                (hour, seen) = (own_hour, 0);
            }
            let is_held = point.standing == Standing::Held;
            // What took another back stays where it stands behind a value that stays: else a late duplicate revives it.
            let stays =
                newest - hour < *hours_old || (seen < *values && (is_held || point.rank == CORRECTION));
            seen += usize::from(is_held);
            if stays {
                kept.push_front(point);
            } else if point.source != 0 && point.standing != Standing::Gone {
                thinned.insert(point.source);
            }
        }
        kept.iter_mut().for_each(|point| point.has_siblings |= thinned.contains(&point.source));
        self.0 = kept;
    }

    /// Takes back the only point of this source; its time.
    pub fn retire_only_of(&mut self, source_id: &str) -> Option<Time> {
        self.only_point_of(hash(source_id))?.retire()
    }

    fn only_point_of(&mut self, source: u64) -> Option<&mut Point> {
        if source == 0 {
            return None;
        }
        let mut of_source = self.0.iter_mut().filter(|p| p.source == source && p.standing != Standing::Gone);
        let (Some(only), None) = (of_source.next(), of_source.next()) else { return None };
        (!only.has_siblings).then_some(only)
    }
}

/// FNV-1a: stable across releases, because checkpoints hold it.
fn hash(source_id: &str) -> u64 {
    if source_id.is_empty() {
        return 0;
    }
    source_id.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ObservationStatus::{Corrected, Deleted, Final, Preliminary};

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
        assert_eq!(whatever_the_order([(10, first), (20, withdrawn), (30, first)]), [], "a late original");
        let (early, late) = (point(5, "a", Preliminary, 4.0), point(5, "a", Final, 5.0));
        assert_eq!(whatever_the_order([(10, early), (20, first), (30, late)]), [(5, 5.0)]);
        assert_eq!(whatever_the_order([(10, withdrawn), (20, first), (30, early)]), []);
        // Of one second, and of messages that say nothing of it, the last that comes.
        let at = |point: Point, ms| point.told_at(Some(Time(ms)));
        assert_eq!(held(&[at(newer, 20_900), at(older, 20_100)]), [(5, 2.0)]);
        assert_eq!(held(&[at(newer, 30_000), older]), [(5, 2.0)]);
    }

    #[test]
    fn of_two_corrections_of_the_time_the_one_that_was_sent_last_stands() {
        let told =
            |at, value, second: i64| point(at, "a", Corrected, value).told_at(Some(Time(second * 1000)));
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
        assert_eq!(after(&[first, Point { at: Time(6), ..first }]), [(6, 1.0), (5, 1.0)]);
        assert_eq!(after(&[first, Point { at: Time(6), ..better }]), [(6, 2.0)]);
    }

    #[test]
    fn what_no_longer_holds_is_told_with_its_time() {
        let told = |points: &[Point]| -> Vec<Option<i64>> {
            let mut series = Series::default();
            points.iter().map(|point| series.put(*point, false, Time(0)).map(|at| at.0)).collect()
        };
        let first = point(5, "a", Final, 1.0);
        let implausible = Point::new(Time(5), "a", Corrected, Err(SetAside::Implausible));
        assert_eq!(
            told(&[first, first, point(5, "a", Corrected, 1.0)]),
            [None; 3],
            "nothing else came of it"
        );
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
        for point in [point.told_at(Some(Time(65_000))), Point { has_siblings: true, ..point }] {
            let written = serde_json::to_string(&point).unwrap();
            assert!(serde_json::from_str::<Point>(&written).unwrap() == point, "{written}");
        }
    }

    /// (hour, last value), newest first: what features are made of.
    fn hours(series: &Series, start: Time) -> Vec<(i64, f32)> {
        let mut hours: Vec<_> =
            series.newest_first().map(|(at, value)| (at.hours_since(start), value)).collect();
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
        let mut points: Vec<Point> =
            (0..96 * 60).map(|i| point(at(i), &of_order(i), Final, i as f32)).collect();
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
        let (bounded, whole) =
            bounded_and_not(pair.into_iter().chain(every(MINUTE, 200)).chain([moved]), START);
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
        let nothing_held = (0..2 * KEPT as i64)
            .map(|i| Point::new(Time(START.0 + i), "", Final, Err(SetAside::Implausible)));
        assert!(bounded_and_not(nothing_held, START).0.0.len() <= KEPT);
    }
}
