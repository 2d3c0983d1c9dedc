//! What holds of all that was told of one result under one time.
//!
//! It hangs on what was sent, and not on the order in which that came:
//!
//! 1. The withdrawal that was sent last voids what was sent before it or in the same second.
//! 2. Of what was sent behind it, or of everything where there is none, a correction beats a final result, and that a
//!    preliminary one, whenever they were sent: by HL7 table 0085 a correction alone changes a final result, so one that
//!    comes behind it is a late original.
//! 3. Of one rank the last that was sent holds.
//!
//! A message that does not say when it was sent is behind nothing: it is void as a result beside the withdrawal, a late
//! original beside a correction, and of two results the first. Of corrections and withdrawals, and of two results of one
//! rank, that nobody can order (those of one second among them), the last that comes holds.

#[cfg(test)]
mod tests;

use super::point::Point;

const WITHDRAWAL: usize = 0;

/// The withdrawal that was sent last; then of each rank what was sent last, as far as it can still come to hold: what was
/// sent behind a correction does so where that turns out to be withdrawn before.
#[derive(Clone, Copy, Default)]
pub(super) struct Slot([Option<Point>; 4]);

impl Slot {
    pub fn of<'p>(points: impl Iterator<Item = &'p Point>) -> Slot {
        let mut slot = Slot::default();
        for point in points {
            slot.0[point.layer()] = Some(*point);
        }
        slot
    }

    /// What holds is the last.
    pub fn points(&self) -> impl DoubleEndedIterator<Item = Point> + '_ {
        self.0.iter().flatten().copied()
    }

    pub fn holds(&self) -> Option<Point> {
        self.points().next_back()
    }

    pub fn withdrawal(&self) -> Option<Point> {
        self.0[WITHDRAWAL]
    }

    /// What voids, or beats, whatever does not stand.
    pub fn correction(&self) -> Option<Point> {
        self.points().rfind(|point| point.is_correction())
    }

    pub fn hear(&mut self, point: Point) {
        let has_siblings = point.has_siblings || self.points().any(|known| known.has_siblings);
        let is_new = |correction: Point| !point.is_correction() && point.sent_behind(&correction).is_gt();
        let seeks = match self.correction() {
            Some(correction) => correction.seeks && (point.seeks || is_new(correction)),
            None => point.seeks && self.holds().is_none(),
        };
        self.take(point);
        for kept in self.0.iter_mut().flatten() {
            (kept.has_siblings, kept.seeks) = (has_siblings, seeks);
        }
    }

    fn take(&mut self, point: Point) {
        let layer = point.layer();
        let is_behind = |known: &Point| point.sent_behind(known).is_gt();
        let is_before = |known: &Point| point.sent_behind(known).is_lt();
        if self.0[layer].as_ref().is_some_and(is_before) {
            return;
        }
        if layer != WITHDRAWAL {
            let withdrawn = self.0[WITHDRAWAL].as_ref();
            let is_void = match point.is_correction() {
                true => withdrawn.is_some_and(is_before),
                false => !withdrawn.is_none_or(is_behind),
            };
            if is_void || !self.0[layer + 1..].iter().flatten().all(is_behind) {
                return;
            }
        }
        let beaten = if layer == WITHDRAWAL { 1..self.0.len() } else { 1..layer };
        for known in &mut self.0[beaten] {
            *known = known.filter(|known| known.sent_behind(&point).is_gt());
        }
        self.0[layer] = Some(point);
    }
}
