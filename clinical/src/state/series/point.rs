//! What one message says of one result, as a series keeps it.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize, Serializer};

use crate::state::SetAside;
use crate::{ObservationStatus, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Standing {
    Held,
    /// Deleted or cancelled: stays, so that nothing revives what was sent before. Earlier builds wrote it of what a
    /// correction moved, too.
    Gone,
    Implausible,
    /// Missing, too.
    UnitUnknown,
    NotANumber,
    /// Corrected to another time, or to another column.
    Moved,
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
pub(in crate::state) struct Point {
    pub(super) at: Time,
    /// Hash of the observation's `source_id`; 0 = it has none.
    pub(super) source: u64,
    value: f32,
    rank: u8,
    standing: Standing,
    /// Others of its source were thinned away, or are other results, so it is not the only one, whatever is left of them.
    #[serde(default)]
    pub(super) has_siblings: bool,
    /// When its message was sent, in whole seconds behind those of `at`, if that is known.
    #[serde(default)]
    told: Option<i32>,
    /// A correction that has found nothing to correct; another record of the same patient may hold it.
    #[serde(default)]
    pub(super) seeks: bool,
}

/// As a list: a checkpoint holds thousands a patient, and their names would be half of it. Reading takes fields by
/// name too, as they were written once. The last ones are left out where they say nothing, as earlier releases did.
impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (at, source, value, rank, standing, has_siblings, told, seeks) = self.in_full();
        match (has_siblings, told, seeks) {
            (false, None, false) => (at, source, value, rank, standing).serialize(serializer),
            (true, None, false) => (at, source, value, rank, standing, true).serialize(serializer),
            (_, Some(_), false) => {
                (at, source, value, rank, standing, has_siblings, told).serialize(serializer)
            }
            (_, _, true) => self.in_full().serialize(serializer),
        }
    }
}

type Fields = (Time, u64, f32, u8, Standing, bool, Option<i32>, bool);

impl Point {
    pub(super) fn in_full(&self) -> Fields {
        let Point { at, source, value, rank, standing, has_siblings, told, seeks } = *self;
        (at, source, value, rank, standing, has_siblings, told, seeks)
    }

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
        Point { at, source, value, rank, standing, has_siblings: false, told: None, seeks: false }
    }

    /// As a message said that was sent then.
    pub fn told_at(self, sent_at: Option<Time>) -> Point {
        let behind = |sent_at: Time| seconds(sent_at).saturating_sub(seconds(self.at));
        let told = sent_at.map(|at| behind(at).clamp(i32::MIN.into(), i32::MAX.into()) as i32);
        Point { told, ..self }
    }

    /// What two points share that speak of the same result under the same time.
    pub(super) fn slot(&self) -> (Time, u64) {
        (self.at, self.source)
    }

    /// 0 for withdrawals, else the higher, the more it counts.
    pub(super) fn layer(&self) -> usize {
        if self.is_withdrawal() { 0 } else { 1 + usize::from(self.rank.min(CORRECTION)) }
    }

    /// It speaks of what was sent before: a withdrawal, too.
    pub(super) fn is_correction(&self) -> bool {
        self.rank == CORRECTION
    }

    pub(super) fn is_withdrawal(&self) -> bool {
        self.standing == Standing::Gone
    }

    pub(super) fn is_moved(&self) -> bool {
        self.standing == Standing::Moved
    }

    /// Says something of the patient at its time, though that may be no value.
    pub(super) fn stands(&self) -> bool {
        !self.is_withdrawal() && !self.is_moved()
    }

    /// Whether it is a correction whose original this is, come behind it.
    pub(super) fn has_late_original(&self, point: &Point) -> bool {
        let is_original = self.source != 0 && !point.is_correction() && point.sent_behind(self).is_lt();
        self.is_correction() && self.stands() && is_original
    }

    pub(super) fn value(&self) -> Option<f32> {
        (self.standing == Standing::Held).then_some(self.value)
    }

    /// What it says, being a correction, of its result under another time: that it is withdrawn, or elsewhere.
    pub(super) fn of(&self, at: Time) -> Point {
        let standing = if self.is_withdrawal() { Standing::Gone } else { Standing::Moved };
        let sent_at = self.sent().map(|second| Time(second.saturating_mul(1000)));
        Point { at, standing, ..Point::moved_away(self) }.told_at(sent_at)
    }

    /// Marks that this result belongs to another column; nobody knows since when.
    pub(super) fn moved_away(&self) -> Point {
        let Point { at, source, .. } = *self;
        let (rank, standing) = (CORRECTION, Standing::Moved);
        Point { at, source, value: 0.0, rank, standing, has_siblings: false, told: None, seeks: false }
    }

    /// Equal where nobody knows. Of two results, one that does not say counts as sent first.
    pub(super) fn sent_behind(&self, other: &Point) -> Ordering {
        if !self.is_correction() && !other.is_correction() {
            return self.sent().cmp(&other.sent());
        }
        self.sent().zip(other.sent()).map_or(Ordering::Equal, |(own, others)| own.cmp(&others))
    }

    fn sent(&self) -> Option<i64> {
        self.told.map(|told| seconds(self.at).saturating_add(told.into()))
    }
}

fn seconds(at: Time) -> i64 {
    at.0.div_euclid(1000)
}

const CORRECTION: u8 = 2;

/// It speaks of what was sent before.
pub(in crate::state) fn is_correction(status: ObservationStatus) -> bool {
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

/// FNV-1a: stable across releases, because checkpoints hold it.
pub(super) fn hash(source_id: &str) -> u64 {
    if source_id.is_empty() {
        return 0;
    }
    source_id.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}
