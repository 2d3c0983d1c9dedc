//! The observations of one column, in event time. What is kept depends on the set of observations and not on
//! the order of their arrival, but for corrections of a result's time, which come behind their original.

mod point;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

use self::point::hash;
use self::slot::Slot;
use crate::Time;

pub(super) use self::point::{Point, is_correction};

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

/// Sorted by (time, source): equal times of two sources have an order that no arrival changes. What was told of the same
/// result under the same time stands together, a [`Slot`]; the last of it holds.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(super) struct Series(VecDeque<Point>);

/// Builds that know one point a slot would let both hold: they read none of it, and fold the ledger again.
impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_of = |at: Option<usize>, slot| at.and_then(|at| self.0.get(at)).map(Point::slot) == Some(slot);
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (at, point) in self.0.iter().enumerate() {
            if is_of(at.checked_sub(1), point.slot()) || is_of(Some(at + 1), point.slot()) {
                list.serialize_element(&point.in_full())?;
            } else {
                list.serialize_element(point)?;
            }
        }
        list.end()
    }
}

/// Where else a source has results.
enum Elsewhere {
    Nowhere,
    /// What holds of it.
    Once(Point),
    /// Which of them a correction means is not known; nor what one without a source means.
    Unclear,
}

impl Series {
    /// Adds a point, or lets it replace what it corrects: then, the time of a value that no longer holds. Hours count
    /// from `start`. The last version of a thing that is sent whole each time replaces the one before, whatever its rank.
    ///
    /// What holds of several points of one source and time, [`Slot`] says. A correction or withdrawal that names a time
    /// of which nothing is known is of the only result of its source (its time was what was wrong); so is one that names
    /// the time from which that was moved. With several results, it stands beside them.
    pub fn put(&mut self, point: Point, is_version: bool, start: Time) -> Option<Time> {
        let amended = self.place(point, is_version);
        self.bound(start);
        amended
    }

    fn place(&mut self, mut point: Point, is_version: bool) -> Option<Time> {
        let place = self.place_of(point.slot());
        if place.is_empty() && !point.is_correction() {
            self.0.insert(place.start, point);
            return None;
        }
        let mut slot = Slot::of(self.0.range(place.clone()));
        let before = slot.holds();
        point.seeks = point.is_correction();
        if let Some(before) = before.filter(|_| is_version) {
            point.has_siblings |= before.has_siblings;
            point.seeks &= before.seeks;
            slot = Slot::default();
        }
        slot.hear(point);
        let names_former_time = before.is_some_and(|before| before.is_moved())
            && slot.holds().is_some_and(|holds| !holds.is_moved());
        let amended = self.write(place, &slot);
        let amended = match point.is_correction() && (before.is_none() || names_former_time) {
            true => self.correct_elsewhere(&point, names_former_time),
            false => amended,
        };
        if before.is_some_and(|before| before.has_late_original(&point)) {
            self.was_of_another(point.slot());
        }
        if point.is_withdrawal() {
            self.withdraw_wholly(point.source);
        }
        amended
    }

    /// All points of both, as if all messages had been of one patient, originals first; where nobody knows which of two holds,
    /// `self`'s does.
    pub fn absorb(&mut self, other: &Series, start: Time) {
        let found = self.found_in(other).into_iter().chain(other.found_in(self)).collect::<Vec<_>>();
        let mut of_former_times = Vec::new();
        let mut others = other.0.iter().peekable();
        while let Some(first) = others.peek().map(|point| point.slot()) {
            let mut slot = Slot::of(std::iter::from_fn(|| others.next_if(|point| point.slot() == first)));
            let place = self.place_of(first);
            let own = Slot::of(self.0.range(place.clone()));
            let was_moved = [&slot, &own].iter().any(|slot| slot.holds().is_some_and(|p| p.is_moved()));
            own.points().for_each(|own| slot.hear(own));
            let is_moved = slot.holds().is_some_and(|holds| holds.is_moved());
            of_former_times.extend(slot.correction().filter(|_| was_moved && !is_moved));
            self.write(place, &slot);
        }
        for (correction, told) in found {
            let holds = self.slot(correction.slot()).holds();
            if correction.is_withdrawal() || holds.is_some_and(|holds| !holds.is_moved()) {
                self.tell(told);
                self.has_found(&correction);
            }
        }
        for correction in of_former_times {
            self.correct_elsewhere(&correction, true);
        }
        let moved: BTreeSet<u64> =
            self.holding().filter(|point| point.is_moved()).map(|point| point.source).collect();
        moved.into_iter().for_each(|source| self.withdraw_wholly(source));
        self.bound(start);
    }

