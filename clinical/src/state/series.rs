//! The observations of one column, in event time. What is kept depends on the set of observations and not on
//! the order of their arrival.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize, Serializer};

use super::SetAside;
use crate::{ObservationStatus, Time};

/// Beyond this the oldest are let go: two weeks of hourly values twelve times over, three days of one a minute.
pub(super) const KEPT: usize = 4096;

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
}

/// As a list: a checkpoint holds thousands a patient, and their names would be half of it. Reading takes fields by
/// name too, as they were written once.
impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.at, self.source, self.value, self.rank, self.standing).serialize(serializer)
    }
}

impl Point {
    pub fn new(at: Time, source_id: &str, status: ObservationStatus, value: Result<f32, SetAside>) -> Point {
        let taken_back = matches!(status, ObservationStatus::Deleted | ObservationStatus::Cancelled);
        let (value, standing) = match value {
            _ if taken_back => (0.0, Standing::Gone),
            Ok(value) => (value, Standing::Held),
            Err(why) => (0.0, why.into()),
        };
        Point { at, source: hash(source_id), value, rank: rank(status), standing }
    }
}

const CORRECTION: u8 = 2;

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
    /// Adds a point, or lets it replace what it corrects.
    ///
    /// A correction replaces the point with its source and time; where there is none at that time, the only
    /// point of its source (its time was what was wrong). With several, it stands beside them.
    pub fn put(&mut self, point: Point) {
        match self.find(&point) {
            Ok(i) => {
                if let Some(known) = self.0.get_mut(i)
                    && point.rank >= known.rank
                {
                    *known = point;
                }
            }
            Err(place) => self.insert(place, point),
        }
    }

    /// All points of both; where both hold the same, the one with the higher rank, then `self`'s.
    pub fn absorb(&mut self, other: &Series) {
        for point in &other.0 {
            match self.find(point) {
                Ok(i) => {
                    if let Some(known) = self.0.get_mut(i)
                        && point.rank > known.rank
                    {
                        *known = *point;
                    }
                }
                Err(place) => self.insert(place, *point),
            }
        }
    }

    /// Newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (Time, f32)> + '_ {
        self.0.iter().rev().filter(|p| p.standing == Standing::Held).map(|p| (p.at, p.value))
    }

    fn find(&self, point: &Point) -> Result<usize, usize> {
        self.0.binary_search_by(|p| (p.at, p.source).cmp(&(point.at, point.source)))
    }

    fn insert(&mut self, place: usize, point: Point) {
        if point.rank == CORRECTION {
            // Moves none: the place stays right.
            self.retire_only_point_of(point.source);
        }
        self.0.insert(place, point);
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    fn retire_only_point_of(&mut self, source: u64) {
        if source == 0 {
            return;
        }
        let mut of_source = self.0.iter_mut().filter(|p| p.source == source && p.standing != Standing::Gone);
        if let (Some(only), None) = (of_source.next(), of_source.next()) {
            only.standing = Standing::Gone;
            only.value = 0.0;
            only.rank = CORRECTION;
        }
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
        points.iter().for_each(|p| series.put(*p));
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
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let mut series = Series::default();
        for i in 0..2 * KEPT as i64 {
            series.put(point(i, "", Final, i as f32));
        }
        assert_eq!(series.0.len(), KEPT);
        assert_eq!(series.newest_first().last().map(|p| p.0.0), Some(KEPT as i64));
    }
}
