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
    /// Deleted or cancelled: stays, so that a late duplicate revives nothing.
    Gone,
    /// By a correction, to another time or another column: stays for the same reason.
    Moved,
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
    /// When its message was sent, in seconds behind `at`, if that is known.
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

    fn is_gone(&self) -> bool {
        matches!(self.standing, Standing::Gone | Standing::Moved)
    }

    pub fn new(at: Time, source_id: &str, status: ObservationStatus, value: Result<f32, SetAside>) -> Point {
        let taken_back = matches!(status, ObservationStatus::Deleted | ObservationStatus::Cancelled);
        let (value, standing) = match value {
            _ if taken_back => (0.0, Standing::Gone),
            Ok(value) => (value, Standing::Held),
            Err(why) => (0.0, why.into()),
        };
        Point {
            at,
            source: hash(source_id),
            value,
            rank: rank(status),
            standing,
            has_siblings: false,
            told: None,
        }
    }

    /// As a message said that was sent then.
    pub fn told_at(self, sent_at: Option<Time>) -> Point {
        let behind = |sent_at: Time| sent_at.0.saturating_sub(self.at.0) / 1000;
        let told = sent_at.map(|at| behind(at).clamp(i32::MIN.into(), i32::MAX.into()) as i32);
        Point { told, ..self }
    }

    fn sent_at(&self) -> Option<Time> {
        self.told.map(|told| Time(self.at.0.saturating_add(i64::from(told) * 1000)))
    }

    fn is_withdrawal(&self) -> bool {
        self.rank == CORRECTION && self.standing == Standing::Gone
    }

    /// Which of two that speak of the same result is right, if one of them is more so.
    ///
    /// What was sent last, of two corrections, and of a result and its withdrawal: it can be found again (HL7 table 0085
    /// has X for a result that cannot be obtained, D for a row that is deleted). But a final result is changed by a
    /// correction alone (the same table), so one behind it is a late original, whenever it was sent.
    fn precedence(&self, other: &Point) -> Ordering {
        let told = self.told.zip(other.told).map_or(Ordering::Equal, |(own, others)| own.cmp(&others));
        let by_rank = self.rank.cmp(&other.rank);
        match by_rank {
            Ordering::Greater if self.is_withdrawal() => told.then(by_rank),
            Ordering::Less if other.is_withdrawal() => told.then(by_rank),
            _ => by_rank.then(told),
        }
    }
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

    fn insert(&mut self, place: usize, point: Point) -> Option<Time> {
        // Moves none: the place stays right.
        let is_correction = point.rank == CORRECTION;
        let retired =
            if is_correction { self.retire_only_point_of(point.source, Some(&point)) } else { None };
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
            } else if point.source != 0 && !point.is_gone() {
                thinned.insert(point.source);
            }
        }
        kept.iter_mut().for_each(|point| point.has_siblings |= thinned.contains(&point.source));
        self.0 = kept;
    }

    /// Takes back the only point of this source; its time.
    pub fn retire_only_of(&mut self, source_id: &str) -> Option<Time> {
        self.retire_only_point_of(hash(source_id), None)
    }

    /// `by`: what stands at another time, if it is of the same column.
    fn retire_only_point_of(&mut self, source: u64, by: Option<&Point>) -> Option<Time> {
        if source == 0 {
            return None;
        }
        let mut of_source = self.0.iter_mut().filter(|p| p.source == source && !p.is_gone());
        let (Some(only), None) = (of_source.next(), of_source.next()) else { return None };
        if only.has_siblings {
            return None;
        }
        let before = *only;
        let retired = Point { standing: Standing::Moved, value: 0.0, rank: CORRECTION, ..before };
        *only = match by.filter(|by| by.is_withdrawal()) {
            // What was sent behind its withdrawal holds, whatever time that names.
            Some(by) if before.sent_at().zip(by.sent_at()).is_some_and(|(own, by)| own > by) => return None,
            Some(by) => Point { standing: Standing::Gone, ..retired }.told_at(by.sent_at()),
            None => retired,
        };
        (before.standing == Standing::Held).then_some(before.at)
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
    fn whatever_the_order(told: &[(i64, Point)]) -> Vec<(i64, f32)> {
        let told: Vec<Point> =
            told.iter().map(|(second, point)| point.told_at(Some(Time(second * 1000)))).collect();
        let mut found = BTreeSet::new();
        for turn in 0..told.len() {
            let mut points = told.clone();
            points.rotate_left(turn);
            for points in [points.clone(), points.into_iter().rev().collect()] {
                found.insert(format!("{:?}", held(&points)));
            }
        }
        assert_eq!(found.len(), 1, "{found:?}");
        held(&told)
    }

    #[test]
    fn of_two_corrections_the_one_that_was_sent_last_stands_whichever_comes_first() {
        let (older, newer) = (point(5, "a", Corrected, 2.0), point(5, "a", Corrected, 3.0));
        let first = point(5, "a", Final, 1.0);
        assert_eq!(whatever_the_order(&[(10, first), (20, older), (30, newer)]), [(5, 3.0)]);
        assert_eq!(whatever_the_order(&[(10, first), (20, older), (30, point(5, "a", Deleted, 0.0))]), []);
        assert_eq!(
            whatever_the_order(&[(10, first), (20, point(5, "a", Deleted, 0.0)), (30, newer)]),
            [(5, 3.0)]
        );
    }

    #[test]
    fn a_result_that_is_sent_behind_its_withdrawal_stands() {
        let (first, again) = (point(5, "a", Final, 1.0), point(5, "a", Final, 2.0));
        let withdrawn = point(5, "a", Deleted, 0.0);
        assert_eq!(whatever_the_order(&[(10, first), (20, withdrawn), (30, again)]), [(5, 2.0)]);
        assert_eq!(
            whatever_the_order(&[(10, first), (20, withdrawn)]),
            [],
            "a late original is not behind it"
        );
        assert_eq!(whatever_the_order(&[(10, first), (10, withdrawn)]), [], "nor within its second");
        assert_eq!(whatever_the_order(&[(10, first), (20, again)]), [(5, 2.0)]);
        assert_eq!(
            held(&[withdrawn, again.told_at(Some(Time(30_000)))]),
            [],
            "nobody knows when it was withdrawn"
        );
        // Whatever time the withdrawal names.
        let elsewhere = point(9, "a", Deleted, 0.0);
        assert_eq!(whatever_the_order(&[(10, first), (20, elsewhere), (30, again)]), [(5, 2.0)]);
        assert_eq!(whatever_the_order(&[(20, elsewhere), (30, again)]), [(5, 2.0)]);
        // Behind a correction it is the original, sent once more.
        assert_eq!(whatever_the_order(&[(20, point(5, "a", Corrected, 3.0)), (30, first)]), [(5, 3.0)]);
        // Also where that moved it.
        let moved = [(10, first), (20, point(9, "a", Corrected, 3.0)), (30, first)];
        let moved = moved.map(|(second, point)| point.told_at(Some(Time(second * 1000))));
        assert_eq!(held(&moved), [(9, 3.0)]);
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