    /// Newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (Time, f32)> + '_ {
        self.holding().filter_map(|p| Some((p.at, p.value()?)))
    }

    /// Takes back the only result of this source; its time.
    pub fn retire_only_of(&mut self, source_id: &str) -> Option<Time> {
        match self.elsewhere(hash(source_id), None) {
            Elsewhere::Once(point) if point.stands() => self.tell(point.moved_away()),
            _ => None,
        }
    }

    /// What holds of each slot, newest first.
    fn holding(&self) -> impl Iterator<Item = &Point> + '_ {
        let mut behind = None;
        self.0.iter().rev().filter(move |point| behind.replace(point.slot()) != Some(point.slot()))
    }

    fn place_of(&self, slot: (Time, u64)) -> Range<usize> {
        let start = self.0.partition_point(|point| point.slot() < slot);
        let points = self.0.range(start..).take_while(|point| point.slot() == slot).count();
        start..start + points
    }

    fn slot(&self, slot: (Time, u64)) -> Slot {
        Slot::of(self.0.range(self.place_of(slot)))
    }

    /// Puts a slot in the place of what stood there; its time, if the value that held does so no longer.
    fn write(&mut self, place: Range<usize>, slot: &Slot) -> Option<Time> {
        let before = self.0.range(place.clone()).next_back().copied();
        let mut end = place.start;
        for point in slot.points() {
            match self.0.get_mut(end).filter(|_| end < place.end) {
                Some(known) => *known = point,
                None => self.0.insert(end, point),
            }
            end += 1;
        }
        if end < place.end {
            self.0.drain(end..place.end);
        }
        let value = before?.value()?;
        let holds = slot.holds().and_then(|holds| holds.value()) == Some(value);
        before.filter(|_| !holds).map(|before| before.at)
    }

    fn tell(&mut self, point: Point) -> Option<Time> {
        let place = self.place_of(point.slot());
        let mut slot = Slot::of(self.0.range(place.clone()));
        slot.hear(point);
        self.write(place, &slot)
    }

    fn has_found(&mut self, correction: &Point) {
        let place = self.place_of(correction.slot());
        self.0.range_mut(place).for_each(|point| point.seeks = false);
    }

    /// The original of a correction that had been taken for another one's: what that source says elsewhere is another result.
    fn was_of_another(&mut self, slot: (Time, u64)) {
        if self.holding().any(|point| point.source == slot.1 && point.is_moved()) {
            let place = self.place_of(slot);
            self.0.range_mut(place).for_each(|point| point.has_siblings = true);
        }
    }

    /// A correction stands where nothing did, or from where another one had moved the result: what it corrects may have
    /// another time.
    fn correct_elsewhere(&mut self, correction: &Point, was_moved: bool) -> Option<Time> {
        let told = match self.elsewhere(correction.source, Some(correction.at)) {
            Elsewhere::Nowhere => return None,
            Elsewhere::Unclear => None,
            Elsewhere::Once(holds) if was_moved && !holds.is_correction() => None,
            Elsewhere::Once(holds) => self.told_by(correction, &holds),
        };
        self.has_found(correction);
        // Under its own time it has taken nothing away: what stands there came with it.
        self.tell(told?).filter(|at| *at != correction.at)
    }

    /// Where nothing of a source stands any more, its last withdrawal is one under each time from which it was moved.
    fn withdraw_wholly(&mut self, source: u64) {
        let of_source = || self.holding().filter(|point| point.source == source);
        if of_source().any(|point| point.stands()) {
            return;
        }
        let moved: Vec<Time> = of_source().filter(|point| point.is_moved()).map(Point::at).collect();
        if moved.is_empty() {
            return;
        }
        let withdrawals = of_source().filter_map(|point| self.slot(point.slot()).withdrawal());
        let Some(last) = withdrawals.max_by(Point::sent_behind) else { return };
        for at in moved {
            self.tell(last.of(at));
        }
    }

    /// What is to be told when a correction meets the only result of its source, which has another time: under that time
    /// that it is withdrawn or has moved, or, where that was sent behind the correction, so under the correction's.
    fn told_by(&self, correction: &Point, holds: &Point) -> Option<Point> {
        let withdrawal = self.slot(holds.slot()).withdrawal();
        if let Some(withdrawal) = withdrawal.filter(|w| w.sent_behind(correction).is_gt()) {
            return Some(withdrawal.of(correction.at));
        }
        match holds.stands() && holds.is_correction() && holds.sent_behind(correction).is_gt() {
            true => (!correction.is_withdrawal()).then(|| holds.of(correction.at)),
            false => Some(correction.of(holds.at)),
        }
    }

    /// What corrections of this record that found nothing find in the other: with each, what it then tells. Nothing where this
    /// record has another result of the source: which of the two is meant is not known.
    fn found_in(&self, other: &Series) -> Vec<(Point, Point)> {
        let seek = self.holding().filter(|point| point.seeks && other.place_of(point.slot()).is_empty());
        let found = seek.filter_map(|point| {
            let correction = self.slot(point.slot()).correction()?;
            match other.elsewhere(correction.source, Some(correction.at)) {
                Elsewhere::Once(holds) if self.has_third(&correction, &holds) => None,
                Elsewhere::Once(holds) => Some((correction, other.told_by(&correction, &holds)?)),
                Elsewhere::Nowhere | Elsewhere::Unclear => None,
            }
        });
        found.collect()
    }

    /// A result of their source that stands under the time of neither.
    fn has_third(&self, correction: &Point, other: &Point) -> bool {
        let is_neither = |at: Time| at != correction.at && at != other.at;
        self.holding().any(|p| p.source == correction.source && is_neither(p.at) && p.stands())
    }

    /// The only result of this source that stands under any other time; if none does, the only time of which something
    /// is known.
    fn elsewhere(&self, source: u64, apart_from: Option<Time>) -> Elsewhere {
        if source == 0 {
            return Elsewhere::Unclear;
        }
        let (mut stands, mut fallen, mut several_fallen) = (None, None, false);
        for point in self.holding().filter(|p| p.source == source && Some(p.at) != apart_from) {
            if !point.stands() {
                several_fallen |= fallen.replace(*point).is_some();
            } else if point.has_siblings || stands.replace(*point).is_some() {
                return Elsewhere::Unclear;
            }
        }
        match (stands, fallen) {
            (Some(point), _) => Elsewhere::Once(point),
            (None, Some(_)) if several_fallen => Elsewhere::Unclear,
            (None, Some(point)) => Elsewhere::Once(point),
            (None, None) => Elsewhere::Nowhere,
        }
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
            let cut = self.0.len() - KEPT + KEPT / 16;
            // A slot goes whole: what it took back would be revived.
            let slot = self.0.get(cut - 1).map(Point::slot);
            let rest = self.0.range(cut..).take_while(|point| Some(point.slot()) == slot).count();
            self.0.drain(..cut + rest);
        }
    }

    fn thin(&mut self, Thinning { hours_old, values }: &Thinning, start: Time) {
        let Some(newest) = self.0.back().map(|p| p.at.hours_since(start)) else { return };
        let (mut hour, mut seen, mut last) = (i64::MAX, 0, None);
        let mut thinned = BTreeSet::new();
        let mut kept = VecDeque::with_capacity(KEPT);
        while let Some(point) = self.0.pop_back() {
            let own_hour = point.at.hours_since(start);
            if own_hour != hour {
                (hour, seen) = (own_hour, 0);
            }
            let (slot, is_held) = (point.slot(), point.value().is_some());
            // What took another back stays where it stands behind a value that stays: else a late duplicate revives it. The
            // rest of a slot stays with what holds of it.
            let stays = match last.filter(|(last, _)| *last == slot) {
                Some((_, stays)) => stays,
                None => {
                    let is_behind = seen < *values && (is_held || point.is_correction());
                    seen += usize::from(is_held);
                    newest - hour < *hours_old || is_behind
                }
            };
            last = Some((slot, stays));
            if stays {
                kept.push_front(point);
            } else if point.source != 0 && point.stands() {
                thinned.insert(point.source);
            }
        }
        kept.iter_mut().for_each(|point| point.has_siblings |= thinned.contains(&point.source));
        self.0 = kept;
    }
}
